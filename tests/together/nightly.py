"""An application with every sink on: what the test beside it looks at from all sides.

    python nightly.py SETTINGS

It logs to a file, has the SDKs of OpenTelemetry and Sentry set up as their manuals say, and runs commands of
all kinds, each with the tag ``job``. What it knows itself is written as JSON at the end.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sentry_sdk
from opentelemetry import _logs, trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.integrations.otlp import OTLPIntegration

import subwatch
from subwatch.records import Exit, Lines

CROWD = 100  # children of threads, and as many of asyncio

# One line at once, the others when the last of the crowd has said its first.
MEMBER = 'echo "$0: line 1" >&2; read wait; for n in 2 3 4 5; do echo "$0: line $n" >&2; done'


class Ledger:
    """A sink that keeps accounts of every run: what the core has given to the other sinks."""

    name = "ledger"

    def __init__(self):
        self.pages = []
        self.changed = threading.Condition()

    def open(self, run):
        return _Page(self, run)

    def wait(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.pages), 60), "not in time"


class _Page:
    def __init__(self, ledger, run):
        self._ledger = ledger
        self.run = run
        self.texts = []
        self.late = 0
        self.exit = None
        self.closed = False
        with ledger.changed:
            ledger.pages.append(self)

    def emit(self, records):
        with self._ledger.changed:
            if type(records) is Lines:
                self.texts += records.texts
                self.late += len(records) * records.late
            elif type(records) is Exit:
                self.exit = records
            self._ledger.changed.notify_all()

    def close(self):
        with self._ledger.changed:
            self.closed = True
            self._ledger.changed.notify_all()

    def dump(self):
        exit = self.exit
        return {
            **{name: getattr(self.run, name) for name in ("id", "program", "fields")},
            **{name: getattr(exit, name) for name in ("pid", "returncode", "signal", "reason", "drained")},
            "dropped": dict(exit.dropped),
            "counted": sum(exit.lines.values()),
            "texts": self.texts,
            "late": self.late,
        }


class JsonFormatter(logging.Formatter):
    """Everything that a log record has."""

    def format(self, record):
        message = super().format(record)  # with the traceback
        return json.dumps({**vars(record), "message": message}, default=repr)


def sdks(settings):
    """Set logging, OpenTelemetry and Sentry up; return what has to be shut down."""
    handler = logging.FileHandler(settings["log"])
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    spans, logs = TracerProvider(), LoggerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{settings['otlp']}/v1/traces")))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{settings['otlp']}/v1/logs")))
    trace.set_tracer_provider(spans)
    _logs.set_logger_provider(logs)
    sentry_sdk.init(
        dsn=settings["dsn"],
        spotlight=settings["spotlight"],  # gets a copy of every envelope
        traces_sample_rate=1.0,
        integrations=[OTLPIntegration(setup_otlp_traces_exporter=False, setup_propagator=False)],
    )
    return spans, logs


def run(job, command, **options):
    """Run a command; its stderr is shown by the display, and nowhere else."""
    options = {"stderr": subprocess.DEVNULL, **options}
    return subwatch.run(command, tags={"job": job}, **options)


def shell(job, script, *arguments, **options):
    return run(job, ["sh", "-c", script, job, *arguments], **options)


def alone(settings, ledger):
    """One by one: a backup, failures of all kinds, a daemon, a child that talks more than all others."""
    backup = run("backup", settings["backup"], cwd="/", stderr=subprocess.PIPE, text=True, check=True)
    secret = f"--password={settings['secret']}"
    shell("failing", 'echo "reading" >&2; echo "error: disk full" >&2; exit 3', secret)
    try:
        shell("checked", 'echo "error: no such table" >&2; exit 4', check=True)
    except subprocess.CalledProcessError as error:
        logging.getLogger("nightly").exception("the check has failed")  # is an event
        sentry_sdk.capture_exception(error)  # the same again
    shell("killed", 'echo "working" >&2; kill -KILL $$')
    shell("daemon", 'echo "daemonizing" >&2; (sleep 1; echo "ready at last" >&2) & exit 0')
    shell("chatty", 'n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo "word $n" >&2; done')
    ledger.wait(lambda pages: all(page.closed for page in pages))
    return backup.stderr


def crowd(ledger):
    """Two hundred at once, half of them by threads, half by asyncio."""
    waiting, release = os.pipe()
    before = len(ledger.pages)

    def let_go():
        ledger.wait(lambda pages: sum(bool(page.texts) for page in pages[before:]) == 2 * CROWD)
        os.close(release)  # all that wait in `read` see the end of their input

    async def coroutines():
        command = ["sh", "-c", MEMBER]
        options = {"stdin": waiting, "stderr": subprocess.DEVNULL}
        members = (
            subwatch.aio.run([*command, job], tags={"job": job}, **options)
            for job in (f"coroutine-{number}" for number in range(CROWD))
        )
        await asyncio.gather(*members)

    keeper = threading.Thread(target=let_go)
    keeper.start()
    with ThreadPoolExecutor(CROWD) as pool:
        done = [
            # in a copy of this context, which has the current span
            pool.submit(contextvars.copy_context().run, shell, f"thread-{number}", MEMBER, stdin=waiting)
            for number in range(CROWD)
        ]
        asyncio.run(coroutines())
        assert all(one.result().returncode == 0 for one in done)
    keeper.join()
    os.close(waiting)


def main():
    settings = json.loads(Path(sys.argv[1]).read_text())
    providers = sdks(settings)
    ledger = Ledger()
    loki = subwatch.sink("loki", **settings["loki"])
    subwatch.configure(sinks=["logging", loki, "sentry", "opentelemetry", "rich", ledger])
    with trace.get_tracer("nightly").start_as_current_span("nightly"):
        backup = alone(settings, ledger)
        crowd(ledger)
    shell("outside", 'echo "error: nobody asked" >&2; exit 5')  # in no span
    ledger.wait(lambda pages: all(page.closed for page in pages))
    for provider in providers:
        provider.shutdown()
    sentry_sdk.flush(10)
    pages = {page.run.tags["job"]: page.dump() for page in ledger.pages}
    threads = [thread.name for thread in threading.enumerate()]
    Path(settings["result"]).write_text(json.dumps({"pages": pages, "backup": backup, "threads": threads}))


if __name__ == "__main__":
    main()
