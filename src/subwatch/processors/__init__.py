"""What is done to the bytes of a child before a sink sees them: decode, redact, split, interpret.

All of it works on whole chunks, once for all sinks, and only when somebody looks.
"""

from __future__ import annotations

import codecs

from .._lines import split_block
from ..records import INFO, WARNING
from .levels import levels as detect_levels
from .levels import strip_syslog
from .redact import Redactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from ..records import Lines, Progress

__all__ = ["Pipeline", "Redactor"]

# Encodings whose bytes are ASCII wherever they look like ASCII, and that UTF-8 decoding reads right.
_DIRECT = {"utf-8", "ascii"}


class Pipeline:
    """Decoding and meaning of one run's lines (the `Reader` of its `Lines`).

    Args:
        redactor: Masks secrets; always first.
        encoding: Encoding of what the child writes; undecodable bytes become ``\\xNN``.
        rules: The user's level rules, see `subwatch.processors.levels.levels`.
        default: Level of a line that says nothing about it.
        ceiling: Highest level that a line may have: whether it was an error is for the exit status to say.
        recognizers: Progress recognisers for this program, in order.
    """

    def __init__(
        self,
        redactor: Redactor,
        *,
        encoding: str = "utf-8",
        rules: Sequence[Any] = (),
        default: int = INFO,
        ceiling: int = WARNING,
        program: str = "",
        recognizers: Iterable[Any] | None = None,
    ) -> None:
        self.redactor = redactor
        self._encoding = codecs.lookup(encoding).name
        self._rules = rules
        self._default = default
        self.ceiling = ceiling
        self._program = program
        self._recognizers = recognizers
        self._progress: Callable[[Lines], list[Progress | None] | None] | None = None

    def transcoder(self) -> Callable[..., bytes] | None:
        """A function that turns chunks of another encoding into UTF-8; None when none is needed."""
        if self._encoding in _DIRECT:
            return None
        decode = codecs.getincrementaldecoder(self._encoding)("backslashreplace").decode
        return lambda data, final=False: decode(data, final).encode("utf-8", "backslashreplace")

    def decoder(self) -> Callable[..., str]:
        """A function that decodes lines piece by piece; its second argument tells that a line ends."""
        return codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def texts(self, block: bytes) -> tuple[list[str], list[str] | None, list[int] | None]:
        """Decode, redact and split a block of whole lines.

        Returns:
            The texts; their endings, or None where all are newlines; their levels where syslog prefixes
            gave them, else None.
        """
        text = self.redactor.text(block.decode("utf-8", "backslashreplace"))
        endings = None
        if "\r" in text:
            texts, endings = split_block(text)
        else:
            texts = text.split("\n")
            if not texts[-1]:
                texts.pop()
        levels = None
        if "<" in text and any([line[:1] == "<" for line in texts]):
            texts, levels = self.interpret(texts)
        return texts, endings, levels

    def interpret(self, texts: list[str]) -> tuple[list[str], list[int]]:
        """Take the syslog prefixes off lines; return the texts and all levels."""
        found = strip_syslog(texts)
        if found is None:
            return texts, self.levels(texts)
        texts, prefixes = found
        detected = self.levels(texts)
        ceiling = self.ceiling
        return texts, [
            level if prefix is None else min(prefix, ceiling)
            for prefix, level in zip(prefixes, detected, strict=True)
        ]

    def levels(self, texts: list[str]) -> list[int]:
        """Levels of lines, in the numbers of :mod:`logging`."""
        return detect_levels(texts, default=self._default, ceiling=self.ceiling, rules=self._rules)

    def progress(self, lines: Lines) -> list[Progress | None] | None:
        """Progress of lines, where a recogniser reads one."""
        if self._progress is None:
            from .progress import reader

            self._progress = reader(self._program, self._recognizers)
        return self._progress(lines)

    def fields(self, lines: Lines) -> list[Mapping[str, Any] | None] | None:
        """Structured fields of lines; none are read yet."""
        return None
