r"""Where a secret can stand in a text: one table of rules, each of which finds spans to mask.

Speed comes from the shape of the patterns. Each begins with a literal character that the secret cannot do
without (``:``, ``=``, ``_`` ...), which the regular expression engine looks for by a plain scan, and then
checks what stands *before* it by a look-behind made of character classes. So a pattern is its own gate,
whole chunks need no splitting into lines, and no prefilter can disagree with its rule.

Every pattern is linear: runs are disjoint or bounded, and the quantifiers that meet are possessive.
Sources: gitleaks (shapes of tokens), Relay and Datadog (names of secrets).
"""

from __future__ import annotations

import re
from functools import lru_cache, partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["BARE", "BEGIN_KEY", "HEADER", "RULES", "Rule", "Span", "compiled", "find_spans", "open_end"]

#: Start, end, and a text after which a secret of the same kind goes on; empty if this one has ended.
Span = tuple[int, int, str]

#: What begins a private key, which ends lines later; also the context of a line inside of one.
BEGIN_KEY = "-----BEGIN PRIVATE KEY-----"
# What opens a value that ends at a blank, and one that ends with its line.
BARE, HEADER = "password=x", "authorization: x"

# Names of secrets. These end in a word that tells whatever stands before it (PGPASSWORD, csrftoken) ...
_STRONG = (
    *(
        "password",
        "passwd",
        "passwort",
        "passphrase",
        "passcode",
        "secret",
        "token",
        "credential",
        "credentials",
    ),
    *("authorization", "cookie"),
)
_KEYS = (
    *(
        "api",
        "access",
        "account",
        "secret",
        "private",
        "encryption",
        "signing",
        "master",
        "shared",
        "auth",
        "client",
    ),
    *("service", "storage", "deploy", "session"),
)
# ... these are a word of their own; and where a colon follows they must be quoted (JSON), else it is prose.
_WEAK = ("auth", "jwt", "otp", "pass", "pwd", "sas", "session", "sessionid", "session_id", "sig", "signature")
_SUFFIXES = ("base", "confirmation", "hash", "new", "old", "prod", "value")

#: Patterns are compiled when a text first passes their gates: most never are.
compiled = lru_cache(None)(re.compile)

_NAME = (
    rf"(?:(?i:(?P<eol>authorization|cookie)|(?P<strong>{'|'.join(_STRONG)}|(?:{'|'.join(_KEYS)})[-_. ]?key))"
    rf"|(?i:(?<![a-z])(?:{'|'.join(_WEAK)}))|(?<=[a-z])(?:{'|'.join(word.title() for word in _WEAK)}))"
    rf"(?i:[-_.]?(?:\d|{'|'.join(_SUFFIXES)}))?\Z"
)
_FIGURES = "0123456789"
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.-" + _FIGURES
_LAST_THREE = frozenset(name[-3:] for name in (*_STRONG, "key", *_WEAK, *_SUFFIXES))
_NO_LETTERS = frozenset(_FIGURES + "\"' \t\\")
_NAME_REACH = 96  # characters from the beginning of a name to its "=" or ":", blanks included


def _ending(words: Iterable[str], *, figure: bool) -> str:
    """Character classes for the last three characters of names that end in `words`, a suffix or a figure."""
    ends = {word[-3:] for word in (*words, *_SUFFIXES)}
    if figure:
        ends |= {end[-2:] + "0" for end in ends} | {end[-1] + mark + "0" for end in ends for mark in "-_."}
    places = (
        "".join(sorted({c for end in ends for c in (end[n].lower(), end[n].upper())})) for n in range(3)
    )
    return "".join(f"[{re.escape(place)}]" for place in places).replace("0", r"\d")


# Colons are everywhere in logs, mostly after figures (14:00:07) or words such as "info": the first assertion
# must throw these out. So a bare name before a colon does not end in a figure.
_BARE_NAME = _ending([*_STRONG, "key"], figure=False)
_ANY_NAME = _ending([*_STRONG, "key", *_WEAK], figure=True)
_LAST_OF_BARE = _BARE_NAME.rpartition("[")[2][:-1]
_LAST_OF_ANY = _ANY_NAME.rpartition("[")[2][:-1]
_EQUALS = (
    rf"""=(?<=[{_LAST_OF_ANY}"' \t]=)(?:(?<={_ANY_NAME}=)(?<!pid=)"""
    rf"""|(?<={_ANY_NAME}["' \t]=)|(?<=[\\"' \t]["' \t]=))"""
)
_COLON = (
    rf""":(?<=[{_LAST_OF_BARE} \t]:)(?:(?<={_BARE_NAME}:)"""
    rf"""|(?<=[ \t]:)(?:(?<={_BARE_NAME}[ \t]:)|(?<=["' \t][ \t]:)))"""
)
_DOUBLE_QUOTED, _SINGLE_QUOTED = (
    (rf"{quote}:(?:(?<={_ANY_NAME}{quote}:)|(?<=\\{quote}:))") for quote in "\"'"
)

