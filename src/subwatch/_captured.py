"""What a child wrote, as the caller asked for it, and the end of the pipes it came through."""

from __future__ import annotations

import os

from ._channel import Feed
from ._drive import Drive
from ._poller import Poller
from ._relay import follow, lend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ._channel import Channel
    from ._ending import Ending
    from ._monitor import Monitor
    from ._spawn import Child

__all__ = ["Captured", "Talk", "feed_for", "feed_or_kill", "linger"]


class Captured:
    """The captured streams of a child.

    Args:
        child: The child.
        drive: What reads its streams, those to return with a capture.
    """

    def __init__(self, child: Child[Any], drive: Drive) -> None:
        self._child = child
        self._drive = drive
        self._closed = False

    def so_far(self) -> tuple[Any, Any]:
        """What was captured so far, in the type that the caller asked for; never fails to decode."""
        out, err = (self._value(name, "backslashreplace") for name in ("stdout", "stderr"))
        return out or None, err or None

    def result(self) -> tuple[Any, Any]:
        """What was captured, in the type that the caller asked for; the pipes are closed.

        Raises:
            UnicodeDecodeError: The caller asked for text, and it is none.
        """
        try:
            errors = self._child.errors or "strict"
            return self._value("stdout", errors), self._value("stderr", errors)
        finally:
            self.close()

    def _value(self, name: str, errors: str) -> Any:
        for channel in self._drive.channels:
            if channel.name == name and channel.capture is not None:
                data = channel.capture.getvalue()
                break
        else:
            # a pipe that the caller has closed already gives what the standard library gives
            if getattr(self._child, name) is None:
                return None
            data = b""
        if not self._child.text_mode:
            return data
        text = data.decode(_encoding(self._child), errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def close(self) -> None:
        """Close the caller's pipes; one that another process still holds is read to its end elsewhere."""
        if self._closed:
            return
        self._closed = True
        still_open = self._drive.open_channels
        for channel in still_open:
            if not channel.owned:
                channel.fd, channel.owned = os.dup(channel.fd), True
        for file in (self._child.stdout, self._child.stderr):
            if file is not None:
                file.close()
        stdin = self._child.stdin
        if stdin is not None and not stdin.closed:
            _close_quietly(stdin)
        if still_open and self._drive.done:
            linger(self._drive)


def _encoding(child: Child[Any]) -> str:
    for file in (child.stdout, child.stderr):
        encoding = getattr(file, "encoding", None)
        if encoding:
            return str(encoding)
    if child.encoding and child.encoding != "locale":
        return str(child.encoding)
    import locale

    return locale.getpreferredencoding(False)


def feed_for(child: Child[Any], input: Any) -> Feed | None:
    """Prepare stdin as :meth:`subprocess.Popen.communicate` does: flushed, and closed when there is no input."""
    stdin: Any = child.stdin
    if stdin is None:
        return None
    close: Callable[[], object] = lambda: _close_quietly(stdin)  # noqa: E731
    try:
        stdin.flush()
    except BrokenPipeError:
        pass
    if not input:
        close()
        return None
    if child.text_mode:
        input = input.encode(stdin.encoding, stdin.errors)
    return Feed(stdin.fileno(), input, close)


def feed_or_kill(child: Child[Any], input: Any) -> tuple[Feed | None, Exception | None]:
    """As `feed_for`; input of a wrong type kills the child, as :func:`subprocess.run` does it, and is returned."""
    try:
        return feed_for(child, input), None
    except Exception as error:  # noqa: BLE001 - raised when the child is gone
        child.kill()
        return None, error


def _close_quietly(stdin: Any) -> None:
    try:
        stdin.close()
    except BrokenPipeError:
        pass


def linger(drive: Drive) -> None:
    """Read what other processes still hold to its end, in a thread: closing it would kill them."""
    for channel in drive.open_channels:
        channel.capture = channel.deliver = channel.on_eof = None
    follow(drive)


class Talk(Captured):
    """A conversation in the caller's thread, which a timeout may interrupt and a later call continue.

    Args:
        child: The child.
        channels: Its streams, those to return with a capture.
        monitor: What watches, or None when that happens elsewhere.
        ending: Decides when to end the child.
        feed: Data for its stdin, or None.
    """

    def __init__(
        self,
        child: Child[Any],
        channels: Sequence[Channel],
        monitor: Monitor | None,
        ending: Ending,
        feed: Feed | None,
    ) -> None:
        self._poller = Poller()
        self.drive = Drive(
            child,
            self._poller,
            channels,
            monitor,
            ending,
            drain=child.drain,
            feed=feed,
            finished=self._finished,
        )
        self._paused = False
        super().__init__(child, self.drive)
        self._back = lend(self.drive)
        self.drive.start()

    def _finished(self) -> None:
        self._back()

    def run(self, until: float | None = None) -> bool:
        """Go on until all is done or this monotonic time; return whether it is done."""
        if self._paused:
            self._set_blocking(False)
            self.drive.tick()
        try:
            return self._poller.run(self.drive, until)
        finally:
            self._paused = not self.drive.done
            if self._paused:  # meanwhile the caller may read for itself, or never come back
                self._set_blocking(True)
                self.drive.forget_exit()

    def _set_blocking(self, blocking: bool) -> None:
        for channel in self.drive.open_channels:
            if not channel.owned:
                os.set_blocking(channel.fd, blocking)
