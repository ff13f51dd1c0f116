"""Fixtures for the command line tool: it runs as a person runs it, as a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = [sys.executable, "-m", "subwatch"]


def _terminal_class():
    spec = importlib.util.spec_from_file_location(
        "subwatch_tests_terminal", Path(__file__).parent / "terminal.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Terminal


@pytest.fixture(scope="session")
def terminal():
    """The class `Terminal`."""
    return _terminal_class()


@pytest.fixture
def environment(tmp_path):
    """An environment in which nothing is set that could change what the tool does."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "COVERAGE_PROCESS_START", "VIRTUAL_ENV")
        if name in os.environ
    }
    return {**kept, "HOME": str(tmp_path), "LANG": "C.UTF-8"}


@pytest.fixture
def cli(environment, tmp_path):
    """Run the tool; returns what subprocess.run returns, output as text."""

    def call(*arguments, env=None, **options):
        options.setdefault("cwd", tmp_path)
        options.setdefault("capture_output", True)
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            [*CLI, *map(str, arguments)],
            text=True,
            timeout=30,
            env={**environment, **(env or {})},
            check=False,
            **options,
        )

    return call


@pytest.fixture
def start(environment, tmp_path):
    """Start the tool, for tests that talk to it while it runs."""
    started = []

    def call(*arguments, env=None, **options):
        options = {
            "cwd": tmp_path,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        process = subprocess.Popen(
            [*CLI, *map(str, arguments)], text=True, env={**environment, **(env or {})}, **options
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def records():
    """Read a file of JSON lines."""
    return lambda path: [json.loads(line) for line in Path(path).read_text().splitlines()]
