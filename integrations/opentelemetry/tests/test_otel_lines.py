"""Lines: log records at a bounded rate, events, or nothing."""

from __future__ import annotations

import subprocess

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import subwatch
from subwatch.records import CONTINUED, INFO, PARTIAL, TRUNCATED, WARNING, Progress
from subwatch_opentelemetry import OpenTelemetrySink
from subwatch_opentelemetry._logs import severity
from subwatch_opentelemetry._rate import RateLimit


def test_log_record_per_line(memory, Child, follow):
    child = Child()
    batch = child.lines("starting", "warn: slow")
    follow(memory.sink(), child, child.start(), batch, child.exit())

    place = memory.span.get_span_context()
    first, second = memory.logs
    assert (first.body, second.body) == ("starting", "warn: slow")
    assert (first.severity_number, first.severity_text) == (SeverityNumber.INFO, "INFO")
    assert (second.severity_number, second.severity_text) == (SeverityNumber.WARN, "WARNING")
    assert [record.timestamp for record in memory.logs] == batch.times
    assert [record.observed_timestamp for record in memory.logs] == batch.times
    assert {(record.trace_id, record.span_id) for record in memory.logs} == {(place.trace_id, place.span_id)}
    assert first.event_name is None
    assert dict(first.attributes) == {"log.iostream": "stderr", "process.executable.name": "pg_basebackup"}


def test_late_lines_still_belong_to_the_span(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit(), child.lines("afterwards", late=True))

    (record,) = memory.logs
    assert record.attributes["subwatch.line.late"] is True
    assert record.span_id == memory.span.get_span_context().span_id


def test_watched_stdout_is_named(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.lines("out", stream="stdout"), child.exit())

    assert memory.logs[0].attributes["log.iostream"] == "stdout"


def test_failure_is_an_event_in_the_log(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit(1))

    (record,) = memory.logs
    assert record.event_name == "subwatch.process.exit"
    assert record.severity_number is SeverityNumber.ERROR
    assert record.body == "pg_basebackup exited with code 1 after 0.25 s"
    assert record.attributes["process.exit.code"] == 1
    assert record.attributes["error.type"] == "1"


def test_logs_without_tracing_tell_every_exit(memory, Child, follow):
    child = Child()
    sink = OpenTelemetrySink(logger_provider=memory.logger_provider)
    follow(sink, child, child.start(), child.lines("a"), child.exit())

    assert [(record.body, record.severity_text) for record in memory.logs] == [
        ("a", "INFO"),
        ("pg_basebackup exited with code 0 after 0.25 s", "INFO"),
    ]
    assert child.run.fields == {}
    identity = {
        "process.executable.name": "pg_basebackup",
        "process.pid": 4711,
        "subwatch.run.id": child.run.id,
    }
    assert dict(memory.logs[0].attributes) == {"log.iostream": "stderr", **identity}
    assert dict(memory.logs[1].attributes).items() >= identity.items()


def test_unsampled_child_says_whose_lines_they_are(memory, Child, follow):
    child = Child()
    sink = memory.sink(tracer_provider=TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))
    follow(sink, child, child.start(), child.lines("a"), child.exit())

    line, exit = memory.logs
    assert line.attributes["subwatch.run.id"] == exit.attributes["subwatch.run.id"] == child.run.id
    assert f"{line.trace_id:032x}" == child.run.fields["trace_id"]


def test_pieces_of_lines_are_marked(memory, Child, follow):
    child = Child()
    batch = child.lines("whole", "Password: ", "rest", "very long")
    batch._flags = [0, PARTIAL, CONTINUED, TRUNCATED | CONTINUED]
    follow(memory.sink(), child, child.start(), batch, child.exit())

    marks = [sorted(name for name in record.attributes if ".line." in name) for record in memory.logs]
    assert marks == [
        [],
        ["subwatch.line.partial"],
        ["subwatch.line.continued"],
        ["subwatch.line.continued", "subwatch.line.truncated"],
    ]


def progressing(child, *fractions):
    """A batch of progress updates; None stands for a line that is none."""
    batch = child.lines(*["done" if each is None else f"{each:.0%}" for each in fractions])
    batch._progress = [
        each if each is None else Progress(fraction=each, recognizer="x") for each in fractions
    ]
    return batch


