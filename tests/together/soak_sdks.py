"""The SDKs of Sentry and OpenTelemetry in a worker of the soak test, and the sinks that use them.

Both lose what their servers do not take in time. Sentry's transport tells of it; OpenTelemetry's processors tell
nobody, so their ends are watched: the exporter's results, and what gives way in a full queue. It is written down at
once, by run or by span.
"""

from __future__ import annotations

from collections import Counter, deque

import sentry_sdk
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.integrations.otlp import OTLPIntegration
from sentry_sdk.transport import HttpTransport
from soak_book import BOOK, SETTINGS, followed

from subwatch_opentelemetry import OpenTelemetrySink
from subwatch_sentry import SentrySink

QUEUE = 2048  # as the SDK has it
PATIENCE = 1.5  # seconds that an exporter goes on trying: enough for one Retry-After


class Transport(HttpTransport):
    """Sentry's transport; what it says is lost of errors of children is written down."""

    def record_lost_event(self, reason, data_category=None, item=None, *, quantity=1):
        if item is not None and item.type == "event":
            child = (item.payload.json.get("contexts") or {}).get("subprocess")
            if child:
                BOOK.write(run=child["run_id"], unsent=reason)
        super().record_lost_event(reason, data_category, item, quantity=quantity)


def unexported(items):
    """Write down that spans or log records will not arrive."""
    logs = hasattr(items[0], "log_record")
    ids = Counter(f"{(item.log_record if logs else item.context).span_id:016x}" for item in items)
    BOOK.write(unexported="logs" if logs else "spans", spans=ids)


def watched(exporter):
    """Have an exporter tell what it could not deliver."""
    export = exporter.export

    def telling(batch):
        try:
            result = export(batch)
        except BaseException:
            unexported(batch)
            raise
        if result.name != "SUCCESS":
            unexported(batch)
        return result

    exporter.export = telling
    return exporter


class Queue(deque):
    """A processor's queue, which tells what gives way in it."""

    def appendleft(self, item):
        super().appendleft(item)
        if len(self) > QUEUE:
            unexported([self.pop()])


class Sdks:
    def __init__(self):
        url = SETTINGS["otlp"]
        spans = BatchSpanProcessor(watched(OTLPSpanExporter(f"{url}/v1/traces", timeout=PATIENCE)))
        logs = BatchLogRecordProcessor(watched(OTLPLogExporter(f"{url}/v1/logs", timeout=PATIENCE)))
        self._queues = []
        for processor in (spans, logs):
            processor._batch_processor._queue = queue = Queue()
            self._queues.append(queue)
        self._providers = TracerProvider(), LoggerProvider()
        self._providers[0].add_span_processor(spans)
        self._providers[1].add_log_record_processor(logs)
        self.init_sentry()
        self._sentry = followed(SentrySink)()
        tracers, loggers = self._providers
        otel = followed(OpenTelemetrySink)(tracer_provider=tracers, logger_provider=loggers, progress=True)
        self.sinks = [self._sentry, otel]

    def init_sentry(self):
        """Also in a forked process, as the sink's manual says."""
        sentry_sdk.init(
            dsn=SETTINGS["dsn"],
            transport=Transport,
            shutdown_timeout=10,
            traces_sample_rate=1.0,
            integrations=[OTLPIntegration(setup_otlp_traces_exporter=False, setup_propagator=False)],
        )

    def warm_up(self):
        """Have the SDKs import what they import late: a module that a thread imports at a fork stays locked in the child."""
        sentry_sdk.capture_message("warming up")
        sentry_sdk.flush(5)
        self.flush()

    def flush(self):
        for provider in self._providers:
            provider.force_flush()

    def close(self):
        """Deliver all; write down what the sink says of it."""
        BOOK.write(counted=self._sentry.close(20.0))
        for provider, queue in zip(self._providers, self._queues, strict=True):
            provider.shutdown()
            if queue:
                unexported(list(queue))
