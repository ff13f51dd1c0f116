"""What we emit, held against the released semantic conventions."""

from __future__ import annotations

import ast
import inspect
import os
import pkgutil
import subprocess
from importlib import import_module

import pytest
from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv._incubating import attributes as incubating
from opentelemetry.semconv._incubating.attributes.log_attributes import LogIostreamValues
from opentelemetry.semconv.attributes.error_attributes import ErrorTypeValues
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode

import subwatch
from subwatch_opentelemetry import _attributes

#: Types by the registry (model/process/registry.yaml and its neighbours); the package has none.
TYPES = {
    "code.file.path": str,
    "code.function.name": str,
    "code.line.number": int,
    "error.type": str,
    "log.iostream": str,
    "process.args_count": int,
    "process.command_args": (str,),
    "process.executable.name": str,
    "process.executable.path": str,
    "process.exit.code": int,
    "process.pid": int,
    "process.working_directory": str,
}
#: Those of which the conventions list all values.
VALUES = {"log.iostream": [each.value for each in LogIostreamValues]}
REQUIRED = {"process.executable.name", "process.pid", "process.exit.code"}  # span.cli.client


def _released():
    """Name to (constant, whether deprecated) of every attribute in the package."""
    found = {}
    for package in (incubating, stable):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            tree = ast.parse(inspect.getsource(import_module(module.name)))
            for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
                if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
                    text = after.value.value if isinstance(after, ast.Expr) else ""
                    found[node.value.value] = (node.target.id, text.strip().startswith("Deprecated"))
    return found


RELEASED = _released()
OURS = [name for name, value in vars(_attributes).items() if name.isupper() and isinstance(value, str)]
ENDS = [
    {},
    {"returncode": 3, "tail": ["a"]},
    {"returncode": -9, "signal": "SIGKILL"},
    {"returncode": -15, "signal": "SIGTERM", "reason": "timed_out"},
    {"returncode": None, "reason": "spawn_failed", "error": "no", "error_type": "FileNotFoundError"},
]


def fits(value, kind):
    if isinstance(kind, tuple):
        return isinstance(value, tuple) and all(fits(item, kind[0]) for item in value)
    return type(value) is kind


def hold_against_the_release(memory, points):
    everything = [attributes for found in memory.points(points).values() for attributes, _ in found]
    for span in memory.spans:
        everything += [span.attributes, *(event.attributes for event in span.events)]
        assert span.instrumentation_scope.schema_url == _attributes.SCHEMA_URL
    everything += [record.attributes for record in memory.logs]
    for attributes in everything:
        for name, value in attributes.items():
            if not name.startswith("subwatch."):
                assert RELEASED[name][1] is False
                assert fits(value, TYPES[name]), (name, value)
                assert value in VALUES.get(name, [value])


@pytest.mark.parametrize("name", OURS)
def test_our_list_is_theirs(name):
    value = getattr(_attributes, name)
    if value.startswith("subwatch."):
        assert value not in RELEASED
    elif name == "SCHEMA_URL":
        assert value in {schema.value for schema in Schemas}
    else:
        assert RELEASED[value] == (name, False)
        assert value in TYPES


@pytest.mark.parametrize("lines", ["logs", "events"])
@pytest.mark.parametrize("end", ENDS, ids=str)
def test_everything_emitted(memory, Child, follow, end, lines):
    child = Child(("/usr/bin/tool", *["x"] * 300))
    spawned = end.get("reason") != "spawn_failed"
    records = [child.start(), child.lines("line")] if spawned else []
    sink = memory.sink(lines=lines, metrics=True, meter_provider=memory.meter_provider)
    follow(sink, child, *records, child.exit(**end))

    hold_against_the_release(memory, "value")
    span = memory.span
    assert span.kind is SpanKind.CLIENT
    assert span.name == span.attributes["process.executable.name"] == "tool"
    assert set(span.attributes) >= REQUIRED or not spawned
    failed = span.attributes.get("process.exit.code") != 0
    assert ("error.type" in span.attributes) is failed
    assert span.status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    code, error = span.attributes.get("process.exit.code"), span.attributes.get("error.type")
    assert span.status.description is None or span.status.description not in (str(code), error)
    (duration,) = memory.points("count")["subwatch.process.duration"]
    assert duration[0].get("error.type") == error


@pytest.mark.parametrize(
    ("command", "options", "code", "error"),
    [
        (["true"], {}, 0, None),
        (["sh", "-c", "exit 3"], {}, 3, "3"),
        (["sh", "-c", "kill -KILL $$"], {}, 137, "SIGKILL"),
        (["sleep", "60"], {"timeout": 0.1}, 143, "timeout"),
        (["/no_such_program"], {}, None, "FileNotFoundError"),
        (["true"], {"cwd": "/no_such_folder"}, None, "FileNotFoundError"),
    ],
)
def test_real_children(memory, command, options, code, error):
    sink = memory.sink(metrics=True, meter_provider=memory.meter_provider)
    try:
        subwatch.run(command, sinks=[sink], stderr=subprocess.DEVNULL, **options)
    except (OSError, subprocess.TimeoutExpired):
        pass

    hold_against_the_release(memory, "value")
    span = memory.span
    assert (span.kind, span.name) == (SpanKind.CLIENT, os.path.basename(command[0]))
    assert span.attributes.get("process.exit.code") == code
    assert span.attributes.get("error.type") == error
    assert span.status.status_code is (StatusCode.UNSET if error is None else StatusCode.ERROR)
    assert set(span.attributes) >= (REQUIRED if code is not None else {"process.executable.name"})


def test_error_of_no_known_kind(Child):
    assert _attributes.error_type(Child().exit(None, reason="exited")) == ErrorTypeValues.OTHER.value