# A closing mark or separator ends a bare value if a blank, the end or the next name follows.
_MARKS = r"""[,;&"'`)\]}>]"""
_BARE_VALUE = (
    rf"""(?:[^\s,;&"'`)\]}}>]|{_MARKS}(?!{_MARKS}{{0,8}}+(?:\s|\Z|["']?[\w.-]{{1,40}}+["']?\s?[=:])))++"""
)
_VALUE = (
    r"""[:=>]{0,2}+[ \t]*+(?:[\[(]{0,2}+[bBrRuUfF]{0,2}+(?:"""
    r""""(?P<double>[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+\\?+)"""
    r"""|'(?P<single>[^'\\\r\n]*+(?:(?:\\[^\r\n]|'')[^'\\\r\n]*+)*+\\?+)"""
    r"""|(?P<quote>\\{1,7}+["'])(?P<nested>(?:[^\\\r\n]|(?!(?P=quote))\\{1,8}+["']?+)*+))"""
    rf"""|(?![\[({{]{{1,3}}(?:["'\s]|\Z))(?P<bare>{_BARE_VALUE}))"""
)
_EOL = r"[:=]?+[ \t]*+(?P<bare>[^\s\"'][^\r\n]*+)"


@lru_cache(4096)  # programs name few things again and again
def _kind(name: str) -> str:
    """How sure this names a secret: ``"eol"`` (a header), ``"strong"``, ``"weak"``, or ``""`` for no."""
    match = compiled(_NAME).search(name)
    return "" if match is None else match.lastgroup or "weak"


def _named_values(pattern: str, text: str) -> Iterator[Span]:
    """Find the values in ``NAME=VALUE``, ``NAME: VALUE`` and ``"NAME": "VALUE"``."""
    covered = 0
    for delimiter in compiled(pattern).finditer(text):
        at = delimiter.end() - 1
        if at + 1 < covered and text[at + 1] not in "\"'\\":
            continue  # inside of a value that goes on: what is named here is masked already
        last = text[at - 3 : at].lower()
        if last not in _LAST_THREE and last[-1:] not in _NO_LETTERS:
            continue  # the character classes let it pass, but no name ends so
        head = text[max(0, at - _NAME_REACH) : at].rstrip(" \t")
        quoted = head.endswith(('"', "'"))
        stem = head.rstrip("\"'\\") if quoted else head
        rest = stem.rstrip(_NAME_CHARACTERS)
        name = stem[len(rest) :]
        kind = _kind(stem[-16:] if name.lower() == "key" else name)
        if not kind:
            continue
        before = rest[-1:]
        if text[at] == "=":
            if name in ("PWD", "OLDPWD"):
                continue  # the shell's working directory
        elif not quoted and (kind == "weak" or name[-1] in _FIGURES):
            continue  # prose ("auth: ok")
        elif not quoted and before in ("/", "\\") and text[at + 1 : at + 2] in (" ", "\t"):
            continue  # a path in an error message ("/etc/passwd: not found")
        span = _value(text, at + 1, kind == "eol", before if before in ('"', "'") and not quoted else "")
        if span is not None:
            covered = max(covered, span[1])
            yield span


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
        return (start, end, BARE)
    quote = match["quote"] if kind == "nested" else text[start - 1]
    if start == end < len(text):
        return None
    backslashes = (end - start - len(text[start:end].rstrip("\\"))) % 8  # an escape may be cut in two
    return (start, end, f"password={quote}x" + "\\" * backslashes)


def _groups(pattern: str, text: str) -> Iterator[Span]:
    """Find what the pattern's groups match, by the number of the group."""
    for match in compiled(pattern).finditer(text):
        start, end = match.span(match.lastindex or 0)
        yield (start, end, BARE)


def _private_keys(text: str) -> Iterator[Span]:
    """Find private keys in PEM form, from their first to their last line."""
    at = 0
    while match := compiled(_PEM_BEGIN).search(text, at):
        ending = compiled(_PEM_END).search(text, match.end())
        at = ending.end() if ending else len(text)
        yield (match.start(), at, "" if ending else BEGIN_KEY)


_PEM_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"


