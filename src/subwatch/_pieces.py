"""Lines that cannot be shown as they come: too long, or a prompt, or part of a private key.

Such a line is shown in pieces, each redacted in the light of what was shown of it before.
"""

from __future__ import annotations

from ._lines import has_long_line, split_block
from .processors._finders import BEGIN_KEY, HEADER
from .records import CONTINUED, TRUNCATED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .processors import Pipeline

    Row = tuple[str, str, int]  # text, ending, flags

__all__ = ["Pieces"]

# Within a private key this many characters are held back: its last line must not be seen in pieces.
_END_KEY = 80


class Pieces:
    """Makes rows of the lines of one stream, and remembers the line that is shown in part.

    Args:
        pipeline: Decodes and redacts.
        max_line: Size limit of a record, in bytes.
    """

    __slots__ = ("_context", "_decode", "_held", "_inside_key", "_max_line", "_pipeline", "midway")

    def __init__(self, pipeline: Pipeline, max_line: int) -> None:
        self.midway: bool = False  # the current line was cut
        self._pipeline = pipeline
        self._max_line = max_line
        self._decode: Callable[..., str] | None = None
        self._context: str | None = None  # what redaction must know of what was shown of the line
        self._held = ""  # raw text of it that must not be shown yet
        self._inside_key = False  # it begins within a private key

    def lost(self, *, midway: bool) -> None:
        """Tell that a part of the stream is gone; what is left of a line that began there is hidden.

        Args:
            midway: Whether what comes next is within a line: it may be the rest of a secret.
        """
        self.midway, self._context = midway, HEADER if midway else None
        self._decode, self._held, self._inside_key = None, "", False

    def needed(self, block: bytes) -> bool:
        """Whether a block must go this way."""
        return (
            self.midway
            or self._inside_key
            or has_long_line(block, self._max_line)
            # "-----BEGIN ... PRIVATE KEY-----"; two rare letters first, they cost next to nothing
            or (b"V" in block and b"K" in block and b"-----BEGIN" in block)
        )

    def rows(self, block: bytes) -> list[Row]:
        """Rows of a block, each line cut to the size limit."""
        rows: list[Row] = []
        texts, endings = split_block(block.decode("latin-1"))
        for text, ending in zip(texts, endings, strict=True):
            rest = self.cut(text.encode("latin-1"), rows)
            rows.append(self.piece(rest, ending, 0))
        return rows

    def cut(self, raw: bytes, rows: list[Row]) -> bytes:
        r"""Cut pieces off a line that is too long; return the rest (a last ``\r`` is no part of it)."""
        limit = self._max_line
        start = 0
        for end in range(limit, len(raw) - raw.endswith(b"\r"), limit):
            rows.append(self.piece(raw[start:end], "", TRUNCATED))
            start = end
        return raw[start:]

    def piece(self, raw: bytes, ending: str, flags: int) -> Row:
        """Redact one piece of a line; flags that cut it tell that more of the line follows."""
        redactor = self._pipeline.redactor
        context = self._context
        self.midway = bool(flags)
        if self._decode is None:
            self._decode = self._pipeline.decoder()
        shown = self._held + self._decode(raw, not flags)
        self._held = ""
        if not flags and context is None:
            shown, self._inside_key = redactor.block(shown, self._inside_key)
            return shown, ending, 0
        before = context
        if before is None:
            before = BEGIN_KEY if self._inside_key else ""
        if flags:
            keep = max(0, redactor.release(before + shown) - len(before))
            if before == BEGIN_KEY:
                keep = max(0, min(keep, len(shown) - _END_KEY))
            shown, self._held = shown[:keep], shown[keep:]
        safe = redactor.continuation(before, shown)
        after = redactor.context_after(before, shown)
        if not flags:
            self._context, self._inside_key = None, redactor.block(after, False)[1]
        elif shown:
            self._context = after
        return safe, ending, flags if context is None else flags | CONTINUED
