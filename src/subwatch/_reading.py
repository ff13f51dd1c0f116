"""Reading the streams of a child: handing on what they say at the pace of whoever takes it."""

from __future__ import annotations

import os
import time

from . import _os
from ._channel import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from ._channel import Channel
    from ._monitor import Monitor

    class Waits(Protocol):
        """Says when a descriptor is ready."""

        def read(self, fd: int, callback: Callable[[], object], /) -> object: ...
        def write(self, fd: int, callback: Callable[[], object], /) -> object: ...
        def forget_read(self, fd: int, /) -> object: ...
        def forget_write(self, fd: int, /) -> object: ...
        def wake(self, at: float) -> None: ...


__all__ = ["Reading"]

# A small read that follows another within this time (seconds) is taken for a flood of tiny writes: the
# pipe rests for a millisecond and is then read at once. Nobody notices, and it halves the CPU time.
_QUICK, _SMALL, _REST = 0.0015, 4096, 0.001


class Reading:
    """The streams of a child, read as they are ready. Whoever inherits it is told by `heard` and `relieved`.

    Args:
        poller: What waits.
        channels: The streams to read.
        monitor: Gets what is read.
    """

    def __init__(self, poller: Waits, channels: Sequence[Channel], monitor: Monitor | None) -> None:
        self.poller: Waits = poller
        self.channels = channels
        #: Those whose end has not been seen; never changed, but replaced.
        self.open_channels: Sequence[Channel] = channels
        self.monitor = monitor
        self.hurried: bool = False  # no stream rests: the child is gone

    def heard(self, now: float) -> None:
        """Take note that something was read."""

    def relieved(self) -> None:
        """Take note that a stream has ended, or that all was handed on that had to wait."""

    def listen(self) -> None:
        """Begin to wait for what is open."""
        for channel in self.open_channels:
            self.poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]

    @property
    def unfinished(self) -> list[Channel]:
        """The channels whose end has not been seen, or with something that waits to be handed on."""
        return [
            channel
            for channel in self.channels
            if not channel.eof or (channel.forward is not None and channel.forward.pending)
        ]

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
        self._take(channel, data)
        if channel.paused or self.hurried:
            pass
        elif len(data) >= CHUNK:
            if not channel.grown:
                channel.grown = True
                _os.set_pipe_size(channel.fd, _os.PIPE_SIZE)
        elif len(data) < _SMALL and now - channel.last < _QUICK:
            channel.resting = True
            self.poller.forget_read(channel.fd)
            self.poller.wake(now + _REST)
        channel.last = now
        self.heard(now)

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
            self.relieved()

    def pause(self, channel: Channel) -> None:
        """Stop reading, so that the child is slowed down as it would be without us."""
        if not channel.paused and not channel.eof:
            channel.paused = True
            self._hold(channel)
            if not channel.resting:
                self.poller.forget_read(channel.fd)

    def resume(self, channel: Channel) -> None:
        """Read on."""
        if channel.paused:
            channel.paused = False
            self._hold(channel)
            if not channel.eof and not channel.resting:
                self.poller.read(channel.fd, lambda: self._readable(channel))

    def _hold(self, channel: Channel) -> None:
        if channel.watched and self.monitor is not None:
            self.monitor.hold(channel.name, channel.paused)

    def close_channel(self, channel: Channel) -> None:
        """Read no more of a stream, whether or not it has ended; the child is told if it goes on writing."""
        self._eof(channel)

    def _eof(self, channel: Channel) -> None:
        if channel.eof:
            return
        channel.eof = True
        self.open_channels = [other for other in self.open_channels if other is not channel]
        if not channel.paused and not channel.resting:
            self.poller.forget_read(channel.fd)
        if channel.watched and self.monitor is not None:
            self.monitor.eof(channel.name)
        on_eof, channel.on_eof, channel.deliver = channel.on_eof, None, None
        if on_eof is not None:
            on_eof()
        self.release(channel)
        self.relieved()

    def release(self, channel: Channel) -> None:
        """Close a channel at its end, as soon as nothing waits to be forwarded."""
        forward = channel.forward
        if forward is None or not forward.pending:
            if forward is not None:
                self.poller.forget_write(forward.fd)  # the end may come while it waits to go on
            channel.close()
            channel.forward = None
            channel.owned = False

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

    def wake_resting(self) -> None:
        """Read those on that rested."""
        for channel in self.channels:
            if channel.resting:
                channel.resting = False
                if not channel.paused and not channel.eof:
                    self.poller.read(channel.fd, lambda channel=channel: self._readable(channel))  # type: ignore[misc]

    def rested_at(self) -> float | None:
        """When `wake_resting` has something to do, in monotonic seconds, or None."""
        return min([channel.last + _REST for channel in self.channels if channel.resting], default=None)
