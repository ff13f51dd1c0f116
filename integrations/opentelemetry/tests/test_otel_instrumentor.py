"""Existing code gets spans, and sees no difference."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import StatusCode

import subwatch
from subwatch_opentelemetry._instrumentor import SubwatchInstrumentor

SHOW = "import os; print(os.environ.get('TRACEPARENT', ''))"


@pytest.fixture(name="instrumented")
def _instrumented(memory):
    before = dict(vars(subprocess.Popen))
    SubwatchInstrumentor().instrument(**memory.providers)
    yield memory
    if SubwatchInstrumentor().is_instrumented_by_opentelemetry:
        SubwatchInstrumentor().uninstrument()
    assert dict(vars(subprocess.Popen)) == before


def traceparent(span):
    place = span.get_span_context()
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


def test_run(instrumented, python):
    with instrumented.tracer.start_as_current_span("caller") as caller:
        done = subprocess.run(python(SHOW + "; raise SystemExit(3)"), capture_output=True, text=True)

    span = instrumented.spans[0]
    assert done.returncode == 3
    assert done.stdout.strip() == traceparent(span)
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
    assert subprocess.check_output("echo $TRACEPARENT", shell=True, text=True).strip() == traceparent(
        instrumented.span
    )
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
    assert instrumented.span.attributes["error.type"] == "FileNotFoundError"


@pytest.mark.parametrize(
    "wrong", [{"args": []}, {"args": ["true"], "env": [1]}, {"args": ["true"], "cwd": 1.5}, {"args": None}]
)
def test_wrong_arguments_raise_what_they_did(instrumented, wrong, caplog):
    def outcome():
        try:
            subprocess.Popen(**wrong)
        except Exception as error:
            return type(error), str(error)

    ours = outcome()
    SubwatchInstrumentor().uninstrument()
    assert outcome() == ours


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
    assert output == traceparent(spans[os.path.basename(sys.executable)])
    assert spans["sh"].attributes["process.exit.code"] == 4
    assert spans["sh"].attributes["code.function.name"] == "main"
    assert {spans["sh"].parent.span_id} == {spans["caller"].get_span_context().span_id}


def test_own_children_are_not_traced_twice(instrumented, python):
    sink = instrumented.sink()
    done = subwatch.run(python(SHOW), sinks=[sink], capture_output=True, text=True)

    assert done.stdout.strip() == traceparent(instrumented.span)


def test_own_children_without_our_sink_are_traced(instrumented, python):
    done = subwatch.run(python(SHOW), sinks=[lambda record: None], capture_output=True, text=True)

    assert done.stdout.strip() == traceparent(instrumented.span)


def test_own_failed_start_does_not_hide_the_next_child(instrumented):
    with pytest.raises(TypeError):
        subwatch.run([1.5], sinks=[instrumented.sink()])
    subprocess.run(["true"], check=True)

    assert [span.name for span in instrumented.spans][-1] == "true"


def test_suppressed(instrumented, python):
    with suppress_instrumentation():
        done = subprocess.run(python(SHOW), capture_output=True, text=True)

    assert done.stdout == "\n"
    assert instrumented.spans == []


def test_environment(instrumented, python, monkeypatch):
    monkeypatch.setenv("TRACESTATE", "stale=1")
    code = "import os; print(sorted(os.environ))"
    given = {"PATH": os.environ["PATH"], "LC_CTYPE": "C"}
    done = subprocess.run(python(code), env=given, capture_output=True, text=True)
    assert done.stdout == "['LC_CTYPE', 'PATH', 'TRACEPARENT']\n"
    assert given == {"PATH": os.environ["PATH"], "LC_CTYPE": "C"}
    assert "TRACEPARENT" not in os.environ

    own = subprocess.run(python(SHOW), env={"TRACEPARENT": "mine"}, capture_output=True, text=True)
    assert own.stdout == "mine\n"


def test_variables_set_by_preexec_fn_arrive(instrumented):
    # as CPython's own test_preexec; the other tests of test_subprocess pass under the instrumentor, too
    output = subprocess.check_output(
        ["sh", "-c", "echo $FRUIT"], preexec_fn=lambda: os.putenv("FRUIT", "apple")
    )
    assert output == b"apple\n"
    assert instrumented.span.attributes["process.exit.code"] == 0


def test_class_is_itself(instrumented):
    class Mine(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = 1

        def _execute_child(self, *args, **kwargs):
            return super()._execute_child(*args, **kwargs)

    with Mine(["true"]) as mine:
        mine.wait()
    assert isinstance(mine, subprocess.Popen)
    assert (mine.returncode, mine.extra) == (0, 1)
    assert instrumented.span.attributes["process.exit.code"] == 0
    assert not hasattr(subprocess.Popen, "returncode")
    assert not hasattr(subprocess.Popen.__new__(subprocess.Popen), "returncode")
    assert set(vars(mine)) == set(vars(plain_popen())) | {"extra"}


def plain_popen():
    with suppress_instrumentation(), subprocess.Popen(["true"]) as popen:
        return popen


def test_mocks_of_popen_work_as_ever(instrumented):
    double = mock.create_autospec(subprocess.Popen)
    assert double(["true"]).wait() is not None
    with subprocess.Popen(["true"]) as popen:
        popen.wait()
    with mock.patch.object(popen, "returncode", 5):
        assert popen.poll() == 5
    assert popen.returncode == 0
    del popen.returncode
    assert not hasattr(popen, "returncode")
    popen.returncode = 0


def test_signature_and_warnings_stay(instrumented):
    def look():
        with pytest.warns(RuntimeWarning, match="line buffering") as warned:
            subprocess.Popen(
                ["true"], bufsize=1, stdout=subprocess.DEVNULL, stdin=subprocess.PIPE
            ).communicate()
        return str(inspect.signature(subprocess.Popen)), [(each.filename, each.lineno) for each in warned]

    ours = look()
    SubwatchInstrumentor().uninstrument()
    assert look() == ours


def test_streams_are_not_touched(instrumented, python, capfd):
    code = "import sys, os; print(os.readlink('/proc/self/fd/2'), file=sys.stderr)"
    subprocess.run(python(code), check=True)
    assert capfd.readouterr().err.strip() == os.readlink("/proc/self/fd/2")


def test_forgotten_child_ends_unknown(instrumented):
    popen = subprocess.Popen(["sleep", "60"])
    SubwatchInstrumentor().uninstrument()
    assert instrumented.span.attributes["subwatch.exit.reason"] == "unknown"
    popen.kill()
    assert popen.wait() == -9
    assert len(instrumented.spans) == 1


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


def test_uninstrument_below_another_wrapper(instrumented, python):
    ours = subprocess.Popen._execute_child
    subprocess.Popen._execute_child = lambda self, *args: ours(self, *args)
    theirs = subprocess.Popen._execute_child
    try:
        SubwatchInstrumentor().uninstrument()
        assert subprocess.Popen._execute_child is theirs
        assert subprocess.run(["true"]).returncode == 0
        assert instrumented.spans == []
    finally:
        subprocess.Popen._execute_child = ours.__wrapped__


@pytest.mark.parametrize("first", ["sentry", "ours"])
def test_beside_sentry(python, first):
    code = f"""
