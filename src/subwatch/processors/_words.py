"""The words and marks by which programs of all kinds tell how serious a line is.

The patterns begin with one literal character, which :mod:`re` looks for at the speed of :manpage:`memchr(3)`,
or are preceded by a test for single characters; that is what keeps plain text cheap. This module is imported
when the first line's level is asked for, since compiling them takes some milliseconds.
"""

from __future__ import annotations

import functools
import re

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._text import numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["by_words"]

_NUMBERS = {
    **dict.fromkeys(("f", "fatal", "crit", "critical", "panic", "alert", "emerg"), CRITICAL),
    **dict.fromkeys(("e", "err", "error", "fatal error", "severe"), ERROR),
    **dict.fromkeys(("traceback (most recent call last):", "exception in thread", "thread"), ERROR),
    **dict.fromkeys(("w", "warn", "warning"), WARNING),
    **dict.fromkeys(("i", "info", "notice", "log:"), INFO),
    **dict.fromkeys(("detail:", "hint:", "context:", "statement:", "query:", "location:"), INFO),
    **dict.fromkeys(("debug", "trace"), DEBUG),
}

# After a level word stands a mark. A blank does where the word begins with a capital, or where a colon
# follows later in the line: a small word alone is prose.
_MARK, _GAP, _COLON = r"(?=[]:|)>!])", r"(?=[]:|)>!\s]|\Z)", r"(?=[]:|)>!]|[ \t][^\n]{0,250}:)"
_CLOCK = r"..:..:..[0-9.,]*+"
_WORD = (
    rf"I(?:nfo|NFO){_GAP}|N(?:otice|OTICE){_GAP}|W(?:arning|arn|ARNING|ARN){_GAP}|E(?:rror|rr|RROR|RR){_GAP}"
    rf"|F(?:atal|ATAL){_GAP}|(?:DEBUG|TRACE|CRITICAL|CRIT|PANIC){_GAP}|(?:error|err|warning|warn|fatal){_COLON}"
    rf"|(?:info|notice|severe|SEVERE|critical|Critical|crit|panic|Panic|alert|ALERT|emerg|EMERG){_MARK}"
    rf"|[dD](?:ebug|EBUG)(?=[1-5]?[]:|)>!])|[tT]race{_MARK}|(?:LOG|DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):"
    rf"|[FEWI](?=[0-9]{{4}} {_CLOCK})|Traceback \(most recent call last\):|Exception in thread(?= )"
    r"|thread(?= '[^'\n]{0,64}' (?:\([0-9]+\) )?panicked[^\n]{0,250}:)"
)
# Each of these words is spelled with one of these, or has one after it: most plain text has none of them.
_SIGNS = ":])|>!EFINW"
# The first characters of all of these rule most lines out; a batch without any costs one quick pass.
_FIRST = r"[eEwWfFcCpPaAsSiInNdDtTLHQ][rRaAeElLmMnNoOuUITxh0-9][rRtTiInNeEvVfFbBaAcGTUDC0-9]"
_THEN = (
    r"(?<=[rR][rRiIaA]|[aA][rRtTnN]|[lLmM][eE]|[nN][fF]|[oO][tT]|O[GNC]|[eE][bBvV]|ET|hr|xc|IN|TA|UE"
    r"|[0-9][0-9])"
)
_SAMPLE = 4096  # characters
# Lines that begin with what may come before the word pass, but not a time and then an ordinary small word.
_MAYBE = re.compile(
    rf"\n(?:{_FIRST}{_THEN}|[0-9 \t*#>!|,:\[(<-](?!.{{9}}[T ]{_CLOCK} (?!{_FIRST}{_THEN})[a-z]))"
)
_ZONE = r"(?>Z|[+-][0-9]{2}:?[0-9]{2}| [+-][0-9]{2}:?[0-9]{2}| [A-Z]{3,5}(?= \[)|)"
_STAMP = rf"(?>[12][0-9]..[-/]..[-/]..[T ]{_CLOCK}{_ZONE}|[0-9]{_CLOCK[1:]}|[0-9]{{9,10}}\.[0-9]++)"
_BRACKET = rf"[\[(<](?! ?(?:{_WORD}))[^])>\n]{{0,64}}+[])>][ \t:|,]{{0,8}}+"
# What may come before the word: bullets, time, brackets with user@database after them (PostgreSQL), and
# "- name - " (Python's logging). Atomic throughout: what does not fit is given up at once.
_BEFORE = (
    rf"[ \t*#>!|,:-]{{0,8}}+(?>{_STAMP}|)[ \t:|,]{{0,8}}+"
    rf"(?>{_BRACKET}(?:{_BRACKET}){{0,3}}+(?>[\w.-]{{1,64}}+@[\w.-]{{1,64}}+ |)|)"
    r"(?>- [\w.]{1,80}+ - |)[ \[(<*-]{0,3}+"
)
_AT_START = re.compile(rf"(?>(?=[^a-zA-Z]){_BEFORE}|)(?={_FIRST})({_WORD})")
# "program: error:", "program[12]: warning:", "file.c:3: error:": found at the colon.
_AFTER_COLON = re.compile(
    r":[ \t](?=[eEwWfFpPdDhA-Z][a-zA-Z][a-zA-Z])([eE]rror|ERROR|[wW]arning|WARNING|[fF]atal(?: error)?|FATAL"
    r"|[pP]anic|PANIC|debug|DEBUG|detail|hint|[A-Z][a-zA-Z]{0,60}Warning):"
)
_PROGRAM = re.compile(
    rf"(?:[\[(]?(?:{_STAMP}|[A-Z][a-z][a-z] [ \d]\d {_CLOCK})[\])>]?[ :]{{1,2}}(?:[\w.-]{{1,64}} )?)?"
    r"[^\s=]{1,255}"
)
# "time=... level=error msg=...": a word of its own, in a line that begins with a key.
_AFTER_EQUALS = re.compile(
    r"=(?:(?<=[ \n]level=)|(?<=[ \n]lvl=)|(?<=[ \n]severity=))[\"']?"
    r"(?i:(error|err|warning|warn|fatal|critical|crit|panic|info|notice|debug|trace))\b"
)
_KEY = re.compile(r"[A-Za-z][\w.@-]{0,63}=|(?:level|lvl|severity)\Z")


