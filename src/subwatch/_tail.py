"""The last lines of a child, kept cheaply while it talks."""

from __future__ import annotations

from collections import deque

from .records import CONTINUED, PARTIAL, Line, Lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Tail", "Unread"]

# So much is kept for `Run.tail`, in bytes, however few lines the exit record wants.
_ENOUGH = 64 * 1024
# Of short lines that come one by one, so many.
_MOST = 1000
# Of lines that nobody wants so many bytes are kept: more than the longest private key, so that one whose
# end is in the tail is seen from its beginning.
_KEPT = 128 * 1024
_SHORT = 512


class Unread:
    """The last chunks of a stream whose lines nobody wants.

    Attributes:
        cut: Whether older ones are gone; then what is left may begin in the middle of a line.
    """

    __slots__ = ("_chunks", "_size", "_unfinished", "cut")

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, bytes]] = deque()
        self._size = 0
        self._unfinished = False  # the last chunk is short, and ends no line
        self.cut: bool = False

    def add(self, time_ns: int, data: bytes) -> None:
        """Keep a chunk and when it was read, and forget what is older than need be."""
        chunks = self._chunks
        self._size += len(data)
        if self._unfinished:
            data = chunks.pop()[1] + data  # one who writes byte by byte does not fill the memory with chunks
        chunks.append((time_ns, data))
        self._unfinished = len(data) < _SHORT and b"\n" not in data
        if self._size >= _KEPT:
            while self._size - len(chunks[0][1]) >= _KEPT:
                self._size -= len(chunks.popleft()[1])
                self.cut = True

    def split(self) -> tuple[list[tuple[int, bytes]], bytes]:
        """Return whole lines, with the time of the chunk that ended them, and the beginning of the line that is not."""
        blocks: list[tuple[int, bytes]] = []
        pieces: list[bytes] = []
        for time_ns, data in self._chunks:
            end = data.rfind(b"\n") + 1
            if end:
                block = b"".join((*pieces, data[:end]))
                if self.cut and not blocks:
                    block = block[block.find(b"\n") + 1 :]
                blocks.append((time_ns, block))
                pieces.clear()
            pieces.append(data[end:])
        return blocks, b"".join(pieces)


class Tail:
    """The last lines, kept as the batches that hold them; of consecutive progress updates only the last counts.

    Args:
        limit: How many lines are kept at least, and returned where nobody says how many.
    """

    __slots__ = ("_batches", "_limit", "_size", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # with the weight, and how many of the first lines are no part of it
        self._batches: deque[tuple[Lines, int, int]] = deque()
        self._total = 0
        self._size = 0

    def add(self, lines: Lines, count: int) -> None:
        """Keep a batch of `count` lines, and forget what is older than need be."""
        skip = 0
        if lines._flags is not None and self._finishes(lines):
            begun, weight, _ = self._batches.pop()
            self._size -= begun.size
            self._total -= weight
            whole = _cut(begun, 0, 1)
            whole._endings, whole._flags = lines.endings[:1], [begun.flags[0] & ~PARTIAL]
            self._put(whole, 1, 0)
            skip = 1
        if skip < count:
            self._put(lines, count, skip)

    def _finishes(self, lines: Lines) -> bool:
        """Whether a batch begins with the mere end of the line that was shown before its end was there."""
        if not self._batches or lines.texts[0] or not lines.flags[0] & CONTINUED:
            return False
        begun = self._batches[-1][0]
        return begun.stream == lines.stream and len(begun) == 1 and bool(begun.flags[0] & PARTIAL)

    def _put(self, lines: Lines, count: int, skip: int) -> None:
        weight = count - skip
        if lines._endings is not None or (lines._block is not None and b"\r" in lines._block):
            weight -= lines.endings[skip:].count("\r")
        batches = self._batches
        if not weight and batches and not batches[-1][1]:
            self._size -= batches.pop()[0].size
        batches.append((lines, weight, skip))
        self._total += weight
        self._size += lines.size
        while len(batches) > _MOST or self._size - batches[0][0].size >= _ENOUGH:
            oldest, weight, _ = batches[0]
            if self._total - weight < self._limit:
                break
            batches.popleft()
            self._total -= weight
            self._size -= oldest.size

    def lines(self, limit: int | None = None) -> tuple[Line, ...]:
        """The last lines, detached: they do not keep their large batches alive."""
        if not self._batches:
            return ()
        limit = self._limit if limit is None else limit
        found: list[Line] = []
        for batch, start, stop in reversed(list(self._newest_first(limit))):
            found.extend(_cut(batch, start, stop))
        return tuple(found)

    def _newest_first(self, left: int) -> Iterator[tuple[Lines, int, int]]:
        """Yield the parts of batches that have the last lines, `left` in all."""
        newer = ""
        for batch, _, skip in reversed(self._batches):
            if not left:
                return
            endings = batch.endings
            start = stop = len(batch)
            while start > skip and left:
                ending = endings[start - 1]
                if ending == newer == "\r":  # the update after it has replaced it
                    if start < stop:
                        yield batch, start, stop
                    stop = start - 1
                else:
                    left -= 1
                newer = ending
                start -= 1
            if start < stop:
                yield batch, start, stop


def _cut(lines: Lines, start: int, stop: int) -> Lines:
    """A part of a batch, as a batch of its own."""
    times = None if lines._times is None else lines._times[start:stop]
    part = Lines(
        lines.run,
        lines.stream,
        lines.first + start,
        times[0] if times else lines.time_ns + start,
        lines.late,
        lines._reader,
        None,
        lines.texts[start:stop],
        lines.endings[start:stop],
        lines.flags[start:stop],
    )
    part._times = times
    if lines._levels is not None:
        part._levels = lines._levels[start:stop]
    return part
