"""The span of a child: name, kind, parent, attributes, status, times."""

from __future__ import annotations

import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

import subwatch
from subwatch.errors import ConfigError
from subwatch_opentelemetry import OpenTelemetrySink


def test_success(memory, Child, follow):
    child = Child(tags={"cluster": "main"})
    before = time.time_ns()
    with memory.tracer.start_as_current_span("caller") as caller:
        stream = memory.sink().open(child.run)
    start, exit = child.start(), child.exit()
    stream.emit(start)
    stream.emit(exit)
    stream.close()

    span = memory.spans[1]
    assert span.name == "pg_basebackup"
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == caller.get_span_context().span_id
    assert before <= span.start_time <= start.time_ns
    assert span.end_time == exit.time_ns
    assert span.status.status_code is StatusCode.UNSET
    assert span.status.description is None
    assert span.instrumentation_scope.name == "subwatch.opentelemetry"
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"
    assert dict(span.attributes) == {
        "process.executable.name": "pg_basebackup",
        "process.executable.path": "/usr/bin/pg_basebackup",
        "process.command_args": ("/usr/bin/pg_basebackup", "-D", "data"),
        "process.working_directory": "/srv",
        "process.pid": 4711,
        "process.exit.code": 0,
        "code.file.path": "/app/backup.py",
        "code.line.number": 12,
        "code.function.name": "backup",
        "cluster": "main",
        "subwatch.run.id": child.run.id,
        "subwatch.cpu.user": 0.1,
        "subwatch.cpu.system": 0.05,
        "subwatch.memory.max_rss": 2_000_000,
    }


def test_run_fields(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit())

    place = memory.span.get_span_context()
    assert child.run.fields == {"trace_id": f"{place.trace_id:032x}", "span_id": f"{place.span_id:016x}"}


@pytest.mark.parametrize(
    ("options", "code", "error", "description"),
    [
        ({"returncode": 3, "tail": ["first", "last words"]}, 3, "3", "last words"),
        ({"returncode": 3}, 3, "3", None),
        ({"returncode": -9, "signal": "SIGKILL"}, 137, "SIGKILL", None),
        ({"returncode": -15, "signal": "SIGTERM", "reason": "timed_out"}, 143, "timeout", None),
        ({"returncode": 0, "reason": "timed_out"}, 0, "timeout", None),
        ({"returncode": -15, "signal": "SIGTERM", "reason": "idle"}, 143, "idle", None),
        ({"returncode": -15, "signal": "SIGTERM", "reason": "cancelled"}, 143, "cancelled", None),
        ({"returncode": -2, "signal": "SIGINT", "reason": "interrupted"}, 130, "interrupted", None),
        (
            {
                "returncode": None,
                "reason": "spawn_failed",
                "error": "No file",
                "error_type": "FileNotFoundError",
            },
            None,
            "FileNotFoundError",
            "No file",
        ),
    ],
)
def test_failure(memory, Child, follow, options, code, error, description):
    child = Child()
    records = [child.exit(**options)] if code is None else [child.start(), child.exit(**options)]
    follow(memory.sink(), child, *records)

    span = memory.span
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == description
    assert span.attributes.get("process.exit.code") == code
    assert span.attributes["error.type"] == error
    assert span.attributes.get("subwatch.exit.signal") == options.get("signal")
    assert span.attributes.get("subwatch.exit.reason") == options.get("reason")
    assert span.attributes.get("process.pid") == (None if code is None else 4711)
    assert span.attributes.get("subwatch.tail") == (tuple(options["tail"]) if "tail" in options else None)
    assert not span.events


@pytest.mark.parametrize("reason", ["stopped", "unknown", "left_running"])
def test_no_failure(memory, Child, follow, reason):
    child = Child()
    code, signal = (-15, "SIGTERM") if reason == "stopped" else (None, None)
    follow(memory.sink(), child, child.start(), child.exit(code, signal=signal, reason=reason))

    assert memory.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in memory.span.attributes
    assert memory.span.attributes["subwatch.exit.reason"] == reason


