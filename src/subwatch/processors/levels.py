"""How serious a line is, read from its beginning only: never from a word in the middle of a sentence.

Asked in this order: the user's rules, the prefix of :manpage:`sd-daemon(3)`, the level among the fields of a
structured line, the rules of the program's family (`subwatch.processors.rules`), the words that programs
begin lines with, the default. The result is clamped to a ceiling, since only the exit status tells whether
the child failed.

It works on whole batches: the lines are joined once and searched with patterns that begin with one literal
character, which :mod:`re` looks for at the speed of :manpage:`memchr(3)`.
"""

from __future__ import annotations

import functools
import re

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._text import join, numbered, strip_ansi
from .rules import compile_rules
from .structured import level_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from .rules import Family, LevelRule, Rule

__all__ = ["levels", "strip_syslog", "syslog"]

# sd-daemon(3): emerg, alert, crit, err, warning, notice, info, debug.
_SYSLOG = (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)
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


def levels(
    texts: Sequence[str],
    *,
    default: int = INFO,
    ceiling: int = WARNING,
    rules: Sequence[LevelRule | Rule] = (),
    prefixes: Sequence[int | None] = (),
    fields: Sequence[Mapping[str, Any] | None] | None = None,
    family: Sequence[Family] = (),
    joined: str | None = None,
) -> list[int]:
    """Tell the levels of lines.

    Args:
        texts: Lines without their endings.
        default: Level of a line that says nothing about it.
        ceiling: Highest level given; what is above becomes this.
        rules: The user's, see `compile_rules`; they are asked first.
        prefixes: What `strip_syslog` found; next.
        fields: What `Structured.fields` found; next.
        family: What `rules_for` the program gave; next.
        joined: The lines, each with a newline before it, if the caller has that already.

    Returns:
        As many levels as texts, in the numbers of :mod:`logging`.
    """
    column = [min(default, ceiling)] * len(texts)
    joined = join(texts) if joined is None else joined
    if "\x1b" in joined:
        joined = strip_ansi(joined)
        texts = joined[1:].split("\n")

    # What is written last wins, so the weakest evidence comes first.
    _by_words(texts, joined, column, _capped(ceiling))
    for relatives in family:
        for index, level in relatives.find(joined):
            column[index] = min(level, ceiling)
    for index, mapping in enumerate(fields or ()):
        if mapping is not None and (told := level_of(mapping)) is not None:
            column[index] = min(told, ceiling)
    for index, prefix in enumerate(prefixes):
        if prefix is not None:
            column[index] = min(prefix, ceiling)
    for rule in reversed(compile_rules(rules)) if rules else ():
        for index, level in rule.find(texts):
            column[index] = min(level, ceiling)
    return column


@functools.lru_cache(maxsize=8)
def _capped(ceiling: int) -> dict[str, int]:
    """The level of each word, in each of its spellings, up to a ceiling."""
    spellings = (str.lower, str.capitalize, str.upper)
    return {spell(word): min(level, ceiling) for word, level in _NUMBERS.items() for spell in spellings}


def _by_words(texts: Sequence[str], joined: str, column: list[int], numbers: Mapping[str, int]) -> None:
    """Put the levels of level words into a column, the weakest evidence first."""
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


def _beginnings(texts: Sequence[str], joined: str) -> Iterable[tuple[int, re.Match[str] | None]]:
    """Find the level words that lines begin with, and the lines' numbers."""
    maybe = list(_MAYBE.finditer(joined))
    if 4 * len(maybe) < len(texts):
        return numbered(joined, filter(None, (_AT_START.match(joined, found.start() + 1) for found in maybe)))
    # Where many lines may have one, it is cheaper to look at all of them.
    return enumerate(map(_AT_START.match, texts))


def syslog(text: str) -> tuple[str, int | None]:
    """Take the ``<N>`` prefix of :manpage:`sd-daemon(3)` off a line.

    Returns:
        The text without it and the level, or the text as it is and None.
    """
    if text[:1] == "<" and text[2:3] == ">" and text[1] in "01234567":
        return text[3:], _SYSLOG[int(text[1])]
    return text, None


def strip_syslog(texts: Sequence[str]) -> tuple[list[str], list[int | None]] | None:
    """Take the ``<N>`` prefixes of :manpage:`sd-daemon(3)` off lines.

    Args:
        texts: Lines; call it only where a batch holds a ``<`` at all, that test is nearly free.

    Returns:
        The texts without them and their levels (None for a line that has none); None when no line has one.
    """
    if not any(text[:1] == "<" for text in texts):
        return None
    pairs = [syslog(text) for text in texts]
    found = [level for _, level in pairs]
    return ([text for text, _ in pairs], found) if any(level is not None for level in found) else None
