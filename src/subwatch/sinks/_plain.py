r"""Text from outside made harmless for terminals and logs: the one place that knows what is not."""

from __future__ import annotations

import re

from ..processors._text import ESCAPES

__all__ = ["all_plain", "plain"]

# What a terminal acts on or cannot show: controls but the tab, line separators, marks that turn the direction
# of writing (CVE-2021-42574), halves of surrogate pairs.
_MARKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_ASCII_MARKS = bytes((*range(9), *range(10, 32), 127))


def plain(text: str, encoding: str = "utf-8") -> str:
    r"""Make text harmless to show: whatever a child wrote, it moves no cursor and sets no title or link.

    Escape sequences are removed; other controls, line separators and marks that turn the direction of
    writing are spelled out, as ``\x07`` or ``\u202e``. Tabs stay.

    Args:
        text: What a child said, or anything else from outside.
        encoding: What the text will be written in; characters that it lacks are spelled out.

    Returns:
        Text of one line.
    """
    if _MARKS.search(text) is not None:
        text = _MARKS.sub(_spelled, ESCAPES.sub("", text))
    if not encoding.startswith("utf") and not text.isascii():
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def all_plain(texts: list[str]) -> list[str]:
    """Make texts harmless; one look at all of them tells whether there is anything to do."""
    joined = "".join(texts)
    # five times as fast as the search, and nearly all output is ASCII
    if joined.isascii():
        harmless = len(joined.encode().translate(None, _ASCII_MARKS)) == len(joined)
    else:
        harmless = _MARKS.search(joined) is None
    return texts if harmless else [plain(text) for text in texts]


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