class Rule:
    """Where one kind of secret stands.

    Attributes:
        name: What it finds, for tests and people.
        gates: Characters that must all occur; looking for one that does not costs next to nothing.
        needle: A string that must occur; empty if the gates are enough.
        find: Finds the spans in a text of any number of lines.
    """

    __slots__ = ("find", "gates", "name", "needle")

    def __init__(self, name: str, gates: str, needle: str, find: Callable[[str], Iterator[Span]]) -> None:
        self.name = name
        self.gates = gates
        self.needle = needle
        self.find = find


def _shape(pattern: str) -> Callable[[str], Iterator[Span]]:
    return partial(_groups, pattern)


_AUTHORITY = r"[^\s/?#\"<>]"
_USER = r"[^\s/?#\"<>:@]"
# Tokens that tell by their prefix what they are; it stays visible. What must occur, the prefix (a literal to
# look for, what stands before it), and what the secret must begin with.
_SHAPES = (
    (
        "_",
        "_",
        r"(?:(?<=gh[pousr]_)|(?<=github_pat_)|(?<=glsa_)|(?<=glc_)|(?<=hf_)|(?<=npm_)|(?<=dop_v1_)|(?<=sntrys_)"
        r"|(?<=[sr]k_live_)|(?<=[sr]k_test_)|(?<=[sr]k_prod_))",
        r"[0-9A-Za-z]{16}",
    ),
    (
        "-",
        r"-(?<=[abeijoprst]-)",
        r"(?:(?<=glpat-)|(?<=sk-ant-)|(?<=sk-proj-)|(?<=xox[abeoprs]-)|(?<=pypi-))",
        r"[\w-]{16}",
    ),
    (".", r"\.(?<=[Gs]\.)", r"(?:(?<=SG\.)|(?<=hvs\.))", r"[\w-]{16}"),
    ("A", r"A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])", "", r"[A-Z2-7]{16}"),
    ("AIz", "AIza", "", r"[\w-]{30}"),
    ("J", "J", r"(?<=eyJ)", r"[\w-]{16}"),
)

RULES = (
    Rule("name=value", "=", "", partial(_named_values, _EQUALS)),
    Rule("name: value", ":", "", partial(_named_values, _COLON)),
    Rule('"name": value', ':"', "", partial(_named_values, _DOUBLE_QUOTED)),
    Rule("'name': value", ":'", "", partial(_named_values, _SINGLE_QUOTED)),
    Rule("password in URL", "@:/", "://", _shape(rf"://{_USER}*+:({_AUTHORITY}+)@")),
    Rule("token in URL", "@:/", "://", _shape(rf"://(?:(?<=ttp://)|(?<=ttps://)|(?<=git://))({_USER}++)@")),
    Rule(
        "password in SQL",
        "'",
        "",
        _shape(r"'(?<=[dDyY] ')(?i:(?<=password ')|(?<=identified by '))([^'\r\n]++(?:''[^'\r\n]*+)*+)"),
    ),
    Rule("bearer", "B", "Bearer ", _shape(r"Bearer[ \t]++([^\s\"',;]++)")),
    Rule("private key", "-BEGIN", "-----BEGIN ", _private_keys),
    *(
        Rule(f"token {literal}", gates, "", _shape(rf"{literal}(?={start}){before}([\w-]++(?:\.[\w-]++)*+)"))
        for gates, literal, before, start in _SHAPES
    ),
)

_TOKEN_BEGINS = "|".join(literal + before for _, literal, before, _ in _SHAPES)


def open_end(text: str) -> int | None:
    """Where, at the end of a text, stands what may turn out to be secret: a token's or a URL's beginning.

    The runs of characters that these are made of are measured from the end: looked for from the front, with
    every beginning as far as the end, they cost the square of the length.
    """
    backwards = text[::-1]
    starts: list[int] = []
    for other in (r"[\s/?#\"<>]", r"[^\w-]"):
        stop = compiled(other).search(backwards)
        starts.append(len(text) - stop.start() if stop else 0)
    authority, token = starts
    found = [authority] if text.endswith("://", 0, authority) else []
    begins = compiled(_TOKEN_BEGINS).search(text, max(0, token - 1))  # a token may begin with a dot
    if begins is not None:
        found.append(begins.end())
    return min(found, default=None)


def find_spans(text: str) -> list[Span]:
    """Find what to mask in `text`, by all rules; in no order, possibly overlapping."""
    found: list[Span] = []
    for rule in RULES:
        for gate in rule.gates:
            if gate not in text:
                break
        else:
            if rule.needle in text:
                found += rule.find(text)
    return found
