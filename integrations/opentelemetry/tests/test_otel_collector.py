"""Over OTLP to a real collector, and read back behind it.

The collector is ``rotel``, or the one of ``SUBWATCH_TEST_OTLP_ENDPOINT`` (see conftest.py).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import subwatch
from subwatch_opentelemetry import OpenTelemetrySink


class Sdk:
    """A real SDK with batch processors and OTLP exporters."""

    def __init__(self, protocol, endpoint) -> None:
        if protocol == "grpc":
            spans, logs, metrics = (
                kind(endpoint=endpoint, insecure=True) for kind in (GrpcSpans, GrpcLogs, GrpcMetrics)
            )
        else:
            spans = HttpSpans(f"{endpoint}/v1/traces")
            logs = HttpLogs(f"{endpoint}/v1/logs")
            metrics = HttpMetrics(f"{endpoint}/v1/metrics")
        resource = Resource.create({"service.name": "subwatch-test"})
        self.tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.tracers.add_span_processor(BatchSpanProcessor(spans))
        self.loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self.loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
        reader = PeriodicExportingMetricReader(metrics, export_interval_millis=60_000)
        self.meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self.tracer = self.tracers.get_tracer("test")
        self.sink = OpenTelemetrySink(
            tracer_provider=self.tracers,
            logger_provider=self.loggers,
            meter_provider=self.meters,
            metrics=True,
        )

    def shutdown(self):
        for provider in (self.tracers, self.loggers, self.meters):
            provider.shutdown()


@pytest.fixture(name="sdk")
def _sdk(protocol, endpoints):
    sdk = Sdk(protocol, endpoints[protocol])
    yield sdk
    sdk.shutdown()


def test_failing_child_through_the_collector(sdk, collector, readback, python):
    code = """
import sys, time
began = time.time_ns()
print('WARNING: slow', file=sys.stderr)
time.sleep(0.1)
print(began, time.time_ns())
sys.exit('no space')
"""
    before = time.time_ns()
    with sdk.tracer.start_as_current_span("backup") as parent:
        done = subwatch.run(python(code), sinks=[sdk.sink], tags={"cluster": "main"}, capture_output=True)
    after = time.time_ns()
    assert done.returncode == 1
    assert sdk.sink.close(10.0) == 0
    if readback is None:
        return

    place = parent.get_span_context()
    trace_id, parent_id = place.trace_id.to_bytes(16, "big"), place.span_id.to_bytes(8, "big")
    spans = readback.wait(
        "traces", lambda items: [item for item in items if item.trace_id == trace_id and item.parent_span_id]
    )
    (span,) = spans
    found = collector.attributes_of(span)
    assert span.parent_span_id == parent_id
    assert span.kind == span.SPAN_KIND_CLIENT
    assert span.name == found["process.executable.name"] == Path(sys.executable).name
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert span.status.message == "no space"
    assert found["process.exit.code"] == 1
    assert found["error.type"] == "1"
    assert found["process.command_args"][-1] == code
    assert found["subwatch.tail"] == ["WARNING: slow", "no space"]
    assert found["cluster"] == "main"
    assert before <= span.start_time_unix_nano
    assert span.end_time_unix_nano <= after
    began, ended = map(int, done.stdout.split())  # by the child's own clock
    assert span.start_time_unix_nano <= began < began + 0.1e9 <= ended <= span.end_time_unix_nano

    logs = readback.wait("logs", lambda items: collector.sorted_logs(items, trace_id, 3))
    assert {log.span_id for log in logs} == {span.span_id}
    assert [collector.plain(log.body) for log in logs[:2]] == ["WARNING: slow", "no space"]
    assert [log.severity_number for log in logs] == [13, 9, 17]
    assert collector.attributes_of(logs[0])["log.iostream"] == "stderr"
    assert collector.attributes_of(logs[0])["process.executable.name"] == span.name
    assert logs[2].event_name == "subwatch.process.exit"
    assert (
        span.start_time_unix_nano
        <= logs[0].time_unix_nano
        < logs[1].time_unix_nano
        <= span.end_time_unix_nano
    )

    metrics = readback.wait(
        "metrics", lambda items: {item.name: item for item in items if item.name.startswith("subwatch.")}
    )
    assert metrics["subwatch.process.duration"].unit == "s"
    assert set(metrics) == {f"subwatch.process.{name}" for name in ("duration", "active", "exits", "lines")}


#: A child with an SDK of its own.
GRANDCHILD = """
import os, sys
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from subwatch_opentelemetry import continue_trace

continue_trace()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
provider.get_tracer("child").start_span("work").end()
"""


def test_one_trace_through_three_processes(sdk, collector, endpoints, readback, monkeypatch):
    if "http/protobuf" not in endpoints:
        return
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoints["http/protobuf"])
    with sdk.tracer.start_as_current_span("caller") as parent:
        command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, GRANDCHILD]
        subwatch.run(command, sinks=[sdk.sink], check=True)
    assert sdk.sink.close(10.0) == 0
    if readback is None:
        return

    trace_id = parent.get_span_context().trace_id.to_bytes(16, "big")

    def accept(items):
        mine = {item.name: item for item in items if item.trace_id == trace_id}
        return mine if set(mine) == {"caller", "sh", "work"} else None

    spans = readback.wait("traces", accept)
    assert spans["work"].parent_span_id == spans["sh"].span_id
    assert spans["sh"].parent_span_id == spans["caller"].span_id


def test_undecodable_output_arrives(sdk, collector, readback, python):
    code = r"import os; os.write(2, b'caf\xe9 \xff\xfe \x00 ok\n')"
    with sdk.tracer.start_as_current_span("caller") as parent:
        subwatch.run([*python(code), b"\xff"], sinks=[sdk.sink], capture_output=True)
    assert sdk.sink.close(10.0) == 0
    if readback is None:
        return

    trace_id = parent.get_span_context().trace_id.to_bytes(16, "big")
    (log,) = readback.wait("logs", lambda items: collector.sorted_logs(items, trace_id, 1))
    assert collector.plain(log.body) == "caf\\xe9 \\xff\\xfe \x00 ok"
    spans = readback.wait(
        "traces", lambda items: [item for item in items if item.trace_id == trace_id and item.parent_span_id]
    )
    assert collector.attributes_of(spans[0])["process.command_args"][-1] == "\\udcff"


def test_no_line_is_lost_below_the_rate(sdk, collector, readback, python):
    code = "import sys; [print('line', n, file=sys.stderr) for n in range(500)]"
    with sdk.tracer.start_as_current_span("caller") as parent:
        subwatch.run(python(code), sinks=[sdk.sink], capture_output=True)
    assert sdk.sink.close(10.0) == 0
    if readback is None:
        return

    trace_id = parent.get_span_context().trace_id.to_bytes(16, "big")
    logs = readback.wait("logs", lambda items: collector.sorted_logs(items, trace_id, 500))
    assert [collector.plain(log.body) for log in logs] == [f"line {number}" for number in range(500)]
