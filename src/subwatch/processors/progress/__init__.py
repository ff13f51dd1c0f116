"""How far a child has come, read off its lines by recognisers: small, named, ordered.

A recogniser is any object with the members of `Recognizer`; most are a `Pattern`. Users pass their own to
`subwatch.Watch`, or offer them as entry points of the group ``subwatch.recognizers``, to be named there.
"""

from __future__ import annotations

import fnmatch

from ._base import NUMBER, Pattern, Recognizer, State, progress
from .generic import Percent
from .postgres import RECOGNIZERS as _POSTGRES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...records import Lines, Progress, Run

__all__ = ["DEFAULT", "NUMBER", "Pattern", "Reader", "Recognizer", "State", "progress", "reader"]

#: The built-in recognisers, in the order in which they are asked.
DEFAULT: tuple[Recognizer, ...] = (*_POSTGRES, Percent())

# Progress is short; what is longer is not worth a pattern's time.
_LONGEST = 2000


class Reader:
    """Reads the progress of one run's lines.

    Args:
        program: Name of the program; recognisers made for it are asked first.
        recognizers: What to ask, in order.

    Attributes:
        failed: How often a recogniser raised, by its name: at most once, since it is then left out.
    """

    def __init__(self, program: str, recognizers: Iterable[Recognizer]) -> None:
        ours, others = [], []
        for recognizer in recognizers:
            known = any(fnmatch.fnmatchcase(program, pattern) for pattern in recognizer.programs)
            (ours if known else others).append(recognizer)
        self._order: list[tuple[Recognizer, bool]] = [(r, True) for r in ours] + [(r, r.everywhere) for r in others]
        self._states: dict[str, State] = {}
        self.failed: dict[str, int] = {}

    def __call__(self, lines: Lines) -> list[Progress | None] | None:
        """Progress of each line; None when no line tells any."""
        texts = lines.texts
        joined = "\n".join(texts)
        found: list[Progress | None] | None = None
        updates = None
        for recognizer, always in self._order:
            if not all(needle in joined for needle in recognizer.needles):
                continue
            if not always:
                if updates is None:
                    updates = "\r" in lines.endings
                if not updates:
                    continue
            found = self._ask(recognizer, texts, found, lines.run)
        return found

    def _ask(
        self, recognizer: Recognizer, texts: Sequence[str], found: list[Progress | None] | None, run: Run
    ) -> list[Progress | None] | None:
        needles = recognizer.needles
        state = self._states.setdefault(recognizer.name, State(run))
        try:
            for index, text in enumerate(texts):
                if (found is None or found[index] is None) and len(text) <= _LONGEST:
                    if all(needle in text for needle in needles):
                        value = recognizer.match(text, state)
                        if value is not None:
                            if found is None:
                                found = [None] * len(texts)
                            found[index] = value
        except Exception:  # noqa: BLE001 - whatever it raises, the child's lines go on
            self.failed[recognizer.name] = self.failed.get(recognizer.name, 0) + 1
            self._order = [entry for entry in self._order if entry[0] is not recognizer]
        return found


def reader(program: str, recognizers: Iterable[Recognizer] | None = None) -> Reader:
    """Make the reader of one run: with the built-in recognisers unless others are given."""
    return Reader(program, DEFAULT if recognizers is None else recognizers)
