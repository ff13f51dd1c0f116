"""What lines go through on their way to people: less progress, groups, fewer repetitions, the outcome."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from subwatch.errors import ConfigError
from subwatch.processors.grouping import Grouper
from subwatch.processors.throttle import HoldBack, ProgressThinner, Throttle
from subwatch.records import INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from subwatch.records import Exit, Line, Lines

__all__ = ["Entry", "StageOptions", "Stages"]


class StageOptions(NamedTuple):
    """The options of `LoggingSink` by the same names."""

    progress: float | bool
    throttle: int | None
    hold_back: bool
    group: bool

    def check(self) -> None:
        """Refuse values of the wrong kind.

        Raises:
            ConfigError: There is one.
        """
        values: dict[str, Any] = self._asdict()
        progress, throttle = values["progress"], values["throttle"]
        if not isinstance(progress, (int, float)) or not 0 <= progress < math.inf:
            raise ConfigError(f"progress= takes seconds, 0 or more, or True or False, not {progress!r}")
        if throttle is not None and (type(throttle) is not int or throttle < 1):
            raise ConfigError(f"throttle= takes a number of lines, 1 or more, or None, not {throttle!r}")
        for name in ("hold_back", "group"):
            if not isinstance(values[name], bool):
                raise ConfigError(f"{name}= takes True or False, not {values[name]!r}")


class Entry:
    """What becomes one log record: a line, lines that belong together, or a notice, which has no number."""

    __slots__ = ("fields", "late", "level", "number", "stream", "texts", "time_ns")

    def __init__(
        self,
        texts: list[str],
        level: int,
        time_ns: int,
        *,
        stream: str = "",
        number: int | None = None,
        late: bool = False,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        self.texts = texts
        self.level = level
        self.time_ns = time_ns
        self.stream = stream
        self.number = number
        self.late = late
        self.fields = fields


class Stages:
    """The stages of one run: progress thinned, groups formed, floods throttled, warnings held back."""

    def __init__(self, options: StageOptions) -> None:
        self._thinner: ProgressThinner[Line] = ProgressThinner(options.progress)
        self._throttle = None if options.throttle is None else Throttle(burst=options.throttle)
        self._admitted = INFO
        self._hold: HoldBack[Entry] | None = HoldBack() if options.hold_back else None
        self._groupers: dict[str, Grouper[Line]] | None = {} if options.group else None

    @property
    def thinned(self) -> int:
        """Progress updates left out for good."""
        return self._thinner.thinned

    @property
    def repeated(self) -> int:
        """Lines left out because they equal the one before."""
        return self._throttle.repeated if self._throttle else 0

    @property
    def flooded(self) -> int:
        """Lines left out because there were too many."""
        return self._throttle.dropped if self._throttle else 0

    def feed(self, lines: Lines, heard: Container[int]) -> Iterator[Entry]:
        """Take a batch and the levels that somebody hears; return what to write now."""
        now = lines.time_ns / 1e9
        return self._release(self._group(lines.stream, self._thin(lines, heard, now), now), now)

    @property
    def due(self) -> float | None:
        """When `idle` has something to write, in seconds since the epoch; None while nothing waits for that."""
        waiting = (self._thinner, *(self._groupers or {}).values(), self._throttle)
        return min((each.due for each in waiting if each is not None and each.due is not None), default=None)

    def idle(self, time_ns: int) -> Iterator[Entry]:
        """Return what has waited long enough, though no line has come."""
        now = time_ns / 1e9
        for line in self._thinner.release(now):
            yield from self._release(self._group(line.stream, [line], now), now)
        for grouper in (self._groupers or {}).values():
            if _is_due(grouper, now):
                yield from self._release(map(_entry, grouper.flush()), now)
        if self._throttle is not None and _is_due(self._throttle, now):
            yield from self._hold_back(self._notices(self._throttle.flush(), time_ns))

    def outcome(self, exit: Exit) -> Iterator[Entry]:
        """Learn how it ended; return what to write before the exit record. Late lines are not held back."""
        yield from self.finish(exit.time_ns)
        if self._hold is not None:
            hold, self._hold = self._hold, None
            for entry, level in hold.outcome(exit.failed, self._tail(exit.tail)):
                entry.level = level
                yield entry

    def finish(self, time_ns: int) -> Iterator[Entry]:
        """Return what was kept back of progress, groups and notices."""
        now = time_ns / 1e9
        for line in self._thinner.flush():
            yield from self._release(self._group(line.stream, [line], now), now)
        for grouper in (self._groupers or {}).values():
            yield from self._release(map(_entry, grouper.flush()), now)
        if self._throttle is not None:
            yield from self._hold_back(self._notices(self._throttle.flush(), time_ns))

    def _thin(self, lines: Lines, heard: Container[int], now: float) -> Iterator[Line]:
        columns = zip(lines, lines.levels, lines.progress, lines.endings, strict=True)
        for line, level, progress, ending in columns:
            if not line.text and (ending == "\r" or line.continued):
                continue  # the return that an update begins with, the end of a line that was shown before
            if level not in heard and self._groupers is None:
                continue
            if (progress is None and ending != "\r") or level >= WARNING:
                yield line
            else:
                yield from self._thinner.feed(line, progress, now)

    def _group(self, stream: str, lines: Iterable[Line], now: float) -> Iterator[Entry]:
        if self._groupers is None:
            return (_entry([line]) for line in lines)
        grouper = self._groupers.setdefault(stream, Grouper())
        return map(_entry, grouper.feed(((line, line.text, line.level) for line in lines), now))

    def _release(self, entries: Iterable[Entry], now: float) -> Iterator[Entry]:
        if self._throttle is not None:
            entries = self._admit(self._throttle, entries, now)
        return self._hold_back(entries)

    def _admit(self, throttle: Throttle, entries: Iterable[Entry], now: float) -> Iterator[Entry]:
        for entry in entries:
            admitted, notices = throttle.admit("\n".join(entry.texts), now)
            yield from self._notices(notices, entry.time_ns)
            if admitted:
                self._admitted = entry.level
                yield entry

    def _notices(self, notices: list[str], time_ns: int) -> Iterator[Entry]:
        """Notices have the level of the line that they follow."""
        return (Entry([notice], self._admitted, time_ns) for notice in notices)

    def _hold_back(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if self._hold is None:
                yield entry
            else:
                for ready, level in self._hold.feed(entry, entry.level):
                    ready.level = level
                    yield ready

    def _tail(self, lines: Iterable[Line]) -> list[Entry]:
        if self._groupers is None:
            return [_entry([line]) for line in lines]
        grouper: Grouper[Line] = Grouper()
        groups = grouper.feed(((line, line.text, line.level) for line in lines), 0.0)
        return [_entry(group) for group in (*groups, *grouper.flush())]


def _is_due(stage: Grouper[Line] | Throttle, now: float) -> bool:
    return stage.due is not None and stage.due <= now


def _entry(lines: list[Line]) -> Entry:
    first = lines[0]
    level = max(line.level for line in lines)
    texts = [line.text for line in lines]
    return Entry(
        texts,
        level,
        first.time_ns,
        stream=first.stream,
        number=first.number,
        late=first.late,
        fields=first.fields if len(lines) == 1 else None,
    )
