"""What a driver sees of watching: told what happens to the child, it has the records made and sent."""

from __future__ import annotations

import os
import signal
import threading
import time

from . import _os
from ._report import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ._control import OnLine
    from ._dispatch import Dispatcher
    from ._session import Session
    from .processors import Redactor
    from .records import Exit, Line, Lines, Run, Usage

__all__ = ["Monitor"]


def signal_name(returncode: int | None) -> str | None:
    """Name of the signal that a negative return code stands for."""
    if returncode is None or returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"SIG{-returncode}"  # a real-time signal


class Monitor:
    """Session and dispatcher of one run, with the clocks.

    Args:
        run: The run.
        session: Makes the records.
        dispatcher: Sends them.
        redactor: Masks secrets in what is raised.
        options: The options of the run.
        release: Called at the very end with a timeout, to close sinks made for this run alone.
        on_line: The user's function as a sink, for the error that it may have to raise.
    """

    def __init__(
        self,
        run: Run,
        session: Session,
        dispatcher: Dispatcher,
        redactor: Redactor,
        options: Mapping[str, Any],
        release: Callable[[float], object] | None = None,
        on_line: OnLine | None = None,
    ) -> None:
        self.run = run
        self.options = options
        self.redactor = redactor
        self.exit: Exit | None = None
        #: Whether the command holds secrets.
        self.secretive = False
        self.usage: Callable[[], Usage | None] = lambda: None
        self._session = session
        self._dispatcher = dispatcher
        self._release = release
        self._on_line = on_line
        self._env: dict[str, str | None] = {}
        self._pid: int | None = None
        self._started = time.monotonic()
        self._closed = False
        self._blind = False
        # held while the session is at work, never while a sink is: `Run.tail` is for any thread
        self._lock = threading.RLock()
        run._tail = self.tail

    def open(self) -> None:
        """Open the sinks' streams, in the caller's context."""
        self._env = self._dispatcher.open()

    def env(self, given: Mapping[str, str] | None) -> Mapping[Any, Any] | None:
        """The child's environment: what sinks add, under what the caller has set; None to leave it alone.

        As bytes where the caller has set none: Popen would have to encode every variable of ours.
        """
        if not self._env:
            return None
        ours_as_bytes, ours = _os.environment()
        env: dict[Any, Any] = dict(ours_as_bytes if given is None else given)
        names = [] if given is None else [name for name in env if isinstance(name, bytes)]
        as_bytes = {os.fsdecode(name): name for name in names}
        for name, value in self._env.items():
            key = os.fsencode(name) if given is None else as_bytes.get(name, name)
            if given is not None and key in env and os.fsdecode(env[key]) != ours.get(name):
                continue  # set by the caller, and not only copied along with all of os.environ
            if value is None:
                env.pop(key, None)
            else:
                env[key] = os.fsencode(value) if given is None else value
        return env

    def watch(self, names: Sequence[str]) -> None:
        """Announce the streams that will be watched."""
        for name in names:
            self._session.stream(name)

    def replaces(self, name: str) -> bool:
        """Whether a sink shows a stream in the place where it leads, see `subwatch.sinks.Stream`."""
        return self._dispatcher.replaces(name)

    def started(self, pid: int) -> None:
        """Tell that the child runs."""
        self._pid = pid
        self._started = time.monotonic()
        self._dispatcher.emit(self._session.started(pid, time.time_ns()))

    def spawn_failed(self, error: BaseException) -> None:
        """Tell that the child could not be started."""
        name = type(error).__name__
        text = self.redactor.text(str(error))
        self._emit_exit(reason="spawn_failed", returncode=None, drained=True, usage=None, error=(text, name))
        self.mark(error)
        self.close()

    def data(self, name: str, data: bytes) -> None:
        """Take bytes of a watched stream."""
        if self._blind:
            return
        take = self._session.feed if self._dispatcher.wants_lines else self._session.skip
        now = time.time_ns()
        try:
            with self._lock:
                batches = take(name, data, now)
        except Exception as error:  # noqa: BLE001 - an error of ours must not reach the child
            self._go_blind(error)
            return
        emit = self._dispatcher.emit
        for lines in batches:
            emit(lines)
        if batches:
            self._session.delayed(time.time_ns() - now)

    def hold(self, name: str, held: bool) -> None:
        """Tell that a watched stream is not read for a while, or is again: what is unfinished there is no prompt."""
        self._session.hold(name, time.time_ns(), held)

    def _go_blind(self, error: Exception) -> None:
        self._blind = True
        report(
            "the lines of run %s of %s are lost from here on",
            self.run.id,
            self.run.program,
            error=error,
            redact=self.redactor.text,
        )

    def eof(self, name: str) -> None:
        """Take the end of a watched stream."""
        self._pass_on(self._session.eof, name)

    def idle_in(self) -> float | None:
        """Seconds until `idle` has something to do, or None."""
        at, due = self._session.idle_at(), self._dispatcher.due()
        if at is None and due is None:
            return None
        waits = [] if at is None else [at / 1e9 - time.time()]
        if due is not None:
            waits.append(due - time.monotonic())
        return max(0.0, min(waits))

    def idle(self) -> None:
        """Show unfinished lines that have waited long enough, and let the sinks do what is due."""
        self._pass_on(self._session.idle)
        self._dispatcher.idle()

    def _pass_on(self, make: Callable[..., Iterable[Lines]], *arguments: str) -> None:
        with self._lock:
            batches = make(*arguments, time.time_ns())
        for lines in batches:
            self._dispatcher.emit(lines)

    def exited(self, returncode: int | None, reason: str | None = None, *, drained: bool = True) -> None:
        """Tell that the child has ended and its pipes were read.

        Args:
            returncode: As :attr:`subprocess.Popen.returncode`; None when it is not known.
            reason: Why it was ended, if it was; ``"left_running"`` when it was not, ``"lost"`` with its worker.
            drained: Whether all streams were read to their ends.
        """
        self._pass_on(self._session.finish)
        if returncode is None:
            reason = reason if reason in ("left_running", "lost") else "unknown"
        elif reason is None:
            reason = "signaled" if returncode < 0 else "exited"
        self._emit_exit(reason=reason, returncode=returncode, drained=drained, usage=self.usage())

    def _emit_exit(
        self,
        *,
        reason: str,
        returncode: int | None,
        drained: bool,
        usage: Usage | None,
        error: tuple[str, str] | tuple[None, None] = (None, None),
    ) -> None:
        with self._lock:
            self.exit = self._session.exited(
                pid=self._pid,
                returncode=returncode,
                signal=signal_name(returncode),
                reason=reason,
                time_ns=time.time_ns(),
                duration=time.monotonic() - self._started,
                usage=usage,
                drained=drained,
                dropped=self._dispatcher.dropped(),
                error=error[0],
                error_type=error[1],
            )
        self._dispatcher.emit(self.exit)
        for name, failure in self._session.failures().items():
            kind = type(failure).__name__
            report("%s raised %s in run %s of %s and was left out", name, kind, self.run.id, self.run.program)

    @property
    def error(self) -> Exception | None:
        """What ``on_line`` raised, where the caller wants it (``on_error="raise"``)."""
        return None if self._on_line is None else self._on_line.error

    @property
    def must_wait(self) -> bool:
        """Whether `flush` may block."""
        return self._dispatcher.must_wait or self._release is not None

    def flush(self) -> None:
        """Wait, within the flush timeout, until the sinks have delivered."""
        self._dispatcher.flush(self.options["flush_timeout"])

    def close(self) -> None:
        """Close the streams: nothing more will come."""
        if self._closed:
            return
        self._closed = True
        self._dispatcher.close()
        self.run._tail = None
        if self._release is not None:
            self._release(self.options["flush_timeout"])

    def tail(self, limit: int | None = None) -> Sequence[Line]:
        """The last lines so far, see `Run.tail`."""
        with self._lock:
            return self._session.tail(limit)

    def mark(self, error: BaseException) -> None:
        """Make the exit record the attribute ``subwatch_exit`` of an exception, for whoever wants to know more."""
        if self.exit is not None:
            error.subwatch_exit = self.exit  # type: ignore[attr-defined]

    def annotate(self, error: BaseException) -> None:
        """Mark an exception, and add the last lines, redacted, so that a bare traceback says why (PEP 678)."""
        self.mark(error)
        tail: Sequence[Line] = self.exit.tail if self.exit is not None else self.tail()
        if tail:
            text = "\n".join(f"  {line.text}" for line in tail)
            error.add_note(f"{self.run.program} said last:\n{text}")
