"""Progress of ffmpeg, whose lines tell the position and whose header tells the duration."""

from __future__ import annotations

import re
from typing import Literal

from ._base import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subwatch.records import Progress

    from ._base import State

__all__ = ["RECOGNIZERS", "Ffmpeg"]

_CLOCK = r"([0-9]{1,4}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,6})?)"


def _seconds(found: re.Match[str]) -> float:
    hours, minutes, seconds = found.groups()
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class Ffmpeg:
    """Reads ``time=00:00:01.40`` against the longest ``Duration: 00:00:03.00`` of the inputs.

    With ``-progress`` it is ``out_time=00:00:01.400000``.
    """

    name = "ffmpeg"
    programs: tuple[str, ...] = ("ffmpeg*",)
    needles: tuple[str, ...] = (":",)
    scope: Literal["updates"] = "updates"

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none."""
        if found := re.search(rf"\b(?:out_)?time= *{_CLOCK}", text):
            done, total = _seconds(found), state.data.get("duration")
            return progress(self.name, completed=done, total=total, unit="s")
        if found := re.match(rf"  Duration: {_CLOCK}, ", text):
            state.data["duration"] = max(_seconds(found), state.data.get("duration", 0.0))
        elif text.startswith("Input #0"):
            state.data.clear()
        return None


RECOGNIZERS = (Ffmpeg(),)
