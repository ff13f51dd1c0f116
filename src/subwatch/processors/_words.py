"""The words and marks by which programs of all kinds tell how serious a line is.

What may stand before a level word (time, process id, thread, user, logger) is one small grammar, `PREFIX`. Its
parts are used twice: here all of them, each optional, to judge one line; and in `subwatch.processors._shapes`
just those that a program does print, to judge many lines at once. This module is imported when the first
line's level is asked for, since compiling its patterns takes some milliseconds.
"""

from __future__ import annotations

import re

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

# After a level word stands a mark. A blank does where the word begins with a capital, or where a colon
# follows later in the line: a small word alone is prose.
_MARK, _GAP, _COLON = r"(?=[]:|)>!])", r"(?=[]:|)>!\s]|\Z)", r"(?=[]:|)>!]|[ \t][^\n]{0,250}:)"
_CLOCK = r"..:..:..[0-9.,]*+"
#: The words that lines begin with.
WORDS = (
    rf"I(?:nfo|NFO){_GAP}|N(?:otice|OTICE){_GAP}|W(?:arning|arn|ARNING|ARN){_GAP}|E(?:rror|rr|RROR|RR){_GAP}"
    rf"|F(?:atal|ATAL){_GAP}|(?:DEBUG|TRACE|CRITICAL|CRIT|PANIC){_GAP}|(?:error|err|warning|warn|fatal){_COLON}"
    rf"|(?:info|notice|severe|SEVERE|critical|Critical|crit|panic|Panic|alert|ALERT|emerg|EMERG){_MARK}"
    rf"|[dD](?:ebug|EBUG)(?=[1-5]?[]:|)>!])|[tT]race{_MARK}|(?:LOG|DETAIL|HINT|CONTEXT|STATEMENT|QUERY|LOCATION):"
    rf"|[FEWI](?=[0-9]{{4}} {_CLOCK})|Traceback \(most recent call last\):|Exception in thread(?= )"
    r"|thread(?= '[^'\n]{0,64}' (?:\([0-9]+\) )?panicked[^\n]{0,250}:)"
)
#: The first characters of all of these words, and the two behind them, by which others are told apart.
FIRST = "eEwWfFcCpPaAsSiInNdDtTLHQ"
THEN = (
    r"[rRaAeElLmMnNoOuUITxh0-9][rRtTiInNeEvVfFbBaAcGTUDC0-9]"
    r"(?<=[eE][rR][rR]|[wW][aA][rR]|[fF][aA][tT]|[cC][rR][iI]|[pP][aA][nN]|[aA][lL][eE]|[eE][mM][eE]"
    r"|[sS][eE][vV]|[iI][nN][fF]|[nN][oO][tT]|[dD][eE][bB]|[tT][rR][aA]|thr|Exc|LOG|DET|HIN|CON|STA|QUE|LOC"
    r"|[FEWI][0-9][0-9])"
)
WORD = rf"(?=[{FIRST}]{THEN})(?:{WORDS})"

#: What follows the first letter of a month: "ov 22 ".
DAY = r"[a-u][a-y] [ 0-9][0-9] "
#: Times: with a date, as syslog writes them, of day only, in seconds since the epoch.
STAMPS = {
    "date": rf"[12][0-9]..[-/]..[-/]..[T ]{_CLOCK}",
    "month": rf"[JFMASOND]{DAY}{_CLOCK}",
    "clock": rf"[0-9]{_CLOCK[1:]}",
    "epoch": r"[0-9]{9,10}\.[0-9]++",
}
_INNER = rf"{STAMPS['date']}Z?[ \t]{{1,8}}+"  # as in "[2026-11-22T15:09:13Z ERROR app] no such file"
_NO_WORD = rf"(?! ?(?:{_INNER})?{WORD})"
#: Zones, which may follow a date and time; capitals are one only before a bracket (PostgreSQL).
ZONES = ("Z", "[+-][0-9]{2}:?[0-9]{2}", " [+-][0-9]{2}:?[0-9]{2}", rf"{_NO_WORD} [A-Z]{{3,5}}(?= \[)")
#: What else there may be: the number of a thread, names in brackets, user and database, the name of a logger.
PARTS = {
    "number": r"[0-9]{1,10} (?=\[)",
    "bracket": rf"[\[(<]{_NO_WORD}[^])>\n]{{0,64}}+[])>]",
    "user": r"[\w.-]{1,64}+@[\w.-]{1,64}+ ",
    "logger": rf"- (?!{WORD})[\w.]{{1,80}}+ - ",
    "inner": _INNER,
}
_GAPS = r"[ \t:|,]{0,8}+"
_BRACKETS = rf"(?:{PARTS['bracket']}{_GAPS}){{1,4}}+"
#: What may come before the word. Atomic throughout: what does not fit is given up at once.
PREFIX = (
    r"(?P<lead>[ \t*#>!|,:-]{0,8}+)"
    rf"(?>(?P<date>{STAMPS['date']})(?P<zone>{'|'.join(ZONES)}|)"
    rf"|(?P<month>{STAMPS['month']})|(?P<clock>{STAMPS['clock']})|(?P<epoch>{STAMPS['epoch']})|)"
    rf"(?P<gap>{_GAPS})(?(date)(?>(?P<number>{PARTS['number']})|)|)"
    rf"(?>(?P<brackets>{_BRACKETS})(?>(?P<user>{PARTS['user']})|)|)"
    rf"(?>(?P<logger>{PARTS['logger']})|)(?P<marks>[ \[(<*-]{{0,3}}+)(?>(?P<inner>(?<=\[){_INNER})|)"
)
#: Most lines begin with a letter, and have no prefix.
BARE = rf"(?=[a-zA-Z])(?![JFMASOND]{DAY})"
AT_START = re.compile(rf"(?>{BARE}|{PREFIX})(?P<word>{WORD})")

