"""Records made by hand, an SDK in memory, and a real collector with a readback server behind it."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from subwatch.records import INFO, WARNING, Caller, Exit, Lines, Run, Start, Usage
from subwatch_opentelemetry import OpenTelemetrySink, SubwatchInstrumentor

# The collector is ``rotel``; it forwards to a server of ours that decodes what arrives. With an endpoint (protocol by
# OTEL_EXPORTER_OTLP_PROTOCOL) everything goes there instead. Unless that backend forwards to READBACK
# (``http://127.0.0.1:PORT``), where our server then listens, only its acceptance is checked.
ENDPOINT = os.environ.get("SUBWATCH_TEST_OTLP_ENDPOINT")
READBACK = os.environ.get("SUBWATCH_TEST_OTLP_READBACK")
PROTOCOLS = (
    [os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]
    if ENDPOINT
    else ["http/protobuf", "grpc"]
)


class _Reader:
    """Levels by a word in the line; the core has its own."""

    def levels(self, texts):
        return [WARNING if "warn" in text else INFO for text in texts]

    def fields(self, lines):
        found = [json.loads(text) if text[:1] == "{" else None for text in lines.texts]
        return found if any(found) else None

    def progress(self, lines):
        return None


class Child:
    """One child's records, made by hand."""

    def __init__(self, argv=("/usr/bin/pg_basebackup", "-D", "data"), **run) -> None:
        options = {
            "id": f"0198c0de-0000-7000-8000-{time.monotonic_ns() % 10**12:012d}",
            "argv": tuple(argv),
            "program": os.path.basename(argv[0]),
            "cwd": "/srv",
            "host": "host1",
            "tags": {},
            "caller": Caller("/app/backup.py", 12, "backup"),
            "parent_pid": os.getpid(),
        } | run
        self.run = Run(**options)
        self.first = 1

    def start(self, pid=4711):
        self.start_ns = time.time_ns()
        return Start(self.run, pid, self.start_ns)

    def lines(self, *texts, stream="stderr", late=False):
        batch = Lines(self.run, stream, self.first, time.time_ns(), late, _Reader(), None, texts=list(texts))
        self.first += len(texts)
        return batch

    def exit(self, returncode=0, *, reason=None, signal=None, tail=(), **others):
        now = time.time_ns()
        options = {
            "pid": None if reason == "spawn_failed" else 4711,
            "reason": reason or ("signaled" if signal else "exited"),
            "start_ns": getattr(self, "start_ns", now),
            "time_ns": now,
            "duration": 0.25,
            "usage": Usage(0.1, 0.05, 2_000_000),
            "tail": self.lines(*tail) if tail else (),
        } | others
        return Exit(run=self.run, returncode=returncode, signal=signal, **options)


class Memory:
    """An SDK that keeps in memory what it gets."""

    def __init__(self, **limits) -> None:
        self._spans = InMemorySpanExporter()
        self._logs = InMemoryLogRecordExporter()
        self._metrics = InMemoryMetricReader()
        self.tracer_provider = TracerProvider(shutdown_on_exit=False, **limits)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        self.meter_provider = MeterProvider([self._metrics], shutdown_on_exit=False)
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def providers(self):
        return {"tracer_provider": self.tracer_provider, "logger_provider": self.logger_provider}

    def sink(self, **options):
        return OpenTelemetrySink(**self.providers | options)

    @property
    def spans(self):
        return list(self._spans.get_finished_spans())

    @property
    def span(self):
        (span,) = self.spans
        return span

    @property
    def log_data(self):
        return self._logs.get_finished_logs()

    @property
    def logs(self):
        return [data.log_record for data in self.log_data]

    def points(self, what):
        """Metric name to list of (attributes, value or count)."""
        data = self._metrics.get_metrics_data()
        (scope,) = data.resource_metrics[0].scope_metrics
        return {
            metric.name: [
                (dict(point.attributes), getattr(point, what, None)) for point in metric.data.data_points
            ]
            for metric in scope.metrics
        }

    @staticmethod
    def traceparent(span):
        place = span.get_span_context()
        return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"

    def shutdown(self):
        self.tracer_provider.shutdown()
        self.logger_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
def memory():
    sdk = Memory()
    yield sdk
    sdk.shutdown()


@pytest.fixture(name="make_memory")
def _make_memory():
    made = []

    def make(**limits):
        made.append(Memory(**limits))
        return made[-1]

    yield make
    for sdk in made:
        sdk.shutdown()


@pytest.fixture(name="instrumented")
def _instrumented(memory):
    before = dict(vars(subprocess.Popen))
    SubwatchInstrumentor().instrument(**memory.providers)
    yield memory
    if SubwatchInstrumentor().is_instrumented_by_opentelemetry:
        SubwatchInstrumentor().uninstrument()
    assert dict(vars(subprocess.Popen)) == before


@pytest.fixture(scope="session", name="collector")
def _collector():
    """The module `otlp_collector` beside this one."""
    spec = importlib.util.spec_from_file_location(
        "otlp_collector", Path(__file__).with_name("otlp_collector.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", name="endpoints")
def _endpoints(collector, reading, tmp_path_factory):
    """Protocol to endpoint of a collector that runs."""
    if ENDPOINT:
        yield dict.fromkeys(PROTOCOLS, ENDPOINT)
        return
    with collector.running(tmp_path_factory.mktemp("rotel"), reading) as endpoints:
        yield endpoints


@pytest.fixture(scope="session", name="reading")
def _reading(collector):
    with collector.readback(READBACK or "http://127.0.0.1:0") as server:
        yield server


@pytest.fixture
def readback(reading):
    """What has arrived behind the collector; None where that cannot be seen."""
    return None if ENDPOINT and not READBACK else reading


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    """Protocol of OTLP."""
    return request.param


@pytest.fixture(name="Child")
def _child():
    return Child


@pytest.fixture(name="follow")
def _follow():
    """Run one child's records through a sink."""

    def follow(sink, child, *records):
        stream = sink.open(child.run)
        for record in records:
            stream.emit(record)
        stream.close()
        return stream

    return follow


@pytest.fixture
def python():
    """Command line of a Python program given as text."""
    return lambda code, *args: [sys.executable, "-c", code, *args]


@pytest.fixture(autouse=True)
def _quiet(caplog):
    """No test may leave a warning of OpenTelemetry behind, except where it looks at them itself."""
    caplog.set_level(logging.DEBUG)
    yield
    found = [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    if not getattr(caplog, "warnings_expected", False):
        assert [record.getMessage() for record in found if record.name.startswith("opentelemetry")] == []
