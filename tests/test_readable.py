"""What structured lines say to a person."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subwatch.sinks import readable


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"level": "info", "ts": 1700000100.5, "msg": "copied", "file": "a.txt", "bytes": 3}, "copied file=a.txt bytes=3"),
        ({"@timestamp": "2026-01-01T00:00:00Z", "log.level": "warn", "message": "hot"}, "hot"),
        ({"event": "retry", "message": "again", "n": 2}, "again event=retry n=2"),
        ({"msg": "m", "a": "two words", "b": None, "c": True, "d": {"e": [1]}, "f": "", "g": 'x"y'}, 'm a="two words" b=null c=true d={"e":[1]} f="" g="x\\"y"'),
        ({"msg": "m", "s": "I", "level": "unheard of"}, "m level=\"unheard of\""),
        ({"msg": "", "x": 1}, "TEXT"),
        ({"message_type": "status", "percent_done": 0.5}, "TEXT"),
        ({}, "TEXT"),
        (None, "TEXT"),
    ],
)  # fmt: skip
def test_examples(fields, said):
    assert readable("TEXT", fields) == said


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["msg", "level", "time", "s", "event"]) | st.text(), values))
def test_whatever_there_is(fields):
    assert isinstance(readable(json.dumps(fields), fields), str)
