"""What all records have in common."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "LEVEL_NAMES", "WARNING", "Data", "Single", "level_name"]

#: Levels are the numbers of :mod:`logging`.
DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
LEVEL_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", CRITICAL: "critical"}


def level_name(level: int) -> str:
    """Lower-case name of a level: that of the highest standard level at or below it, else ``"debug"``."""
    return LEVEL_NAMES[max((known for known in LEVEL_NAMES if known <= level), default=DEBUG)]


class Data:
    """Slots with a repr and equality; names with an underscore are no data: not shown, compared or pickled."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if name[0] != "_")
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__ if name[0] != "_")

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __getstate__(self) -> object:
        return None, {name: None if name[0] == "_" else getattr(self, name) for name in self.__slots__}


class Single(Data):
    """A record that is also a sequence of one record: itself."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield self

    def __getitem__(self, index: int) -> Any:
        return (self,)[index]
