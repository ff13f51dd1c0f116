"""What a progress recogniser is, and the one that a table of patterns needs."""

from __future__ import annotations

import re
from typing import Any, Protocol

from ...records import Progress, Run

__all__ = ["NUMBER", "Pattern", "Recognizer", "State", "progress"]

#: A number as programs print it: ASCII digits only, and bounded, so that it always converts.
NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"


class State:
    """What one recogniser remembers during one run.

    Attributes:
        run: The run, with the program's name and arguments.
        data: The recogniser's own notes, empty at first.
    """

    __slots__ = ("data", "run")

    def __init__(self, run: Run | None = None) -> None:
        self.run = run
        self.data: dict[str, Any] = {}


class Recognizer(Protocol):
    """Reads progress off a line of text.

    Attributes:
        name: Unique, for example ``"pg_basebackup"``; stands in `Progress.recognizer`.
        programs: Shell patterns of program names; for these programs it is asked before all others.
        needles: Substrings that a line must all have to be worth a `match`; the rarest first. They are looked
            for in whole batches, which is what makes recognisers cheap: one character is nearly free.
        everywhere: Whether it is asked for programs other than `programs`, too, even where no line ends with
            a carriage return. Only cheap ones should (a rare single character as first needle).
    """

    name: str
    programs: tuple[str, ...]
    needles: tuple[str, ...]
    everywhere: bool

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none. May raise: then it is left out."""
        ...


def progress(
    name: str,
    completed: float | str | None = None,
    total: float | str | None = None,
    percent: float | str | None = None,
    unit: str = "",
    label: str = "",
) -> Progress:
    """Make a `Progress` out of what a pattern found; the fraction is kept within 0.0 and 1.0."""
    done, whole, part = (None if x is None else float(x) for x in (completed, total, percent))
    fraction = None
    if done is not None and whole:
        fraction = min(max(done / whole, 0.0), 1.0)
    elif part is not None:
        fraction = min(max(part / 100, 0.0), 1.0)
    return Progress(done, whole, fraction, unit, label.strip()[:200], name)


class Pattern:
    """A recogniser made of one regular expression.

    Args:
        name: Its name.
        pattern: Searched in the line; its named groups ``completed``, ``total``, ``percent``, ``unit`` and
            ``label``, as far as there are any, become the progress. Numbers should be `NUMBER`.
        needles: See `Recognizer`.
        programs: See `Recognizer`.
        everywhere: See `Recognizer`.
        unit: When the pattern has no such group.
    """

    __slots__ = ("_groups", "_search", "_unit", "everywhere", "name", "needles", "programs")

    def __init__(
        self,
        name: str,
        pattern: str,
        *,
        needles: tuple[str, ...] = ("%",),
        programs: tuple[str, ...] = (),
        everywhere: bool = True,
        unit: str = "",
    ) -> None:
        compiled = re.compile(pattern)
        self.name = name
        self.programs = programs
        self.needles = needles
        self.everywhere = everywhere
        self._search = compiled.search
        self._groups = frozenset(compiled.groupindex)
        self._unit = unit

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none."""
        found = self._search(text)
        if found is None:
            return None
        values = {name: value for name, value in found.groupdict().items() if value is not None}
        for name in ("completed", "total", "percent"):
            if name in values:
                values[name] = values[name].replace(",", "")
        values.setdefault("unit", self._unit)
        return progress(self.name, **values)

    def __repr__(self) -> str:
        return f"Pattern({self.name!r})"
