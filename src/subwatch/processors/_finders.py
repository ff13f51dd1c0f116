"""Finds where secrets begin and end, given a pattern for the places where one may begin."""

from __future__ import annotations

from ._arguments import script_spans
from ._names import FIGURES, SAID, compiled, kind_of, may_end, sensitive_name

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
    "encoded",
    "groups",
    "hooks",
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
_HOST_REACH = 1024  # characters before the path of an address in which its host is looked for

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
# What stands between two strings of a list.
_MORE = r"""["'][ \t]*+,[ \t]*+(?=["'])"""
_LISTED = r""":[ \t]*+\[[ \t]*+["']"""
_LIST, _LIST_CUT = '"passwords": [', r"""["'][ \t]*+,?[ \t]*+\Z"""
# The name of what stands in the attribute "value", one or two others may be between.
_ATTRIBUTE = r"""(?i:name|key|type)=["']([\w.-]{1,64}+)["'](?:[ \t]+[\w:.-]{1,32}+=["'][^"']{0,64}+["']){0,2}[ \t]+\Z"""
_BESIDE = r"<(?:name|key)>([\w.-]{1,64}+)</(?:name|key)>[ \t]*<\Z"
_KEY_LIKE = r"=(?:[\w-]++\Z|(?=[\w-]{0,64}[0-9])(?=[\w-]{0,64}[A-Za-z])[\w-]{20})"
_ENCODED_VALUE = r"(?:%22)?((?:[^\s&\"'<>%]|%(?!2[026cC]|3[bB]|7[dD]|0[aAdD]))++)"
# Numbers by their size: of signals, passes, sessions. What may go on when the next piece comes is no number yet.
_FIGURES = {
    name: rf"[:=][ \t]*+[0-9]{{1,{most}}}+(?=[,;)\]}}]{{0,2}}\s|,\")"
    for name, most in (("sig", 3), ("pass", 2), ("session", 6))
}
_SENTENCE = (
    r":[ \t]++(?:must|should|shall|cannot|can't|is|isn't|was|has|does|doesn't|needs|may|will|not|too|at least)"
    r"[ \t]++[a-z]"
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
        head = text[max(0, at - NAME_REACH) : at]
        said = text[at] == ":" and head.endswith(SAID)
        head = head[:-3] if said else head.rstrip(" \t")
        quoted = head.endswith(('"', "'"))
        stem = head.rstrip("\"'\\") if quoted else head
        rest = stem.rstrip(NAME_CHARACTERS)
        name = stem[len(rest) :]
        kind = kind_of(stem[-16:] if name.lower() == "key" else name) or _named_aside(name, rest, text, at)
        if (
            not kind
            or (said and kind == "eol")
            or (kind == "many" and not compiled(_LISTED).match(text, at))
            or _is_prose(kind, name, quoted, rest, text, at)
        ):
            continue
        before = rest[-1:]
        span = _value(text, at + 1, kind == "eol", before if before in ('"', "'") and not quoted else "")
        if span is not None and quoted and "[" in text[at + 1 : span[0]]:
            spans = list(_listed(text, span))
        else:
            spans = [span] if span is not None else []
        if spans:
            covered = max(covered, spans[-1][1])
            yield from spans


def _listed(text: str, first: Span) -> Iterator[Span]:
    """The strings of a list whose first is given; the last span, of no length, is for a list that is cut."""
    span: Span | None = first
    end = first[1]
    while span is not None:
        end = span[1]
        yield (span[0], end, _LIST + span[2].removeprefix("password="))
        more = compiled(_MORE).match(text, end)
        span = _value(text, more.end(), False, "") if more else None
    if compiled(_LIST_CUT).match(text, end):
        yield (len(text), len(text), f"{_LIST}{text[end]}x{text[end:]}")


def _named_aside(name: str, rest: str, text: str, at: int) -> str:
    """The kind of a value whose own name says nothing: of XML attributes, and of keys in URLs that look like one."""
    if name.lower() == "value":
        beside = compiled(_ATTRIBUTE).search(rest)
        return "strong" if beside and sensitive_name(beside[1]) else ""
    in_url = name == "key" and rest[-1:] in ("?", "&")
    return "strong" if in_url and compiled(_KEY_LIKE).match(text, at) else ""


def _is_prose(kind: str, name: str, quoted: bool, rest: str, text: str, at: int) -> bool:
    """Whether what follows a name is no secret: a figure, the rest of a sentence, the shell's working directory."""
    low = name.lower()
    if low in _FIGURES and compiled(_FIGURES[low]).match(text, at):
        return True
    if text[at] == "=":
        return name in ("PWD", "OLDPWD")
    if low == "token" and rest[-11:].lower() == "unexpected ":
        return True  # what a parser has stumbled over
    if quoted:
        return False
    if kind == "weak" or name[-1] in FIGURES or (kind != "eol" and compiled(_SENTENCE).match(text, at)):
        return True  # "auth: ok", "password: must be longer"
    # a path in an error message ("/etc/passwd: not found")
    return kind != "eol" and rest[-1:] in ("/", "\\") and text[at + 1 : at + 2] in (" ", "\t")


def encoded(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find the values in ``NAME%3DVALUE`` and ``%22NAME%22%3A%22VALUE%22``."""
    covered = 0
    for match in matches:
        if match.start() < covered:
            continue
        head = match.string[max(0, match.start() - NAME_REACH) : match.start()].removesuffix("%22")
        if kind_of(head[len(head.rstrip(NAME_CHARACTERS)) :]) in ("", "many"):
            continue
        value = compiled(_ENCODED_VALUE).match(match.string, match.end())
        if value is not None:
            covered = value.end()
            yield (*value.span(1), BARE)


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
        name = head[len(before) :]
        if name == "value" and (beside := compiled(_BESIDE).search(before)):
            name = beside[1]
        prefix = before[:-1].rstrip(NAME_CHARACTERS) if before.endswith(":") else before
        if prefix.endswith("<") and sensitive_name(name):
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


def hooks(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find addresses that let you post; a path alone is one only behind a host, which has a dot."""
    for match in matches:
        before = match.string[max(0, match.start() - _HOST_REACH) : match.start()]
        line = before[max(before.rfind("\n"), before.rfind("\r")) + 1 :]
        if "." in match[0].removesuffix(match[1]) or "." in line:
            yield (*match.span(1), BARE)


def private_keys(matches: Iterable[Match[str]]) -> Iterator[Span]:
    """Find private keys in PEM form, from their first to their last line."""
    at = 0
    for match in matches:
        if match.start() >= at:
            ending = compiled(_END_PEM).search(match.string, match.end())
            at = ending.end() if ending else len(match.string)
            yield (match.start(), at, "" if ending else BEGIN_KEY)