@pytest.mark.parametrize(
    ("progress", "expected", "thinned"),
    [
        (3600, ["0%", "done", "100%", "0%", "40%"], 99 + 3),
        (0.0, None, 0),
        (True, None, 0),
        (False, ["done"], 106),
    ],
)
def test_progress_is_thinned_and_counted(memory, Child, follow, progress, expected, thinned):
    child = Child()
    first = progressing(child, *(n / 100 for n in range(50)), None, *(n / 100 for n in range(50, 101)))
    batches = [first, progressing(child, 0, 0.1), progressing(child, 0.2, 0.3, 0.4)]
    sink = memory.sink(progress=progress, max_lines_per_second=0)
    follow(sink, child, child.start(), *batches, child.exit())

    bodies = [record.body for record in memory.logs]
    assert bodies == (expected or [text for batch in batches for text in batch.texts])
    assert memory.span.attributes.get("subwatch.lines.thinned", 0) == thinned
    times = [record.timestamp for record in memory.logs]
    assert times == sorted(times)


def test_updates_that_no_recogniser_reads_are_thinned_too(memory, Child, follow):
    child = Child()
    batch = child.lines(*(f"step {n}" for n in range(10)), "warn: hot", "step 10", "end")
    batch._endings = ["\r"] * 12 + ["\n"]
    follow(memory.sink(), child, child.start(), batch, child.exit())

    assert [record.body for record in memory.logs] == ["step 0", "warn: hot", "end", "step 10"]
    assert memory.span.attributes["subwatch.lines.thinned"] == 9


def test_real_progress(memory):
    script = "for n in 1 2 3 4 5 6 7 8 9; do printf '%s0%%\\r' $n >&2; done; echo ready >&2"
    subwatch.run(["sh", "-c", script], sinks=[memory.sink()], stderr=subprocess.DEVNULL)

    assert [record.body for record in memory.logs] == ["10%", "ready", "90%"]


@pytest.mark.parametrize("lines", ["events", "none"])
def test_no_line_is_made_for_the_tail_alone(memory, lines):
    exits = []

    class Ends:
        wants_lines = False

        def open(self, run):
            return self

        def emit(self, records):
            exits.extend(record for record in records if isinstance(record, subwatch.Exit))

        def close(self, timeout=0):
            return None

    sinks = [memory.sink(lines=lines), Ends()]
    subwatch.run(["sh", "-c", "seq 1000 >&2; exit 1"], sinks=sinks, stderr=subprocess.DEVNULL)
    assert sum(exits[0].lines.values()) == 0
    assert memory.span.attributes["subwatch.tail"] == tuple(map(str, range(981, 1001)))
    assert len(memory.span.events) == (20 if lines == "events" else 0)


def test_more_last_lines_than_the_exit_record_has(memory):
    subwatch.run(
        ["sh", "-c", "seq 100 >&2; exit 1"], sinks=[memory.sink(tail=50)], stderr=subprocess.DEVNULL, tail=3
    )
    assert memory.span.attributes["subwatch.tail"] == tuple(map(str, range(51, 101)))


def test_events_are_the_tail(memory, Child, follow):
    child = Child()
    lines = [f"line {number}" for number in range(300)]
    follow(
        memory.sink(lines="events", tail=3), child, child.start(), child.lines(*lines), child.exit(tail=lines)
    )

    assert memory.logs == []
    assert [event.attributes["subwatch.line.text"] for event in memory.span.events] == lines[-3:]
    assert {event.name for event in memory.span.events} == {"subwatch.process.line"}
    assert memory.span.dropped_events == 0


def test_none(memory, Child, follow):
    child = Child()
    follow(memory.sink(lines="none"), child, child.start(), child.lines("a"), child.exit(1, tail=["a"]))

    assert memory.logs == []
    assert memory.span.events == ()


def test_nobody_listening_leaves_the_bytes_alone(memory, Child, follow):
    child = Child()
    batch = child.lines("a")
    batch._texts, batch._block = None, b"a\n"
    follow(memory.sink(lines="none"), child, child.start(), batch, child.exit())

    assert batch._texts is None


