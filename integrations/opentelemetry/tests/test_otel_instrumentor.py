"""Existing code gets spans, and sees no difference."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

import subwatch
from subwatch_opentelemetry._instrumentor import SubwatchInstrumentor

SHOW = "import os; print(os.environ.get('TRACEPARENT', ''))"


def test_run(instrumented, python):
    with instrumented.tracer.start_as_current_span("caller") as caller:
        done = subprocess.run(python(SHOW + "; raise SystemExit(3)"), capture_output=True, text=True)

    span = instrumented.spans[0]
    assert done.returncode == 3
    assert done.stdout.strip() == instrumented.traceparent(span)
    assert span.parent.span_id == caller.get_span_context().span_id
    assert span.attributes["process.exit.code"] == 3
    assert span.attributes["error.type"] == "3"
    assert span.attributes["process.command_args"][0] == sys.executable
    assert span.attributes["code.file.path"] == __file__
    assert span.attributes["code.function.name"] == "test_run"
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("wait", ["wait", "communicate", "poll"])
def test_popen(instrumented, python, wait):
    with subprocess.Popen(python(SHOW), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert instrumented.spans == []
        assert popen.returncode is None
        if wait == "poll":
            while popen.poll() is None:
                time.sleep(0.01)
        else:
            getattr(popen, wait)()
        assert instrumented.span.attributes["process.pid"] == popen.pid
        assert instrumented.span.attributes["process.exit.code"] == popen.returncode == 0


def test_shell(instrumented):
    output = subprocess.check_output("echo $TRACEPARENT", shell=True, text=True)
    assert output.strip() == instrumented.traceparent(instrumented.span)
    assert instrumented.span.name == "sh"


def test_killed(instrumented):
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["sleep", "60"], timeout=0.1)

    assert instrumented.span.attributes["process.exit.code"] == 137
    assert instrumented.span.attributes["error.type"] == "SIGKILL"


def test_not_found(instrumented):
    with pytest.raises(FileNotFoundError, match="no_such_program") as caught:
        subprocess.run(["/no_such_program"])

    assert caught.value.filename == "/no_such_program"
    assert vars(caught.value) == {}
    assert instrumented.span.attributes["error.type"] == "FileNotFoundError"


def test_asyncio(instrumented, python):
    async def main():
        with instrumented.tracer.start_as_current_span("caller"):
            first = await asyncio.create_subprocess_exec(*python(SHOW), stdout=subprocess.PIPE)
            second = await asyncio.create_subprocess_shell("exit 4")
            output, _ = await first.communicate()
            return output.decode().strip(), await second.wait()

    output, code = asyncio.run(main())
    assert code == 4
    spans = {span.name: span for span in instrumented.spans}
    assert output == instrumented.traceparent(spans[os.path.basename(sys.executable)])
    assert spans["sh"].attributes["process.exit.code"] == 4
    assert spans["sh"].attributes["code.function.name"] == "main"
    assert {spans["sh"].parent.span_id} == {spans["caller"].get_span_context().span_id}


def test_own_children_are_not_traced_twice(instrumented, python):
    sink = instrumented.sink()
    done = subwatch.run(python(SHOW), sinks=[sink], capture_output=True, text=True)

    assert done.stdout.strip() == instrumented.traceparent(instrumented.span)


def test_own_children_without_our_sink_are_traced(instrumented, python):
    done = subwatch.run(python(SHOW), sinks=[lambda record: None], capture_output=True, text=True)

    assert done.stdout.strip() == instrumented.traceparent(instrumented.span)


def test_own_failed_start_does_not_hide_the_next_child(instrumented):
    with pytest.raises(TypeError):
        subwatch.run([1.5], sinks=[instrumented.sink()])
    subprocess.run(["true"], check=True)

    assert [span.name for span in instrumented.spans][-1] == "true"


def test_instrumented_twice_is_traced_once(instrumented, caplog):
    caplog.warnings_expected = True  # of BaseInstrumentor
    SubwatchInstrumentor().instrument(**instrumented.providers)
    subprocess.run(["true"], check=True)
    assert len(instrumented.spans) == 1

    SubwatchInstrumentor().uninstrument()
    subprocess.run(["true"], check=True)
    assert len(instrumented.spans) == 1

    SubwatchInstrumentor().instrument(**instrumented.providers)
    subprocess.run(["true"], check=True)
    assert len(instrumented.spans) == 2


def test_suppressed(instrumented, python):
    with suppress_instrumentation():
        done = subprocess.run(python(SHOW), capture_output=True, text=True)

    assert done.stdout == "\n"
    assert instrumented.spans == []


def test_forgotten_child_that_runs(instrumented):
    popen = subprocess.Popen(["sleep", "60"])
    SubwatchInstrumentor().uninstrument()
    assert instrumented.span.attributes["subwatch.exit.reason"] == "left_running"
    assert instrumented.span.status.status_code is StatusCode.UNSET
    popen.kill()
    assert popen.wait() == -9
    assert len(instrumented.spans) == 1


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 137)])
def test_forgotten_child_that_has_ended(instrumented, script, code):
    popen = subprocess.Popen(["sh", "-c", script])
    os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    SubwatchInstrumentor().uninstrument()
    assert instrumented.span.attributes["process.exit.code"] == code
    assert popen.wait() == (code if code < 128 else 128 - code)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_does_not_end_them(instrumented):
    with subprocess.Popen(["sleep", "60"]) as popen:
        forked = os.fork()
        if not forked:
            popen.poll()  # ECHILD: not the child of this process
            SubwatchInstrumentor().uninstrument()
            os._exit(len(instrumented.spans))
        assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
        popen.kill()
    assert instrumented.span.attributes["error.type"] == "SIGKILL"


def test_secrets_are_masked(instrumented, monkeypatch):
    subprocess.run(["true", "--password=hunter2"], env={"PGPASSWORD": "hunter3"})
    assert "hunter" not in str(instrumented.span.to_json())


def test_child_reaped_by_garbage_collection(instrumented):
    popen = subprocess.Popen(["true"])
    os.waitid(os.P_PID, popen.pid, os.WEXITED | os.WNOWAIT)
    with pytest.warns(ResourceWarning):
        popen.__del__()

    assert instrumented.span.attributes["process.exit.code"] == 0


def test_status_taken_by_somebody_else(instrumented):
    popen = subprocess.Popen(["false"])
    os.waitpid(popen.pid, 0)
    with pytest.warns(ResourceWarning):
        popen.__del__()

    assert popen.returncode == sys.maxsize
    assert "process.exit.code" not in instrumented.span.attributes


def test_opentelemetry_instrument_finds_it(python):
    from opentelemetry.util._importlib_metadata import entry_points

    (point,) = entry_points(group="opentelemetry_instrumentor", name="subwatch")
    assert point.load() is SubwatchInstrumentor


def test_many_threads(instrumented):
    def work(number):
        with instrumented.tracer.start_as_current_span(f"caller {number}"):
            subprocess.run(["sh", "-c", f"exit {number}"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert crossed(instrumented.spans) == (20, [])


def test_many_on_asyncio(instrumented):
    async def one(number):
        with instrumented.tracer.start_as_current_span(f"caller {number}"):
            process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number % 100}")
            await process.wait()

    async def main():
        await asyncio.gather(*map(one, range(200)))

    asyncio.run(main())
    assert crossed(instrumented.spans) == (200, [])


def crossed(spans):
    """How many children there were, and those whose exit code is not that of their caller."""
    callers = {span.get_span_context().span_id: span.name for span in spans if span.parent is None}
    children = [span for span in spans if span.parent is not None]
    return len(children), [
        span.attributes
        for span in children
        if int(callers[span.parent.span_id].split()[1]) % 100 != span.attributes["process.exit.code"]
    ]
