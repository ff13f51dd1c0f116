"""Progress of programs that nobody wrote a recogniser for: a percentage that stands on its own."""

from __future__ import annotations

import re

from ...records import Progress
from ._base import State, progress

__all__ = ["Percent"]


class Percent:
    """Reads one percentage at the line's beginning or end, in brackets, or beside a word such as "done".

    "disk 95% full" is no progress, and neither is a line with several percentages.
    """

    name = "percent"
    programs: tuple[str, ...] = ()
    needles = ("%",)
    everywhere = True

    _SEARCH = re.compile(
        r"(?P<before>(?:^|[\[(|]) *|\b(?:[Pp]rogress|[Dd]one|[Cc]ompleted?)\b[ :=]*)?"
        r"(?<![0-9.,/-])(?P<percent>[0-9]{1,3}(?:\.[0-9]{1,9})?) ?%"
        r"(?P<after>[\])]|\s*$| (?:done|completed?|finished|processed|ready)\b)?"
    ).search

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none."""
        found = self._SEARCH(text) if text.count("%") == 1 else None
        if found is None or (found["before"] is None and found["after"] is None):
            return None
        if float(found["percent"]) > 100:
            return None
        label = (text[: found.start()] or text[found.end() :]).strip(" \t-:|#=>.[]()")
        return progress(self.name, percent=found["percent"], unit="%", label=label)
