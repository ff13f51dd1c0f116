"""How far a child has come, read off its lines by recognisers: small, named, ordered.

A recogniser is any object with the members of `Recognizer`; most are a `Pattern`. Users give their own, or
name what a distribution offers as an entry point of the group ``subwatch.recognizers``.
"""

from __future__ import annotations

from . import backup, generic, media, postgres, python, transfer
from ._base import NUMBER, SIZE, Pattern, Recognizer, State, progress
from ._reader import Reader, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DEFAULT",
    "NUMBER",
    "SIZE",
    "Pattern",
    "Reader",
    "Recognizer",
    "State",
    "progress",
    "reader",
    "resolve",
]

#: The built-in recognisers, in the order in which they are asked.
DEFAULT: tuple[Recognizer, ...] = (
    *postgres.RECOGNIZERS,
    *transfer.RECOGNIZERS,
    *backup.RECOGNIZERS,
    *python.RECOGNIZERS,
    *media.RECOGNIZERS,
    *generic.RECOGNIZERS,
)


def reader(program: str, recognizers: Iterable[Recognizer] | None = None) -> Reader:
    """Make what reads the progress of one run.

    Args:
        program: Name of the program.
        recognizers: To be asked before the built-in ones; a `Reader` asks only those that it is given.
    """
    return Reader(program, (*(recognizers or ()), *DEFAULT))
