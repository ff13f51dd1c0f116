"""What is known of a child before it runs, and that it does."""

from __future__ import annotations

from ._base import WARNING, Data, Single

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._line import Line

__all__ = ["Caller", "Run", "Start"]


class Caller(Data):
    """Where the child was started from.

    Attributes:
        file: Path of the source file.
        line: Line number in it.
        function: Name of the function.
    """

    __slots__ = ("file", "function", "line")

    def __init__(self, file: str, line: int, function: str) -> None:
        self.file: str = file
        self.line: int = line
        self.function: str = function


class Run(Data):
    """One child, from before its start to after its end: what all of its records share.

    Attributes:
        id: UUIDv7 (RFC 9562) in its usual text form; sorts by start time.
        argv: The command, redacted.
        program: Basename of the executable, without directories.
        cwd: Working directory of the child, redacted.
        host: Name of this machine.
        tags: The user's labels.
        caller: Where in the user's code the child was started, or None.
        parent_pid: Process id of this Python process.
        fields: Correlation values that sinks contribute in `open`, such as ``trace_id`` and ``span_id``;
            complete before the first record is emitted.
        raises: Whether the caller asked for an exception on failure (``check=True``).
        ceiling: The highest level that a line may have, in the numbers of :mod:`logging`.
        forwarded: Those of the watched streams whose bytes also go, as they come, to the stream of the same
            name of this process, as they would without us.
    """

    __slots__ = (
        "_tail",
        "argv",
        "caller",
        "ceiling",
        "cwd",
        "fields",
        "forwarded",
        "host",
        "id",
        "parent_pid",
        "program",
        "raises",
        "tags",
    )

    def __init__(
        self,
        *,
        id: str,
        argv: tuple[str, ...],
        program: str,
        cwd: str,
        host: str,
        tags: Mapping[str, str],
        caller: Caller | None,
        parent_pid: int,
        raises: bool = False,
        ceiling: int = WARNING,
        forwarded: frozenset[str] = frozenset(),
    ) -> None:
        self.id: str = id
        self.argv: tuple[str, ...] = argv
        self.program: str = program
        self.cwd: str = cwd
        self.host: str = host
        self.tags: Mapping[str, str] = tags
        self.caller: Caller | None = caller
        self.parent_pid: int = parent_pid
        self.fields: dict[str, str] = {}
        self.raises: bool = raises
        self.ceiling: int = ceiling
        self.forwarded: frozenset[str] = forwarded
        self._tail: Callable[[int | None], Sequence[Line]] | None = None

    def tail(self, limit: int | None = None) -> Sequence[Line]:
        """The last lines so far; may be called from any thread, and from a sink, until the run's streams are closed.

        A stream that needs no more than this says ``wants_lines = False`` and costs nothing per line.

        Args:
            limit: How many lines at most; by default as many as the exit record has. What is more than 64 KiB
                or 1,000 lines back may be gone.

        Returns:
            Detached lines, the oldest first; of consecutive progress updates the last. Empty when the streams
            are closed.
        """
        tail = self._tail  # another thread may close the streams meanwhile
        return () if tail is None else tail(limit)


class Start(Single):
    """The child runs.

    Attributes:
        run: The run that this record belongs to.
        pid: Process id of the child.
        time_ns: When, in nanoseconds since the epoch.
    """

    __slots__ = ("pid", "run", "time_ns")

    def __init__(self, run: Run, pid: int, time_ns: int) -> None:
        self.run: Run = run
        self.pid: int = pid
        self.time_ns: int = time_ns
