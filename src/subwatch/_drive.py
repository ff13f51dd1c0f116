"""What is done while a child runs, whichever loop waits for it: read, forward, feed stdin, end, drain.

`Drive` reacts to readiness and time; a poller (`Poller` here with poll(2) in the caller's thread or in a
thread of a `Popen`, its twin in `subwatch.aio` on an event loop) only says when. So there is one
implementation of every rule, sync or async. Nothing here knows about lines, levels or sinks.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from . import _os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BytesIO
    from typing import Protocol

    from ._ending import Ending
    from ._monitor import Monitor

    class Waits(Protocol):
        """Says when a descriptor is ready."""

        def read(self, fd: int, callback: Callable[[], object]) -> None: ...
        def write(self, fd: int, callback: Callable[[], object]) -> None: ...
        def forget_read(self, fd: int) -> None: ...
        def forget_write(self, fd: int) -> None: ...
        def wake(self, at: float) -> None: ...

    class Process(Protocol):
        """The process, as far as the drive needs it."""

        pid: int
        lost: bool

        def status(self) -> int | None: ...
        def deliver(self, signal: int) -> None: ...
        def group_alive(self) -> bool: ...


__all__ = ["Channel", "Drive", "Feed", "Forward", "Poller"]

_CHUNK = 64 * 1024
# A small read that follows another within this time (seconds) is taken for a flood of tiny writes: the
# pipe rests for a millisecond and is then read at once. Nobody notices, and it halves the CPU time.
_QUICK, _SMALL, _REST = 0.0015, 4096, 0.001
_TICK = 0.02  # seconds between looks at what cannot be waited for (no pidfd; a process group)


class Forward:
    """Hands bytes on to a descriptor that may be slow, without ever blocking on it.

    A descriptor that is shared with others must not be made non-blocking (that would change it for all
    of them): it is written to when poll(2) says so, PIPE_BUF bytes at a time, which then cannot block.
    """

    __slots__ = ("_chunk", "_poll", "broken", "fd", "pending")

    def __init__(self, fd: int, *, ours: bool = False) -> None:
        self.fd = fd
        self.pending = b""
        self.broken = False
        self._chunk = select.PIPE_BUF
        self._poll: select.poll | None = None
        if ours:
            os.set_blocking(fd, False)
            self._chunk = _CHUNK
        elif stat.S_ISREG(os.fstat(fd).st_mode):
            self._chunk = _CHUNK
        else:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def push(self, data: bytes = b"") -> bool:
        """Write what can be written; return whether nothing is left waiting."""
        data = self.pending + data if self.pending else data
        try:
            while data and not self.broken:
                if self._poll is not None and not self._poll.poll(0):
                    break
                data = data[os.write(self.fd, data[: self._chunk]) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:  # nobody reads it any more, or the disk is full: the child would have been told
            self.broken = True
            data = b""
        self.pending = data
        return not data

    def close(self) -> None:
        os.close(self.fd)


class Channel:
    """One stream of the child that we read.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        fd: Descriptor to read from; it becomes non-blocking.
        owned: Whether we close it at its end.
        watched: Whether its lines become records.
        awaited: Whether the caller gets its bytes, so that its end is worth waiting for.
    """

    __slots__ = (
        "awaited", "capture", "deliver", "eof", "fd", "forward", "grown", "last", "name", "on_eof", "owned", "paused",
        "resting", "watched",
    )  # fmt: skip

    def __init__(self, name: str, fd: int, *, owned: bool, watched: bool, awaited: bool) -> None:
        self.name = name
        self.fd = fd
        self.owned = owned
        self.watched = watched
        self.awaited = awaited
        self.capture: BytesIO | None = None
        self.forward: Forward | None = None
        self.deliver: Callable[[bytes], object] | None = None
        self.on_eof: Callable[[], object] | None = None
        self.eof = False
        self.paused = False
        self.resting = False
        self.grown = False
        self.last = 0.0
        os.set_blocking(fd, False)

    def close(self) -> None:
        """Close what is ours."""
        if self.owned:
            os.close(self.fd)
        if self.forward is not None:
            self.forward.close()


class Feed:
    """Bytes for the child's stdin, written as it takes them."""

    __slots__ = ("_data", "close", "fd")

    def __init__(self, fd: int, data: bytes, close: Callable[[], object]) -> None:
        self.fd = fd
        self.close = close
        self._data = memoryview(data).cast("B")
        os.set_blocking(fd, False)

    def push(self) -> bool:
        """Write what can be written; return whether that was all."""
        try:
            while self._data:
                self._data = self._data[os.write(self.fd, self._data[:_CHUNK]) :]
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # the child does not read its stdin: its right
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
        return True


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
        self.poller = poller
        self.channels = channels
        self.monitor = monitor
        self.ending = ending
        self.settled = False  # the exit record is out
        self.done = False
        self.returncode: int | None = None
        self.exited_at: float | None = None
        self.feed = feed
        self.on_exit: Callable[[], object] | None = None  # the child is gone and its pipes were emptied
        self._drain = drain
        self._finished = finished
        self._exit_fd: int | None = None
        self._late = False

    def start(self) -> None:
        """Begin to wait."""
        now = self.ending.silent_since = time.monotonic()
        for channel in self.channels:
            if not channel.eof:
                self.poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]
        if self.feed is not None:
            self.poller.write(self.feed.fd, self._feed)
        self._exit_fd = _os.exit_fd(self.process.pid)
        if self._exit_fd is not None:
            self.poller.read(self._exit_fd, self._exit)
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

    # -- events -------------------------------------------------------------------------------------

    def _readable(self, channel: Channel) -> None:
        try:
            data = os.read(channel.fd, _os.PIPE_SIZE if channel.grown else _CHUNK)
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
        elif len(data) >= _CHUNK:
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
        self._check(time.monotonic())

    def _release(self, channel: Channel) -> None:
        """Close a channel at its end, as soon as nothing waits to be forwarded."""
        if channel.forward is None or not channel.forward.pending:
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
        self._forget_exit()
        for channel in self.open_channels:
            self._drain_now(channel)
        self._check(time.monotonic())
        if self.on_exit is not None:
            self.on_exit()
        if not self.done:
            self._plan(time.monotonic())

    def _forget_exit(self) -> None:
        if self._exit_fd is not None:
            self.poller.forget_read(self._exit_fd)
            os.close(self._exit_fd)
            self._exit_fd = None

    def _drain_now(self, channel: Channel) -> None:
        left = 4 * _os.PIPE_SIZE  # more than a pipe holds: a chatty grandchild must not keep us here
        while left > 0 and not channel.eof:
            try:
                data = os.read(channel.fd, _CHUNK)
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
        at = self.ending.next() if self.exited_at is None else None
        if self.exited_at is not None:
            at = now + _TICK if self._group_waits() else self.exited_at + self._drain
        elif self._exit_fd is None:
            at = now + _TICK
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
        if self.exited_at is None or self.done:
            return
        still_open = self.open_channels
        if not self.settled:
            if any(channel.awaited for channel in still_open) and now < self.exited_at + self._drain:
                return
            if self._group_waits() and not self.ending.exhausted:
                return
            self.settled = True
            if self.monitor is not None:
                self.monitor.exited(self, drained=not still_open)
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


