"""What is done while a child runs, whichever loop waits for it: read, forward, feed stdin, end, drain.

`Drive` reacts to readiness and time; a poller (`subwatch._poller.Poller` in the caller's thread or in a thread of
a `Popen`, its twin in `subwatch.aio` on an event loop) only says when. So there is one
implementation of every rule, sync or async. Nothing here knows about lines, levels or sinks.
"""

from __future__ import annotations

import os
import time

from . import _os
from ._channel import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from ._channel import Channel, Feed
    from ._ending import Ending
    from ._monitor import Monitor

    class Waits(Protocol):
        """Says when a descriptor is ready."""

        def read(self, fd: int, callback: Callable[[], object], /) -> object: ...
        def write(self, fd: int, callback: Callable[[], object], /) -> object: ...
        def forget_read(self, fd: int, /) -> object: ...
        def forget_write(self, fd: int, /) -> object: ...
        def wake(self, at: float) -> None: ...

    class Process(Protocol):
        """The process, as far as the drive needs it."""

        pid: int
        lost: bool

        def status(self) -> int | None: ...
        def deliver(self, signal: int) -> None: ...
        def group_alive(self) -> bool: ...


__all__ = ["Drive"]

# A small read that follows another within this time (seconds) is taken for a flood of tiny writes: the
# pipe rests for a millisecond and is then read at once. Nobody notices, and it halves the CPU time.
_QUICK, _SMALL, _REST = 0.0015, 4096, 0.001
_TICK = 0.02  # seconds between looks at what cannot be waited for (no pidfd; a process group)


class Drive:
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
        self.process = process
        self.poller: Waits = poller
        self.channels = channels
        self.monitor = monitor
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
        for channel in self.channels:
            if not channel.eof:
                self.poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]
        if self.feed is not None:
            self.poller.write(self.feed.fd, self._feed)
        self._plan(now)

    def adopt(self, poller: Waits) -> None:
        """Go on under another poller: what is still open is read to its end there."""
        self.poller = poller
        self.done = False
        self._late = True
        for channel in self.channels:
            if not channel.eof:
                poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]

    @property
    def open_channels(self) -> list[Channel]:
        """The channels whose end has not been seen."""
        return [channel for channel in self.channels if not channel.eof]

    def ended(self) -> tuple[int | None, str | None]:
        """The return code, and the reason why the child was ended; ``left_running`` while it runs."""
        return self.returncode, "left_running" if self.exited_at is None else self.ending.reason

    # -- events -------------------------------------------------------------------------------------

    def _readable(self, channel: Channel) -> None:
        try:
            data = os.read(channel.fd, _os.PIPE_SIZE if channel.grown else CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # EIO: a pseudo-terminal whose other side is closed
            data = b""
        if not data:
            self._eof(channel)
            return
        now = time.monotonic()
        self.ending.silent_since = now
        self._take(channel, data)
        if channel.paused or self.exited_at is not None:
            pass
        elif len(data) >= CHUNK:
            if not channel.grown:
                channel.grown = True
                _os.set_pipe_size(channel.fd, _os.PIPE_SIZE)
        elif len(data) < _SMALL and now - channel.last < _QUICK:
            channel.resting = True
            self.poller.forget_read(channel.fd)
        channel.last = now
        self._plan(now)

    def _take(self, channel: Channel, data: bytes) -> None:
        if channel.capture is not None:
            channel.capture.write(data)
        if channel.deliver is not None:
            channel.deliver(data)
        forward = channel.forward
        if forward is not None and not forward.push(data):
            self.pause(channel)
            self.poller.write(forward.fd, lambda: self._forward(channel))
        if channel.watched and self.monitor is not None:
            self.monitor.data(channel.name, data)
        if forward is not None and forward.broken:
            self._eof(channel)

    def _forward(self, channel: Channel) -> None:
        forward = channel.forward
        assert forward is not None
        if forward.push():
            self.poller.forget_write(forward.fd)
            if forward.broken and not channel.eof:
                self._eof(channel)
            self.resume(channel)
            self._check(time.monotonic())

    def pause(self, channel: Channel) -> None:
        """Stop reading, so that the child is slowed down as it would be without us."""
        if not channel.paused and not channel.eof:
            channel.paused = True
            if not channel.resting:
                self.poller.forget_read(channel.fd)

    def resume(self, channel: Channel) -> None:
        """Read on."""
        if channel.paused:
            channel.paused = False
            if not channel.eof and not channel.resting:
                self.poller.read(channel.fd, lambda: self._readable(channel))

    def close_channel(self, channel: Channel) -> None:
        """Read no more of a stream, whether or not it has ended; the child is told if it goes on writing."""
        self._eof(channel)

    def _eof(self, channel: Channel) -> None:
        if channel.eof:
            return
        channel.eof = True
        if not channel.paused and not channel.resting:
            self.poller.forget_read(channel.fd)
        if channel.watched and self.monitor is not None:
            self.monitor.eof(channel.name)
        if channel.on_eof is not None:
            channel.on_eof()
        self._release(channel)
        if self.exited_at is None and not self.open_channels:
            self._exit()
            self._await_exit()
        self._check(time.monotonic())

    def _release(self, channel: Channel) -> None:
        """Close a channel at its end, as soon as nothing waits to be forwarded."""
        forward = channel.forward
        if forward is None or not forward.pending:
            if forward is not None:
                self.poller.forget_write(forward.fd)  # the end may come while it waits to go on
            channel.close()
            channel.forward = None
            channel.owned = False

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
        self.forget_exit()
        self._emptying = True  # the end of one stream must not be taken for that of all
        for channel in self.open_channels:
            self.take_rest(channel)
        self._emptying = False
        self._check(time.monotonic())
        if self.on_exit is not None:
            self.on_exit()
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

    def take_rest(self, channel: Channel) -> None:
        """Read what a channel holds right now."""
        left = 4 * _os.PIPE_SIZE  # more than a pipe holds: a chatty grandchild must not keep us here
        while left > 0 and not channel.eof:
            try:
                data = os.read(channel.fd, CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._eof(channel)
                return
            left -= len(data)
            self._take(channel, data)

    def tick(self) -> None:
        """Do what is due by time."""
        now = time.monotonic()
        for channel in self.channels:
            if channel.resting:
                channel.resting = False
                if not channel.paused and not channel.eof:
                    self.poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]
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
        for channel in self.channels:
            if channel.resting:
                at = channel.last + _REST if at is None else min(at, channel.last + _REST)
        idle_in = self.monitor.idle_in() if self.monitor is not None else None
        if idle_in is not None and (at is None or now + idle_in < at):
            at = now + idle_in
        if at is not None:
            self.poller.wake(at)

    # -- the end ------------------------------------------------------------------------------------

    def _check(self, now: float) -> None:
        """See whether this was all."""
        if self.exited_at is None or self.done or self._emptying:
            return
        still_open = self.open_channels
        if not self.settled:
            if any(channel.awaited for channel in still_open) and now < self.exited_at + self._drain:
                return
            if self._group_waits() and not self.ending.exhausted:
                return
            self.settled = True
            if self.monitor is not None:
                self.monitor.exited(*self.ended(), drained=not still_open)
        if any(channel.forward is not None and channel.forward.pending for channel in self.channels):
            return
        if self._late and still_open:
            return
        for channel in self.channels:
            if channel.eof:
                self._release(channel)
        if self.feed is not None:
            self.poller.forget_write(self.feed.fd)
            self.feed.close()
            self.feed = None
        self.done = True
        if self._finished is not None:
            self._finished()
