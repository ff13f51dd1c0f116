"""Lines that belong together: tracebacks of Python, Java and Go, and PostgreSQL's DETAIL and HINT lines."""

from __future__ import annotations

import re
from typing import Generic, TypeVar

from subwatch.records import WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Grouper", "Grouping"]

T = TypeVar("T")

# Lines that continue whatever stands before them: they are meaningless alone.
_ALWAYS = re.compile(
    r"\s+at [\w.$<>/@-]+[(.]|\s*\.\.\. \d+ (?:more|common frames omitted)|\s*(?:Caused by|Suppressed): [\w.$]"
    r"|[\w.-]{1,64}: (?:detail|hint): "
)
# PostgreSQL's server puts two blanks after the colon; what stands before these words is configurable.
_POSTGRES = re.compile(
    r"(?<!\S)(?:(?P<more>DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION|BACKTRACE)"
    r"|DEBUG[1-5]?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC):  "
)
# More of what the server said; psql shows the place in the query, and marks it.
_POSTGRES_MORE = re.compile(r"\t|LINE [0-9]+: |\s+\^$")
_TRACEBACK = re.compile(r"\s*(?P<group>\+ Exception Group )?Traceback \(most recent call last\):")
_CHAINED = re.compile(r"(?:During handling of the above exception|The above exception was the direct cause)")
_GO = re.compile(r"panic: |fatal error: ")
_GO_MORE = re.compile(
    r"$|goroutine \d+ |\[signal |\t|created by |exit status \d|panic: |r\w{1,2} +0x|[\w./*()-]{1,255}\(.*\)$"
)


class Grouping:
    """Tells which lines continue the record before them.

    A pure state machine: it keeps where it is, holds no text and reads no clock.

    Args:
        max_lines: Most lines of one record.
        max_size: Most characters of one record.
        max_gap: Most seconds from one line of a record to the next.

    Attributes:
        cut: How many records were ended by one of these limits.
    """

    def __init__(self, *, max_lines: int = 500, max_size: int = 65536, max_gap: float = 2.0) -> None:
        self.cut: int = 0
        self._limits = (max_lines, max_size, max_gap)
        self._inside = ""
        self._lines = 0
        self._size = 0
        self._time = 0.0
        self._serious = False

    @property
    def due(self) -> float | None:
        """When a line that comes no longer belongs to the current record, by the clock of `continues`."""
        return self._time + self._limits[2] if self._lines else None

    @property
    def open(self) -> bool:
        """Whether more lines of the current record are likely to come."""
        return bool(self._inside) or self._serious

    def continues(self, text: str, level: int, now: float) -> bool:
        """Look at the next line.

        Args:
            text: The line, without its ending.
            level: Its level; a traceback right after a line of WARNING or above is that line's.
            now: When it was read, in seconds by any clock that does not go back.

        Returns:
            Whether it continues the record before it.
        """
        joins = self._joins(text)
        if joins:
            max_lines, max_size, max_gap = self._limits
            if self._lines >= max_lines or self._size + len(text) > max_size or now - self._time > max_gap:
                self.cut += 1
                joins = False
        if joins:
            self._lines += 1
            self._size += len(text) + 1
        else:
            self._lines, self._size, self._serious = 1, len(text), level >= WARNING
        self._time = now
        return joins

    def _joins(self, text: str) -> bool:
        """Decide by content, and move on to the next state."""
        inside, self._inside = self._inside, ""
        if inside == "group" and text[:1] == " ":
            self._inside = inside
            return True
        if begins := _TRACEBACK.match(text):
            self._inside = "group" if begins["group"] else "python"
            return inside == "chain" or (self._serious and self._lines == 1)
        if inside == "python" and text:
            # Indented lines are frames; the first other line names the exception.
            self._inside = "python" if text[0] in " \t" else "raised"
            return True
        if inside in ("raised", "chain") and (not text or _CHAINED.match(text)):
            self._inside = "chain"
            return True
        if inside == "go" and _GO_MORE.match(text):
            self._inside = "" if text.startswith("exit status") else "go"
            return True
        if _GO.match(text):
            self._inside = "go"
            return False
        if inside == "postgres" and _POSTGRES_MORE.match(text):
            self._inside = inside
            return True
        if self._lines and _ALWAYS.match(text):
            return True
        said = _POSTGRES.search(text, 0, 300) if ":  " in text else None
        if said:
            self._inside = "postgres"
        return self._lines > 0 and said is not None and said["more"] is not None


class Grouper(Generic[T]):
    """Collects items, such as `Line` records, into groups that belong together.

    Only a group that is likely to go on is kept back, so that other lines stay live.

    Args:
        grouping: Tells what belongs together.
    """

    def __init__(self, grouping: Grouping | None = None) -> None:
        self.grouping: Grouping = grouping or Grouping()
        self._group: list[T] = []

    @property
    def due(self) -> float | None:
        """When `flush` should be called at the latest, by the clock of `feed`; None when nothing is kept back."""
        return self.grouping.due if self._group else None

    def feed(self, items: Iterable[tuple[T, str, int]], now: float) -> list[list[T]]:
        """Take a batch.

        Args:
            items: Items with their text and level.
            now: When they were read, in seconds by any clock that does not go back.

        Returns:
            The groups that are complete, in order; most are of one item.
        """
        done: list[list[T]] = []
        grouping = self.grouping
        for item, text, level in items:
            if not grouping.continues(text, level, now) and self._group:
                done.append(self._group)
                self._group = []
            self._group.append(item)
        if not grouping.open:
            done += self.flush()
        return done

    def flush(self) -> list[list[T]]:
        """Give out what is kept back: at the end, and when nothing more came for a while."""
        done, self._group = [self._group] if self._group else [], []
        return done
