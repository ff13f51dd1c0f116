"""Less of the same for sinks that people read: repetitions, floods, progress, warnings that came to nothing.

All of these are pure state machines: they read no clock and write nothing. Each counts what it keeps back.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Generic, TypeVar

from subwatch.records import ERROR, INFO, WARNING, Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from subwatch.records import Lines

    class Numbered(Protocol):
        """A line, or what is made of one."""

        @property
        def number(self) -> Any:
            """Its number within the run."""


__all__ = ["HoldBack", "ProgressThinner", "Throttle"]

T = TypeVar("T")
N = TypeVar("N", bound="Numbered")

_UNREAD = Progress()  # stands for that of an update which no recogniser reads


class Throttle:
    """Drops repeated lines and floods, and says so.

    Args:
        burst: Most different lines in one interval.
        interval: Seconds.

    Attributes:
        repeated: Lines dropped because they equal the one before.
        dropped: Lines dropped because there were too many.
    """

    def __init__(self, *, burst: int = 1000, interval: float = 10.0) -> None:
        self.repeated: int = 0
        self.dropped: int = 0
        self._burst = burst
        self._interval = interval
        self._text: str | None = None
        self._again = 0
        self._since = -math.inf
        self._passed = 0
        self._over = 0

    @property
    def due(self) -> float | None:
        """When `flush` should be called at the latest, by the clock of `admit`; None when nothing waits."""
        return self._since + self._interval if self._again or self._over else None

    def admit(self, text: str, now: float) -> tuple[bool, list[str]]:
        """Ask about the next line.

        Args:
            text: The line.
            now: Seconds, by any clock that does not go back.

        Returns:
            Whether to write it, and the notices to write before it.
        """
        notices = self.flush() if now - self._since >= self._interval else []
        if now - self._since >= self._interval:
            self._since, self._passed = now, 0
        if text == self._text:
            self._again += 1
            self.repeated += 1
            return False, notices
        if self._passed >= self._burst:
            self._over += 1
            self.dropped += 1
            return False, notices
        notices += self._repetition()
        self._text = text
        self._passed += 1
        return True, notices

    def flush(self) -> list[str]:
        """Say what was dropped and not said yet: at the end, and when it is `due`."""
        notices = self._repetition()
        if self._over:
            notices.append(
                f"{self._over} {'line' if self._over == 1 else 'lines'} dropped in {self._interval:g} s"
            )
            self._over = 0
        return notices

    def _repetition(self) -> list[str]:
        again, self._again = self._again, 0
        return [f"last message repeated {again} {'time' if again == 1 else 'times'}"] if again else []


class ProgressThinner(Generic[T]):
    """Thins the progress updates of one run: of each phase the first, the last, and at most one in an interval.

    A phase begins with another recogniser, or when the fraction falls; it ends when the fraction reaches 1.0.
    Updates that no recogniser reads, such as lines that end with a lone carriage return, are thinned by
    themselves: they are no phase of the others.

    Args:
        interval: Seconds; True lets all updates through, False none.
    """

    def __init__(self, interval: float | bool = 10.0) -> None:
        self._all = interval is True
        self._rows: tuple[_Row[T], ...] = ()
        if not isinstance(interval, bool):
            self._rows = (_Row(interval), _Row(interval))  # that somebody reads, that nobody reads
        self._unwanted = 0

    @property
    def thinned(self) -> int:
        """Updates kept back for good."""
        return self._unwanted + sum(row.thinned for row in self._rows)

    @property
    def due(self) -> float | None:
        """When `release` gives out what is kept back, by the clock of `feed`; None when nothing is."""
        return min((row.due for row in self._rows if row.due is not None), default=None)

    def concerns(self, lines: Lines) -> bool:
        """Whether a batch may have updates to be thinned: most have none, and need no look at each line."""
        return not self._all and ("\r" in lines.endings or any(lines.progress))

    def holds(self, progress: Progress | None) -> bool:
        """Whether an update is kept back that one with this progress would follow."""
        return bool(self._rows) and self._rows[progress is None].due is not None

    def feed(self, item: T, progress: Progress | None, now: float) -> list[T]:
        """Take the next update.

        Args:
            item: What to write for it, such as the `Line`.
            progress: Its progress; None where no recogniser reads any.
            now: Seconds, by any clock that does not go back.

        Returns:
            What to write now: nothing, the item, or the last of the phase before and the item.
        """
        if self._rows:
            return self._rows[progress is None].feed(item, progress or _UNREAD, now)
        self._unwanted += not self._all
        return [item] if self._all else []

    def release(self, now: float) -> list[T]:
        """Give out the latest updates if `due`: where progress stands still, that is how far it is."""
        return [item for row in self._rows for item in row.release(now)]

    def flush(self) -> list[T]:
        """Give out the last updates if they are still kept back: at the end of the run."""
        return [item for row in self._rows for item in row.flush()]


class _Row(Generic[T]):
    """Updates that follow one another, for `ProgressThinner`, whose words are used here."""

    def __init__(self, interval: float) -> None:
        self.thinned = 0
        self._interval = interval
        self._phase = ""
        self._fraction = -1.0
        self._time = -math.inf
        self._held: list[T] = []

    @property
    def due(self) -> float | None:
        return self._time + self._interval if self._held else None

    def feed(self, item: T, progress: Progress, now: float) -> list[T]:
        fraction = -1.0 if progress.fraction is None else progress.fraction
        ready: list[T] = []
        if progress.recognizer != self._phase or fraction < self._fraction:
            ready = self.flush()
            self._phase, self._time = progress.recognizer, -math.inf
        ends = fraction >= 1.0 > self._fraction
        self._fraction = fraction
        self.thinned += len(self._held)
        if ends or now - self._time >= self._interval:
            self._held, self._time = [], now
            return [*ready, item]
        self._held = [item]
        return ready

    def release(self, now: float) -> list[T]:
        if self.due is None or now < self.due:
            return []
        held, self._held, self._time = self._held, [], now
        return held

    def flush(self) -> list[T]:
        held, self._held = self._held, []
        if self._fraction < 1.0:
            return held
        self.thinned += len(held)
        return []


class HoldBack(Generic[N]):
    """Gives the exit status the last word on how serious lines are.

    Lines from WARNING on are held until the outcome is known. After a success they were nothing to worry about
    and get INFO; after a failure they are what they said, and the run's last lines, which tell why, get ERROR.

    Args:
        limit: Most lines held; when there are more, the oldest is let go at its own level.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._held: deque[tuple[N, int]] = deque()

    def feed(self, item: N, level: int) -> list[tuple[N, int]]:
        """Take the next line.

        Returns:
            What to write now, with levels.
        """
        if level < WARNING:
            return [(item, level)]
        self._held.append((item, level))
        return [self._held.popleft()] if len(self._held) > self._limit else []

    def outcome(self, failed: bool, tail: Iterable[N] = ()) -> list[tuple[N, int]]:
        """Learn how it ended.

        Args:
            failed: Whether the run failed.
            tail: Its last lines (`Exit.tail`); after a failure each is given out, though it may have been
                written before at a lower level.

        Returns:
            What to write before the exit record, with levels.
        """
        held, self._held = self._held, deque()
        if not failed:
            return [(item, INFO) for item, _ in held]
        last = {item.number: item for item in tail}
        before = [(item, level) for item, level in held if item.number not in last]
        return before + [(item, ERROR) for item in last.values()]
