"""The tests without faults pass with a server that is given, by SUBWATCH_TEST_LOKI_URL: they use it, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
FILES = ("conformance", "dashboard", "lines", "sink")
TIGHT = {
    "auth": 1, "rate": 1e6, "burst": 2e6, "stream_rate": 5e5, "stream_burst": 1e6, "max_line_size": 65536,
    "max_streams": 5, "max_label_names": 10, "max_metadata_pairs": 64,
}  # fmt: skip


@contextlib.contextmanager
def elsewhere(limits):
    """A server in a process of its own: its address, and when it has ended what it was sent."""
    words = [f"{name}={value}" for name, value in limits.items()]
    command = [sys.executable, str(HERE / "lokiserver.py"), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told = {"url": process.stdout.readline().strip()}
        yield told
        out, _ = process.communicate(timeout=30)
        told.update(json.loads(out))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("limits", [{}, TIGHT], ids=["default limits", "tenants and tight limits"])
def test_the_suite_with_a_server_that_is_given(limits):
    files = [str(HERE / f"test_loki_{name}.py") for name in FILES]
    with elsewhere(limits) as told:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files],
            capture_output=True,
            text=True,
            timeout=280,
            env={**os.environ, "SUBWATCH_TEST_LOKI_URL": told["url"]},
        )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    assert int(passed[1]) > 100, "and none is left out"
    if limits:
        assert told["tenants"] > 20
        assert told["pushes"] > 30
    else:
        assert told["tenants"] == 1
        assert told["pushes"] > 100
