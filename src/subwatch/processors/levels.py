"""How serious a line is, read from its beginning only: never from a word in the middle of a sentence.

Asked in this order: the user's rules and those of the program's family (`subwatch.processors.rules`), the
words that programs begin lines with, the default. The result is clamped to a ceiling, since only the exit
status tells whether the child failed.

It works on whole batches: the lines are joined once and searched with patterns that begin with one literal
character, which :mod:`re` looks for at the speed of :manpage:`memchr(3)`.
"""

from __future__ import annotations

import re

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING
from ._text import strip_ansi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .rules import Rule

__all__ = ["levels", "strip_syslog", "syslog"]

# sd-daemon(3): emerg, alert, crit, err, warning, notice, info, debug.
_SYSLOG = (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)
_NUMBERS = {
    **{
        "critical": CRITICAL,
        "error": ERROR,
        "warning": WARNING,
        "info": INFO,
        "debug": DEBUG,
        "crash": ERROR,
    },
    **{"F": CRITICAL, "E": ERROR, "W": WARNING, "I": INFO},  # glog
}


def _cases(words: str) -> str:
    """A pattern for words in lower, title and upper case; alternatives differ in their first character."""
    rests: dict[str, list[str]] = {}
    for word in words.split():
        rests.setdefault(word[0], []).extend((word[1:], word[1:].upper()))
    return "|".join(f"[{c}{c.upper()}](?:{'|'.join(rests[c])})" for c in rests)


# After a level word stands a mark; a blank only where the word is unlikely to begin a sentence.
_MARK, _GAP = r"(?=[]:|)>!])", r"(?=[]:|)>!\s]|\Z)"
_WORDS = {
    "error": rf"(?:{_cases('error err severe')}){_GAP}",
    "warning": rf"(?:{_cases('warning warn')}){_GAP}",
    "critical": rf"(?:{_cases('fatal')}|CRITICAL|CRIT|PANIC){_GAP}|(?:{_cases('critical crit panic emerg alert')}){_MARK}",
    "info": rf"(?:{_cases('info notice')}){_GAP}|(?:LOG|DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):",
    "debug": rf"(?:DEBUG|TRACE){_GAP}|(?:{_cases('debug trace')})[1-5]?{_MARK}",
}
# The first three characters of all of these, so that most lines are ruled out by three cheap tests.
_LIKELY = r"(?=[eEwWfFcCpPaAsSiInNdDtTLHQ][rRaAeElLnNoOuUITxh\d][rRtTiInNeEvVfFbBaAGTUDCc\d])"
_CLOCK = r"..:..:..[0-9.,]*+"
_STAMP = rf"(?:[12]\d\d\d[-/]..[-/]..[T ]{_CLOCK}(?:Z| ?[+-]\d\d:?\d\d| [A-Z]{{3,5}}(?= \[))?+|\d{_CLOCK[1:]}|\d{{9,10}}\.\d++)"


def _named(prefix: str = "") -> str:
    return "|".join(f"(?P<{prefix}{name}>{pattern})" for name, pattern in _WORDS.items())


# What may come before the word: time, brackets, user@database (PostgreSQL), " - name -" (Python's logging).
# Possessive throughout: a line that does not fit is given up at once, and nothing can backtrack.
_BEFORE = (
    rf"(?:[ \t:|,*#>!-]{{0,8}}+(?:{_STAMP}|[\[(<](?! ?(?:{'|'.join(_WORDS.values())}))[^])>\n]{{0,64}}+[])>])){{0,5}}+"
    r"(?: [\w.-]{1,64}+@[\w.-]{1,64}+| - [\w.]{1,80}+ -)?+[ \t:|,*#>![(<-]{0,8}+"
)
_AT_START = re.compile(
    rf"\n(?:{_LIKELY}(?:{_named()}|(?P<glog>[FEWI])\d\d\d\d {_CLOCK}|(?P<crash>Traceback \(most recent"
    rf"|Exception in thread |thread '[^'\n]{{0,64}}' (?:\(\d+\) )?panicked))|(?=[^a-zA-Z]){_BEFORE}{_LIKELY}(?:{_named('_')}))"
)
# "program: error:", "program[12]: warning:", "file.c:3:14: error:": found at the colon, then looked at backwards.
_AFTER_COLON = re.compile(
    r":[ \t](?:(?P<error>(?:fatal )?[eE]rror|ERROR)|(?P<critical>[fF]atal|FATAL|[pP]anic|PANIC)|(?P<debug>debug|DEBUG)"
    r"|(?P<warning>[wW]arning|WARNING|[A-Z][a-zA-Z]{0,60}Warning|detail|hint)):"
)
_PROGRAM = re.compile(
    rf"(?:[\[(]?(?:{_STAMP}|[A-Z][a-z][a-z] [ \d]\d {_CLOCK})[\])>]?[ :]{{1,2}}(?:[\w.-]{{1,64}} )?)?[^\s=]{{1,255}}"
)
# "time=... level=error msg=...": a word of its own, in a line that begins with a key.
_AFTER_EQUALS = re.compile(
    r"=(?:(?<=[ \n]level=)|(?<=[ \n]lvl=)|(?<=[ \n]severity=))[\"']?(?i:(?P<error>err(?:or)?)"
    r"|(?P<warning>warn(?:ing)?)|(?P<critical>fatal|crit(?:ical)?|panic)|(?P<info>info|notice)|(?P<debug>debug|trace))\b"
)
_KEY = re.compile(r"[A-Za-z][\w.@-]{0,63}=")
_SCANS = (
    (_AFTER_EQUALS, _KEY.match, "="),
    (_AFTER_COLON, _PROGRAM.fullmatch, ":"),
    (_AT_START, None, "\n"),
)


def levels(
    texts: Sequence[str], *, default: int = INFO, ceiling: int = WARNING, rules: Sequence[Rule] = ()
) -> list[int]:
    """Tell the levels of lines.

    Args:
        texts: Lines without their endings.
        default: Level of a line that says nothing about it.
        ceiling: Highest level given; what is above becomes this.
        rules: Asked first, in order; see `subwatch.processors.rules`.

    Returns:
        As many levels as texts, in the numbers of :mod:`logging`.
    """
    column = [default if default < ceiling else ceiling] * len(texts)
    joined = "\n" + "\n".join(texts)
    if "\x1b" in joined:
        joined = strip_ansi("", joined)
    # What is written last wins, so the weakest evidence comes first.
    for pattern, head, needle in _SCANS:
        if needle in joined:
            for index, found in _lines_of(joined, pattern.finditer(joined)):
                start = joined.rfind("\n", 0, found.start() + 1) + 1
                if head is None or head(joined, start, found.start()):
                    column[index] = min(_number(found), ceiling)
    for rule in reversed(rules):
        for index, level in rule.find(texts):
            column[index] = min(level, ceiling)
    return column


def _lines_of(joined: str, matches: Iterator[re.Match[str]]) -> Iterator[tuple[int, re.Match[str]]]:
    """Number matches by the line that they stand in."""
    index, before = -1, 0
    for match in matches:
        # A pattern may begin with the newline itself, which belongs to its line.
        end = match.start() + 1
        index += joined.count("\n", before, end)
        before = end
        yield index, match


def _number(match: re.Match[str]) -> int:
    name = match.lastgroup or ""
    return _NUMBERS[match["glog"] if name == "glog" else name.lstrip("_")]


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
    if not any([text[:1] == "<" for text in texts]):
        return None
    texts_, found = map(list, zip(*map(syslog, texts), strict=True))
    return (texts_, found) if any(level is not None for level in found) else None
