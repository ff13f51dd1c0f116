"""How a child ended."""

from __future__ import annotations

from ._base import Data, Single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._line import Line
    from ._run import Run

__all__ = ["Exit", "Usage"]


class Usage(Data):
    """What the child (and those of its children that it waited for) used, see :manpage:`getrusage(2)`.

    Attributes:
        user: CPU time in user mode, in seconds.
        system: CPU time in the kernel, in seconds.
        max_rss: Largest resident set, in bytes.
    """

    __slots__ = ("max_rss", "system", "user")

    def __init__(self, user: float, system: float, max_rss: int) -> None:
        self.user: float = user
        self.system: float = system
        self.max_rss: int = max_rss


class Exit(Single):
    """The child has ended, or could not be started.

    Attributes:
        run: The run that this record belongs to.
        pid: Process id, or None after a spawn failure.
        returncode: As :attr:`subprocess.Popen.returncode`: negative for a signal; None after a spawn
            failure, while it runs, or when somebody else has taken the status.
        signal: Name of the ending signal, such as ``"SIGKILL"``, or None.
        reason: ``exited``, ``signaled``, ``timed_out``, ``idle``, ``stopped``, ``interrupted``,
            ``cancelled``, ``spawn_failed``, ``left_running`` when it outlives this Python, ``lost`` when the
            worker that ran it died (`Watch.map`), or ``unknown`` when its status was taken by somebody else.
        start_ns: When it was started, in nanoseconds since the epoch.
        time_ns: When its end was seen, in nanoseconds since the epoch.
        duration: Seconds between the two by the monotonic clock.
        usage: CPU time and memory, where the platform gives it and nobody else reaped the child.
        lines: Number of line records per stream; none are made while no sink wants lines.
        bytes: Number of bytes read per stream.
        dropped: Records that a sink did not take, by sink name.
        truncated: How many records were cut at the size limit.
        drained: False when another process still held the pipe at the end; its lines follow as `late`.
        tail: The last lines; of consecutive progress updates only the last.
        error: What kept it from starting, redacted; None otherwise.
        error_type: Name of that exception's class; None otherwise.
        failed: Whether this counts as a failure: not for exit status 0 (but for a time limit), nor when
            `stop_on` stopped it, nor when the end is not known.
    """

    __slots__ = (
        "bytes",
        "drained",
        "dropped",
        "duration",
        "error",
        "error_type",
        "lines",
        "pid",
        "reason",
        "returncode",
        "run",
        "signal",
        "start_ns",
        "tail",
        "time_ns",
        "truncated",
        "usage",
    )

    def __init__(
        self,
        *,
        run: Run,
        pid: int | None,
        returncode: int | None,
        signal: str | None,
        reason: str,
        start_ns: int,
        time_ns: int,
        duration: float,
        usage: Usage | None = None,
        lines: Mapping[str, int] | None = None,
        bytes: Mapping[str, int] | None = None,
        dropped: Mapping[str, int] | None = None,
        truncated: int = 0,
        drained: bool = True,
        tail: Sequence[Line] = (),
        error: str | None = None,
        error_type: str | None = None,
    ) -> None:
        self.run: Run = run
        self.pid: int | None = pid
        self.returncode: int | None = returncode
        self.signal: str | None = signal
        self.reason: str = reason
        self.start_ns: int = start_ns
        self.time_ns: int = time_ns
        self.duration: float = duration
        self.usage: Usage | None = usage
        self.lines: Mapping[str, int] = lines or {}
        self.bytes: Mapping[str, int] = bytes or {}
        self.dropped: Mapping[str, int] = dropped or {}
        self.truncated: int = truncated
        self.drained: bool = drained
        self.tail: Sequence[Line] = tail
        self.error: str | None = error
        self.error_type: str | None = error_type

    @property
    def failed(self) -> bool:
        """Whether this end counts as a failure."""
        if self.reason in ("stopped", "left_running", "unknown"):
            return False
        return self.returncode != 0 or self.reason in ("timed_out", "idle")

    @property
    def message(self) -> str:
        """One sentence for people, such as ``"pg_basebackup exited with code 1 after 3.2 s"``."""
        return f"{self.run.program} {self.outcome} after {self.duration:.3g} s"

    @property
    def outcome(self) -> str:
        """What happened in a few words without names or figures of this run, such as ``"timed out"``."""
        if self.reason == "spawn_failed":
            return f"could not be started ({self.error_type})"
        how = {
            "timed_out": "timed out",
            "idle": "was silent for too long",
            "stopped": "was stopped on request",
            "interrupted": "was interrupted",
            "cancelled": "was cancelled",
            "left_running": "was left running",
            "lost": "was lost with its worker",
            "unknown": "ended with unknown status",
        }.get(self.reason)
        what = f"was killed by {self.signal}" if self.signal else f"exited with code {self.returncode}"
        return what if how is None else how if self.returncode is None else f"{how} and {what}"
