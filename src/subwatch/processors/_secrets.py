r"""Where a secret can stand in a text: one table of rules, each of which finds spans to mask.

Speed comes from the shape of the patterns. Each begins with a literal character that the secret cannot do
without (``:``, ``=``, ``_`` ...), which the regular expression engine looks for by a plain scan, and then
checks what stands *before* it by a look-behind made of character classes. So a pattern is its own gate,
whole chunks need no splitting into lines, and no prefilter can disagree with its rule.

Every pattern is linear: runs are disjoint or bounded, and the quantifiers that meet are possessive.
Sources: gitleaks (shapes of tokens), Relay and Datadog (names of secrets).
"""

from __future__ import annotations

from functools import partial

from ._arguments import script_spans
from ._names import (
    COLON,
    DOUBLE_QUOTED,
    ELEMENT,
    EQUALS,
    FIGURES,
    OPTION_END,
    SINGLE_QUOTED,
    compiled,
    kind_of,
    may_end,
    sensitive_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BARE",
    "BEGIN_KEY",
    "HEADER",
    "NAME_CHARACTERS",
    "NAME_REACH",
    "RULES",
    "Span",
    "find_spans",
    "open_end",
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


def _named_values(pattern: str, text: str) -> Iterator[Span]:
    """Find the values in ``NAME=VALUE``, ``NAME: VALUE`` and ``"NAME": "VALUE"``."""
    covered = 0
    for delimiter in compiled(pattern).finditer(text):
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


def _dashes(pattern: str, text: str) -> Iterator[Span]:
    """Find tokens, and the values in ``--NAME VALUE`` and ``'--NAME', 'VALUE'``: programs show what they run."""
    for match in compiled(pattern).finditer(text):
        if match.lastindex == 1:
            yield (*match.span(1), BARE)
        elif sensitive_name(match[2]) and (span := _value(text, match.end(), False, "")):
            yield span


def _elements(pattern: str, text: str) -> Iterator[Span]:
    """Find the contents of elements of XML by their names."""
    for element in compiled(pattern).finditer(text):
        head = text[max(0, element.start() - NAME_REACH) : element.start()]
        before = head.rstrip(NAME_CHARACTERS)
        if before.endswith(("<", ":")) and sensitive_name(head[len(before) :]):
            yield (*element.span(1), BARE)


def _traced(pattern: str, text: str) -> Iterator[Span]:
    """Find the secrets in the commands that a shell shows (``set -x``)."""
    for line in compiled(pattern).finditer(text):
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


# In a description two blanks follow, and in prose a verb.
_OPTION = (
    rf"([a-zA-Z][\w-]{{1,64}}+){OPTION_END}"
    r"(?:\\{0,3}[\"'],?[ \t]*+|[ \t](?![ \t]))(?![-<[]|\Z|(?:is|was|are|must|has|not|and|or|for|can|cannot|may|to|in"
    r"|with|options?|arguments?|flag|requires?|needs?|instead)\b)"
)
_PEM_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
_PEM_END = r"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"


class Rule:
    """Where one kind of secret stands.

    Attributes:
        name: What it finds, for tests and people.
        gates: Characters that must all occur; looking for one that does not costs next to nothing. (Looking for
            a longer string costs more than the search for a pattern that begins with it.)
        find: Finds the spans in a text of any number of lines.
    """

    __slots__ = ("find", "gates", "name")

    def __init__(self, name: str, gates: str, find: Callable[[str], Iterator[Span]]) -> None:
        self.name = name
        self.gates = gates
        self.find = find


def _shape(pattern: str) -> Callable[[str], Iterator[Span]]:
    return partial(_groups, pattern)


def _token(before: str, start: str) -> str:
    return rf"(?={start}){before}([\w-]++(?:\.[\w-]++)*+)"


_AUTHORITY = r"[^\s/?#\"<>]"
_USER = r"[^\s/?#\"<>:@]"
# A password with what should have been escaped; not a port and a path.
_HIDDEN = r"[^\s\"'<>]"
_UNESCAPED = r"(?![0-9]{0,5}+[/?#])([^\s/?#\"'<>@]{0,128}+[/?#][^\s\"'<>@]{0,128}+)"
_OPEN_URL = rf"://(?!\[){_USER}*+:((?![0-9]{{0,5}}+[/?#])[^\s\"'<>@]{{0,257}}+)\Z"
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
_DASHED = next(
    literal[1:] + _token(before, start) for gates, literal, before, start in _SHAPES if gates == "-"
)

RULES = (
    Rule("name=value", "=", partial(_named_values, EQUALS)),
    Rule("name: value", ":", partial(_named_values, COLON)),
    Rule('"name": value', ':"', partial(_named_values, DOUBLE_QUOTED)),
    Rule("'name': value", ":'", partial(_named_values, SINGLE_QUOTED)),
    Rule("<name>value", "><", partial(_elements, ELEMENT)),
    Rule("+ command", "+", partial(_traced, r"\+ (?:(?<=^\+ )|(?<=[+\r\n]\+ ))(\S[^\r\n]*+)")),
    Rule("password in URL", "@:/", _shape(rf"://{_USER}*+:({_AUTHORITY}+)@")),
    Rule("password in URL, as it is", "@:/", _shape(rf"://(?!\[){_USER}*+:{_UNESCAPED}@")),
    Rule(
        "address of a hook",
        "k/",
        _shape(rf"k(?:(?<=hooks\.slack)\.com/services|(?<=/webhook)s)/({_HIDDEN}++)"),
    ),
    Rule("address of a bot", "g/:", _shape(rf"g(?<=telegram\.org)/bot({_HIDDEN}++)")),
    Rule("token in URL", "@:/", _shape(rf"://(?:(?<=ttp://)|(?<=ttps://)|(?<=git://))({_USER}++)@")),
    Rule(
        "password in SQL",
        "'",
        _shape(r"'(?<=[dDyY] ')(?i:(?<=password ')|(?<=identified by '))([^'\r\n]++(?:''[^'\r\n]*+)*+)"),
    ),
    Rule("new password", "@:", _shape(r"assword is generated for [^\s:]{1,80}+:[ \t]++([^\s\"'][^\s]*+)")),
    Rule("bearer", "B", _shape(r"Bearer[ \t]++([^\s\"',;]++)")),
    Rule("private key", "-BEGIN", _private_keys),
    *(
        Rule(f"token {literal}", gates, _shape(literal + _token(before, start)))
        for gates, literal, before, start in _SHAPES
        if gates != "-"
    ),
    # one search for both: dashes are everywhere
    Rule("token -, --name value", "-", partial(_dashes, rf"-(?:{_DASHED}|-{_OPTION})")),
)

# By their first gates, so that none is looked for twice: what is missing takes a search of the whole text.
_BY_GATE = tuple(
    (gate, [(rule.gates[1:], rule.find) for rule in RULES if rule.gates[0] == gate])
    for gate in dict.fromkeys(rule.gates[0] for rule in RULES)
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
    if unescaped := compiled(_OPEN_URL).search(text):
        found.append(unescaped.start(1))
    begins = compiled(_TOKEN_BEGINS).search(text, max(0, token - 1))  # a token may begin with a dot
    if begins is not None:
        found.append(begins.end())
    return min(found, default=None)


def find_spans(text: str) -> list[Span]:
    """Find what to mask in `text`, by all rules; in no order, possibly overlapping."""
    found: list[Span] = []
    for gate, rules in _BY_GATE:
        if gate in text:
            for others, find in rules:
                for other in others:
                    if other not in text:
                        break
                else:
                    found += find(text)
    return found
