"""Watching a process that other code starts, feeds and waits for."""

from __future__ import annotations

from . import _os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._monitor import Monitor
    from .records import Exit, Run, Usage

__all__ = ["Observation"]


class Observation:
    """A child that somebody else runs, and that the sinks hear of by us (made by `Watch.observe`).

    Tell it what happens, in this order: `started` or `spawn_failed`, `data` as often as need be, `exited`.
    It does nothing to the process. To be used by one thread at a time; `exited` may come from any.

    Attributes:
        run: What is known of the child; its `fields` are complete.
        exit: The exit record, once there is one.
        env: The environment to start it with: what was given, and what the sinks add. None where nothing was
            given and nothing is added.
    """

    def __init__(self, monitor: Monitor, env: Mapping[str, str] | None, streams: frozenset[str]) -> None:
        self.run: Run = monitor.run
        added = monitor.env(_os.environment()[1] if env is None else env)
        self.env: Mapping[str, str] | None = env if added is None else added
        self.exit: Exit | None = None
        self._streams = streams
        self._monitor: Monitor | None = monitor
        monitor.watch(sorted(streams))

    def started(self, pid: int) -> None:
        """Tell that the process runs.

        Args:
            pid: Its process id.
        """
        self._tell(lambda monitor: monitor.started(pid))

    def spawn_failed(self, error: BaseException) -> None:
        """Tell that the process could not be started; this is the end.

        Args:
            error: What was raised. It gets the exit record as its attribute ``subwatch_exit``.
        """
        self._tell(lambda monitor: monitor.spawn_failed(error), last=True)

    def data(self, name: str, data: bytes) -> None:
        """Hand over what the process wrote, as it comes; lines may be cut anywhere.

        Args:
            name: ``"stdout"`` or ``"stderr"``, one of the streams that were announced.
            data: What it wrote.

        Raises:
            ValueError: That stream was not announced.
        """
        if name not in self._streams:
            raise ValueError(
                f"stream {name!r} is not among those observed: {', '.join(sorted(self._streams))}"
            )
        self._tell(lambda monitor: monitor.data(name, data))

    def exited(
        self, returncode: int | None, *, reason: str | None = None, usage: Usage | None = None
    ) -> None:
        """Tell that the process has ended; this is the end, and whatever is told later is ignored.

        Args:
            returncode: As :attr:`subprocess.Popen.returncode`; None when nobody knows.
            reason: Why it was ended, if it was, see `Exit.reason`.
            usage: What it used, if that is known.
        """

        def tell(monitor: Monitor) -> None:
            for name in sorted(self._streams):
                monitor.eof(name)
            monitor.usage = lambda: usage
            monitor.exited(returncode, reason)
            monitor.close()

        self._tell(tell, last=True)

    def _tell(self, news: Callable[[Monitor], object], *, last: bool = False) -> None:
        monitor = self._monitor
        if monitor is not None:
            if last:
                self._monitor = None
            news(monitor)
            self.exit = monitor.exit