class Poller:
    """Waits with poll(2), which knows no highest descriptor, in the thread that calls `run`."""

    __slots__ = ("_at", "_callbacks", "_poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._at: float | None = None

    def read(self, fd: int, callback: Callable[[], object]) -> None:
        self._callbacks[fd] = callback
        self._poll.register(fd, select.POLLIN)

    def write(self, fd: int, callback: Callable[[], object]) -> None:
        self._callbacks[fd] = callback
        self._poll.register(fd, select.POLLOUT)

    def forget_read(self, fd: int) -> None:
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    forget_write = forget_read

    def wake(self, at: float) -> None:
        """Ask for a `tick` at this monotonic time at the latest."""
        if self._at is None or at < self._at:
            self._at = at

    def run(self, drive: Drive, until: float | None = None) -> bool:
        """Wait until the drive is done, or this monotonic time; return whether it is done."""
        poll, callbacks = self._poll.poll, self._callbacks
        while not drive.done:
            at = self._at
            if until is not None and (at is None or until < at):
                at = until
            ready = poll() if at is None else poll(max(0.0, (at - time.monotonic()) * 1000))
            for fd, _ in ready:
                callback = callbacks.get(fd)
                if callback is not None:
                    callback()
            if at is not None and (now := time.monotonic()) >= at:
                if until is not None and now >= until:
                    break
                self._at = None
                drive.tick()
        return drive.done
