"""Names and values as Loki takes them.

Labels choose the stream: few, with few values. Everything else is structured metadata of an entry. A bad
label name costs the whole request (400), a metadata name without any ASCII letter or digit costs it with a
500 that never goes away, so every name is made valid here, before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json.encoder import encode_basestring  # the C function, when there is one
from typing import TYPE_CHECKING

from logging_loki.emitter import LokiEmitterV1  # type: ignore[import-untyped]

from subwatch.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_LABELS", "clip", "label_name", "label_set", "metadata", "metadata_name"]

DEFAULTS = {"service_name": "subwatch", "job": "subwatch"}
#: Limits of a Loki with default settings (`limits_config`); sizes in bytes of UTF-8.
MAX_LABELS = 15
MAX_NAME = 1024
MAX_LABEL_VALUE = 2048
# Loki allows 64 KiB and 128 pairs per entry in all; some are left for what single lines have besides.
MAX_METADATA = 90
MAX_METADATA_TOTAL = 48 * 1024
MAX_METADATA_VALUE = 8 * 1024

# The sanitiser of python-logging-loki, without its cache that would keep every emitter alive.
_format_label = LokiEmitterV1.format_label.__wrapped__
_INVALID = re.compile(r"[^A-Za-z0-9_]+")
_USABLE = re.compile(r"[A-Za-z0-9]")


def label_name(name: object) -> str:
    """Make a label name valid: ASCII letters, digits and ``_``, no digit first, no reserved ``__`` in front.

    Args:
        name: Any name.

    Returns:
        The same for a valid name; a name of hexadecimal digits where nothing usable is left.
    """
    text = str(name)
    return _finish(_format_label(LokiEmitterV1, text), text)


def metadata_name(name: object) -> str:
    """Make a structured metadata name valid; other than in labels, unknown characters become ``_``."""
    text = str(name)
    return _finish(_INVALID.sub("_", text), text)


def _finish(cleaned: str, name: str) -> str:
    if cleaned.startswith("__"):
        cleaned = "_" + cleaned.lstrip("_")
    if not _USABLE.search(cleaned):
        cleaned = "key_" + name.encode("utf-8", "backslashreplace").hex()
    elif cleaned[0].isdigit():
        cleaned = "_" + cleaned
    return cleaned[:MAX_NAME]


def clip(value: object, limit: int) -> str:
    """Text of at most `limit` bytes of UTF-8, without lone surrogates; a cut is marked with an ellipsis."""
    data = str(value).encode("utf-8", "replace")
    if len(data) > limit:
        return data[: limit - 3].decode("utf-8", "ignore") + "…"
    return data.decode()


def label_set(labels: Mapping[str, object]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Add the default labels, and make all valid.

    Args:
        labels: Names and values as the user gave them. Empty values are left out, as Loki does.

    Returns:
        The labels to use, the ones above Loki's limit of 15 (to go into structured metadata instead), and
        what there is to say about the changes.
    """
    if not isinstance(labels, Mapping):
        raise ConfigError(f"loki: labels must be a mapping of names to values, not {labels!r}")
    chosen: dict[str, str] = {}
    surplus: dict[str, str] = {}
    remarks: list[str] = []
    for name, value in {**DEFAULTS, **labels}.items():
        text = clip("" if value is None else value, MAX_LABEL_VALUE)
        if not text:
            continue
        valid = label_name(name)
        if valid != name:
            remarks.append(f"label {name!r} is sent as {valid!r}")
        if text != str(value):
            remarks.append(f"the value of label {name!r} is cut to {MAX_LABEL_VALUE} bytes")
        target = chosen if valid in chosen or len(chosen) < MAX_LABELS else surplus
        target[valid] = text
    if surplus:
        remarks.append(
            f"Loki takes at most {MAX_LABELS} labels, these are sent as structured metadata: "
            f"{', '.join(surplus)}"
        )
    return chosen, surplus, remarks


def metadata(
    pairs: Iterable[tuple[str, object]], most: int = MAX_METADATA, room: int = MAX_METADATA_TOTAL
) -> str:
    """Structured metadata as the inside of a JSON object: ``"name":"value","name":"value"``.

    Args:
        pairs: Names and values; None and empty values are left out, of equal names the first is used.
        most: How many pairs at most.
        room: Bytes of names and values at most.

    Returns:
        JSON text; a trailing pair ``metadata_cut`` tells how many had to go.
    """
    seen: dict[str, str] = {}
    total = cut = 0
    for name, value in pairs:
        text = "" if value is None else clip(value, MAX_METADATA_VALUE)
        valid = metadata_name(name)
        if not text or valid in seen:
            continue
        size = len(valid) + len(text.encode())
        if len(seen) >= most or total + size > room:
            cut += 1
            continue
        seen[valid] = text
        total += size
    if cut:
        seen["metadata_cut"] = str(cut)
    return ",".join(f'"{name}":{encode_basestring(text)}' for name, text in seen.items())
