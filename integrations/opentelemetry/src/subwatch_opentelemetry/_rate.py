"""Fewer log records than lines, where there would be too many: progress, and floods."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from subwatch.records import WARNING
from subwatch.sinks import ProgressThinner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from subwatch.records import Lines


class RateLimit:
    """Token bucket for all children of a sink, since they share the SDK's one queue.

    That queue holds 2048 records and drops the oldest, ours or the application's, when it is full;
    it is emptied every second. A quarter of the bucket is kept for warnings and worse.

    There is no lock, which a fork could inherit held: two threads at the same instant may let a batch too
    many through, for which that queue has room.

    Args:
        per_second: Lines per second in the long run, and at once after a second of silence; 0 for no limit.
    """

    def __init__(self, per_second: int) -> None:
        self._rate = per_second
        self._tokens = float(per_second)
        self._time = time.monotonic()

    def choose(self, levels: Sequence[int]) -> Sequence[int]:
        """Return the indexes of the lines that may pass, in order: the most severe, then the earliest."""
        count = len(levels)
        if not self._rate:
            return range(count)
        now = time.monotonic()
        tokens = min(self._rate, self._tokens + (now - self._time) * self._rate)
        granted = min(count, max(int(tokens) - self._rate // 4, 0))
        if granted < count:
            severe = sum(level >= WARNING for level in levels)
            granted = max(granted, min(severe, int(tokens)))
        self._time, self._tokens = now, tokens - granted
        if granted == count:
            return range(count)
        return sorted(sorted(range(count), key=lambda index: -levels[index])[:granted])


class Updates(ProgressThinner[tuple["Lines", int]]):
    """Finds and thins the progress updates of one run; each is a batch and the index of a line.

    Updates are lines whose progress a recogniser reads, and lines that end with a lone carriage return, but none
    from WARNING on.
    """

    def pick(self, lines: Lines) -> list[tuple[Lines, Sequence[int]]]:
        """Return what to tell of: this batch and maybe earlier ones, each with indexes of its lines."""
        if not self.concerns(lines):
            return [(lines, range(len(lines)))]
        picked: dict[int, tuple[Lines, list[int]]] = {}
        for batch, index in self._thin(lines):
            picked.setdefault(batch.first, (batch, []))[1].append(index)
        return [(batch, sorted(indexes)) for batch, indexes in picked.values()]

    def _thin(self, lines: Lines) -> Iterator[tuple[Lines, int]]:
        columns = zip(lines.progress, lines.endings, lines.levels, strict=True)
        for index, (progress, ending, level) in enumerate(columns):
            if (progress is None and ending != "\r") or level >= WARNING:
                yield lines, index
            else:
                yield from self.feed((lines, index), progress, lines.time_ns / 1e9)
