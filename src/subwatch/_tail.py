"""The last lines of a child, kept cheaply while it talks."""

from __future__ import annotations

from collections import deque

from .records import Line, Lines

__all__ = ["Tail", "Unread"]

# Of lines that nobody wants so many bytes are kept: more than the longest private key, so that one whose
# end is in the tail is seen from its beginning.
_KEPT = 128 * 1024


class Unread:
    """The last chunks of a stream whose lines nobody wants."""

    __slots__ = ("_chunks", "_cut", "_size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._cut = False

    def add(self, data: bytes) -> None:
        """Keep a chunk, and forget what is older than need be."""
        chunks = self._chunks
        chunks.append(data)
        self._size += len(data)
        while self._size - len(chunks[0]) >= _KEPT:
            self._size -= len(chunks.popleft())
            self._cut = True

    def split(self) -> tuple[bytes, bytes]:
        """Return whole lines, and the beginning of the line that is not."""
        data = b"".join(self._chunks)
        start = data.find(b"\n") + 1 if self._cut else 0
        end = data.rfind(b"\n") + 1
        return data[start:end], data[max(start, end) :]


class Tail:
    """The last lines, kept as the batches that hold them; of progress updates only the last counts."""

    __slots__ = ("_batches", "_limit", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[tuple[Lines, int]] = deque()
        self._total = 0

    def add(self, lines: Lines) -> None:
        weight = len(lines)
        if lines._endings is not None or (lines._block is not None and b"\r" in lines._block):
            weight -= lines.endings.count("\r")
        batches = self._batches
        if not weight and batches and not batches[-1][1]:
            batches.pop()
        batches.append((lines, weight))
        self._total += weight
        while batches and self._total - batches[0][1] >= self._limit:
            self._total -= batches.popleft()[1]

    def lines(self) -> tuple[Line, ...]:
        """Detached lines, which do not keep their large batches alive."""
        lines = [line for batch, _ in self._batches for line in batch]
        kept = [line for line in lines[:-1] if line.ending != "\r"] + lines[-1:]
        return tuple(_detach(line) for line in kept[-self._limit :] if self._limit)


def _detach(line: Line) -> Line:
    lines, index = line._lines, line._index
    alone = Lines(
        lines.run,
        lines.stream,
        line.number,
        line.time_ns,
        lines.late,
        lines._reader,
        None,
        [line.text],
        [line.ending],
        None if lines._flags is None else [lines._flags[index]],
    )
    alone._levels = [line.level]
    return Line(alone, 0, line.text)
