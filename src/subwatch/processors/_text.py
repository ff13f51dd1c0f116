"""Small helpers for text that programs write to terminals and for batches of it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["lines_with", "strip_ansi"]

# ECMA-48: control sequences, operating system commands, and two-character escapes.
strip_ansi = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\^_])").sub


def lines_with(needle: str, joined: str) -> Iterator[int]:
    """Find the numbers, from 0, of the lines that hold a string, in lines joined by newlines."""
    index, before, found = 0, 0, joined.find(needle)
    while found >= 0:
        index += joined.count("\n", before, found)
        yield index
        before = joined.find("\n", found)
        found = joined.find(needle, before) if before >= 0 else -1
