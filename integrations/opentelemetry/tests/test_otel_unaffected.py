"""Real children while OpenTelemetry is in trouble: the same result, no exception, no storm of warnings."""

from __future__ import annotations

import logging
import os
import subprocess

import pytest
from opentelemetry import trace
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

import subwatch
from subwatch_opentelemetry import OpenTelemetrySink

SCRIPT = 'for n in 1 2 3 4 5 6 7 8 9; do echo "line $n {\\"a\\": 1}" >&2; done; printf out; sleep 0.1; echo end >&2; exit 3'
DEAD = "127.0.0.1:9"


class Raises(SpanExporter):
    """An exporter with a fault."""

    def export(self, spans):
        raise RuntimeError("broken")


@pytest.fixture(name="providers")
def _providers():
    made = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    yield made
    for provider in made:
        provider.shutdown()


def shut_down(providers, monkeypatch):
    """By the application, when the first line has come."""
    for provider in providers:
        provider.shutdown()


def shut_down_simple(providers, monkeypatch):
    """A processor that the SDK lets say so."""
    providers[1].add_log_record_processor(SimpleLogRecordProcessor(InMemoryLogRecordExporter()))
    shut_down(providers, monkeypatch)


def unreachable(providers, monkeypatch):
    tracers, loggers = providers
    tracers.add_span_processor(BatchSpanProcessor(GrpcSpans(f"http://{DEAD}", insecure=True, timeout=1)))
    exporter = OTLPLogExporter(f"http://{DEAD}/v1/logs", timeout=1)
    loggers.add_log_record_processor(BatchLogRecordProcessor(exporter))


def faulty(providers, monkeypatch):
    providers[0].add_span_processor(BatchSpanProcessor(Raises()))


def invalid_parent(providers, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "00-" + "z" * 600)
    monkeypatch.setenv("TRACESTATE", "=" * 600)
    monkeypatch.setenv("BAGGAGE", ";" * 10_000)


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("trouble", [shut_down, shut_down_simple, unreachable, faulty, invalid_parent])
def test_child_is_unaffected(providers, trouble, late, monkeypatch, caplog):
    caplog.warnings_expected = True
    expected = subprocess.run(["sh", "-c", SCRIPT], capture_output=True)
    if not late:
        trouble(providers, monkeypatch)
    lines = []

    def on_line(line):
        if late and not lines:
            trouble(providers, monkeypatch)
        lines.append(line.text)

    tracers, loggers = providers
    sink = OpenTelemetrySink(tracer_provider=tracers, logger_provider=loggers)
    done = subwatch.run(["sh", "-c", SCRIPT], sinks=[sink], capture_output=True, on_line=on_line)
    sink.close(0.2)
    assert (done.returncode, done.stdout, done.stderr) == (
        expected.returncode,
        expected.stdout,
        expected.stderr,
    )
    assert len(lines) == 10
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [record for record in warnings if record.name == "subwatch"]
    assert len(warnings) <= {shut_down_simple: 1, unreachable: 6, faulty: 6}.get(trouble, 0)


def test_limits_and_reserved_names(caplog):
    limits = SpanLimits(max_span_attributes=6, max_span_attribute_length=5)
    tracers = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    log_limits = LogRecordLimits(max_log_record_attributes=1, max_log_record_attribute_length=2)
    loggers = LoggerProvider(log_record_limits=log_limits, shutdown_on_exit=False)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(InMemoryLogRecordExporter()))
    tags = {"process.pid": "x" * 9999, "": "", "otel.x": "1", **{f"tag{n}": "y" * 99 for n in range(200)}}
    sink = OpenTelemetrySink(tracer_provider=tracers, logger_provider=loggers)
    done = subwatch.run(["sh", "-c", SCRIPT], sinks=[sink], capture_output=True, tags=tags)
    assert done.returncode == 3
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    tracers.shutdown()
    loggers.shutdown()


def test_provider_without_logs(memory):
    sink = memory.sink(logger_provider=NoOpLoggerProvider())
    done = subwatch.run(["sh", "-c", SCRIPT], sinks=[sink], capture_output=True)
    assert done.returncode == 3
    assert memory.span.attributes["subwatch.tail"][-1] == "end"


def test_invalid_parent_is_neither_continued_nor_repaired(monkeypatch):
    """Without an SDK the environment is left as it is."""
    monkeypatch.setenv("TRACEPARENT", "nonsense")
    done = subwatch.run(["sh", "-c", "printf $TRACEPARENT"], sinks=[OpenTelemetrySink()], capture_output=True)
    assert done.stdout == b"nonsense"
    assert os.environ["TRACEPARENT"] == "nonsense"
    assert not trace.get_current_span().get_span_context().is_valid
