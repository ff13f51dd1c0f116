r"""Where a secret can stand in a text: one table of rules, each of which finds spans to mask.

Speed comes from the shape of the patterns. Each begins with a literal character that the secret cannot do
without (``:``, ``=``, ``_`` ...), which the regular expression engine looks for by a plain scan, and then
checks what stands *before* it by a look-behind made of character classes. So a pattern is its own gate,
whole chunks need no splitting into lines, and no prefilter can disagree with its rule.

Every pattern is linear: runs are disjoint or bounded, and the quantifiers that meet are possessive.
Sources: gitleaks (shapes of tokens), Relay and Datadog (names of secrets).
"""

from __future__ import annotations

from ._finders import BEGIN_PEM, dashes, elements, encoded, groups, hooks, named_values, private_keys, traced
from ._names import COLON, DOUBLE_QUOTED, ELEMENT, ENCODED, EQUALS, OPTION_END, SINGLE_QUOTED, compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from re import Match

    from ._finders import Span

__all__ = ["RULES", "find_spans", "open_end"]

# The rest of an option's name, and what does not follow: in a description two blanks do, and in prose a verb.
_NAME = r"[a-zA-Z0-9_-]"
_NO_PROSE = (
    r"(?:\\{0,3}[\"'],?[ \t]*+|[ \t](?![ \t]))(?![-<[]|\Z|(?:is|was|are|must|has|not|and|or|for|can|cannot|may|to|in"
    r"|with|options?|arguments?|flag|requires?|needs?|instead)\b)"
)
_OPTION = rf"-([a-zA-Z]{_NAME}{{1,64}}+)(?=[\\\"' \t]){OPTION_END}{_NO_PROSE}"
# Of those with one dash, only passwords: each kind more would cost all lines with a date.
_PASSWORD = rf"p(?<=[\"' \t]-p)(?:ass(?:word|wd|phrase)?|w){_NO_PROSE}"


class Rule:
    """Where one kind of secret stands.

    Attributes:
        name: What it finds, for tests and people.
        gates: Characters that must all occur; looking for one that does not costs next to nothing. (Looking for
            a longer string costs more than the search for a pattern that begins with it.)
        pattern: Where one may stand; by default it is what the pattern's group matches.
    """

    __slots__ = ("_read", "gates", "name", "pattern")

    def __init__(
        self,
        name: str,
        gates: str,
        pattern: str,
        read: Callable[[Iterable[Match[str]]], Iterator[Span]] = groups,
    ) -> None:
        self.name = name
        self.gates = gates
        self.pattern = pattern
        self._read = read

    def find(self, text: str) -> Iterable[Span]:
        """Find the spans in a text of any number of lines."""
        pattern = compiled(self.pattern)
        first = pattern.search(text)  # most texts have none: cheaper than to begin to go through all
        return () if first is None else self._read(pattern.finditer(text, first.start()))


def _token(before: str, start: str) -> str:
    return rf"(?={start}){before}([\w-]++(?:\.[\w-]++)*+)"


_AUTHORITY = r"[^\s/?#\"<>]"
_USER = r"[^\s/?#\"<>:@]"
# A password with what should have been escaped; not a port and a path.
_HIDDEN = r"[^\s\"'<>]"
_UNESCAPED = r"(?![0-9]{0,5}+[/?#])([^\s/?#\"'<>@]{0,128}+[/?#][^\s\"'<>@]{0,128}+)"
_ORACLE = r"jdbc:oracle:(?:thin|oci8?):[^\s/:@]{1,128}+/"
# What turns out to be a password if an "@" follows.
_OPEN = (
    rf"://(?!\[){_USER}*+:((?![0-9]{{0,5}}+[/?#])[^\s\"'<>@]{{0,257}}+)\Z",
    rf"{_ORACLE}([^\s@]{{0,128}}+)\Z",
)
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
        r"-(?<=[Yabeijoprst]-)",
        r"(?:(?<=glpat-)|(?<=sk-ant-)|(?<=sk-proj-)|(?<=xox[abeoprs]-)|(?<=pypi-)|(?<=AGE-SECRET-KEY-))",
        r"[\w-]{16}",
    ),
    (".", r"\.(?<=[Gs]\.)", r"(?:(?<=SG\.)|(?<=hvs\.))", r"[\w-]{16}"),
    ("A", r"A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])", "", r"[A-Z2-7]{16}"),
    ("AIz", "AIza", "", r"[\w-]{30}"),
    ("J", "J", r"(?<=eyJ)", r"[\w-]{16}"),
)
_TOKENS = {gates: literal + _token(before, start) for gates, literal, before, start in _SHAPES}
# Addresses that are secret themselves: they let you post, or be a bot.
_HOOK = (
    rf"hook(?:s(?:(?<=/webhooks)|\.slack\.com/services)|(?<=webhook)\.office\.com/webhookb2)/({_HIDDEN}++)"
)
_BOT = rf"gram\.org/bot({_HIDDEN}++)"

RULES = (
    Rule("name=value", "=", EQUALS, named_values),
    Rule("name: value", ":", COLON, named_values),
    Rule('"name": value', ':"', DOUBLE_QUOTED, named_values),
    Rule("'name': value", ":'", SINGLE_QUOTED, named_values),
    Rule("<name>value", "><", ELEMENT, elements),
    Rule("name%3Dvalue", "%", ENCODED, encoded),
    Rule("+ command", "+", r"\+ (?:(?<=^\+ )|(?<=[+\r\n]\+ ))(\S[^\r\n]*+)", traced),
    Rule("password in URL", "@:/", rf"://{_USER}*+:({_AUTHORITY}+)@"),
    Rule("password in URL, as it is", "@:/", rf"://(?!\[){_USER}*+:{_UNESCAPED}@"),
    Rule("password of Oracle", "@:/", rf"{_ORACLE}([^\s@]{{1,128}}+)@"),
    Rule("address of a hook", "k/.", _HOOK, hooks),
    Rule("address of a bot", "g/.", _BOT),
    Rule("token in URL", "@:/", rf"://(?:(?<=ttp://)|(?<=ttps://)|(?<=git://))({_USER}++)@"),
    Rule(
        "password in SQL",
        "'",
        r"'(?<=[dDsSyY] ')(?i:(?<=password ')|(?<=password is ')|(?<=identified by '))([^'\r\n]++(?:''[^'\r\n]*+)*+)",
    ),
    Rule("new password", "@:", r"assword is generated for [^\s:]{1,80}+:[ \t]++([^\s\"'][^\s]*+)"),
    Rule("bearer", "B", r"Bearer[ \t]++([^\s\"',;]++)"),
    Rule("private key", "-BEGIN", BEGIN_PEM, private_keys),
    *(Rule(f"token {gates}", gates, _TOKENS[gates]) for gates in ("_", ".", "A", "AIz", "J")),
    # one search for several: dashes are everywhere, and most stand behind a figure or a letter that ends no prefix
    Rule(
        "token -, --name value, -password value",
        "-",
        rf"-(?<![-0-9cdf-hk-mqu-zA-XZ]-)(?:{_OPTION}|{_PASSWORD}|{_TOKENS['-'][1:]})",
        dashes,
    ),
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
    found += (opened.start(1) for pattern in _OPEN if (opened := compiled(pattern).search(text)))
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
