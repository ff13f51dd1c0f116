"""How far a child has come."""

from __future__ import annotations

from ._base import Data

__all__ = ["Progress"]


class Progress(Data):
    """How far a program says it has come.

    Attributes:
        completed: Amount done, in `unit`; None when the program gives only a fraction.
        total: Amount to do, in `unit`; None when unknown.
        fraction: 0.0 to 1.0, or None when unknown.
        unit: For example ``"kB"``, ``"%"``, ``"files"``; empty when there is none.
        label: What it is about, for example ``"0/1 tablespace"``; may be empty.
        recognizer: Name of the recogniser that read it.
    """

    __slots__ = ("completed", "fraction", "label", "recognizer", "total", "unit")

    def __init__(
        self,
        completed: float | None = None,
        total: float | None = None,
        fraction: float | None = None,
        unit: str = "",
        label: str = "",
        recognizer: str = "",
    ) -> None:
        self.completed: float | None = completed
        self.total: float | None = total
        self.fraction: float | None = fraction
        self.unit: str = unit
        self.label: str = label
        self.recognizer: str = recognizer