def test_lost_with_its_worker(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit(None, reason="lost"))

    assert memory.span.status.status_code is StatusCode.ERROR
    assert memory.span.attributes["error.type"] == memory.span.attributes["subwatch.exit.reason"] == "lost"


def test_tail_is_limited(memory, Child, follow):
    child = Child()
    follow(memory.sink(tail=2), child, child.start(), child.exit(1, tail=["a", "b", "c"]))

    assert memory.span.attributes["subwatch.tail"] == ("b", "c")


def test_no_tail_says_nothing_of_the_lines(memory, Child, follow):
    child = Child()
    follow(memory.sink(tail=0), child, child.start(), child.exit(1, tail=["a"]))

    assert "subwatch.tail" not in memory.span.attributes
    assert memory.span.status.description is None


def test_command_args_can_be_left_out(memory, Child, follow):
    child = Child()
    follow(memory.sink(command_args=False), child, child.start(), child.exit())

    assert "process.command_args" not in memory.span.attributes


def test_relative_program_has_no_path(memory, Child, follow):
    child = Child(("ls", "-l"))
    follow(memory.sink(), child, child.start(), child.exit())

    assert memory.span.name == "ls"
    assert "process.executable.path" not in memory.span.attributes


def test_another_program_than_the_command_says_has_no_path(memory):
    subwatch.run("exit 0", shell=True, executable="/bin/bash", sinks=[memory.sink()])
    assert memory.span.name == memory.span.attributes["process.executable.name"] == "bash"
    assert memory.span.attributes["process.command_args"] == ("/bin/sh", "-c", "exit 0")
    assert "process.executable.path" not in memory.span.attributes


def test_many_arguments_are_counted(memory, Child, follow):
    child = Child(("/bin/rm", *map(str, range(1000))))
    follow(memory.sink(), child, child.start(), child.exit())

    assert len(memory.span.attributes["process.command_args"]) == 256
    assert memory.span.attributes["process.args_count"] == 1001


def test_close_ends_the_span_once(memory, Child):
    child = Child()
    stream = memory.sink().open(child.run)
    stream.emit(child.start())
    stream.close()
    stream.close()

    assert memory.span.end_time >= memory.span.start_time
    assert "process.exit.code" not in memory.span.attributes


def test_clock_set_back_does_not_turn_the_span_around(memory, Child, follow):
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit(time_ns=1))

    assert memory.span.end_time >= memory.span.start_time


def test_sampler_sees_name_kind_and_tags(Child, follow):
    seen = {}

    class Look(Sampler):
        def should_sample(self, parent, trace_id, name, kind=None, attributes=None, *others, **more):
            seen.update(attributes or {}, name=name, kind=kind)
            return SamplingResult(Decision.DROP)

        def get_description(self):
            return "look"

    child = Child(tags={"cluster": "main"})
    sink = OpenTelemetrySink(tracer_provider=TracerProvider(sampler=Look(), shutdown_on_exit=False))
    follow(sink, child, child.start(), child.exit())

    assert seen == {"name": "pg_basebackup", "kind": SpanKind.CLIENT, "cluster": "main"}


@pytest.mark.parametrize(
    "options",
    [
        {"lines": "all"},
        {"metrics": "yes"},
        {"tail": -1},
        {"tail": "2"},
        {"max_lines_per_second": 1.5},
        {"max_value_length": -1},
        {"progress": -1},
        {"progress": "all"},
    ],
)
def test_wrong_option(memory, options):
    with pytest.raises(ConfigError, match=f"opentelemetry: {next(iter(options))}="):
        memory.sink(**options)


def test_current_span_is_left_alone(memory, Child, follow):
    child = Child()
    with memory.tracer.start_as_current_span("caller") as caller:
        follow(memory.sink(), child, child.start(), child.exit())
        assert trace.get_current_span() is caller
