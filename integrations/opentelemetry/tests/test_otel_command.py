"""``subwatch run --sink opentelemetry``, with no application that sets an SDK up."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from subwatch.errors import ConfigError

BIN = Path(sys.executable).parent
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
DEAD = "http://127.0.0.1:9"


@pytest.fixture(name="run")
def _run(tmp_path):
    """Run the command with variables of OpenTelemetry; none of ours reach it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SUBWATCH_"))}

    def run(*command, sink="opentelemetry", before=(), **variables):
        return subprocess.run(
            [*before, BIN / "subwatch", "run", "--sink", sink, "--", *command],
            env=ours | variables,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("service", [None, "nightly"])
def test_span_and_lines_reach_the_collector(run, collector, endpoints, readback, protocol, service):
    trace = os.urandom(16).hex()
    done = run(
        *("sh", "-c", "echo 'WARNING: low' >&2; echo $TRACEPARENT; exit 3"),
        sink="opentelemetry:metrics=true",
        TRACEPARENT=f"00-{trace}-{SPAN}-01",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoints[protocol],
        SUBWATCH_FLUSH_TIMEOUT="20",
        **({"OTEL_SERVICE_NAME": service} if service else {}),
    )
    assert (done.returncode, done.stderr) == (3, "WARNING: low\n")
    if readback is None:
        return

    key = bytes.fromhex(trace)
    (span,) = readback.wait("traces", lambda items: [item for item in items if item.trace_id == key])
    line, exit = readback.wait("logs", lambda items: collector.sorted_logs(items, key, 2))
    assert done.stdout.strip() == f"00-{trace}-{span.span_id.hex()}-01"
    assert span.parent_span_id.hex() == SPAN
    assert collector.attributes_of(span)["process.exit.code"] == 3
    assert collector.plain(line.body) == "WARNING: low"
    assert line.span_id == exit.span_id == span.span_id
    assert (service or "subwatch") in readback.services()


@pytest.mark.parametrize(
    ("exporter", "verdict"), [("otlp", "ok"), ("nix", "wrong: opentelemetry: ")], ids=["right", "wrong"]
)
def test_check_says_whether_an_sdk_can_be_set_up_and_sends_nothing(tmp_path, protocol, exporter, verdict):
    foreign = ("OTEL_", "SUBWATCH_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {
            "TRACEPARENT": f"00-{TRACE}-{SPAN}-01",
            "OTEL_TRACES_EXPORTER": exporter,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://{}:{}".format(*server.getsockname()),
            "SUBWATCH_SINK_OPENTELEMETRY_METRICS": "true",
        }
        done = subprocess.run(
            [BIN / "subwatch", "sinks", "--check"],
            cwd=tmp_path,
            env=clean | env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("opentelemetry ")]
    assert row.partition(" ")[2].strip().startswith(verdict)
    assert done.stderr == ""


def test_example_of_the_readme(collector, endpoints, readback, tmp_path):
    text = Path(__file__).parents[1].joinpath("README.md").read_text()
    example = text.partition("## On the command line")[2].split("```")[1]
    protocol = next(iter(endpoints))
    assert "http://127.0.0.1:4318" in example
    script = example.replace("http://127.0.0.1:4318", endpoints[protocol]).replace(
        "pip install", ": pip install"
    )
    (tmp_path / "pg_basebackup").write_text(f"#!/bin/sh\necho {tmp_path} >&2\n")
    (tmp_path / "pg_basebackup").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{BIN}:{os.environ['PATH']}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    env["SUBWATCH_FLUSH_TIMEOUT"] = "20"
    done = subprocess.run(["sh", "-e", "-c", script], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, f"{tmp_path}\n")
    if readback is not None:
        (log,) = readback.wait(
            "logs", lambda items: [item for item in items if collector.plain(item.body) == str(tmp_path)]
        )
        spans = readback.wait(
            "traces", lambda items: [item for item in items if item.trace_id == log.trace_id]
        )
        assert [span.name for span in spans] == ["pg_basebackup"]


def test_child_sees_no_variable_of_ours(run):
    code = "import os; print(sorted(name for name in os.environ if name.startswith('OTEL_')))"
    done = run(sys.executable, "-c", code, OTEL_TRACES_EXPORTER="none", OTEL_LOGS_EXPORTER="none")
    assert done.stdout == "['OTEL_LOGS_EXPORTER', 'OTEL_TRACES_EXPORTER']\n"
    assert done.stderr == ""


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_dead_collector_is_said_once_and_delays_by_the_deadline(run, protocol):
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": DEAD, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}

    def took(sink, timeout):
        start = time.monotonic()
        done = run("sh", "-c", "exit 4", sink=sink, SUBWATCH_FLUSH_TIMEOUT=timeout, **variables)
        return time.monotonic() - start, done

    alone, _ = took("callable:function=print", "0")
    longer, done = took("opentelemetry", "0.5")
    assert done.returncode == 4
    assert done.stderr == "subwatch: 2 records did not reach opentelemetry\n"
    assert longer < alone + 0.5 + 8  # the exporters' own limit is 10 s; a busy machine imports the SDK slowly


def test_without_an_sdk_it_is_said_how_to_get_one(run, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.sdk'] = None\n")
    parent = f"00-{TRACE}-{SPAN}-01"
    done = run("sh", "-c", "echo $TRACEPARENT; exit 3", PYTHONPATH=str(tmp_path), TRACEPARENT=parent)
    assert (done.returncode, done.stdout) == (3, parent + "\n")
    assert done.stderr.count("\n") == 1
    assert "pip install 'subwatch-opentelemetry[sdk]'" in done.stderr


def test_without_an_exporter_it_is_said_how_to_get_one(memory, monkeypatch, caplog):
    from subwatch_opentelemetry import OpenTelemetrySink, _sdk

    monkeypatch.setitem(_sdk._PROTOCOLS, "http/protobuf", "otlp_proto_not_installed")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    OpenTelemetrySink().standalone()
    (record,) = [record for record in caplog.records if record.name == "subwatch"]
    assert "no OTLP exporter for traces is installed" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "nonsense"),
        ("OTEL_LOGS_EXPORTER", "console,nonsense"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
    ],
)
def test_wrong_variable(monkeypatch, name, value):
    from subwatch_opentelemetry import OpenTelemetrySink

    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="opentelemetry: "):
        OpenTelemetrySink().standalone()


def test_the_sdk_of_an_application_is_used(run):
    instrument = [BIN / "opentelemetry-instrument", "--logs_exporter", "none", "--metrics_exporter", "none"]
    done = run(
        "sh", "-c", "exit 3", before=[*instrument, "--traces_exporter", "console"], TRACEPARENT="nonsense"
    )
    (span,) = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    assert span["attributes"]["process.exit.code"] == 3
    assert span["parent_id"] is None
    assert (done.returncode, done.stderr) == (3, "")


def test_disabled_sdk_sends_nothing(run):
    done = run("sh", "-c", "exit 3", OTEL_SDK_DISABLED="true")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
