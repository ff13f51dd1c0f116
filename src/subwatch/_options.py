"""The options of a watched run: their names, defaults and checks, in one table."""

from __future__ import annotations

from .errors import ConfigError
from .records import INFO, WARNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal, TypedDict

    from ._watch import Watch
    from .records import Line
    from .sinks import SinkLike

    class Options(TypedDict, total=False):
        """Keywords that `run`, `Popen`, the functions of `aio` and `Watch` have beyond the standard ones."""

        sinks: Iterable[SinkLike]
        tags: Mapping[str, str]
        redact: Iterable[str] | Callable[[str], str]
        watch_stdout: bool
        record_encoding: str | None
        grace: float
        tree: bool
        idle_timeout: float | None
        stop_on: str | re.Pattern[str] | Callable[[Line], object] | None
        on_line: Callable[[Line], object] | None
        on_error: Literal["report", "raise"]
        drain: float
        pty: bool | None
        tail: int
        levels: Callable[[str], int | None] | Sequence[Any]
        default_level: int
        ceiling: int
        recognizers: Sequence[Any] | None
        max_line: int
        partial_delay: float
        flush_timeout: float

    class CallOptions(Options, total=False):
        """`Options`, and the watch to take the defaults from."""

        watch: Watch


__all__ = ["DEFAULTS", "check", "merge", "split"]

DEFAULTS: dict[str, Any] = {
    "sinks": ("logging",),
    "tags": {},
    "redact": (),
    "watch_stdout": False,
    "record_encoding": None,
    "grace": 2.0,
    "tree": False,
    "idle_timeout": None,
    "stop_on": None,
    "on_line": None,
    "on_error": "report",
    "drain": 1.0,
    "pty": None,
    "tail": 20,
    "levels": (),
    "default_level": INFO,
    "ceiling": WARNING,
    "recognizers": None,
    "max_line": 64 * 1024,
    "partial_delay": 0.2,
    "flush_timeout": 2.0,
}


_MOST = 2**31 - 1  # what is larger is a slip, and more than clocks and buffers take; not for ever, nor nan


def _number(minimum: float, *, optional: bool = False, whole: bool = False) -> Callable[[Any], bool]:
    kinds = (int,) if whole else (int, float)

    def fits(value: Any) -> bool:
        if value is None:
            return optional
        return isinstance(value, kinds) and not isinstance(value, bool) and minimum <= value <= _MOST

    return fits


def _is_encoding(value: Any) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, str) and bool(b"x".decode(value, "replace"))
    except (LookupError, ValueError):  # there is none of this name, or it is none of text, such as "hex"
        return False


def _is_matcher(value: Any) -> bool:
    if isinstance(value, str):
        import re

        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError):
            return False
        return True
    return value is None or callable(value) or hasattr(value, "search")


def _is_list(value: Any) -> bool:
    return not isinstance(value, (str, bytes)) and hasattr(value, "__iter__")


def _is_tags(value: Any) -> bool:
    return hasattr(value, "items") and all(
        isinstance(k, str) and isinstance(v, str) for k, v in value.items()
    )


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


# name -> (check, what it takes)
_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "sinks": (_is_list, "a list of sinks: names, subwatch.sink(...), sink objects, callables"),
    "tags": (_is_tags, "a mapping of strings to strings"),
    "redact": (
        lambda v: callable(v) or (_is_list(v) and all(isinstance(s, str) and s for s in v)),
        "a list of non-empty secret strings, or a function from text to text",
    ),
    "watch_stdout": (_is_bool, "True or False"),
    "record_encoding": (_is_encoding, "the name of an encoding, or None for that of the call, else UTF-8"),
    "grace": (_number(0), "seconds between SIGTERM and SIGKILL, 0 or more"),
    "tree": (_is_bool, "True or False"),
    "idle_timeout": (_number(0, optional=True), "seconds, or None"),
    "stop_on": (
        _is_matcher,
        "a regular expression, or a function from Line to bool",
    ),
    "on_line": (lambda v: v is None or callable(v), "a function that takes a Line"),
    "on_error": (lambda v: v in ("report", "raise"), "'report' or 'raise'"),
    "drain": (_number(0), "seconds, 0 or more"),
    "pty": (lambda v: v is None or isinstance(v, bool), "True, False, or None to decide by the terminal"),
    "tail": (_number(0, whole=True), "a number of lines, 0 or more"),
    "levels": (
        lambda v: callable(v) or _is_list(v),
        "a function from text to level or None, or a list of rules",
    ),
    "default_level": (_number(0, whole=True), "a level number of logging"),
    "ceiling": (_number(0, whole=True), "a level number of logging"),
    "recognizers": (
        lambda v: v is None or _is_list(v),
        "a list of recognisers, or None for the built-in ones",
    ),
    "max_line": (_number(16, whole=True), "a number of bytes, 16 or more"),
    "partial_delay": (_number(0.001), "seconds, 0.001 or more"),
    "flush_timeout": (_number(0), "seconds, 0 or more"),
}


def check(options: Mapping[str, Any]) -> None:
    """Check names and values.

    Raises:
        TypeError: There is no such option.
        ConfigError: A value is of the wrong kind; the message says what it takes.
    """
    for name, value in options.items():
        rule = _CHECKS.get(name)
        if rule is None:
            from difflib import get_close_matches

            close = get_close_matches(name, _CHECKS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"options are {', '.join(sorted(_CHECKS))}"
            raise TypeError(f"unknown option {name!r}: {hint}")
        if not rule[0](value):
            raise ConfigError(f"{name}= takes {rule[1]}; {_shown(value)} is not that")
    if "levels" in options:
        from .processors.rules import compile_rules

        one = callable(options["levels"])
        compile_rules([options["levels"]] if one else options["levels"])
    if options.get("recognizers"):
        from .processors.progress import resolve

        resolve(options["recognizers"])


def _shown(value: Any) -> str:
    """A number as it is; of anything else the type only: it may be, or hold, a secret."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64):
        return repr(value)
    return f"this {type(value).__name__}"


def split(keywords: dict[str, Any]) -> dict[str, Any]:
    """Take our options out of the keywords of a call and return them, checked."""
    options = {name: keywords.pop(name) for name in DEFAULTS.keys() & keywords.keys()}
    if options:
        check(options)
    return options


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Put options over others: tags and secrets add up, everything else replaces."""
    merged = {**base, **over}
    if "tags" in over:
        merged["tags"] = {**base.get("tags", {}), **over["tags"]}
    if "redact" in over and not callable(over["redact"]) and not callable(base.get("redact", ())):
        merged["redact"] = (*base.get("redact", ()), *over["redact"])
    return merged
