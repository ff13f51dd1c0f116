"""Text of children made harmless, and figures made readable."""

from __future__ import annotations

import re

__all__ = ["duration", "harmless", "size"]

# Escape sequences (ECMA-48): CSI, strings such as OSC, and those of two or three characters.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{1,8}[0-~]|\x1b[0-OQ-WYZ\\`-~]"
)
# What a terminal acts on or cannot show: controls but the tab, line separators, marks that turn the direction
# of writing (CVE-2021-42574), halves of surrogate pairs.
_MARKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str, encoding: str = "utf-8") -> str:
    r"""Make text safe to show: no escape sequences, and controls as ``\x07`` or ``\u202e``.

    Args:
        text: What a child said, or anything else from outside.
        encoding: What the terminal is written in; other characters are spelled out.
    """
    if _MARKS.search(text) is not None:
        text = _MARKS.sub(_spelled, _ESCAPES.sub("", text))
    if not encoding.startswith("utf") and not text.isascii():
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def duration(seconds: float, *, clock: bool = False) -> str:
    """Spell a duration: ``0.42 s``, ``12.3 s``, ``3:25``, ``1:03:25``.

    Args:
        seconds: The duration.
        clock: ``0:12`` for short ones too: as long as it goes on, its width should not change.
    """
    if seconds < 60 and not clock:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Spell a number of bytes: ``812 KiB``, ``28.4 MiB``."""
    units = ["TiB", "GiB", "MiB", "KiB"]
    count /= 1024
    while count >= 1000 and len(units) > 1:
        units.pop()
        count /= 1024
    return f"{count:.0f} {units[-1]}" if count >= 100 else f"{count:.1f} {units[-1]}"
