"""What the OpenTelemetry sink costs, as ratios in one process; ``python tests/benchmarks/opentelemetry_cost.py``.

Needs subwatch-opentelemetry and opentelemetry-sdk. Contenders take turns, in blocks, and each ratio is that of two
blocks one right after the other; printed are the median and the quartiles of all rounds, of CPU time (user and system,
children included) and of wall time. The SDK's batch processors are there with their defaults, and exporters that do
nothing. The child is /bin/true, the shortest that there is.

Rows without a bound tell what the bound consists of: a bare span of the SDK around the run with three attributes, and
an environment for the child, which Popen has to encode, variable by variable (their number is printed).

A line is compared with the SDK's `emit` of the same record (time, severity, body, context and the same attributes),
and, for information, with one that has no attributes: the first attribute of any record makes the SDK's `emit` itself
about a quarter slower.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, set_span_in_context

import subwatch
from subwatch_opentelemetry import OpenTelemetrySink

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class NoSpans(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS


class NoLogs(LogRecordExporter):
    def export(self, batch):
        return LogRecordExportResult.SUCCESS

    def shutdown(self):
        pass

    def force_flush(self, timeout_millis=0):
        return True


class Empty:
    """A sink that does nothing, but may add to the child's environment."""

    wants_lines = False

    def __init__(self, env):
        self.env = env

    def open(self, run):
        return self

    def emit(self, records):
        pass

    def close(self, timeout=0):
        pass


def cpu():
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def ratios(ours, theirs, rounds, times):
    """CPU and wall ratios of blocks of so many calls; the order changes from round to round."""
    found = []
    for function in (ours, theirs):
        function()
    for number in range(rounds):
        took = {}
        for function in (ours, theirs) if number % 2 else (theirs, ours):
            begun = cpu(), time.perf_counter()
            for _ in range(times):
                function()
            took[function] = cpu() - begun[0], time.perf_counter() - begun[1]
        found.append([a / b for a, b in zip(took[ours], took[theirs])])
    return [statistics.quantiles(each, n=4) for each in zip(*found)]


def child(sinks):
    return lambda: subwatch.run(["/bin/true"], sinks=sinks, stderr=subprocess.DEVNULL)


def starts(tracers, loggers):
    """Rows: what, at most, ours, theirs."""
    plain = child([])
    tracer = tracers.get_tracer("bare")

    def bare():
        span = tracer.start_span("true", kind=SpanKind.CLIENT, attributes={"process.executable.name": "true"})
        plain()
        span.set_attributes({"process.pid": 1, "process.exit.code": 0})
        span.end()

    def sink(**options):
        return child([OpenTelemetrySink(tracer_provider=tracers, logger_provider=loggers, **options)])

    yield "a child, sink and SDK", 1.15, sink(), plain
    yield "the same, propagate=False", 1.15, sink(propagate=False), plain
    yield "the sink, no SDK", 1.05, child([OpenTelemetrySink()]), plain
    yield "a sink that does nothing", None, child([Empty({})]), plain
    yield "one that sets a variable", None, child([Empty({"TRACEPARENT": TRACEPARENT})]), plain
    yield "a bare span around it", None, bare, plain


def lines(tracers, loggers, count=500):
    """Rows as above, of batches as the core makes them."""
    batches = []
    code = f"import sys; sys.stderr.write(''.join(f'line {{n}} of a backup that goes well so far\\n' for n in range({count})))"

    class Keep(Empty):
        wants_lines = True

        def emit(self, records):
            if isinstance(records, subwatch.Lines):
                batches.append(records)

    subwatch.run([sys.executable, "-c", code], sinks=[Keep({})], stderr=subprocess.DEVNULL)
    run = batches[0].run
    sink = OpenTelemetrySink(tracer_provider=tracers, logger_provider=loggers, max_lines_per_second=0)
    stream = sink.open(run)
    stream.emit(subwatch.Start(run, 1, 1))
    logger = loggers.get_logger("bare")
    context = set_span_in_context(tracers.get_tracer("bare").start_span("x"))
    texts = [text for batch in batches for text in batch.texts]

    def ours():
        for batch in batches:
            stream.emit(batch)

    def bare(attributes):
        def emit():
            now = time.time_ns()
            for text in texts:
                logger.emit(
                    timestamp=now, observed_timestamp=now, context=context, body=text, attributes=attributes,
                    severity_number=SeverityNumber.INFO, severity_text="INFO",
                )  # fmt: skip

        return emit

    same = {"log.iostream": "stderr", "process.executable.name": run.program}
    yield "a line / emit, same attributes", 1.2, ours, bare(same)
    yield "a line / emit, no attributes", None, ours, bare(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="pairs of blocks per row (default 40)")
    rounds = parser.parse_args().rounds
    tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(NoSpans()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(NoLogs()))
    print(f"Python {platform.python_version()}, {len(os.environ)} variables, load {os.getloadavg()[0]:.1f}\n")
    print("| what | at most | CPU (quartiles) | wall (quartiles) |\n|---|---|---|---|")
    rows = [(row, 20) for row in starts(tracers, loggers)] + [(row, 1) for row in lines(tracers, loggers)]
    for (what, most, ours, theirs), times in rows:
        figures = [
            f"{middle:.2f} ({low:.2f} to {high:.2f})"
            for low, middle, high in ratios(ours, theirs, rounds, times)
        ]
        print(f"| {what} | {most or ''} | {figures[0]} | {figures[1]} |", flush=True)
    tracers.shutdown()
    loggers.shutdown()


if __name__ == "__main__":
    main()
