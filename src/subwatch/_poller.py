"""Waiting with poll(2), which knows no highest descriptor, in a thread of one's own."""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._drive import Drive

__all__ = ["Poller"]


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
