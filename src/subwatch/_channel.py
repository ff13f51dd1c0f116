"""The descriptors of a child: what we read of it, what we hand on, what we write to it; never blocking."""

from __future__ import annotations

import errno
import os
import select
import stat

from ._report import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BytesIO

__all__ = ["CHUNK", "Channel", "Feed", "Forward"]

#: Bytes to read or write at once.
CHUNK = 64 * 1024


class Forward:
    """Hands bytes on to a descriptor that may be slow, without ever blocking on it.

    A descriptor that is shared with others must not be made non-blocking (that would change it for all
    of them): it is written to when poll(2) says so, PIPE_BUF bytes at a time, which then cannot block.

    Attributes:
        replaced: Tells whether somebody else puts what comes now there, in a form of their own.
    """

    __slots__ = ("_chunk", "_failed", "_poll", "broken", "fd", "pending", "replaced")

    def __init__(self, fd: int, *, ours: bool = False) -> None:
        self.fd: int = fd
        self.pending: bytes = b""
        self.broken: bool = False
        self.replaced: Callable[[], bool] | None = None
        self._failed = False
        self._chunk = select.PIPE_BUF
        self._poll: select.poll | None = None
        if ours:
            os.set_blocking(fd, False)
            self._chunk = CHUNK
        elif stat.S_ISREG(os.fstat(fd).st_mode):
            self._chunk = CHUNK
        else:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLOUT)

    def push(self, data: bytes = b"") -> bool:
        """Write what can be written; return whether nothing is left waiting."""
        if data and self.replaced is not None and self.replaced():
            data = b""
        data = self.pending + data if self.pending else data
        try:
            while data and not self.broken:
                if self._poll is not None and not self._poll.poll(0):
                    break
                data = data[os.write(self.fd, data[: self._chunk]) :]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            data = b""
            if error.errno == errno.EPIPE:  # nobody reads it any more: the child is told so when it goes on
                self.broken = True
            elif not self._failed:  # the disk is full, the terminal is gone: not the child's fault
                self._failed = True
                report("what a child writes is lost to the place it should go to: %s", error)
        self.pending = data
        return not data

    def restore(self) -> None:
        """Let it block again, for somebody else to write to."""
        if self._poll is None:
            os.set_blocking(self.fd, True)

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

    capture: BytesIO | None = None
    forward: Forward | None = None
    deliver: Callable[[bytes], object] | None = None
    on_eof: Callable[[], object] | None = None
    eof: bool = False
    paused: bool = False
    resting: bool = False
    grown: bool = False
    last: float = 0.0  # when something came, in monotonic seconds

    def __init__(self, name: str, fd: int, *, owned: bool, watched: bool, awaited: bool) -> None:
        self.name: str = name
        self.fd: int = fd
        self.owned: bool = owned
        self.watched: bool = watched
        self.awaited: bool = awaited
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
        self.fd: int = fd
        self.close: Callable[[], object] = close
        self._data = memoryview(data).cast("B")
        os.set_blocking(fd, False)

    def push(self) -> bool:
        """Write what can be written; return whether that was all."""
        try:
            while self._data:
                self._data = self._data[os.write(self.fd, self._data[:CHUNK]) :]
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:  # the child does not read its stdin: its right
            if error.errno not in (errno.EPIPE, errno.ECONNRESET):
                raise
        return True
