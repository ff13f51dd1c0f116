"""Values of ``--recognizer``: how progress is read from lines that no built-in recogniser knows."""

from __future__ import annotations

import re

from ..errors import ConfigError
from . import _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..processors.progress import Pattern

__all__ = ["recognizer", "recognizers"]

_GROUPS = ("completed", "total", "percent", "unit", "label")


def recognizer(value: str) -> str | Pattern:
    """The name of an installed recogniser, or a ``NAME=REGEX`` whose groups tell the progress."""
    from ..processors.progress import Pattern, resolve

    name, equals, expression = value.partition("=")
    if not equals or not name:
        try:
            resolve([name])
        except ConfigError as error:
            raise ConfigError(f"takes NAME or NAME=REGEX; {error}") from None
        return name
    groups = re.compile(_values.pattern(expression)).groupindex.keys()
    if not groups & {"completed", "percent"} or groups - {*_GROUPS}:
        raise ConfigError(
            f"takes NAME=REGEX with a group (?P<completed>...) or (?P<percent>...), and no groups but "
            f"{', '.join(_GROUPS)}; {expression[:100]!r} is not that"
        )
    return Pattern(name, expression, programs=("*",), needles=())


def recognizers(value: Any) -> list[str | Pattern]:
    """Recognisers: a list, or words."""
    return [recognizer(word) for word in _values.texts(value)]
