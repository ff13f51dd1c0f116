"""The package as users meet it: the README, the command line, the contract of sinks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import subwatch_opentelemetry
from subwatch.testing import SinkContract

README = Path(__file__).parents[1] / "README.md"
BIN = Path(sys.executable).parent


class TestContract(SinkContract):
    @pytest.fixture(autouse=True)
    def _memory(self, memory):
        self.memory = memory

    def make_sink(self):
        return self.memory.sink(metrics=True, meter_provider=self.memory.meter_provider)


class TestContractWithoutSdk(SinkContract):
    def make_sink(self):
        return subwatch_opentelemetry.OpenTelemetrySink()


def test_public_names():
    for name in subwatch_opentelemetry.__all__:
        assert getattr(subwatch_opentelemetry, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = subwatch_opentelemetry.Nothing


@pytest.mark.parametrize(
    ("group", "name"),
    [("subwatch.sinks", "opentelemetry"), ("opentelemetry_instrumentor", "subwatch")],
)
def test_entry_points(group, name):
    (point,) = entry_points(group=group, name=name)
    assert point.load().__module__.startswith("subwatch_opentelemetry")


def test_import_needs_no_sdk_and_no_instrumentation(python):
    code = """
import sys, subwatch_opentelemetry
banned = ("opentelemetry.sdk", "opentelemetry.instrumentation")
print([name for name in sys.modules if name.startswith(banned)])
"""
    assert subprocess.check_output(python(code), text=True) == "[]\n"


@pytest.fixture(name="environment")
def _environment(tmp_path):
    """An environment in which pg_basebackup is a program that says something."""
    fake = tmp_path / "pg_basebackup"
    fake.write_text("#!/bin/sh\necho 'pg_basebackup: checkpoint completed' >&2\n")
    fake.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{BIN}:{os.environ['PATH']}"}


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL))
def test_readme(python, environment, tmp_path, example):
    done = subprocess.run(python(example), env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "ConsoleSpanExporter" in example:
        assert '"process.exit.code": 0' in done.stdout


def test_example_of_the_root_readme(python, tmp_path):
    text = (Path(__file__).parents[3] / "README.md").read_text()
    (example,) = re.findall(r"<!-- example: opentelemetry -->\n```python\n(.*?)```", text, re.DOTALL)
    program = f"""
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
_logs.set_logger_provider(LoggerProvider())
_logs.get_logger_provider().add_log_record_processor(SimpleLogRecordProcessor(logs))
{example}
(span,), (log,) = spans.get_finished_spans(), logs.get_finished_logs()
print(span.name, log.log_record.body, log.log_record.span_id == span.context.span_id)
"""
    done = subprocess.run(python(program), cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("sh traced True\n", "traced\n")


def test_options_table_is_complete():
    rows = re.findall(r"^\| `(\w+)`(?:, `(\w+)`, `(\w+)`)? \| ", README.read_text(), re.MULTILINE)
    options = subwatch_opentelemetry.OpenTelemetrySink.__init__.__kwdefaults__
    assert {name for row in rows for name in row if name} >= set(options)


def test_opentelemetry_instrument(environment, tmp_path):
    app = tmp_path / "app.py"
    app.write_text(
        "import subprocess\nprint(subprocess.run(['sh', '-c', 'echo $TRACEPARENT; exit 3']).returncode)\n"
    )
    command = [BIN / "opentelemetry-instrument", "--traces_exporter", "console", "--logs_exporter", "none"]
    command += ["--metrics_exporter", "none", sys.executable, app]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)

    parent, code, spans = done.stdout.split("\n", 2)
    (span,) = json.loads("[" + spans.replace("}\n{", "},{") + "]")
    assert code == "3"
    assert span["name"] == "sh"
    assert span["attributes"]["process.exit.code"] == 3
    assert span["attributes"]["code.file.path"] == str(app)
    assert parent.split("-")[1:3] == [span["context"]["trace_id"][2:], span["context"]["span_id"][2:]]
    assert done.stderr == ""
