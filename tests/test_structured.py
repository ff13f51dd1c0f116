"""Fields of JSON lines and logfmt; what is neither is text, and nothing in a line can do harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subwatch.processors.structured import Structured, level_of, message_of, time_ns_of
from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING


def fields(text: str, **options: Any) -> Any:
    found = Structured(**options).fields([text])
    return found and found[0]


@pytest.mark.parametrize(
    ("text", "level", "message", "time_ns"),
    [
        # structlog, zap, logrus, pino, bunyan, python-json-logger, hclog, PostgreSQL, MongoDB, borg, GELF
        (
            '{"event": "hi", "level": "warning", "timestamp": "2026-11-22T15:09:13Z"}',
            WARNING,
            "hi",
            1795360153 * 10**9,
        ),
        ('{"level":"error","ts":1795360153.5,"msg":"hi"}', ERROR, "hi", 1795360153_500_000_000),
        ('{"level":"info","msg":"hi","time":"2026-11-22T16:09:13+01:00"}', INFO, "hi", 1795360153 * 10**9),
        ('{"level":50,"time":1795360153123,"pid":1,"msg":"hi"}', ERROR, "hi", 1795360153_123_000_000),
        (
            '{"level":30,"msg":"hi","time":"2026-11-22T15:09:13.123Z","v":0}',
            INFO,
            "hi",
            1795360153_123_000_000,
        ),
        ('{"asctime":"2026-11-22 15:09:13,1","levelname":"CRITICAL","message":"hi"}', CRITICAL, "hi", None),
        (
            '{"@level":"debug","@message":"hi","@timestamp":"2026-11-22T15:09:13.123Z"}',
            DEBUG,
            "hi",
            1795360153_123_000_000,
        ),
        ('{"timestamp":"2026-11-22 15:09 UTC","error_severity":"LOG","message":"hi"}', INFO, "hi", None),
        ('{"t":{"$date":"2026"},"s":"W","msg":"hi"}', WARNING, "hi", None),
        ('{"levelname":"WARNING","message":"hi","time":1795360153.5}', WARNING, "hi", 1795360153_500_000_000),
        ('{"version":"1.1","short_message":"hi","level":3}', ERROR, "hi", None),
        ('{"levelno":40}', ERROR, None, None),
        ('{"severity":"DEBUG5"}', DEBUG, None, None),
        ("{}", None, None, None),
        ('{"level":"loud","msg":"","time":"yesterday"}', None, None, None),
        ('{"level":-1,"msg":3,"time":-5}', None, None, None),
        ('{"level":99,"time":1e30}', None, None, None),
        ('{"level":true,"time":true}', CRITICAL, None, None),
        ('{"level":null,"lvl":"warn"}', WARNING, None, None),
        (
            'time="2026-11-22T15:09:13Z" level=error msg="a \\"quoted\\" b"',
            ERROR,
            'a "quoted" b',
            1795360153 * 10**9,
        ),
        ("ts=2026-11-22T15:09:13Z caller=main.go:1 level=warn msg=hi", WARNING, "hi", 1795360153 * 10**9),
        ("level=info msg=", INFO, None, None),
    ],
)
def test_loggers(text: str, level: int | None, message: str | None, time_ns: int | None) -> None:
    found = fields(text)
    if text == "{}":
        assert found is None or found == {}
        return

    assert (level_of(found), message_of(found), time_ns_of(found)) == (level, message, time_ns)


def test_json_keeps_its_values() -> None:
    assert fields(' {"a": [1, 2.5, null, true, {"b": "c"}]} ') == {"a": [1, 2.5, None, True, {"b": "c"}]}


def test_logfmt_keeps_its_strings() -> None:
    expected = {"level": "info", "msg": "a\nb\\", "n": "3", "empty": "", "url": "http://x/?a=b"}

    assert fields(r'level=info msg="a\nb\\" n=3 empty= url=http://x/?a=b') == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text",
        "{",
        "{}x",
        '{"a": 1',
        '{"a": 1} trailing',
        '[{"a": 1}]',
        'x {"a": 1}',
        "{'a': 1}",
        "{" * 5000,
        '{"a":' * 5000,
        '{"a":' + "[" * 5000 + "]" * 5000 + "}",
        '{"a":' * 20 + "1" + "}" * 20,
        '{"a":"' + "x" * 70_000 + '"}',
        json.dumps({str(n): n for n in range(300)}),
        "A=1",
        "A=1 B=2",
        "level=info",
        "level=info and text",
        'level=info msg="open',
        "level=info =x",
        " ".join(["level=info", *(f"k{n}=1" for n in range(300))]),
        "dd if=/dev/zero of=/dev/null",
    ],
)
def test_what_is_only_text(text: str) -> None:
    assert fields(text) is None


def test_logfmt_may_be_switched_off() -> None:
    assert fields("level=info msg=x", logfmt=False) is None


def test_numbers_fit_every_sink() -> None:
    found = fields(
        f'{{"a": 1e400, "b": -1e400, "c": NaN, "d": Infinity, "e": {"9" * 30}, "f": {"9" * 4000}}}'
    )

    assert found["a"] == "1e400"
    assert found["b"] == "-1e400"
    assert (found["c"], found["d"]) == ("NaN", "Infinity")
    assert found["e"] == 1e30
    assert found["f"] == "9" * 64


def test_lone_surrogates_do_not_pass() -> None:
    found = fields(r'{"a\ud800": "\udc00", "emoji": "\ud83d\ude00"}')

    assert found == {r"a\ud800": r"\udc00", "emoji": "\U0001f600"}
    assert json.dumps(found, ensure_ascii=False).encode()


def test_what_escapes_hide_is_redacted() -> None:
    def redact(text: str) -> str:
        return text.replace("hunter2", "***")

    assert fields(r'{"a": ["hunter\u0032"], "hunter\u0032": 1}', redact=redact) == {"a": ["***"], "***": 1}
    assert fields(r'level=info msg="hun\ter2"', redact=redact)["msg"] == "hun\ter2"
    assert fields(r'level=info msg="hunter\2"', redact=redact)["msg"] == "***"


def test_batches() -> None:
    structured = Structured()
    texts = ["a", '{"level":"error"}', "b {}", "level=debug msg=x", "\x1b", "=", "{"]

    assert structured.fields(texts) == [
        None,
        {"level": "error"},
        None,
        {"level": "debug", "msg": "x"},
        None,
        None,
        None,
    ]
    assert structured.fields(texts) is structured.fields(texts)
    assert structured.fields(["a", "b"]) is None
    assert structured.fields([]) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["level", "msg", "time", "ts", "levelno", "@timestamp", "s"])
OBJECTS = st.dictionaries(KEYS | st.text(max_size=4), VALUES, max_size=5)
PAIRS = st.lists(
    st.sampled_from(["level", "msg", "a", "=", '"', "\\", " ", "info", "x=1 "]), max_size=12
).map("".join)
LINES = OBJECTS.map(json.dumps) | PAIRS | st.text(st.characters(exclude_characters="\n"), max_size=20)


@given(st.lists(LINES, max_size=8))
def test_a_batch_is_its_lines(texts: list[str]) -> None:
    together = Structured().fields(texts) or [None] * len(texts)

    assert together == [fields(text) for text in texts]


@given(LINES)
def test_anything_that_comes_out_can_be_sent_on(text: str) -> None:
    found = fields(text)
    if found is not None:
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
        assert level_of(found) in (None, *range(1, CRITICAL + 1))
        assert isinstance(message_of(found), str | None)
        assert isinstance(time_ns_of(found), int | None)


@given(OBJECTS)
def test_objects_come_back(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    plain = json.loads(text, parse_constant=str)
    found = fields(text)

    assert found is None or found.keys() == {
        key.encode("utf-8", "backslashreplace").decode() for key in plain
    }
