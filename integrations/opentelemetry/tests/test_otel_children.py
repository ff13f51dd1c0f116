"""Real children through subwatch's drivers."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.trace import StatusCode

import subwatch

#: A child with an SDK of its own, which prints its span and that span's parent.
GRANDCHILD = """
import json, sys
from opentelemetry.sdk.trace import TracerProvider
from subwatch_opentelemetry import continue_trace

continue_trace()
tracer = TracerProvider(shutdown_on_exit=False).get_tracer("child")
with tracer.start_as_current_span("work") as span:
    place = span.get_span_context()
    parent = span.parent
    print(json.dumps([place.trace_id, parent and parent.span_id, parent and parent.is_remote]))
"""


def test_run(memory, python):
    with memory.tracer.start_as_current_span("caller") as caller:
        done = subwatch.run(
            python("import sys; print('Warning: slow', file=sys.stderr)"),
            sinks=[memory.sink()],
            capture_output=True,
            text=True,
        )

    span = memory.spans[0]
    assert done.stderr == "Warning: slow\n"
    assert span.parent.span_id == caller.get_span_context().span_id
    assert span.attributes["code.file.path"] == __file__
    assert span.attributes["code.function.name"] == "test_run"
    assert span.attributes["subwatch.cpu.user"] >= 0
    (record,) = memory.logs
    assert (record.body, record.severity_text) == ("Warning: slow", "WARNING")
    assert span.start_time <= record.timestamp <= span.end_time


def test_span_covers_the_childs_own_measurement(memory, python):
    code = "import time; a = time.time_ns(); time.sleep(0.05); print(a, time.time_ns())"
    done = subwatch.run(python(code), sinks=[memory.sink()], capture_output=True, text=True)
    began, ended = map(int, done.stdout.split())

    assert memory.span.start_time < began < ended < memory.span.end_time
    assert memory.span.end_time - memory.span.start_time < ended - began + 5e9


@pytest.mark.parametrize(
    ("command", "options", "raised", "error"),
    [
        (["/no_such_program"], {}, FileNotFoundError, "FileNotFoundError"),
        (["/"], {}, PermissionError, "PermissionError"),
        (["sleep", "60"], {"timeout": 0.1}, subprocess.TimeoutExpired, "timeout"),
        (["sh", "-c", "kill -KILL $$"], {"check": True}, subprocess.CalledProcessError, "SIGKILL"),
        (["false"], {"check": True}, subprocess.CalledProcessError, "1"),
        (["sleep", "60"], {"idle_timeout": 0.1}, subprocess.TimeoutExpired, "idle"),
    ],
)
def test_failures(memory, command, options, raised, error):
    with pytest.raises(raised):
        subwatch.run(command, sinks=[memory.sink()], **options)

    assert memory.span.attributes["error.type"] == error
    assert memory.span.status.status_code is StatusCode.ERROR


def test_cancelled(memory):
    async def main():
        task = asyncio.create_task(subwatch.aio.run(["sleep", "60"], sinks=[memory.sink()]))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert memory.span.attributes["error.type"] == "cancelled"


def test_interrupted(memory):
    script = "echo ready >&2; exec sleep 60"
    options = {"stderr": subprocess.DEVNULL, "on_line": lambda line: signal.raise_signal(signal.SIGINT)}
    with pytest.raises(KeyboardInterrupt):
        subwatch.run(["sh", "-c", script], sinks=[memory.sink()], **options)

    assert memory.span.attributes["error.type"] == "interrupted"
    assert memory.span.status.status_code is StatusCode.ERROR


def test_popen_nobody_waits_for(memory):
    with subwatch.Popen(
        ["sh", "-c", "echo bye >&2; exit 3"], sinks=[memory.sink()], stderr=subprocess.DEVNULL
    ) as popen:
        deadline = time.monotonic() + 10
        while not memory.spans and time.monotonic() < deadline:
            time.sleep(0.02)
        assert popen.returncode is None or popen.returncode == 3

    assert memory.span.attributes["process.exit.code"] == 3
    assert memory.span.attributes["subwatch.tail"] == ("bye",)


@pytest.mark.parametrize("first", [True, False])
def test_other_sinks_know_the_span_whatever_the_order(memory, first):
    seen = []
    sinks = [memory.sink(), lambda record: seen.append(dict(record.run.fields))]
    subwatch.run(
        ["sh", "-c", "echo hello >&2"], sinks=sinks if first else sinks[::-1], stderr=subprocess.DEVNULL
    )

    place = memory.span.get_span_context()
    assert len(seen) == 3
    assert all(
        fields == {"trace_id": f"{place.trace_id:032x}", "span_id": f"{place.span_id:016x}"}
        for fields in seen
    )


def test_dropped_lines_are_in_the_exit_record(memory, python):
    exits = []
    code = "import sys; [print(n, file=sys.stderr) for n in range(20000)]"
    sinks = [
        memory.sink(max_lines_per_second=100),
        lambda r: exits.append(r) if isinstance(r, subwatch.Exit) else None,
    ]
    subwatch.run(python(code), sinks=sinks, stderr=subprocess.DEVNULL)

    dropped = memory.span.attributes["subwatch.lines.dropped"]
    assert dropped + len(memory.logs) == 20000
    assert exits[0].dropped == {"opentelemetry": dropped}


@pytest.mark.parametrize("propagate", [True, False])
def test_python_to_shell_to_python(memory, propagate):
    with memory.tracer.start_as_current_span("caller"):
        done = subwatch.run(
            ["sh", "-c", '"$0" -c "$1"; true', sys.executable, GRANDCHILD],
            sinks=[memory.sink(propagate=propagate)],
            capture_output=True,
            text=True,
        )

    span = memory.spans[0].get_span_context()
    trace_id, parent, remote = json.loads(done.stdout)
    if propagate:
        assert (trace_id, parent, remote) == (span.trace_id, span.span_id, True)
    else:
        assert trace_id != span.trace_id
        assert parent is None


def test_stale_variables_are_removed_and_the_callers_win(memory, monkeypatch, python):
    monkeypatch.setenv("TRACEPARENT", "invalid")
    monkeypatch.setenv("TRACESTATE", "stale=1")
    monkeypatch.setenv("BAGGAGE", "stale=1")
    show = "import os; print(*(os.environ.get(n) for n in ('TRACEPARENT', 'TRACESTATE', 'BAGGAGE')))"
    done = subwatch.run(python(show), sinks=[memory.sink()], capture_output=True, text=True)
    place = memory.span.get_span_context()
    parent = f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"
    assert done.stdout == f"{parent} None None\n"

    own = {"TRACEPARENT": "mine", "TRACESTATE": "mine"}
    done = subwatch.run(python(show), sinks=[memory.sink()], env=own, capture_output=True, text=True)
    assert done.stdout == "mine mine None\n"


@pytest.mark.parametrize(
    ("ours", "own"),
    [(os.environ, {"TRACEPARENT": "mine"}), (os.environb, {b"TRACEPARENT": b"mine"})],
    ids=["text", "bytes"],
)
def test_a_copy_of_our_environment_is_not_what_the_caller_has_set(memory, monkeypatch, ours, own):
    monkeypatch.setenv("TRACEPARENT", "stale")
    monkeypatch.setenv("TRACESTATE", "stale=1")

    def told(env):
        done = subwatch.run(["env"], sinks=[memory.sink()], env=env, capture_output=True, text=True)
        return [line for line in done.stdout.splitlines() if line.startswith("TRACE")]

    assert told(dict(ours)) == [f"TRACEPARENT={memory.traceparent(memory.span)}"]
    assert told({**ours, **own}) == ["TRACEPARENT=mine"]


def crossed(memory):
    """Names of children whose exit code or line is not that of their caller."""
    spans = memory.spans
    callers = {span.context.span_id: span for span in spans if span.parent is None}
    lines = {record.span_id: record.body for record in memory.logs if record.event_name is None}
    children = [span for span in spans if span.parent is not None]
    wrong = []
    for span in children:
        caller = callers[span.parent.span_id]
        number = int(caller.name)
        right = (caller.context.trace_id, number % 100, f"line {number}")
        if right != (
            span.context.trace_id,
            span.attributes["process.exit.code"],
            lines.get(span.context.span_id),
        ):
            wrong.append(span.name)
    return len(children), wrong


def command(number):
    return ["sh", "-c", f"echo line {number} >&2; exit {number % 100}"]


@pytest.fixture(name="descriptors")
def _descriptors():
    """Enough for 500 children at once, each of which takes two or three."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.slow
@pytest.mark.usefixtures("descriptors")
def test_500_children_on_asyncio(memory):
    sink = memory.sink(max_lines_per_second=0)

    async def one(number):
        with memory.tracer.start_as_current_span(str(number)):
            await subwatch.aio.run(command(number), sinks=[sink], stderr=subprocess.DEVNULL)

    async def main():
        await asyncio.gather(*map(one, range(500)))

    asyncio.run(main())
    assert crossed(memory) == (500, [])


def test_50_threads(memory):
    sink = memory.sink(max_lines_per_second=0)

    def work(base):
        for number in range(base, base + 4):
            with memory.tracer.start_as_current_span(str(number)):
                subwatch.run(command(number), sinks=[sink], stderr=subprocess.DEVNULL)

    threads = [threading.Thread(target=work, args=(4 * number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert crossed(memory) == (200, [])


def test_by_name_with_the_global_sdk(python):
    """In a process of its own, since the global SDK can be set once."""
    code = """
import subwatch
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

subwatch.configure(sinks=["opentelemetry"])
subwatch.run(["true"])
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)  # even when it comes later
subwatch.run(["true"])
print([span.name for span in spans.get_finished_spans()])
"""
    done = subprocess.run(python(code), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['true']\n", "")
