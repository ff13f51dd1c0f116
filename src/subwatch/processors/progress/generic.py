"""Progress of programs that nobody wrote a recogniser for: a percentage that stands on its own."""

from __future__ import annotations

import re
from typing import Literal

from ._base import NUMBER, progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subwatch.records import Progress

    from ._base import State

__all__ = ["RECOGNIZERS", "Percent"]


class Percent:
    """Reads one percentage at the line's beginning or end, in brackets, or beside a word such as "done".

    "disk 95% full" and "CPU usage: 5%" are no progress, nor is a line with several percentages, nor more than
    100 %.
    """

    name = "percent"
    programs: tuple[str, ...] = ()
    needles: tuple[str, ...] = ("%",)
    scope: Literal["any"] = "any"

    _pattern = (
        r"(?P<before>(?:^|[\[(|])\s*|\b(?:[Pp]rogress|[Pp]ercent|[Dd]one|[Cc]ompleted?)\b[ :=]*)?"
        rf"(?<![\w.,/+-])(?P<percent>{NUMBER}) ?%(?![\w%])"
        r"(?P<after>[\])|]|\s*$| (?:[Dd]one|[Cc]ompleted?|[Ff]inished|[Pp]rocessed)\b)?"
    )
    # What a percentage measures when it stands right beside it: "muxing overhead: 0.3%", "0% packet loss".
    _measured = (
        r"(?:accuracy|busy|coverage|cpu|free|full|hits?|idle|load|loss|lost|mem|misses|overhead|ram|rate|ratio|usage"
        r"|used|utili[sz]ation)"
    )

    def match(self, text: str, state: State) -> Progress | None:  # noqa: ARG002 - every line stands for itself
        """Read the progress that a line tells; None when it tells none."""
        found = re.search(self._pattern, text) if text.count("%") == 1 else None
        if (
            found is None
            or (found["before"] is None and found["after"] is None)
            or float(found["percent"]) > 100
        ):
            return None
        said = (found["before"] or "") + (found["after"] or "")
        if not any(map(str.isalpha, said)) and self._measures(text[: found.start()], text[found.end() :]):
            return None
        label = text[: found.start()].strip(" \t-:|#=>.[]()") or text[found.end() :].strip(" \t-:|#=>.[]()")
        return progress(self.name, percent=found["percent"], unit="%", label=label)

    def _measures(self, before: str, after: str) -> bool:
        """Whether the words beside it, or a key that it is glued to, make it a quantity of something else."""
        return bool(
            re.search(rf"(?i)\w[:=]$|(?<![\w.-]){self._measured}[\s:=(\[]*$", before[-80:])
            or re.match(rf"(?i)\s*(?:[a-z]+ )?{self._measured}(?![\w.-])", after)
        )


RECOGNIZERS = (Percent(),)
