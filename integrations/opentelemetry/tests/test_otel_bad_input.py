"""What goes wrong around us: no exception, no storm of warnings, the child unaffected."""

from __future__ import annotations

import logging
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import context
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from subwatch_opentelemetry import OpenTelemetrySink


def test_no_sdk_does_next_to_nothing(Child, follow):
    child = Child()
    batch = child.lines("a")
    batch._texts, batch._block = None, b"a\n"
    stream = follow(OpenTelemetrySink(), child, child.start(), batch, child.exit(1))

    assert stream.env == {}
    assert batch._texts is None
    assert child.run.fields == {}


def test_sdk_shut_down_before_the_end(Child, caplog):
    tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(InMemoryLogRecordExporter()))
    child = Child()
    sink = OpenTelemetrySink(tracer_provider=tracers, logger_provider=loggers)
    stream = sink.open(child.run)
    stream.emit(child.start())
    tracers.shutdown()
    loggers.shutdown()
    stream.emit(child.lines(*["line"] * 100))
    stream.emit(child.exit(1, tail=["line"]))
    stream.close()

    assert sink.close(1.0) is None
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_provider_without_logs(memory, Child, follow):
    child = Child()
    sink = memory.sink(logger_provider=NoOpLoggerProvider())
    stream = follow(sink, child, child.start(), child.lines("a"), child.exit(1, tail=["a"]))

    assert memory.span.attributes["subwatch.tail"] == ("a",)
    assert stream.dropped == 0


def test_values_over_our_limit(memory, Child, follow):
    child = Child(("/bin/x", "y" * 9000), tags={"long": "z" * 9000})
    follow(memory.sink(max_value_length=100), child, child.start(), child.exit(1, tail=["w" * 9000]))

    attributes = memory.span.attributes
    assert attributes["process.command_args"][1] == "y" * 100
    assert attributes["long"] == "z" * 100
    assert attributes["subwatch.tail"] == ("w" * 100,)
    assert memory.span.status.description == "w" * 100


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_values_over_the_limit_of_the_sdk(make_memory, Child, follow, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")
    memory = make_memory(
        **({} if how == "environment" else {"span_limits": SpanLimits(max_attribute_length=8)})
    )
    child = Child(("/usr/bin/a_very_long_name", *["y" * 50] * 200), tags={"long": "z" * 50})
    follow(memory.sink(), child, child.start(), child.lines("a" * 50), child.exit(1, tail=["w" * 50] * 20))

    assert memory.span.name == memory.span.attributes["process.executable.name"] == "a_very_l"
    assert memory.logs[0].body == "a" * 50


@pytest.mark.parametrize("count", [0, 1, 5, 12, 20])
def test_more_attributes_than_the_sdk_takes(make_memory, Child, follow, count):
    memory = make_memory(span_limits=SpanLimits(max_span_attributes=count))
    child = Child(tags={f"tag{number}": "x" for number in range(1000)})
    follow(memory.sink(), child, child.start(), child.exit(-9, signal="SIGKILL", tail=["a"]))

    attributes = memory.span.attributes
    assert len(attributes) <= count
    if count >= 5:
        assert (attributes["process.exit.code"], attributes["error.type"]) == (137, "SIGKILL")


def test_limits_of_log_records(memory, Child, follow):
    limits = LogRecordLimits(max_log_record_attributes=2, max_log_record_attribute_length=4)
    records = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False, log_record_limits=limits)
    provider.add_log_record_processor(BatchLogRecordProcessor(records))
    child = Child()
    follow(memory.sink(logger_provider=provider), child, child.start(), child.lines("line"), child.exit(1))
    provider.shutdown()

    line, exit = (data.log_record for data in records.get_finished_logs())
    assert dict(line.attributes) == {"log.iostream": "stde", "process.executable.name": "pg_b"}
    assert dict(exit.attributes) == {"process.exit.code": 1, "error.type": "1"}


def test_reserved_names_in_tags(memory, Child, follow):
    tags = {
        "process.pid": "1",
        "error.type": "mine",
        "subwatch.run.id": "mine",
        "code.line.number": "x",
        "otel.status_code": "OK",
        "service.part": "kept",
        "": "empty",
    }
    child = Child(tags=tags)
    follow(memory.sink(), child, child.start(), child.exit())

    attributes = memory.span.attributes
    assert attributes["process.pid"] == 4711
    assert attributes["subwatch.run.id"] == child.run.id
    assert attributes["code.line.number"] == 12
    assert "error.type" not in attributes
    assert attributes["subwatch.tag.error.type"] == "mine"
    assert attributes["subwatch.tag.process.pid"] == "1"
    assert attributes["service.part"] == "kept"
    assert "otel.status_code" not in attributes
    assert "" not in attributes


def test_undecodable_names_do_not_break_the_exporter(memory, Child, follow):
    child = Child(("/tmp/caf\udce9", "\udcff"), cwd="/\udc80", tags={"k\udc80": "v\udc80"})
    child.run.program = "caf\udce9"
    follow(memory.sink(), child, child.start(), child.exit(1, tail=["\udc80"]))

    assert encode_spans(memory.spans).SerializeToString()
    assert encode_logs(memory.log_data).SerializeToString()
    assert memory.span.name == "caf\\udce9"
    assert memory.span.attributes["process.command_args"] == ("/tmp/caf\\udce9", "\\udcff")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    argv=st.lists(st.text(st.characters()), min_size=1, max_size=5),
    tags=st.dictionaries(st.text(st.characters()), st.text(st.characters()), max_size=5),
    lines=st.lists(st.text(), max_size=5),
    fields=st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.floats(), st.lists(st.text()))),
    length=st.one_of(st.none(), st.integers(0, 8)),
)
def test_whatever_comes_can_be_exported(make_memory, Child, follow, argv, tags, lines, fields, length):
    memory = make_memory(span_limits=SpanLimits(max_span_attribute_length=length))
    child = Child(tuple(argv), tags=tags, cwd=argv[0])
    batch = child.lines(*lines)
    batch._fields = [fields] * len(lines)
    follow(memory.sink(), child, child.start(), batch, child.exit(1, tail=argv))

    assert encode_spans(memory.spans).SerializeToString()
    assert encode_logs(memory.log_data).SerializeToString()


def test_suppressed(memory, Child, follow):
    child = Child()
    with suppress_instrumentation():
        stream = follow(memory.sink(), child, child.start(), child.lines("a"), child.exit(1))

    assert memory.spans == []
    assert memory.logs == []
    assert stream.env == {}


def test_suppressed_by_an_exporter(memory, Child, follow):
    token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit(1))
    context.detach(token)

    assert memory.spans == []


def test_close_flushes(Child, follow):
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=60_000))
    sink = OpenTelemetrySink(tracer_provider=tracers)
    child = Child()
    follow(sink, child, child.start(), child.exit())

    assert spans.get_finished_spans() == ()
    assert sink.close(5.0) == 0
    assert len(spans.get_finished_spans()) == 1
    tracers.shutdown()


def test_close_without_sdk():
    assert OpenTelemetrySink().close(1.0) == 0


def test_unreachable_collector_delays_close_by_no_more_than_asked(Child, follow, caplog):
    caplog.warnings_expected = True
    tracers = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter("http://127.0.0.1:9/v1/traces", timeout=3)
    tracers.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    sink = OpenTelemetrySink(tracer_provider=tracers)
    for _ in range(100):
        child = Child()
        follow(sink, child, child.start(), child.exit(1))
    start = time.monotonic()
    assert sink.close(0.2) is None
    assert time.monotonic() - start < 2
    tracers.shutdown()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) < 10