import subprocess, sys
import sentry_sdk
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from subwatch_opentelemetry._instrumentor import SubwatchInstrumentor

spans, events = InMemorySpanExporter(), []
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
quiet = dict(dsn="http://k@127.0.0.1:9/1", transport=lambda envelope: None)
sentry = lambda: sentry_sdk.init(**quiet, traces_sample_rate=1.0)
ours = lambda: SubwatchInstrumentor().instrument(tracer_provider=provider)
for step in ({first}, ours if {first} is sentry else sentry):
    step()
with sentry_sdk.start_transaction(name="t"):
    show = "import os; print(*sorted({{'TRACEPARENT', 'SUBPROCESS_SENTRY_TRACE'}} & set(os.environ)))"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True)
print(done.stdout.strip())
span = spans.get_finished_spans()[-1]
count = len(spans.get_finished_spans())
print(span.attributes["process.exit.code"], span.attributes["code.function.name"])
SubwatchInstrumentor().uninstrument()
print(subprocess.run(["true"]).returncode, len(spans.get_finished_spans()) - count)
"""
    done = subprocess.run(python(code), capture_output=True, text=True)
    expected = ["SUBPROCESS_SENTRY_TRACE TRACEPARENT", "0 <module>", "0 0"]
    assert done.stdout.splitlines() == expected, done.stderr


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

    spans = instrumented.spans
    callers = {span.get_span_context().span_id: span.name for span in spans if span.parent is None}
    children = [span for span in spans if span.parent is not None]
    assert len(children) == 20
    for span in children:
        assert callers[span.parent.span_id] == f"caller {span.attributes['process.exit.code']}"


def test_current_span_is_left_alone(instrumented):
    subprocess.run(["true"])
    assert not trace.get_current_span().get_span_context().is_valid
