"""One child on an event loop: pipes and a pidfd are readers of the loop, deadlines its timers."""

from __future__ import annotations

import asyncio
import time

from ._drive import Drive
from ._relay import lend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._channel import Feed
    from ._ending import Ending
    from ._monitor import Monitor
    from ._spawn import Child

__all__ = ["Running"]


class _LoopPoller:
    """Waits on an event loop; the twin of `subwatch._poller.Poller`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0
        self.drive: Drive | None = None
        self.read: Callable[[int, Callable[[], object]], None] = loop.add_reader
        self.write: Callable[[int, Callable[[], object]], None] = loop.add_writer
        self.forget_read: Callable[[int], object] = loop.remove_reader
        self.forget_write: Callable[[int], object] = loop.remove_writer

    def wake(self, at: float) -> None:
        """Ask for a `tick` at this monotonic time at the latest."""
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.drive is not None and not self.drive.done:
            self.drive.tick()

    def stop(self) -> None:
        self.drive = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Reaper:
    """Asks asyncio's ``FastChildWatcher``, where that is set, for the status of a child.

    It reaps every child of the process, whoever started it; a status that it does not tell us is lost. Deprecated in
    Python 3.12, gone in 3.14.
    """

    def __init__(self, child: Child[Any]) -> None:
        self._child = child
        self._watcher: Any = None
        if kind := getattr(asyncio, "FastChildWatcher", None):
            watcher: Any = getattr(asyncio.get_event_loop_policy(), "_watcher", None)
            if isinstance(watcher, kind):
                self._watcher = watcher
                with watcher:
                    watcher.add_child_handler(child.pid, self._reaped)

    def _reaped(self, _pid: int, returncode: int) -> None:
        self._child.told = returncode

    def forget(self) -> None:
        if self._watcher is not None:
            self._watcher.remove_child_handler(self._child.pid)
            self._watcher = None


class Running:
    """One child on an event loop."""

    def __init__(self, child: Child[Any], monitor: Monitor, ending: Ending, feed: Feed | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._poller = _LoopPoller(self._loop)
        self.child = child
        self.monitor = monitor
        self.ending = ending
        self.on_done: Callable[[], object] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.drive = Drive(
            child,
            self._poller,
            child.channels,
            monitor,
            ending,
            drain=child.drain,
            feed=feed,
            finished=self._finished,
        )
        self._poller.drive = self.drive
        self._back = lend(self.drive)
        self._reaper = _Reaper(child)

    def _finished(self) -> None:
        self._back()
        self._reaper.forget()
        self._poller.stop()
        for channel in self.drive.open_channels:
            self._poller.forget_read(channel.fd)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.on_done is not None:
            self._loop.call_soon(self.on_done)
            self.on_done = None

    def abandon(self) -> None:
        """Let go of a child whose loop was closed before its end: nobody can wait for it any more."""
        self._back()
        self._reaper.forget()
        for channel in self.drive.open_channels:
            channel.eof = True
            channel.close()
        if not self.drive.settled:
            self.drive.settled = True
            self.monitor.exited(*self.drive.ended(), drained=False)
        self.monitor.close()

    async def wait(self) -> None:
        """Wait for the end; a cancellation ends this wait alone."""
        while not self.drive.done:
            self._waiter = self._loop.create_future()
            await self._waiter

    async def end(self, reason: str) -> None:
        """End the child and wait until it is over; a second cancellation makes short work of it."""
        self.ending.begin(reason, time.monotonic())
        self.drive.tick()
        while not self.drive.done:
            try:
                await self.wait()
            except asyncio.CancelledError:
                self.ending.hurry(time.monotonic())
                self.drive.tick()

    async def conclude(self) -> None:
        """Let the sinks deliver."""
        if self.monitor.must_wait:
            await self.aside(self.monitor.flush)
        await self.aside(self.close)

    def aside(self, work: Callable[[], object]) -> asyncio.Future[object]:
        """Do what a sink may hold in a thread; here where the interpreter ends and starts none any more."""
        if self.monitor.must_wait:
            try:
                return self._loop.run_in_executor(None, work)
            except RuntimeError:
                pass
        done = self._loop.create_future()
        done.set_result(work())
        return done

    def close(self) -> None:
        if not self.drive.open_channels:
            self.monitor.close()
