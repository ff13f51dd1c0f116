"""Finds where secrets begin and end, given a pattern for the places where one may begin."""

from __future__ import annotations

from ._arguments import script_spans
from ._names import FIGURES, compiled, kind_of, may_end, sensitive_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from re import Match

__all__ = [
    "BARE",
    "BEGIN_KEY",
    "BEGIN_PEM",
    "HEADER",
    "NAME_CHARACTERS",
    "NAME_REACH",
    "Span",
    "dashes",
    "elements",
    "groups",
    "named_values",
    "private_keys",
    "traced",
]

#: Start, end, and a text after which a secret of the same kind goes on; empty if this one has ended.
Span = tuple[int, int, str]

#: What begins a private key, which ends lines later; also the context of a line inside of one.
BEGIN_KEY = "-----BEGIN PRIVATE KEY-----"
# What opens a value that ends at a blank, and one that ends with its line.
BARE, HEADER = "password=x", "authorization: x"

NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-" + FIGURES
NAME_REACH = 96  # characters from the beginning of a name to its "=" or ":", blanks included

# A closing mark or separator ends a bare value if a blank, the end or the next name follows.
_MARKS = r"""[,;&"'`)\]}>]"""
_BARE_VALUE = (
    rf"""(?:[^\s,;&"'`)\]}}>]|{_MARKS}(?!{_MARKS}{{0,8}}+(?:\s|\Z|["']?[\w.-]{{1,40}}+["']?[ \t]?[=:])))++"""
)
_VALUE = (
    r"""[:=>]{0,2}+[ \t]*+(?:[\[(]{0,2}+[bBrRuUfF]{0,2}+(?:"""
    r""""(?P<double>[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+\\?+)"""
    r"""|'(?P<single>[^'\\\r\n]*+(?:(?:\\[^\r\n]|'')[^'\\\r\n]*+)*+\\?+)"""
    r"""|(?P<quote>\\{1,7}+["'])(?P<nested>(?:[^\\\r\n]|(?!(?P=quote))\\{1,8}+["']?+)*+))"""
    rf"""|(?![\[({{]{{1,3}}(?:["'\s]|\Z))(?P<bare>{_BARE_VALUE}))"""
)
# What programs say in place of a secret that is not there: to hide that would hide the mistake.
_NOTHING = frozenset(
    ("null", "NULL", "nil", "<nil", "None", "none", "undefined", "true", "True", "false", "False")
)
_EOL = r"[:=]?+[ \t]*+(?P<bare>[^\s\"'][^\r\n]*+)"
BEGIN_PEM = r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
_END_PEM = r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"


def named_values(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find the values in ``NAME=VALUE``, ``NAME: VALUE`` and ``"NAME": "VALUE"``."""
    covered = 0
    for delimiter in matches:
        text = delimiter.string
        at = delimiter.end() - 1
        if at + 1 < covered and not text[at + 1 : at + 9].lstrip(" \t").startswith(('"', "'", "\\")):
            continue  # inside of a value that goes on: what is named here is masked already
        if not may_end(text[max(0, at - 7) : at]):
            continue  # the character classes let it pass, but no name ends so
        head = text[max(0, at - NAME_REACH) : at].rstrip(" \t")
        quoted = head.endswith(('"', "'"))
        stem = head.rstrip("\"'\\") if quoted else head
        rest = stem.rstrip(NAME_CHARACTERS)
        name = stem[len(rest) :]
        kind = kind_of(stem[-16:] if name.lower() == "key" else name)
        if not kind:
            continue
        before = rest[-1:]
        if name.lower() == "token" and rest[-11:].lower() == "unexpected ":
            continue  # what a parser has stumbled over
        if text[at] == "=":
            if name in ("PWD", "OLDPWD"):
                continue  # the shell's working directory
        elif not quoted and (kind == "weak" or name[-1] in FIGURES):
            continue  # prose ("auth: ok")
        elif not quoted and kind != "eol" and before in ("/", "\\") and text[at + 1 : at + 2] in (" ", "\t"):
            continue  # a path in an error message ("/etc/passwd: not found")
        span = _value(text, at + 1, kind == "eol", before if before in ('"', "'") and not quoted else "")
        if span is not None:
            covered = max(covered, span[1])
            yield span


def dashes(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find tokens, and the values in ``--NAME VALUE`` and ``'-password', 'VALUE'``: programs show what they run."""
    for match in matches:
        if match.lastindex == 2:
            yield (*match.span(2), BARE)
        elif match.lastindex is None or sensitive_name(match[1]):
            span = _value(match.string, match.end(), False, "")
            if span is not None:
                yield span


def elements(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find the contents of elements of XML by their names."""
    for element in matches:
        head = element.string[max(0, element.start() - NAME_REACH) : element.start()]
        before = head.rstrip(NAME_CHARACTERS)
        prefix = before[:-1].rstrip(NAME_CHARACTERS) if before.endswith(":") else before
        if prefix.endswith("<") and sensitive_name(head[len(before) :]):
            yield (*element.span(1), BARE)


def traced(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find the secrets in the commands that a shell shows (``set -x``)."""
    for line in matches:
        for start, end in script_spans(line[1]):
            yield (line.start(1) + start, line.start(1) + end, BARE)


def _value(text: str, at: int, to_end: bool, quote: str) -> Span | None:
    """The value that stands at `at`; that of a header goes to the end of its line, or to `quote`."""
    if to_end and (match := compiled(_EOL).match(text, at)):
        start, end = match.span("bare")
        if quote and (stop := text.find(quote, start, end)) >= 0:
            return (start, stop, "")
        return (start, end, quote + HEADER)
    match = compiled(_VALUE).match(text, at)
    if match is None or not (kind := match.lastgroup):
        return None
    start, end = match.span(kind)
    if kind == "bare":
        return None if text[start:end] in _NOTHING else (start, end, BARE)
    quote = match["quote"] if kind == "nested" else text[start - 1]
    if start == end < len(text):
        return None
    backslashes = (end - start - len(text[start:end].rstrip("\\"))) % 8  # an escape may be cut in two
    return (start, end, f"password={quote}x" + "\\" * backslashes)


def groups(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find what the pattern's groups match, by the number of the group."""
    for match in matches:
        start, end = match.span(match.lastindex or 0)
        yield (start, end, BARE)


def private_keys(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find private keys in PEM form, from their first to their last line."""
    at = 0
    for match in matches:
        if match.start() >= at:
            ending = compiled(_END_PEM).search(match.string, match.end())
            at = ending.end() if ending else len(match.string)
            yield (match.start(), at, "" if ending else BEGIN_KEY)