def by_words(texts: Sequence[str], joined: str, column: list[int], ceiling: int) -> None:
    """Put the levels that words tell into a column, up to a ceiling; the weakest evidence first.

    Args:
        texts: Lines without their endings and without escape sequences.
        joined: The same, each with a newline before it.
        column: One level a line; changed where a word tells one.
        ceiling: Highest level to put in.
    """
    numbers = _capped(ceiling)
    if "=" in joined:
        for index, found in numbered(joined, _AFTER_EQUALS.finditer(joined)):
            if _KEY.match(joined, joined.rfind("\n", 0, found.start()) + 1, found.start()):
                column[index] = numbers[found[1].lower()]
    if ":" in joined:
        for index, found in numbered(joined, _AFTER_COLON.finditer(joined)):
            if _PROGRAM.fullmatch(joined, joined.rfind("\n", 0, found.start()) + 1, found.start()):
                # What is left out are "detail" and "hint" of an error or a warning, and Python's warnings.
                column[index] = numbers.get(found[1], numbers["warning"])
    if any(sign in joined for sign in _SIGNS):
        for index, word in _beginnings(texts, joined):
            if word is not None:
                column[index] = numbers[word[1]]


@functools.lru_cache(maxsize=8)
def _capped(ceiling: int) -> dict[str, int]:
    """The level of each word, in each of its spellings, up to a ceiling."""
    spellings = (str.lower, str.capitalize, str.upper)
    return {spell(word): min(level, ceiling) for word, level in _NUMBERS.items() for spell in spellings}


def _beginnings(texts: Sequence[str], joined: str) -> Iterable[tuple[int, re.Match[str] | None]]:
    """Find the level words that lines begin with, and the lines' numbers."""
    # Where many lines may have one, it is cheaper to look at all of them; the first lines tell.
    if 4 * sum(1 for _ in _MAYBE.finditer(joined, 0, _SAMPLE)) >= joined.count("\n", 0, _SAMPLE):
        return enumerate(map(_AT_START.match, texts))
    starts = (found.start() + 1 for found in _MAYBE.finditer(joined))
    return numbered(joined, filter(None, (_AT_START.match(joined, start) for start in starts)))
