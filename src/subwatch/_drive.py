"""What is done while a child runs, whichever loop waits for it: read, forward, feed stdin, end, drain.

`Drive` reacts to readiness and time; a poller (`subwatch._poller.Poller` in the caller's thread or in a thread of
a `Popen`, its twin of `subwatch._loop` on an event loop) only says when. So there is one implementation of
every rule, sync or async. Nothing here knows about lines, levels or sinks. What is to be called once is forgotten
then: kept, it would close a circle and leave all of the run to the garbage collector.
"""

from __future__ import annotations

import os
import time

from . import _os
from ._reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from ._channel import Channel, Feed
    from ._ending import Ending
    from ._monitor import Monitor
    from ._reading import Waits

    class Process(Protocol):
        """The process, as far as the drive needs it."""

        pid: int
        lost: bool

        def status(self) -> int | None: ...
        def deliver(self, signal: int) -> None: ...
        def group_alive(self) -> bool: ...


__all__ = ["Drive"]

_TICK = 0.02  # seconds between looks at what cannot be waited for (no pidfd; a process group)


class Drive(Reading):
    """Everything that happens between a child's start and its end.

    Args:
        process: The process.
        poller: What waits.
        channels: The streams to read.
        monitor: Gets what is read.
        ending: Decides when to end the child.
        drain: Seconds to wait for the end of captured streams after the child's own end.
        feed: Bytes for its stdin, or None.
        finished: Called once when all is done.
    """

    def __init__(
        self,
        process: Process,
        poller: Waits,
        channels: Sequence[Channel],
        monitor: Monitor | None,
        ending: Ending,
        *,
        drain: float,
        feed: Feed | None = None,
        finished: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(poller, channels, monitor)
        self.process = process
        self.ending = ending
        self.settled: bool = False  # the exit record is out
        self.done: bool = False
        self.returncode: int | None = None
        self.exited_at: float | None = None
        self.feed = feed
        self.on_exit: Callable[[], object] | None = None  # the child is gone and its pipes were emptied
        self._drain = drain
        self._finished = finished
        self._exit_fd: int | None = None
        self._late = False
        self._emptying = False

    def start(self) -> None:
        """Begin to wait."""
        now = self.ending.silent_since = time.monotonic()
        self.listen()
        if self.feed is not None:
            self.poller.write(self.feed.fd, self._feed)
        self.poller.wake(now + _TICK)  # nothing else can be due before

    def adopt(self, poller: Waits) -> None:
        """Go on under another poller: what is still open is read to its end there."""
        self.poller = poller
        self.done = False
        self._late = True
        self.listen()

    def ended(self) -> tuple[int | None, str | None]:
        """The return code, and the reason why the child was ended; ``left_running`` while it runs."""
        return self.returncode, "left_running" if self.exited_at is None else self.ending.reason

    # -- events -------------------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Take note that something was read."""
        self.ending.silent_since = now
        if self.ending.reason is not None:  # a line may have told to end the child
            self._plan(now)
        else:
            self._plan_idle(now)  # for what else is planned nothing comes sooner by this

    def relieved(self) -> None:
        """Take note that a stream has ended, or that all was handed on that had to wait."""
        if self.exited_at is None and not self.open_channels:
            self._exit()
            self._await_exit()
        self._check(time.monotonic())

    def _feed(self) -> None:
        feed = self.feed
        if feed is not None and feed.push():
            self.poller.forget_write(feed.fd)
            self.feed = None
            feed.close()

    def _exit(self) -> None:
        """Note the end of the child and take what it left in the pipes, whoever else holds them."""
        returncode = self.process.status()
        if returncode is None and not self.process.lost:
            return
        self.returncode = returncode
        self.exited_at = time.monotonic()
        self.hurried = True
        self.forget_exit()
        self._emptying = True  # the end of one stream must not be taken for that of all
        for channel in self.open_channels:
            self.take_rest(channel)
        self._emptying = False
        self._check(time.monotonic())
        on_exit, self.on_exit = self.on_exit, None
        if on_exit is not None:
            on_exit()
        if not self.done:
            self._plan(time.monotonic())

    def _await_exit(self) -> None:
        """Be woken by the exit of a child that runs on. Most are over before this is worth its while."""
        if self.exited_at is None and self._exit_fd is None:
            self._exit_fd = _os.exit_fd(self.process.pid)
            if self._exit_fd is not None:
                self.poller.read(self._exit_fd, self._exit)
            self._plan(time.monotonic())

    def forget_exit(self) -> None:
        """Do not wait for the child's end; the next `tick` does so again."""
        if self._exit_fd is not None:
            self.poller.forget_read(self._exit_fd)
            os.close(self._exit_fd)
            self._exit_fd = None

    def tick(self) -> None:
        """Do what is due by time."""
        now = time.monotonic()
        self.wake_resting()
        if self.monitor is not None:
            self.monitor.idle()
        if self.exited_at is None and self._exit_fd is None:
            self._exit()
            self._await_exit()
        if self.exited_at is None or self._group_waits():
            signal = self.ending.due(now)
            if signal is not None:
                self.process.deliver(signal)
        self._check(now)
        if not self.done:
            self._plan(now)

    def _group_waits(self) -> bool:
        """Whether others of a group that is being ended are still there."""
        return self.ending.reason is not None and self.process.group_alive()

    def _plan(self, now: float) -> None:
        at: float | None = None  # from now on only descriptors matter
        if self.exited_at is None:
            at = self.ending.next() if self._exit_fd is not None else now + _TICK
        elif not self.settled:
            at = now + _TICK if self._group_waits() else self.exited_at + self._drain
        for other in (at, self.rested_at()):
            if other is not None:
                self.poller.wake(other)
        self._plan_idle(now)

    def _plan_idle(self, now: float) -> None:
        idle_in = self.monitor.idle_in() if self.monitor is not None else None
        if idle_in is not None:
            self.poller.wake(now + idle_in)

    # -- the end ------------------------------------------------------------------------------------

    def _check(self, now: float) -> None:
        """See whether this was all."""
        if self.exited_at is None or self.done or self._emptying:
            return
        still_open = self.open_channels
        if not self.settled:
            if still_open and now < self.exited_at + self._drain and any(c.awaited for c in still_open):
                return
            if self._group_waits() and not self.ending.exhausted:
                return
            self.settled = True
            if self.monitor is not None:
                self.monitor.exited(*self.ended(), drained=not still_open)
        if self._late and still_open:
            return
        for channel in self.channels:
            if channel.forward is not None and channel.forward.pending:
                return
        for channel in self.channels:
            if channel.forward is not None and channel.eof:
                self.release(channel)
        if self.feed is not None:
            self.poller.forget_write(self.feed.fd)
            self.feed.close()
            self.feed = None
        self.done = True
        finished, self._finished = self._finished, None
        if finished is not None:
            finished()
