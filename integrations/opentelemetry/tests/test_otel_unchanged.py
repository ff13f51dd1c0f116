"""Under the instrumentor a program sees no difference; see test_otel_cpython.py, too."""

from __future__ import annotations

import inspect
import os
import subprocess
from unittest import mock

import pytest
import wrapt
from opentelemetry import trace
from opentelemetry.instrumentation.utils import suppress_instrumentation

from subwatch_opentelemetry import SubwatchInstrumentor

SHOW = "import os; print(os.environ.get('TRACEPARENT', ''))"


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


def test_a_wrapper_of_others_below_ours_is_put_back_as_it_was(memory):
    before = vars(subprocess.Popen)["_execute_child"]
    wrapt.wrap_function_wrapper(
        subprocess.Popen, "_execute_child", lambda call, _, args, more: call(*args, **more)
    )
    theirs = vars(subprocess.Popen)["_execute_child"]
    try:
        SubwatchInstrumentor().instrument(**memory.providers)
        subprocess.run(["true"], check=True)
        SubwatchInstrumentor().uninstrument()
        assert vars(subprocess.Popen)["_execute_child"] is theirs
    finally:
        subprocess.Popen._execute_child = before
    assert memory.span.name == "true"


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


def test_current_span_is_left_alone(instrumented):
    subprocess.run(["true"])
    assert not trace.get_current_span().get_span_context().is_valid
