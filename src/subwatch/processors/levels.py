"""How serious a line is, read from its beginning only: never from a word in the middle of a sentence.

Asked in this order: the user's rules and those of the program's family (`subwatch.processors.rules`), the
words that programs begin lines with, the default. The result is clamped to a ceiling, since only the exit
status tells whether the child failed.

It works on whole batches: the lines are joined once and searched with patterns that begin with one literal
character, which :mod:`re` looks for at the speed of :manpage:`memchr(3)`.
"""

from __future__ import annotations

import re

from subwatch.processors.rules import compile_rules
from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._text import join, numbered, strip_ansi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from subwatch.processors.rules import Family, LevelRule, Rule

__all__ = ["levels", "strip_syslog", "syslog"]

# sd-daemon(3): emerg, alert, crit, err, warning, notice, info, debug.
_SYSLOG = (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)
_NUMBERS = {
    "critical": CRITICAL,
    "error": ERROR,
    "crash": ERROR,
    "warning": WARNING,
    "info": INFO,
    "debug": DEBUG,
}
_GLOG = {"F": CRITICAL, "E": ERROR, "W": WARNING, "I": INFO}


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
    "critical": rf"(?:{_cases('fatal')}|CRITICAL|CRIT|PANIC){_GAP}"
    rf"|(?:{_cases('critical crit panic emerg alert')}){_MARK}",
    "info": rf"(?:{_cases('info notice')}){_GAP}|(?:LOG|DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):",
    "debug": rf"(?:DEBUG|TRACE){_GAP}|(?:{_cases('debug trace')})[1-5]?{_MARK}",
}
# The first three characters of all of these, so that most lines are ruled out by three cheap tests.
_LIKELY = r"(?=[eEwWfFcCpPaAsSiInNdDtTLHQ][rRaAeElLmMnNoOuUITxh0-9][rRtTiInNeEvVfFbBaAGTUDCc0-9])"
_CLOCK = r"..:..:..[0-9.,]*+"
_ZONE = r"(?:Z| ?[+-][0-9]{2}:?[0-9]{2}| [A-Z]{3,5}(?= \[))?+"
_STAMP = rf"(?:[12][0-9]..[-/]..[-/]..[T ]{_CLOCK}{_ZONE}|[0-9]{_CLOCK[1:]}|[0-9]{{9,10}}\.[0-9]++)"
_BRACKET = rf"[\[(<](?! ?(?:{'|'.join(_WORDS.values())}))[^])>\n]{{0,64}}+[])>][ \t:|,-]{{0,8}}+"
# What may come before the word: bullets, time, brackets with user@database after them (PostgreSQL), and
# "- name - " (Python's logging). Possessive throughout: what does not fit is given up at once.
_BEFORE = (
    rf"[ \t*#>!|,:-]{{0,8}}+{_STAMP}?+[ \t:|,-]{{0,8}}+"
    rf"(?:(?:{_BRACKET}){{1,4}}+(?:[\w.-]{{1,64}}+@[\w.-]{{1,64}}+ )?+)?+"
    r"(?:(?<=- )[\w.]{1,80}+ - )?+[\[(<*]?+ ?+"
)
_AT_START = re.compile(
    rf"\n(?:(?=[^a-zA-Z]){_BEFORE})?+{_LIKELY}"
    rf"(?:{'|'.join(f'(?P<{name}>{word})' for name, word in _WORDS.items())}"
    rf"|(?P<glog>[FEWI])[0-9]{{4}} {_CLOCK}"
    r"|(?P<crash>Traceback \(most recent|Exception in thread "
    r"|thread '[^'\n]{0,64}' (?:\([0-9]+\) )?panicked))"
)
# "program: error:", "program[12]: warning:", "file.c:3: error:": found at the colon.
_AFTER_COLON = re.compile(
    r":[ \t](?:(?P<error>(?:fatal )?[eE]rror|ERROR)|(?P<critical>[fF]atal|FATAL|[pP]anic|PANIC)"
    r"|(?P<warning>[wW]arning|WARNING|[A-Z][a-zA-Z]{0,60}Warning|detail|hint)|(?P<debug>debug|DEBUG)):"
)
_PROGRAM = re.compile(
    rf"(?:[\[(]?(?:{_STAMP}|[A-Z][a-z][a-z] [ \d]\d {_CLOCK})[\])>]?[ :]{{1,2}}(?:[\w.-]{{1,64}} )?)?"
    r"[^\s=]{1,255}"
)
# "time=... level=error msg=...": a word of its own, in a line that begins with a key.
_AFTER_EQUALS = re.compile(
    r"=(?:(?<=[ \n]level=)|(?<=[ \n]lvl=)|(?<=[ \n]severity=))[\"']?(?i:(?P<error>err(?:or)?)"
    r"|(?P<warning>warn(?:ing)?)|(?P<critical>fatal|crit(?:ical)?|panic)"
    r"|(?P<info>info|notice)|(?P<debug>debug|trace))\b"
)
_KEY = re.compile(r"[A-Za-z][\w.@-]{0,63}=|(?:level|lvl|severity)\Z")
_SCANS = (
    (_AFTER_EQUALS, _KEY.match, "="),
    (_AFTER_COLON, _PROGRAM.fullmatch, ":"),
    (_AT_START, None, "\n"),
)


def levels(
    texts: Sequence[str],
    *,
    default: int = INFO,
    ceiling: int = WARNING,
    rules: Sequence[LevelRule | Rule | Family] = (),
    joined: str | None = None,
) -> list[int]:
    """Tell the levels of lines.

    Args:
        texts: Lines without their endings.
        default: Level of a line that says nothing about it.
        ceiling: Highest level given; what is above becomes this.
        rules: Asked first, in order: what `compile_rules` and `rules_for` return, or what the former takes.
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
    for pattern, head, needle in _SCANS:
        if needle in joined:
            for index, found in numbered(joined, pattern.finditer(joined)):
                start = joined.rfind("\n", 0, found.start() + 1) + 1
                if head is None or head(joined, start, found.start()):
                    column[index] = min(_number(found), ceiling)
    for rule in reversed(compile_rules(rules)) if rules else ():
        for index, level in rule.find(texts, joined):
            column[index] = min(level, ceiling)
    return column


def _number(match: re.Match[str]) -> int:
    name = match.lastgroup or ""
    return _GLOG[match["glog"]] if name == "glog" else _NUMBERS[name]


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
