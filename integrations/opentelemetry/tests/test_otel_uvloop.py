"""Children that uvloop starts by itself are traced as those of asyncio are."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess

import pytest
import uvloop
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

import subwatch
from subwatch_opentelemetry import SubwatchInstrumentor

SHOW = "import os; print(os.environ.get('TRACEPARENT', ''))"
BEFORE = dict(vars(uvloop.Loop))


async def output_of(command, **options):
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, **options)
    output, _ = await process.communicate()
    return output.decode().strip(), process.returncode


def test_exec_and_shell(instrumented, python):
    async def main():
        with instrumented.tracer.start_as_current_span("caller"):
            shell = await asyncio.create_subprocess_shell("exit 4")
            return *await output_of(python(SHOW)), await shell.wait(), shell.pid

    output, code, shell_code, pid = uvloop.run(main())
    assert (code, shell_code) == (0, 4)
    caller = next(span for span in instrumented.spans if span.name == "caller")
    shell = next(span for span in instrumented.spans if span.name == "sh")
    other = next(span for span in instrumented.spans if span.name not in ("caller", "sh"))
    assert output == instrumented.traceparent(other)
    assert {shell.parent.span_id, other.parent.span_id} == {caller.context.span_id}
    assert shell.attributes["process.pid"] == pid
    assert shell.attributes["process.exit.code"] == 4
    assert shell.attributes["process.command_args"] == ("/bin/sh", "-c", "exit 4")
    assert shell.attributes["code.function.name"] == "main"
    assert shell.status.status_code is StatusCode.ERROR


def test_killed(instrumented):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "60", stdout=asyncio.subprocess.DEVNULL)
        process.kill()
        return await process.wait()

    assert uvloop.run(main()) == -9
    assert instrumented.span.attributes["error.type"] == "SIGKILL"
    assert instrumented.span.attributes["process.exit.code"] == 137


def test_failures_are_what_they_were(instrumented):
    async def main(*command, **options):
        with pytest.raises((FileNotFoundError, ValueError)) as caught:
            await asyncio.create_subprocess_exec(*command, **options)
        return type(caught.value), caught.value.args, vars(caught.value)

    def outcomes():
        return uvloop.run(main("/no_such_program")), uvloop.run(main("true", bufsize=3))

    ours = outcomes()
    assert instrumented.spans[0].attributes["error.type"] == "FileNotFoundError"
    SubwatchInstrumentor().uninstrument()
    assert outcomes() == ours


def test_environment(instrumented, python):
    given = {"LC_CTYPE": "C", "TRACEPARENT": "mine"}
    code = "import os; print(os.environ['TRACEPARENT'], sorted(os.environ))"
    output, _ = uvloop.run(output_of(python(code), env=given))
    assert output == "mine ['LC_CTYPE', 'TRACEPARENT']"
    assert given == {"LC_CTYPE": "C", "TRACEPARENT": "mine"}


def test_suppressed_and_own_children(instrumented, python):
    async def main():
        with suppress_instrumentation():
            output, _ = await output_of(python(SHOW))
        own = await subwatch.aio.run(
            python(SHOW), sinks=[instrumented.sink()], capture_output=True, text=True
        )
        return output, own.stdout.strip()

    output, own = uvloop.run(main())
    assert output == ""
    assert own == instrumented.traceparent(instrumented.span)


def test_loop_is_restored():
    assert dict(vars(uvloop.Loop)) == BEFORE
    SubwatchInstrumentor().instrument()
    assert dict(vars(uvloop.Loop)) != BEFORE
    SubwatchInstrumentor().uninstrument()
    assert dict(vars(uvloop.Loop)) == BEFORE


def test_uvloop_that_is_imported_later(python):
    main = """
async def main():
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()
"""
    done = subprocess.run(python(script(main)), capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("true 0 None\n", "")


def test_loop_that_ends_before_its_child(python):
    main = """
async def main():
    process = await asyncio.create_subprocess_exec("sleep", "60", stdout=asyncio.subprocess.DEVNULL)
    print(process.pid)
"""
    done = subprocess.run(python(script(main)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pid, outcome = done.stdout.splitlines()
    os.kill(int(pid), signal.SIGKILL)
    assert outcome == "sleep None left_running"


def script(main):
    """A program that instruments, imports uvloop only then, runs main and tells of its child's span."""
    return f"""
import asyncio, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from subwatch_opentelemetry import SubwatchInstrumentor

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
SubwatchInstrumentor().instrument(tracer_provider=provider)
SubwatchInstrumentor().uninstrument()
SubwatchInstrumentor().instrument(tracer_provider=provider)
assert "uvloop" not in sys.modules
import uvloop

{main}
uvloop.run(main())
SubwatchInstrumentor().uninstrument()
for span in spans.get_finished_spans():
    print(span.name, span.attributes.get("process.exit.code"), span.attributes.get("subwatch.exit.reason"))
"""
