"""Small helpers for text that programs write to terminals, and for batches of lines joined by newlines."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["join", "lines_with", "numbered", "strip_ansi"]

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\^_])")


def strip_ansi(text: str) -> str:
    """Take escape sequences out (ECMA-48: control sequences, system commands, two-character escapes)."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def join(texts: Iterable[str]) -> str:
    """Join lines, each with a newline before it: the form in which batches are searched.

    A pattern that begins with the one newline finds line beginnings at the speed of a character search, where
    ``(?m)^`` would try every character.
    """
    return "\n" + "\n".join(texts)


def lines_with(needle: str, joined: str) -> Iterator[int]:
    """Number, from 0, the lines that hold a string."""
    index, before, found = -1, 0, joined.find(needle)
    while found >= 0:
        index += joined.count("\n", before, found)
        yield index
        before = joined.find("\n", found)
        found = joined.find(needle, before) if before >= 0 else -1


def numbered(joined: str, matches: Iterable[re.Match[str]]) -> Iterator[tuple[int, re.Match[str]]]:
    """Number, from 0, the lines that matches begin in."""
    index, before = -1, 0
    for match in matches:
        end = match.start() + 1  # a match may begin with its newline
        index += joined.count("\n", before, end)
        before = end
        yield index, match
