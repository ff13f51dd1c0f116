"""Values in the form and within the sizes that Sentry's ingestion takes without cutting them.

The figures are those of Relay's event schema (``StoreNormalizer`` of the package `sentry-relay`): what is
longer would be trimmed there, or refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["LEVELS", "MESSAGE", "bounded", "clean_tags", "clip", "clipped_fields", "when"]

LEVELS = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", CRITICAL: "fatal"}
#: Characters of a breadcrumb's message; Relay takes 8192, but twenty of them must not fill the event.
MESSAGE = 2048
_TAG = 200


def when(time_ns: int) -> datetime:
    """Return nanoseconds since the epoch as an aware datetime; the SDK sorts nothing else."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC)


def clip(text: str, size: int) -> str:
    """Return at most `size` characters of a text, with an ellipsis where it was cut.

    Lone surrogates, which stand for bytes of file names and arguments that are no text, are escaped: JSON
    with them is refused as a whole.
    """
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= size else text[: size - 1] + "…"


def bounded(texts: Iterable[str], each: int, total: int) -> list[str]:
    """Return the first texts, cut to `each` characters, while `total` lasts; say how many are left."""
    texts = list(texts)
    kept: list[str] = []
    for text in texts:
        total -= min(len(text), each) + 8
        if total < 0:
            return [*kept, f"… and {len(texts) - len(kept)} more"]
        kept.append(clip(text, each))
    return kept


def clipped_fields(fields: Mapping[str, Any], most: int = 10) -> dict[str, Any]:
    """Return the first fields of a structured line, flat and short; of a breadcrumb's data the SDK keeps ten."""
    return {
        clip(name, 100): value if isinstance(value, bool | int | float) else clip(str(value), 200)
        for name, value in islice(fields.items(), most)
    }


def clean_tags(tags: Mapping[str, object]) -> dict[str, str]:
    """Return tags that are valid: short ASCII keys, short values of one line, nothing empty."""
    cleaned = {}
    for key, value in tags.items():
        name = re.sub(r"[^a-zA-Z0-9_.:-]", "_", str(key))[:_TAG]
        text = clip(" ".join(str(value).split()), _TAG)
        if name and text and value is not None:
            cleaned[name] = text
    return cleaned
