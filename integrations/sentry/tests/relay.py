"""Sentry's own ingestion library as a judge of events."""

from __future__ import annotations

import json
import warnings

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its foreign-function layer
        from sentry_relay.processing import StoreNormalizer
except ImportError as error:
    raise AssertionError(f"needed is: pip install sentry-relay==0.10.1 ({error})") from None

_normalizer = StoreNormalizer(
    project_id=1,
    remove_other=True,
    is_renormalize=False,
    max_secs_in_future=60,
    max_secs_in_past=30 * 86400,
    enable_trimming=True,
)


def _complaints(meta, path=""):
    for key, value in (meta or {}).items():
        if key in ("err", "rem") and value:
            yield f"{path}: {value}"
        elif isinstance(value, dict):
            yield from _complaints(value, f"{path}.{key}" if key else path)


def check(event):
    """Nothing is wrong with an event, and nothing of it would be removed or trimmed."""
    normal = _normalizer.normalize_event(raw_event=json.dumps(event))
    assert not normal.get("errors"), normal["errors"]
    assert list(_complaints(normal.get("_meta"))) == []
