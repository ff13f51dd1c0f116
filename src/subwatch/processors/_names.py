r"""What names secrets have, and where in a text such a name may have ended before a ``:`` or ``=``."""

from __future__ import annotations

import re
from functools import lru_cache, partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "COLON",
    "DOUBLE_QUOTED",
    "ELEMENT",
    "ENCODED",
    "EQUALS",
    "FIGURES",
    "OPTION_END",
    "SAID",
    "SINGLE_QUOTED",
    "compiled",
    "kind_of",
    "may_be_named",
    "may_end",
    "sensitive_name",
]

# Names of secrets. These end in a word that tells whatever stands before it (PGPASSWORD, csrftoken) ...
_PASSWORDS = ("password", "passwd", "passwort", "passphrase", "passcode")
_STRONG = (*_PASSWORDS, "secret", "token", "credential", "credentials", "authorization", "cookie")
# ... or in "key" behind one of these ...
_KEYS = (
    *("api", "access", "account", "secret", "private", "encryption", "signing", "master", "shared", "auth", "client"),
    *("service", "storage", "deploy", "session", "aes", "hmac"),
)  # fmt: skip
_KEY = rf"(?:{'|'.join(_KEYS)})[-_. ]?key"
# ... these are a word of their own; and where a colon follows they must be quoted (JSON), else it is prose.
_WORDS = ("auth", "jwt", "otp", "pass", "pwd", "sas", "sig", "signature")
_WEAK = (*_WORDS, "session", "sessionid", "session_id")
# ... these hold several, and are looked for where a list of strings follows (JSON) ...
_MANY = ("passwords", "secrets", "tokens", "keys")
_SUFFIXES = ("base", "confirmation", "hash", "new", "old", "prod", "value")

# In names of options and variables one of these words may stand anywhere, bounded by "-", "_", "." or capitals ...
_SENSITIVE = (
    rf"(?i){'|'.join(_PASSWORDS)}|(?:{'|'.join(_STRONG)}|secrets|bearer|storepass|keypass|{_KEY})(?![a-z])"
    rf"|(?:^|[-_.]|(?<=[a-z])(?-i:(?=[A-Z])))(?:{'|'.join(_WORDS)}|pw)(?![a-z])|(?:(?<![a-z])session|session-?id)$"
)
# ... unless its last word says that the value is something else: where the secret is, or a property of it.
_ABOUT = (
    r"(?i)(?:^no-|^(?:old)?pwd$|(?:^|[-_.])(?:file|files|path|dir|jar|stdin|env|cmd|command|program|sock|url|uri|endpoint|name|id|fd"
    r"|type|mechanism|method|mode|length|ttl|timeout|expiry|expires|prompt|helper|provider|store|count|limit)$"
    r"|askpass$|(?-i:(?:File|Path|Dir|Env|Type|Name)$)|^(?:desktop|xdg)[-_]session)"
)

#: Patterns are compiled when a text first passes their gates: most never are.
compiled = lru_cache(None)(re.compile)

_NAME = (
    rf"(?:(?i:(?P<eol>authorization|cookie)|(?P<strong>{'|'.join(_STRONG)}|{_KEY})|(?P<many>passwords|secrets|tokens|{_KEY}s))"
    rf"|(?i:(?<![a-z])(?:{'|'.join(_WEAK)}))|(?<=[a-z])(?:{'|'.join(word.title() for word in _WEAK)}))"
    rf"(?i:[-_.]?(?:\d|{'|'.join(_SUFFIXES)}))?\Z"
)
# The same as far as the last characters tell, one of which may be a quote or blank; two may follow any name.
_TAIL = (
    r"(?:(?i:swords?|asswd|swort|hrase|scode|ecrets?|tokens?|ntial|tials|zation|ookie|keys?|auth|jwt|otp|pass|pwd|sas"
    rf"|ssion|ionid|on_id|sig|ature|\d|{'|'.join(_SUFFIXES)}|mation)[\\\"' \t]?|[\\\"' \t]{{2}}|[dtney] is)\Z"
)
FIGURES = "0123456789"


