"""Children that write JSON lines or logfmt: their fields, and the level, message and time among them.

What does not parse is simply text. What does is bounded in size and depth, and holds no number that is
infinite or wider than 64 bits and no lone surrogate, so that every sink can send it on.
"""

from __future__ import annotations

import functools
import math
import re

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._text import Batch, lines_with, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = ["LEVEL_KEYS", "MESSAGE_KEYS", "TIME_KEYS", "Structured", "level_of", "message_of", "time_ns_of"]

_LONGEST = 65536
_DEEPEST = 16
_MOST = 256

LEVEL_KEYS = (
    "level",
    "lvl",
    "severity",
    "levelname",
    "log.level",
    "@level",
    "loglevel",
    "error_severity",
    "s",
)
MESSAGE_KEYS = ("message", "msg", "@message", "event", "short_message", "log")
TIME_KEYS = ("time", "ts", "timestamp", "@timestamp", "datetime")
_WORDS = {
    **dict.fromkeys(("trace", "debug", "verbose", "d", "t"), DEBUG),
    **dict.fromkeys(("info", "information", "informational", "notice", "log", "i"), INFO),
    **dict.fromkeys(("warn", "warning", "w"), WARNING),
    **dict.fromkeys(("err", "error", "severe", "e"), ERROR),
    **dict.fromkeys(
        ("crit", "critical", "fatal", "panic", "alert", "emerg", "emergency", "f", "c"), CRITICAL
    ),
}
# 0 to 7 as in syslog (GELF, journald), from 10 in tens as pino and bunyan count.
_NUMBERS = (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)
_TENS = {10: DEBUG, 20: DEBUG, 30: INFO, 40: WARNING, 50: ERROR, 60: CRITICAL}

_KEYED = re.compile(r"\n[A-Za-z_@][\w.@/-]{0,127}+=")
_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]{0,127})=(?:"((?:[^"\\]|\\.)*+)"|([^\s"]*+))(?:[ \t]++|\Z)')
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def _int(digits: str) -> int | float | str:
    return int(digits) if len(digits) <= 18 else _float(digits)


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits[:64]


@functools.cache
def _decoder() -> Callable[[str], Any]:
    import json  # only for children that write JSON

    return json.JSONDecoder(parse_int=_int, parse_float=_float, parse_constant=str).decode


class Structured:
    """Reads the fields of one run's lines.

    Args:
        redact: Applied to strings of lines with escapes, which redaction of the line could not see through.
        logfmt: Whether to read logfmt, too.
    """

    def __init__(self, *, redact: Callable[[str], str] | None = None, logfmt: bool = True) -> None:
        self._redact = redact
        self._logfmt = logfmt
        self._last: tuple[Sequence[str], list[Mapping[str, Any] | None] | None] = ((), None)

    def fields(
        self, texts: Sequence[str], batch: Batch | None = None
    ) -> list[Mapping[str, Any] | None] | None:
        """Read the fields of a batch of lines; asked again for the same list, it answers from memory.

        Args:
            texts: Lines without their endings.
            batch: The lines again, if the caller has that already.

        Returns:
            One entry a line, None for plain text; None when all of them are.
        """
        if self._last[0] is not texts:
            self._last = (texts, self._read(batch or Batch(texts)))
        return self._last[1]

    def _read(self, batch: Batch) -> list[Mapping[str, Any] | None] | None:
        texts, text = batch.texts, batch.text
        found: dict[int, Mapping[str, Any] | None] = {}
        # A character that a whole batch lacks rules it out for the price of nothing.
        if "{" in text and '"' in text:
            for index in lines_with('{"', batch.joined):
                found[index] = self._json(texts[index])
        if self._logfmt and "=" in text:
            for index, _ in numbered(batch.joined, _KEYED.finditer(batch.joined)):
                found[index] = self._pairs(texts[index])
        return [found.get(index) for index in range(len(texts))] if any(found.values()) else None

    def _json(self, text: str) -> Mapping[str, Any] | None:
        if text.lstrip()[:1] != "{" or len(text) > _LONGEST:
            return None
        try:
            value = _decoder()(text)
            # Only escapes can hide what must not pass, and only many brackets can nest deeply.
            if "\\" in text or text.count("{") + text.count("[") > _DEEPEST:
                value = self._clean(value, _DEEPEST)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) and len(value) <= _MOST else None

    def _clean(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            value = value.encode("utf-8", "backslashreplace").decode()
            return self._redact(value) if self._redact else value
        if isinstance(value, dict | list) and not depth:
            raise ValueError("nested too deeply")
        if isinstance(value, dict):
            return {self._clean(key, depth): self._clean(item, depth - 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._clean(item, depth - 1) for item in value]
        return value

    def _pairs(self, text: str) -> Mapping[str, Any] | None:
        text = text.strip()
        fields: dict[str, Any] = {}
        position = 0
        while position < len(text) and len(fields) <= _MOST:
            pair = _PAIR.match(text, position)
            if pair is None:
                return None
            quoted = pair[2]
            if quoted is not None and "\\" in quoted:
                quoted = self._clean(_ESCAPED.sub(lambda m: _ESCAPES.get(m[1], m[1]), quoted), 1)
            fields[pair[1]] = pair[3] if quoted is None else quoted
            position = pair.end()
        # "A=1" may be anything; a log line has more than one pair, and one of them says what it is.
        known = fields.keys() & {*LEVEL_KEYS[:-1], *MESSAGE_KEYS, *TIME_KEYS}
        return fields if known and 2 <= len(fields) <= _MOST else None


def level_of(fields: Mapping[str, Any]) -> int | None:
    """The level that fields tell, in the numbers of :mod:`logging`; None when they tell none."""
    for key in LEVEL_KEYS:
        value = fields.get(key)
        if isinstance(value, str):
            found = _WORDS.get(value.strip().rstrip("12345").lower())
        elif isinstance(value, int):
            found = _NUMBERS[value] if 0 <= value < len(_NUMBERS) else _TENS.get(value)
        else:
            continue
        if found is not None:
            return found
    number = fields.get("levelno")
    return number if isinstance(number, int) and 0 < number <= CRITICAL else None


def message_of(fields: Mapping[str, Any]) -> str | None:
    """The message among fields; None when there is none."""
    for key in MESSAGE_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def time_ns_of(fields: Mapping[str, Any]) -> int | None:
    """The time that fields tell, in nanoseconds since the epoch; None when they tell none, or no time zone.

    A number is taken as seconds, milliseconds, microseconds or nanoseconds since the epoch by its size.
    """
    for key in TIME_KEYS:
        value = fields.get(key)
        if isinstance(value, str):
            found = _iso_ns(value)
        elif isinstance(value, int | float) and 1e8 <= value < 1e19:
            # 1e11 seconds are the year 5138: beyond that it is a finer unit.
            unit = 1_000_000_000 // 1000 ** sum(value >= bound for bound in (1e11, 1e14, 1e17))
            found = int(value * unit) if isinstance(value, int) else round(value * unit)
        else:
            continue
        if found is not None:
            return found
    return None


def _iso_ns(text: str) -> int | None:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text[:40])
        if moment.tzinfo is None:
            return None
        past = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return (past.days * 86400 + past.seconds) * 1_000_000_000 + past.microseconds * 1000