#: The words that may stand after the colon in "program: error:", "program[12]: warning:", "file.c:3: error:".
COLON_WORD = (
    r"(?=[A-Zdefhpw])(?:[eE]rror|ERROR|[wW]arning|WARNING|[fF]atal(?: error)?|FATAL|[pP]anic|PANIC|debug|DEBUG"
    r"|detail|hint|[A-Z][a-zA-Z]{0,60}Warning)(?=:)"
)
_AFTER_COLON = re.compile(rf": ({COLON_WORD})")
_PROGRAM = re.compile(
    rf"(?:[\[(]?(?:{STAMPS['date']}(?:{'|'.join(ZONES)}|)|{STAMPS['month']}|{STAMPS['clock']}|{STAMPS['epoch']})"
    r"[\])>]?[ :]{1,2}(?:[\w.-]{1,64} )?)?[^\s=]{1,255}+"
)
# "time=... level=error msg=...": a word of its own, in a line that begins with a key.
_AFTER_EQUALS = re.compile(
    r"=(?:(?<=[ \n]level=)|(?<=[ \n]lvl=)|(?<=[ \n]severity=))[\"']?"
    r"(?ai:(error|err|warning|warn|fatal|critical|crit|panic|info|notice|debug|trace)\b)"
)
#: What such lines begin with.
KEY = r"[A-Za-z][\w.@-]{0,63}="
_KEYED = re.compile(rf"\n(?:{KEY}|(?:level|lvl|severity)\Z)")
#: Each level word is spelled with one of these, or has one beside it: much plain text has none of them.
SIGNS = ":=])|>!EFINW"

_NUMBERS = {
    **dict.fromkeys(("f", "fatal", "crit", "critical", "panic", "alert", "emerg"), CRITICAL),
    **dict.fromkeys(("e", "err", "error", "fatal error", "severe"), ERROR),
    **dict.fromkeys(("traceback (most recent call last):", "exception in thread", "thread"), ERROR),
    **dict.fromkeys(("w", "warn", "warning"), WARNING),
    **dict.fromkeys(("i", "info", "notice", "log:"), INFO),
    **dict.fromkeys(("detail:", "hint:", "context:", "statement:", "query:", "location:"), INFO),
    **dict.fromkeys(("debug", "trace"), DEBUG),
}


class Levels(dict[str, int]):
    """The level of each word in each spelling.

    Args:
        default: Level of the empty word.
        ceiling: Highest level.
    """

    def __init__(self, default: int, ceiling: int) -> None:
        spellings = (str.lower, str.capitalize, str.upper)
        super().__init__({spell(w): min(n, ceiling) for w, n in _NUMBERS.items() for spell in spellings})
        self[""] = default
        self._ceiling = ceiling

    def __missing__(self, word: str) -> int:
        # what has a form of its own is one of Python's warnings, or "detail" and "hint", that follow a warning
        return min(_NUMBERS.get(word.lower(), WARNING), self._ceiling)


def told(text: str) -> str:
    """The word that tells the level of a line; empty when none does.

    Args:
        text: A line without its ending and without escape sequences.
    """
    if found := AT_START.match(text):
        return found["word"]
    word = ""
    for found in _AFTER_COLON.finditer(text) if ": " in text else ():
        if _PROGRAM.fullmatch(text, 0, found.start()):
            word = found[1]
    if not word and "=" in text:
        text = "\n" + text
        for found in _AFTER_EQUALS.finditer(text):
            if _KEYED.match(text, 0, found.start()):
                word = found[1]
    return word
