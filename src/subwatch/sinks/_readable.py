"""What a structured line says to a person."""

from __future__ import annotations

import re

from ..processors.structured import LEVEL_KEYS, MESSAGE_KEYS, TIME_KEYS, level_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["readable"]

_WORD = re.compile(r'[^\s"=]+')


def readable(text: str, fields: Mapping[str, Any] | None) -> str:
    """What a line says to a person: of JSON and logfmt the message, then what else there is as ``key=value``.

    Level and time are left out: whoever shows a line knows both.

    Args:
        text: The line's text.
        fields: Its fields, None for plain text.

    Returns:
        The text itself where there are no fields, or no message among them.
    """
    if not fields:
        return text
    said = next((key for key in MESSAGE_KEYS if isinstance(fields.get(key), str) and fields[key]), None)
    if said is None:
        return text
    others = [
        f"{key}={_spelled(value)}" for key, value in fields.items() if key != said and _tells(key, value)
    ]
    return " ".join([fields[said], *others])


def _tells(key: str, value: Any) -> bool:
    return not (key in TIME_KEYS or (key in LEVEL_KEYS and level_of({key: value}) is not None))


def _spelled(value: Any) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
