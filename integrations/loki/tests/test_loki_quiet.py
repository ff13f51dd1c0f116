"""Nobody hears of our own requests: no breadcrumbs, no spans, no trace headers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Each ends with one request of the program's own, which has to be seen: the instrumentation is in force.
SENTRY = """
import json, sys, urllib.request
import sentry_sdk
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.transport import Transport

class Kept(Transport):
    kept = []
    def capture_envelope(self, envelope):
        self.kept += [item.payload.json for item in envelope.items if item.payload.json]

sentry_sdk.init("http://key@127.0.0.1:9/1", transport=Kept, traces_sample_rate=1.0,
                trace_propagation_targets=[".*"])
assert sentry_sdk.get_client().get_integration(StdlibIntegration)
with sentry_sdk.start_transaction(name="job"):
    ship()
    own()
    sentry_sdk.capture_message("done")
sentry_sdk.flush()
crumbs = [crumb["data"]["url"] for item in Kept.kept for crumb in item.get("breadcrumbs", {}).get("values", [])
          if crumb.get("category") == "httplib"]
spans = [span["description"] for item in Kept.kept for span in item.get("spans", [])
         if span["op"] == "http.client"]
print(json.dumps([crumbs, spans]))
"""
OPENTELEMETRY = """
import json
from opentelemetry import trace
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
RequestsInstrumentor().instrument()
URLLib3Instrumentor().instrument()
with trace.get_tracer("x").start_as_current_span("job"):
    ship()
    own()
urls = [str(span.attributes.get("http.url") or span.attributes.get("url.full"))
        for span in kept.get_finished_spans() if span.name != "job"]
print(json.dumps([urls, urls]))
"""
COMMON = """
import subprocess, requests, subwatch
from subwatch_loki import LokiHandler, LokiSink
import logging

def ship():
    sink = LokiSink({url!r}, batch_bytes=2000)
    child = ["sh", "-c", "for n in `seq 300`; do echo line $n >&2; done"]
    subwatch.run(child, sinks=[sink], stderr=subprocess.DEVNULL)
    assert sink.close(10) == 0
    handler = LokiHandler({url!r})
    handler.handle(logging.makeLogRecord({{"msg": "hello"}}))
    handler.close()
    assert handler.dropped == 0

def own():
    requests.get({url!r} + "/ready")
"""


@pytest.mark.parametrize("library", [SENTRY, OPENTELEMETRY], ids=["sentry", "opentelemetry"])
def test_our_requests_leave_no_trace(server, library):
    code = COMMON.format(url=server.url) + library
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"needs test-loki of pyproject.toml\n{done.stderr}"
    for found in json.loads(done.stdout):
        assert found, "the program's own request is seen"
        assert all(url.endswith("/ready") for url in found), found
    assert len(server.requests) > 5
    for headers, _ in server.requests:
        assert not {"traceparent", "sentry-trace", "baggage"} & {name.lower() for name in headers}
