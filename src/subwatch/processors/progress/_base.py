"""What a progress recogniser is, and the one that needs no more than a pattern."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, Protocol

from subwatch.records import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subwatch.records import Run

__all__ = ["NUMBER", "SIZE", "Pattern", "Recognizer", "State", "json_object", "progress"]

#: A number as programs print it: ASCII digits only, and bounded, so that it always converts.
NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
#: The same with groups of thousands and a unit prefix: ``1,024``, ``97.5K``, ``1.2MiB``.
SIZE = r"[0-9][0-9,]{0,23}(?:\.[0-9]{1,9})?(?: ?[kKMGTPE]i?(?=[B\s/\]]|$))?"


class State:
    """What one recogniser remembers during one run.

    Attributes:
        run: The run, with the program's name and arguments.
        data: The recogniser's own notes, empty at first.
    """

    __slots__ = ("data", "run")

    def __init__(self, run: Run) -> None:
        self.run: Run = run
        self.data: dict[str, Any] = {}


class Recognizer(Protocol):
    """Reads progress off a line of text.

    Attributes:
        name: Unique, for example ``"pg_basebackup"``; stands in `Progress.recognizer`.
        programs: Shell patterns of program names; for these programs it is asked before the others.
        needles: Substrings that a line must have, all of them, to be worth a `match`; the rarest first. They
            are looked for in whole batches, where a single character costs next to nothing.
        scope: For which other programs it is asked (a shell may run anything): ``"any"``; only in batches
            with lines that end in a carriage return or have not ended (``"updates"``); none (``"own"``).
    """

    @property
    def name(self) -> str: ...
    @property
    def programs(self) -> tuple[str, ...]: ...
    @property
    def needles(self) -> tuple[str, ...]: ...
    @property
    def scope(self) -> Literal["any", "updates", "own"]: ...

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none. One that raises is left out."""
        ...


def _amount(value: object, scale: int) -> float | None:
    """A finite amount of zero or more, or None; text may have thousands' commas and a unit prefix."""
    if isinstance(value, str):
        digits = value.replace(",", "").rstrip("i ")
        power = "kmgtpe".find(digits[-1:].lower()) + 1 if digits else 0
        value = float(digits[:-1]) * scale**power if power else float(digits)
    if type(value) is int or type(value) is float:
        number = float(value) if abs(value) < 1e300 else math.inf
        return number if 0.0 <= number < math.inf else None
    return None


def progress(
    name: str,
    *,
    completed: object = None,
    total: object = None,
    percent: object = None,
    unit: str = "",
    label: str = "",
    scale: int = 1024,
) -> Progress | None:
    """Make a `Progress` out of whatever a program said.

    Args:
        name: Name of the recogniser.
        completed: Amount done, a number or its text; what is no finite amount counts as unknown.
        total: Amount to do, likewise; zero counts as unknown.
        percent: Percentage, likewise; decides where it contradicts the amounts by more than its rounding.
        unit: Unit of the amounts.
        label: What it is about.
        scale: What a unit prefix multiplies by.

    Returns:
        The progress, its fraction within 0.0 and 1.0; None when nothing is known.
    """
    done, whole, part = _amount(completed, scale), _amount(total, scale) or None, _amount(percent, scale)
    fraction = None if part is None else min(part / 100, 1.0)
    if done is not None and whole:
        exact = min(done / whole, 1.0)
        fraction = exact if fraction is None or abs(exact - fraction) < 0.015 else fraction
    if done is None and fraction is None:
        return None
    return Progress(done, whole, fraction, unit, label.strip()[:200], name)


class Pattern:
    """A recogniser made of one regular expression.

    Args:
        name: See `Recognizer`.
        pattern: Searched for in the line. Its groups ``completed``, ``total``, ``percent`` (each a `NUMBER`
            or `SIZE`), ``unit`` and ``label``, as far as there are any, become the progress.
        programs: See `Recognizer`.
        needles: See `Recognizer`.
        scope: See `Recognizer`.
        unit: Unit where the pattern finds none.
        scale: What a unit prefix multiplies by.
    """

    __slots__ = ("_pattern", "_scale", "_unit", "name", "needles", "programs", "scope")

    def __init__(
        self,
        name: str,
        pattern: str,
        *,
        programs: tuple[str, ...] = (),
        needles: tuple[str, ...] = ("%",),
        scope: Literal["any", "updates", "own"] = "any",
        unit: str = "",
        scale: int = 1024,
    ) -> None:
        self.name: str = name
        self.programs: tuple[str, ...] = programs
        self.needles: tuple[str, ...] = needles
        self.scope: Literal["any", "updates", "own"] = scope
        self._pattern = pattern
        self._unit = unit
        self._scale = scale

    def match(self, text: str, state: State) -> Progress | None:  # noqa: ARG002 - patterns remember nothing
        """Read the progress that a line tells; None when it tells none."""
        found = re.search(self._pattern, text)
        if found is None:
            return None
        groups = {name: value for name, value in found.groupdict().items() if value is not None}
        return progress(self.name, scale=self._scale, **{"unit": self._unit, **groups})

    def __repr__(self) -> str:
        return f"Pattern({self.name!r})"


def json_object(text: str) -> dict[str, Any]:
    """Read a line that is one JSON object; empty when it is not."""
    import json  # only for children that write JSON

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
