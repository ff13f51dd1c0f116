"""Values of options: from words on a command line or in a variable, and from TOML."""

from __future__ import annotations

import re
import shlex

from ..errors import ConfigError
from ..records import LEVEL_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "Spec",
    "Word",
    "at_least",
    "encoding",
    "flag",
    "level",
    "literal",
    "number",
    "pair",
    "pairs",
    "pattern",
    "pty",
    "put",
    "resolve",
    "rule",
    "rules",
    "seconds",
    "spec",
    "specs",
    "text",
    "texts",
]

_DURATION = re.compile(r"\s*+(\d++(?:\.\d*+)?|\.\d++)\s*+(ms|s|m|h|d)?\s*+")
_UNITS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_NAME = re.compile(r"[\w.-]+")
# Of bytes, lines, or seconds: what is larger is a slip, and more than clocks and buffers take.
_MOST = 2**31 - 1


def _wrong(takes: str, value: Any) -> ConfigError:
    shown = repr(value)
    return ConfigError(f"takes {takes}; {shown if len(shown) <= 100 else shown[:100] + '...'} is not that")


def seconds(value: Any) -> float:
    """A time: a number of seconds, or text such as ``"90"``, ``"1.5s"``, ``"15m"``, ``"2h"``, ``"1d"``."""
    given = value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        given = float(match[1]) * _UNITS[match[2]]
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given <= _MOST:
        return float(given)
    raise _wrong("a time such as 90, '1.5s', '15m', '2h' or '1d'", value)


def number(value: Any) -> int:
    """A whole number, 0 or more."""
    given = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        given = int(value)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _MOST:
        return given
    raise _wrong("a whole number, 0 or more (below 2^31)", value)


