"""Small helpers for text that programs write to terminals, and for batches of lines joined by newlines."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ESCAPES", "Batch", "join", "lines_with", "numbered", "strip_ansi"]

# Escape sequences (ECMA-48): CSI such as colours, also when cut off at the end of a line; strings such as titles and
# links (OSC); those of two or three characters. Bounded, so that what only begins like one hides nothing.
# Redaction has a pattern of its own: it may look past colours, but what is written into a title can be a secret.
_END = r"(?=\n)|\Z"
_CSI = rf"[0-?]{{0,64}}+[ -/]{{0,8}}+(?:[@-~]|{_END})"
_STRING = r"[^\x07\n\x1b\x90\x98\x9c-\x9f]{0,4096}+(?:\x07|\x1b\\|\x9c)"
_ANSI = rf"\x1b(?:\[{_CSI}|[\]PX^_]{_STRING}|[ -/]{{1,8}}+(?:[0-~]|{_END})|[0-OQ-WYZ\\`-~]|{_END})"
_ESCAPES = re.compile(_ANSI)
#: The same, and those that are one character of Latin-1 instead of two of ASCII.
ESCAPES = re.compile(rf"{_ANSI}|\x9b{_CSI}|[\x9d\x90\x98\x9e\x9f]{_STRING}")


def strip_ansi(text: str) -> str:
    """Take escape sequences out."""
    return _ESCAPES.sub("", text) if "\x1b" in text else text


def join(texts: Iterable[str]) -> str:
    """Join lines, each with a newline before it: the form in which batches are searched.

    A pattern that begins with the one newline finds line beginnings at the speed of a character search, where
    ``(?m)^`` would try every character.
    """
    return "\n" + "\n".join(texts)


class Batch:
    """Lines to be searched all at once.

    Args:
        texts: The lines, without their endings.
        text: What they were split from at newlines, if that is what was done.

    Attributes:
        texts: The lines, without their endings.
        text: A string with all of them, to ask whether something occurs at all.
        steady: Whether they surely all end with a newline.
    """

    __slots__ = ("_joined", "steady", "text", "texts")

    def __init__(self, texts: Sequence[str], text: str | None = None) -> None:
        self.texts: Sequence[str] = texts
        self._joined: str | None = join(texts) if text is None else None
        self.text: str = text or self._joined or ""
        self.steady: bool = text is not None

    @property
    def joined(self) -> str:
        """The lines, each with a newline before it, as `join` makes it."""
        if self._joined is None:
            self._joined = "\n" + self.text.removesuffix("\n")
        return self._joined

    def bare(self) -> Batch:
        """The lines without escape sequences."""
        if "\x1b" not in self.text:
            return self
        text = strip_ansi(self.joined)[1:]
        return Batch(text.split("\n"), text + "\n")


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
