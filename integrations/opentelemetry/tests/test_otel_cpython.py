"""CPython's own tests of subprocess and asyncio.subprocess, all of them, pass under the instrumentor."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("module", ["test.test_subprocess", "test.test_asyncio.test_subprocess"])
def test_suite(module, tmp_path):
    if find_spec("test") is None or find_spec("test.test_subprocess") is None:
        pytest.fail(f"{sys.executable} comes without its test package (Debian: libpython3-testsuite)")
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_", "OTEL_"))
    }
    python = getattr(
        sys, "_base_executable", sys.executable
    )  # some tests do not work in a virtual environment
    done = subprocess.run(
        [python, Path(__file__).with_name("cpython_instrumented.py"), module, *filter(None, sys.path)],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
    )
    assert done.returncode == 0, done.stdout[-20_000:]