def at_least(minimum: float, parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Parse as `parse` does, and refuse what is smaller."""

    def checked(value: Any) -> Any:
        if (parsed := parse(value)) < minimum:
            raise _wrong(f"{minimum} or more", value)
        return parsed

    return checked


def flag(value: Any) -> bool:
    """True or false; as text also yes and no, on and off, 1 and 0."""
    known = _WORDS.get(value.lower()) if isinstance(value, str) else value
    if isinstance(known, bool):
        return known
    raise _wrong("true or false", value)


def pty(value: Any) -> bool | None:
    """True, false, or ``"auto"`` (None) to decide by the terminal."""
    if value == "auto":
        return None
    try:
        return flag(value)
    except ConfigError:
        raise _wrong("true, false or 'auto'", value) from None


def text(value: Any) -> str:
    """A text that is not empty, and can be the name of a file."""
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise _wrong("a text", value)


def pattern(value: Any) -> str:
    """A regular expression."""
    try:
        re.compile(text(value))
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"takes a regular expression; {str(value)[:100]!r} is none: {error}") from None
    return str(value)


def encoding(value: Any) -> str:
    """The name of an encoding."""
    import codecs

    name = text(value)
    try:
        # the codec of "rot13" is none of bytes, that of "undefined" of nothing
        if b"x".decode(name, "replace"):
            return codecs.lookup(name).name
    except (LookupError, ValueError):
        pass
    raise _wrong("the name of an encoding such as utf-8 or latin-1", value)


_LEVELS = {name: number for number, name in LEVEL_NAMES.items()}


def level(value: Any) -> int:
    """The name of a logging level, as its number."""
    if isinstance(value, str) and value.lower() in _LEVELS:
        return _LEVELS[value.lower()]
    raise _wrong("one of " + ", ".join(_LEVELS), value)


def rule(value: str) -> tuple[str, int]:
    """A ``LEVEL=REGEX``, as the library takes it."""
    name, equals, expression = value.partition("=")
    if not equals:
        raise _wrong("LEVEL=REGEX such as 'debug=^trace'", value)
    number = level(name)
    return pattern(expression), number


def rules(value: Any) -> list[tuple[str, int]]:
    """Level rules: a list, or words."""
    return [rule(word) for word in texts(value)]


def texts(value: Any) -> list[str]:
    """A list of texts; in one text they are separated by blanks and quoted as in a shell."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as error:
            raise ConfigError(f"cannot be split into words: {error}") from None
    if isinstance(value, list) and all(isinstance(item, str) and item for item in value):
        return value
    raise ConfigError("takes a list of texts")  # which of them is none is not shown: they may be secrets


def pair(value: str) -> tuple[str, str]:
    """A ``NAME=VALUE``."""
    name, equals, rest = value.partition("=")
    if not equals or not name:
        raise _wrong("NAME=VALUE", value)
    return name, rest


def pairs(value: Any) -> dict[str, str]:
    """Texts by name: a table, or words ``NAME=VALUE``."""
    if isinstance(value, (str, list)):
        return dict(pair(word) for word in texts(value))
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise _wrong('a table of texts such as { app = "backup" }', value)


# -- sinks ------------------------------------------------------------------------------------------------


class Spec:
    """A sink as somebody wrote it.

    Attributes:
        name: Its name.
        options: Its options; a value in a `Word` is text that may yet mean a number.
    """

    __slots__ = ("name", "options")

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self.options = options

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and (self.name, self.options) == (other.name, other.options)

    __hash__ = None  # type: ignore[assignment]


class Word(str):
    """Text from a command line or a variable, which may stand for a number, a list or a truth value."""

    __slots__ = ()


def spec(value: Any) -> Spec:
    """A sink: ``NAME`` or ``NAME:key=value,...``; a comma in brackets or quotes is part of the value."""
    name, _, rest = text(value).partition(":")
    if not _NAME.fullmatch(name):
        # the rest may hold a credential: only its beginning is shown
        start = _NAME.match(name)
        begun = start[0] if start else ""
        several = "; blanks separate several sinks" if name[len(begun) :].startswith(",") else ""
        raise ConfigError(f"takes NAME or NAME:key=value,key=value; '{begun}...' is not that{several}")
    options: dict[str, Any] = {}
    for number, part in enumerate(_split(rest) if rest else (), 1):
        key, equals, word = part.partition("=")
        if not equals or not _NAME.fullmatch(key.strip()):
            # it may hold a credential, and is not shown
            raise ConfigError(f"takes NAME:key=value,key=value; option {number} of {name!r} is no key=value")
        put(options, key.strip(), Word(word))
    return Spec(name, options)


def specs(value: Any) -> list[Spec]:
    """Sinks: a list, or words."""
    if isinstance(value, dict):
        raise ConfigError('takes a list such as ["loki"]; the options of that sink go into [sink.loki]')
    return [spec(item) for item in texts(value)]


def put(options: dict[str, Any], key: str, value: Any) -> None:
    """Set an option; a dot in the key goes into a table (``labels.app=backup``)."""
    *tables, last = key.split(".")
    for table in tables:
        options = options.setdefault(table, {})
        if not isinstance(options, dict):
            raise ConfigError(f"{key!r} goes into {table!r}, which has a value already")
    options[last] = value


def _split(words: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for character in words:
        if character == "," and not depth and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and parts[-1].endswith(("=", "[", "{", ",", " ")):
            quote = character
        else:
            depth += (character in "[{") - (character in "]}" and depth > 0)
        parts[-1] += character
    return parts


def literal(word: str, annotation: str = "") -> Any:
    """What a word stands for: a TOML value (number, true, list, table, quoted text), else itself.

    Args:
        word: The word.
        annotation: Type of the argument that it is for, as source text: where that takes a str and no
            number, ``url=1234`` and ``key=true`` stay text.
    """
    bare = re.sub(r"\[.*\]", "", annotation)
    takes = set(re.findall(r"\w+", bare))
    if "str" in takes and not takes & {"int", "float", "bool"} and word[:1] not in {'"', "'"}:
        return str(word)
    if takes == {"bool"} and word.lower() in _WORDS:
        return _WORDS[word.lower()]
    import tomllib

    try:
        read = tomllib.loads(f"value = {word}")
    except (ValueError, RecursionError):  # an int may be too long to convert, a list too deep to read
        return str(word)
    return read["value"] if len(read) == 1 and "\n" not in word else str(word)


def resolve(options: dict[str, Any], annotations: Callable[[str], str]) -> dict[str, Any]:
    """Replace the words among a sink's options by what they stand for; in tables they stay text."""
    resolved: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            resolved[key] = resolve(value, lambda _: "str")
        else:
            resolved[key] = literal(value, annotations(key)) if isinstance(value, Word) else value
    return resolved
