"""The examples of the READMEs run as they stand, but for the server's address."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parents[1]
ADDRESS = "http://127.0.0.1:3100"
OURS = (HERE / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", OURS, re.DOTALL)


@pytest.fixture
def environment(tmp_path):
    """First on the PATH: our commands as this Python has them, and a pg_basebackup that only talks."""
    for name, script in {
        "pg_basebackup": "echo 'pg_basebackup: initiating base backup' >&2",
        "subwatch": f'exec {sys.executable} -m subwatch "$@"',
        "subwatch-loki": f'exec {sys.executable} -m subwatch_loki "$@"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOKI_", "SUBWATCH_"))}
    return {**kept, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def run(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def entries(server, query='{job="subwatch"}'):
    with server.store.lock:
        return [
            (line, {**stream.labels, **metadata})
            for _, stream, line, metadata in server.store.query("fake", query, 0, 2**63, 5000, "forward")
        ]


def test_the_sink(server, environment):
    (code,) = [each for each in PYTHON if "sink(" in each]
    run([sys.executable, "-W", "error", "-c", code.replace(ADDRESS, server.url)], environment)
    found = entries(server)
    assert [line for line, _ in found][1] == "pg_basebackup: initiating base backup"
    assert {told["env"] for _, told in found} == {"prod"}
    assert found[-1][1]["exit_code"] == "0"


def test_the_command_line(server, environment):
    (command,) = re.findall(r"`(subwatch run [^`]*)`", OURS)
    run(["sh", "-c", command.replace(ADDRESS, server.url)], environment)
    assert [told["program"] for _, told in entries(server)] == ["pg_basebackup"] * 3


def test_the_handler(server, environment):
    (code,) = [each for each in PYTHON if "dictConfig" in each]
    code = code.replace(ADDRESS, server.url) + "\nlogging.getLogger('shop').info('sold %d', 3)\n"
    run([sys.executable, "-W", "error", "-c", code], environment)
    ((line, told),) = entries(server)
    assert (line, told["app"], told["logger"], told["level"]) == ("sold 3", "shop", "shop", "info")


def test_the_spool_commands(environment):
    (block,) = re.findall(r"```\n(subwatch-loki spool.*?)```", OURS, re.DOTALL)
    for command in block.splitlines():
        assert ": empty" in run(["sh", "-c", command], environment)


def test_the_dashboard_command(environment, tmp_path):
    (command,) = re.findall(r"`(subwatch-loki dashboard[^`]*)`", OURS)
    subprocess.run(["sh", "-c", command], env=environment, cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "subwatch.json").read_text() == (HERE / "src/subwatch_loki/dashboard.json").read_text()


def test_the_queries(server, environment):
    test_the_sink(server, environment)
    run_id = entries(server)[0][1]["run_id"]
    failed, whole, runs = (
        line.split("#")[0].strip() for line in OURS.split("```logql\n")[1].split("```")[0].splitlines()
    )
    assert entries(server, failed) == []
    assert len(entries(server, re.sub(r"[0-9a-f]{8}-[^\"]*", run_id, whole))) == 3
    answer = server.instant({}, {"query": runs})["data"]["result"]
    assert [(each["metric"], each["value"][1]) for each in answer] == [({"program": "pg_basebackup"}, "1")]


def test_the_example_of_the_main_readme(server, environment):
    """In the repository only: a distribution of the integration is without it."""
    path = HERE.parents[1] / "README.md"
    text = path.read_text() if path.exists() else OURS
    code = re.search(r"```python\n([^`]*sink\(\"loki\"[^`]*)```", text)[1]
    run([sys.executable, "-W", "error", "-c", code.replace(ADDRESS, server.url)], environment)
    assert len(entries(server)) == 3
    assert {told["failed"] for _, told in entries(server) if "failed" in told} == {"false"}
