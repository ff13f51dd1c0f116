r"""Bytes to whole lines, without I/O: any chunking of the same bytes gives the same lines.

A line ends with ``\n``, ``\r\n`` or a lone ``\r`` (how programs redraw their progress). The framer cuts
behind the last ending it can be sure of and returns everything before it as one block; nothing is split
here, so a chunk costs two searches, however many lines it has.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

__all__ = ["Framer", "has_long_line", "split_block"]


class Framer:
    """Collects chunks and gives back blocks of whole lines."""

    __slots__ = ("_half", "_rest", "_swallow", "pending")

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._half = False  # the rest ends with \r, which may be half of \r\n
        self._swallow = False  # a \r was given out already: a \n that follows belongs to it
        #: Bytes that wait for their line's ending.
        self.pending = 0

    def feed(self, data: bytes) -> bytes:
        """Take a chunk; return the lines that are whole now, endings included, or nothing."""
        if data[-1:] == b"\n" and not self.pending and not self._swallow and b"\r" not in data:
            return data  # as most often
        if self._swallow:
            data = self._swallowed(data)
        if not data:
            return b""
        cut = data.rfind(b"\n") + 1
        if self._half or b"\r" in data:
            cut = max(cut, data.rfind(b"\r", cut, len(data) - 1) + 1)
            if self._half and not cut:
                block = self.take()
                self._keep(data)
                return block
        if not cut:
            self._keep(data)
            return b""
        if self.pending:
            block = b"".join([*self._rest, data[:cut]])
            self._rest.clear()
            self.pending = 0
        else:
            block = data if cut == len(data) else data[:cut]
        self._half = False
        if cut < len(data):
            self._keep(data[cut:])
        return block

    def resume(self, data: bytes) -> bytes:
        """Take a chunk, and return it behind what waits for its ending: neither is framed here any more."""
        if self._swallow:
            data = self._swallowed(data)
        return self.take() + data

    def _swallowed(self, data: bytes) -> bytes:
        if data:
            self._swallow = False
        return data[1:] if data[:1] == b"\n" else data

    def _keep(self, data: bytes) -> None:
        self._rest.append(data)
        self.pending += len(data)
        self._half = data[-1] == 13

    def take(self) -> bytes:
        """Return what waits for its ending, and forget it."""
        rest = b"".join(self._rest)
        self._rest.clear()
        self.pending = 0
        self._half = False
        return rest

    def release(self) -> bytes:
        r"""As `take`, for a pause in the stream: a held ``\r`` is then the line's ending."""
        if self.pending:
            self._swallow = self._half
        return self.take()


_ENDINGS: re.Pattern[str] | None = None


def split_block(text: str) -> tuple[list[str], list[str]]:
    """Split the text of a block at all three endings into texts and endings, of equal length.

    Text without an ending at the end gives a last line with an empty ending.
    """
    global _ENDINGS  # noqa: PLW0603 - compiled at first use: `re` is not needed to import subwatch
    if _ENDINGS is None:
        import re

        _ENDINGS = re.compile("(\r\n|\r|\n)")
    parts = _ENDINGS.split(text)
    if parts[-1]:
        parts.append("")
    else:
        parts.pop()
    return parts[::2], parts[1::2]


def has_long_line(block: bytes, limit: int) -> bool:
    """Whether a block may hold a line longer than `limit` bytes (never misses one).

    A line longer than the limit covers a whole window of half the limit somewhere, and such a window has
    no ending in it. One search per window, which stops at the first ending, makes this almost free.
    """
    if len(block) <= limit:
        return False
    window = max(1, limit // 2)
    for start in range(0, len(block), window):
        if block.find(b"\n", start, start + window) < 0 and block.find(b"\r", start, start + window) < 0:
            return True
    return False