def _ending(words: Iterable[str], after: str, *, figure: bool) -> str:
    """A pattern for where a name has ended in one of `words`, a suffix or a figure, and `after` has followed.

    The last three characters are judged: one by one first, as that is cheap, and then by what may go together.
    """
    places: tuple[set[str], ...] = (set(), set(), set())
    before: dict[str, tuple[set[str], set[str]]] = {}
    for end in sorted({word[-3:] for word in (*words, *_SUFFIXES)}):
        for place, character in zip(
            (*places, *before.setdefault(end[2], (set(), set()))), end + end, strict=False
        ):
            place |= {character, character.upper()}
    if figure:
        places[0].update(places[1] | places[2])
        places[1].update(places[2] | set("-_."))
        places[2].add("0")
    first, second, third = map(_class, places)
    together = [
        _class(one) + _class(two) + _class({last, last.upper()}) for last, (one, two) in before.items()
    ]
    if figure:
        together.append(rf"{first}{second}\d")
    return rf"(?<={first}{second}{third}{after})(?<=(?:{'|'.join(together)}){after})"


def _class(characters: Iterable[str]) -> str:
    return f"[{re.escape(''.join(sorted(characters)))}]".replace("0", r"\d")


# Colons are everywhere in logs, mostly after figures (14:00:07) or words such as "info": the first assertion
# must throw these out. So a bare name before a colon does not end in a figure.
_GAP, _BLANK = r"[\"' \t]", r"[ \t]"
_LAST_OF_BARE, _LAST_OF_ANY = (
    "".join(sorted({c for word in words for c in (word[-1], word[-1].upper())}))
    for words in ((*_STRONG, "key", *_SUFFIXES), (*_STRONG, "key", *_WEAK, *_SUFFIXES))
)
_bare = partial(_ending, [*_STRONG, "key"], figure=False)
_any = partial(_ending, [*_STRONG, "key", *_WEAK], figure=True)
EQUALS = (
    rf"""=(?<=[{_LAST_OF_ANY}0-9"' \t]=)(?:{_any("=")}(?<!pid=)(?<!path=)(?<![ps]ort=)"""
    rf"""|(?<=["' \t]=)(?:{_any(_GAP + "=")}|(?<=[\\"' \t]["' \t]=)))"""
)
SAID = ("d is", "t is", "n is", "e is", "y is")  # "The password is: ..."
COLON = (
    rf""":(?<=[{_LAST_OF_BARE} \t]:)(?:{_bare(":")}"""
    rf"""|(?<=[ \t]:)(?:{_bare(_BLANK + ":")}|(?<=["' \t][ \t]:))|(?<=[dtney] is:))"""
)
_quoted = partial(_ending, [*_STRONG, "key", *_WEAK, *_MANY], figure=True)
DOUBLE_QUOTED, SINGLE_QUOTED = (
    rf"{quote}:(?:{_quoted(quote + ':')}|(?<=[\\\"']{quote}:))" for quote in "\"'"
)
#: The same where a URL holds another, or JSON.
ENCODED = rf"%3(?:[dD]{_any('%3[dD]')}|[aA]{_any('%22%3[aA]')})"
#: Where the contents of an element of XML stand, by the end of its name; and what an option's name ends in.
ELEMENT = rf">{_any('>')}([^<\s][^<\r\n]*+)(?=</|\Z)"
OPTION_END = _any("")


@lru_cache(4096)  # programs name few things again and again
def kind_of(name: str) -> str:
    """How sure this names a secret: ``"eol"`` (a header), ``"strong"``, ``"weak"``, ``"many"``, or ``""`` for no."""
    match = compiled(_NAME).search(name)
    return "" if match is None else match.lastgroup or "weak"


# One of these stands in any such name.
_STEMS = ("pass", "pwd", "pw", "secret", "token", "credential", "cookie", "key", "auth", "jwt", "otp", "sas", "sig",
          "bearer", "session")  # fmt: skip


def may_be_named(text: str) -> bool:
    """Whether a text may have a name for which `sensitive_name` is true; quick to tell that it has none."""
    text = text.lower()
    return not text.isascii() or any([stem in text for stem in _STEMS])  # noqa: C419 - faster than a generator


@lru_cache(1024)
def sensitive_name(name: str) -> bool:
    """Whether an option or variable of this name holds a secret."""
    return compiled(_SENSITIVE).search(name) is not None and compiled(_ABOUT).search(name) is None


@lru_cache(4096)
def may_end(tail: str) -> bool:
    """Whether the name of a secret may end so.

    Args:
        tail: Seven characters, or all that there are; one of them may be a quote or blank behind the name.
    """
    return compiled(_TAIL).search(tail) is not None
