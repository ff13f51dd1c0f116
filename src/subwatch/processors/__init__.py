"""What is done to the bytes of a child before a sink sees them: decode, redact, split, interpret.

All of it works on whole chunks, once for all sinks, and only when somebody looks.
"""

from __future__ import annotations

import codecs

from subwatch._forks import importing
from subwatch._lines import split_block
from subwatch.records import INFO, WARNING

from ._text import Batch
from .levels import levels as detect_levels
from .levels import strip_syslog
from .redact import Redactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from subwatch.records import Lines, Progress

__all__ = ["Pipeline", "Redactor"]

# Encodings whose bytes are ASCII wherever they look like ASCII, and that UTF-8 decoding reads right.
_DIRECT = {"utf-8", "ascii"}
_NOTHING = Batch(())


class Pipeline:
    r"""Decoding and meaning of one run's lines (the `Reader` of its `Lines`).

    Args:
        redactor: Masks secrets; always first.
        encoding: Encoding of what the child writes; undecodable bytes become ``\xNN``.
        rules: The user's level rules, see `subwatch.processors.levels.levels`.
        default: Level of a line that says nothing about it.
        ceiling: Highest level that a line may have: whether it was an error is for the exit status to say.
        program: Its name, by which rules and recognisers for it are found.
        recognizers: Progress recognisers to ask before the built-in ones; None for these alone.
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
        self._meaning: _Meaning | None = None
        self._joined: tuple[list[str], str] | None = None
        self._last = _NOTHING

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
            self._joined = texts, text
        levels = None
        if "<" in text and any([line[:1] == "<" for line in texts]):  # noqa: C419 - faster than a generator
            texts, levels = self.interpret(texts)
        return texts, endings, levels

    def interpret(self, texts: list[str]) -> tuple[list[str], list[int]]:
        """Take the syslog prefixes off lines; return the texts and all levels."""
        found = strip_syslog(texts)
        return (texts, self.levels(texts)) if found is None else (found[0], self.levels(*found))

    def levels(self, texts: list[str], prefixes: Sequence[int | None] = ()) -> list[int]:
        """Levels of lines, in the numbers of :mod:`logging`; those of syslog prefixes come before words."""
        meaning, batch = self._meant(), self._batch(texts)
        return detect_levels(
            texts,
            default=self._default,
            ceiling=self.ceiling,
            rules=meaning.rules,
            prefixes=prefixes,
            fields=meaning.structured.fields(texts, batch),
            family=meaning.family,
            batch=batch,
            shapes=meaning.shapes,
        )

    def progress(self, lines: Lines) -> list[Progress | None] | None:
        """Progress of lines, where a recogniser reads one."""
        return self._meant().progress(lines, self._batch(lines.texts))

    def fields(self, lines: Lines) -> list[Mapping[str, Any] | None] | None:
        """Structured fields of lines that are JSON or logfmt."""
        return self._meant().structured.fields(lines.texts, self._batch(lines.texts))

    def failures(self) -> dict[str, BaseException]:
        """What raised among the user's rules and recognisers, by name; they were left out."""
        return {} if self._meaning is None else self._meaning.failures()

    def _meant(self) -> _Meaning:
        if self._meaning is None:
            self._meaning = _Meaning(self._program, self._rules, self._recognizers, self.redactor)
        return self._meaning

    def _batch(self, texts: list[str]) -> Batch:
        batch = self._last
        if batch.texts is not texts:
            joined, self._joined = self._joined, None
            text = joined[1] if joined is not None and joined[0] is texts else None
            batch = self._last = Batch(texts, text)
        return batch


class _Meaning:
    """What interprets the lines of one run, made when somebody asks."""

    def __init__(
        self, program: str, own: Sequence[Any], recognizers: Iterable[Any] | None, redactor: Redactor
    ) -> None:
        # a run whose lines nobody interprets does not need the patterns of a dozen programs
        with importing:
            from ._shapes import Shapes
            from .progress import reader
            from .rules import compile_rules, rules_for
            from .structured import Structured

        self.rules = compile_rules(own)
        self.family = rules_for(program)
        self.shapes = Shapes()
        self.structured = Structured(redact=redactor.text)
        self.progress = reader(program, recognizers)

    def failures(self) -> dict[str, BaseException]:
        failed = dict(self.progress.failed)
        failed.update(
            {f"level rule {index}": rule.failed for index, rule in enumerate(self.rules) if rule.failed}
        )
        return failed