def test_fields_of_a_structured_line(memory, Child, follow):
    child = Child()
    line = '{"msg": "done", "n": 3, "ok": true, "t": 0.5, "big": 9223372036854775808, "deep": {"a": ["é"]}, "no": null}'
    follow(memory.sink(), child, child.start(), child.lines("plain", line), child.exit())

    plain, structured = memory.logs
    assert not any(name.startswith("subwatch.field.") for name in plain.attributes)
    assert {
        name: value for name, value in structured.attributes.items() if name.startswith("subwatch.field.")
    } == {
        "subwatch.field.msg": "done",
        "subwatch.field.n": 3,
        "subwatch.field.ok": True,
        "subwatch.field.t": 0.5,
        "subwatch.field.big": "9223372036854775808",
        "subwatch.field.deep": '{"a": ["é"]}',
    }


def test_chatty_child_is_cut_and_counted(memory, Child, follow):
    child = Child()
    chatter = [f"line {number}" for number in range(5000)]
    chatter[4000] = "warn: the one that matters"
    sink = memory.sink(max_lines_per_second=100)
    stream = follow(sink, child, child.start(), child.lines(*chatter), child.exit())

    bodies = [record.body for record in memory.logs]
    assert bodies[:74] == chatter[:74]
    assert bodies[-1] == chatter[4000]
    assert 75 <= len(bodies) <= 100
    assert stream.dropped == 5000 - len(bodies)
    assert memory.span.attributes["subwatch.lines.dropped"] == stream.dropped


def test_limit_can_be_lifted(memory, Child, follow):
    child = Child()
    follow(
        memory.sink(max_lines_per_second=0), child, child.start(), child.lines(*["a"] * 3000), child.exit()
    )

    assert len(memory.logs) == 3000
    assert "subwatch.lines.dropped" not in memory.span.attributes


def test_rate_is_shared_and_refilled(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("subwatch_opentelemetry._rate.time.monotonic", lambda: now[0])
    limit = RateLimit(100)

    assert len(limit.choose([INFO] * 200)) == 75
    assert len(limit.choose([INFO] * 10)) == 0
    assert list(limit.choose([INFO, WARNING])) == [1]
    now[0] += 0.5
    assert len(limit.choose([INFO] * 200)) == 49
    now[0] += 3600
    assert len(limit.choose([WARNING] * 200)) == 100


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (10, SeverityNumber.DEBUG),
        (25, SeverityNumber.INFO),
        (40, SeverityNumber.ERROR),
        (50, SeverityNumber.FATAL),
        (99, SeverityNumber.FATAL),
        (0, SeverityNumber.DEBUG),
    ],
)
def test_severity(level, expected):
    assert severity(level)[0] is expected


def test_metrics(memory, Child, follow):
    sink = memory.sink(metrics=True, meter_provider=memory.meter_provider)
    running = sink.open(Child().run)
    running.emit(Child().start())
    for code in (0, 0, 3):
        child = Child()
        follow(sink, child, child.start(), child.lines("a", "warn", "b"), child.exit(code))
    child = Child()
    follow(sink, child, child.exit(None, reason="spawn_failed", error="no", error_type="PermissionError"))

    points, name = memory.points("value"), {"process.executable.name": "pg_basebackup"}
    assert points["subwatch.process.active"] == [(name, 1)]
    assert memory.points("count")["subwatch.process.duration"] == [
        (name, 2),
        ({**name, "error.type": "3"}, 1),
        ({**name, "error.type": "PermissionError"}, 1),
    ]
    assert points["subwatch.process.exits"] == [
        ({**name, "process.exit.code": 0}, 2),
        ({**name, "process.exit.code": 3, "error.type": "3"}, 1),
        ({**name, "error.type": "PermissionError"}, 1),
    ]
    stderr = {**name, "log.iostream": "stderr"}
    assert points["subwatch.process.lines"] == [
        ({**stderr, "subwatch.line.level": "info"}, 6),
        ({**stderr, "subwatch.line.level": "warning"}, 3),
    ]
    running.close()
    assert memory.points("value")["subwatch.process.active"] == [(name, 0)]


def test_no_metrics_unless_asked(memory, Child, follow):
    child = Child()
    follow(memory.sink(meter_provider=memory.meter_provider), child, child.start(), child.exit())

    assert memory._metrics.get_metrics_data() is None
