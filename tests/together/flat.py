"""A process with every sink on is as large after a thousand children as after the first hundreds: flat.py RUNS.

Prints, after each round of so many runs, the resident set in MiB, and the numbers of threads and descriptors.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sentry_sdk
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from rich.console import Console

import subwatch
from subwatch_opentelemetry import OpenTelemetrySink
from subwatch_rich import RichSink

ROUNDS = 8
SCRIPT = "for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n >&2; done; exit $0"


class Spans(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


class Logs(LogRecordExporter):
    def export(self, batch):
        return LogRecordExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=30_000):
        return True


def loki_server():
    path = Path(__file__).parents[2] / "integrations/loki/tests/lokiserver.py"
    spec = importlib.util.spec_from_file_location("flat_lokiserver", path)
    module = sys.modules["flat_lokiserver"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LokiServer()


def main():
    runs = int(sys.argv[1])
    loki, nowhere = loki_server(), open(os.devnull, "w")
    logging.basicConfig(stream=nowhere, level=logging.INFO)
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", traces_sample_rate=1.0)  # nobody listens there
    spans, logs = TracerProvider(), LoggerProvider()
    spans.add_span_processor(BatchSpanProcessor(Spans()))
    logs.add_log_record_processor(BatchLogRecordProcessor(Logs()))
    sinks = [
        "logging",
        "sentry",
        subwatch.sink("loki", url=loki.url),
        OpenTelemetrySink(tracer_provider=spans, logger_provider=logs),
        RichSink(Console(file=nowhere, force_terminal=True, width=80)),
    ]
    watch = subwatch.Watch(sinks=sinks)

    def run(number):
        with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="job"):
            try:
                code, check = ("3", number % 14 == 0) if number % 7 == 0 else ("0", True)
                watch.run(["sh", "-c", SCRIPT, code], stderr=subprocess.DEVNULL, check=check)
            except subprocess.CalledProcessError as error:
                sentry_sdk.capture_exception(error)

    with ThreadPoolExecutor(3) as pool:
        for _ in range(ROUNDS):
            list(pool.map(run, range(runs)))
            time.sleep(1.2)  # what is exported every second is gone
            loki.requests.clear()
            loki.store.tenants.clear()
            gc.collect()
            size = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
            counts = threading.active_count(), len(os.listdir("/proc/self/fd"))
            print(json.dumps([size / 2**20, *counts]), flush=True)
    watch.close()
    loki.stop()


main()
