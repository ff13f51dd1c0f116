"""Fewer log records than lines, where there would be too many: progress, and floods."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from subwatch.records import WARNING, Progress
from subwatch.sinks import ProgressThinner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from subwatch.records import Lines

    Place = tuple[Lines, int]

_UNREAD = Progress()  # stands for that of an update which no recogniser reads


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


class Updates:
    """Of the progress updates of one run the first and the last of each phase, and a few between them.

    Updates are lines whose progress a recogniser reads, and lines that end with a lone carriage return, but none
    from WARNING on.

    Args:
        every: Seconds from one to the next; True lets all of them through, False none.
    """

    def __init__(self, every: float | bool) -> None:
        self._all = every is True
        # by whether a recogniser reads them: those that none reads must not look like a phase of the others
        self._thinners: list[ProgressThinner[Place]] = []
        if not isinstance(every, bool):
            self._thinners = [ProgressThinner(interval=every), ProgressThinner(interval=every)]
        self._unwanted = 0

    @property
    def thinned(self) -> int:
        """Updates left out for good."""
        return self._unwanted + sum(thinner.thinned for thinner in self._thinners)

    def pick(self, lines: Lines) -> list[tuple[Lines, Sequence[int]]]:
        """Return what to tell of: this batch and maybe earlier ones, each with indexes of its lines."""
        if self._all or not ("\r" in lines.endings or any(lines.progress)):
            return [(lines, range(len(lines)))]
        picked: dict[int, tuple[Lines, list[int]]] = {}
        for batch, index in self._thin(lines):
            picked.setdefault(batch.first, (batch, []))[1].append(index)
        return [(batch, sorted(indexes)) for batch, indexes in picked.values()]

    def _thin(self, lines: Lines) -> Iterator[Place]:
        columns = zip(lines.progress, lines.endings, lines.levels, strict=True)
        for index, (progress, ending, level) in enumerate(columns):
            if (progress is None and ending != "\r") or level >= WARNING:
                yield lines, index
            elif self._thinners:
                thinner = self._thinners[progress is None]
                yield from thinner.feed((lines, index), progress or _UNREAD, lines.time_ns / 1e9)
            else:
                self._unwanted += 1

    def finish(self) -> list[tuple[Lines, Sequence[int]]]:
        """Return the last updates, where they were kept back."""
        return [(lines, [index]) for thinner in self._thinners for lines, index in thinner.flush()]
