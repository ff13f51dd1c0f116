"""What a child wrote, as the caller asked for it, and the end of the pipes it came through."""

from __future__ import annotations

import os
import threading

from ._drive import Feed, Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._drive import Drive
    from ._spawn import Child

__all__ = ["Captured", "feed_for", "linger"]


class Captured:
    """The captured streams of a child.

    Args:
        child: The child.
        drive: What reads its streams, those to return with a capture.
    """

    def __init__(self, child: Child, drive: Drive) -> None:
        self._child = child
        self._drive = drive
        self._closed = False

    def so_far(self) -> tuple[Any, Any]:
        """What was captured so far, in the type that the caller asked for; never fails to decode."""
        return self._value("stdout", "backslashreplace") or None, self._value("stderr", "backslashreplace") or None

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
        if self._child.stdin is not None:
            _close_quietly(self._child.stdin)
        if still_open and self._drive.done:
            linger(self._drive)


def _encoding(child: Child) -> str:
    for file in (child.stdout, child.stderr):
        encoding = getattr(file, "encoding", None)
        if encoding:
            return str(encoding)
    if child.encoding:
        return str(child.encoding)
    import locale

    return locale.getpreferredencoding(False)


def feed_for(child: Child, input: Any) -> Feed | None:
    """Prepare stdin as :meth:`subprocess.Popen.communicate` does: flushed, and closed when there is no input."""
    stdin = child.stdin
    if stdin is None or stdin.closed:
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


def _close_quietly(stdin: Any) -> None:
    try:
        stdin.close()
    except BrokenPipeError:
        pass


def linger(drive: Drive) -> None:
    """Read what other processes still hold to its end, in a thread: closing it would kill them."""
    import contextvars

    for channel in drive.open_channels:
        channel.capture = channel.deliver = channel.on_eof = None

    def run() -> None:
        poller = Poller()
        drive.adopt(poller)
        poller.run(drive)
        if drive.monitor is not None:
            drive.monitor.close()

    name = f"subwatch-late-{drive.process.pid}"
    threading.Thread(target=contextvars.copy_context().run, args=(run,), name=name, daemon=True).start()
