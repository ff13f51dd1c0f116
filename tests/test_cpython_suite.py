"""CPython's own tests of subprocess and asyncio.subprocess, with ours in the place of the originals.

Each Python runs the tests that it ships itself, by the base interpreter (some tests do not work in a virtual
environment), a process per class. A sink takes every record, so that watching is really on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

import subwatch

pytestmark = pytest.mark.shared_children

SUITE = Path(__file__).parent / "cpython" / "suite.py"
SYNC, ASYNC = "test.test_subprocess", "test.test_asyncio.test_subprocess"
CLASSES = [
    (SYNC, "ProcessTestCase"),
    (SYNC, "ProcessTestCaseNoPoll"),
    (SYNC, "POSIXProcessTestCase"),
    (SYNC, "RunFuncTestCase"),
    (SYNC, "MiscTests"),
    (SYNC, "CommandsWithSpaces"),
    (SYNC, "ContextManagerTests"),
    (ASYNC, "SubprocessThreadedWatcherTests"),
    (ASYNC, "SubprocessSafeWatcherTests"),
    (ASYNC, "SubprocessFastWatcherTests"),
    (ASYNC, "SubprocessPidfdWatcherTests"),
    (ASYNC, "GenericWatcherTests"),
]
NOT_OURS = {
    "Win32ProcessTestCase": "Windows",
    "SubprocessTransportTests": "tests asyncio.base_subprocess.BaseSubprocessTransport by itself",
    "SubprocessMultiLoopWatcherTests": "switched off by CPython (bpo-38323)",
    "MultiLoopChildWatcherTests": "tests a warning of asyncio.MultiLoopChildWatcher",
    "BaseTestCase": "no tests of its own",
}
NOT_EVERYWHERE = {
    "test_create_subprocess_fails_with_inactive_watcher": "gone in Python 3.14",
    "test_pid_not_reaped_before_exit_published": "new in bugfix releases",
    "test_subprocess_read_pipe_cancelled": "new in bugfix releases",
}


def suite(directory, *args):
    """Run the suite script in a directory of its own: the tests make files where they are."""
    directory.mkdir()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_"))}
    env["PYTHONPATH"] = str(Path(subwatch.__file__).parents[1])
    python = getattr(sys, "_base_executable", sys.executable)
    return subprocess.run(
        [python, str(SUITE), *args],
        cwd=directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="backslashreplace",
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of the classes, as many at a time as there are processors."""
    if find_spec("test") is None or find_spec(SYNC) is None:
        pytest.fail(
            f"{sys.executable} comes without its test package: install it (Debian: libpython3-testsuite, "
            "Fedora: python3-test), or use a Python built from source (pyenv, uv), which has it"
        )
    home = tmp_path_factory.mktemp("cpython")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = {}

        def start(*key):
            if key not in made:
                made[key] = pool.submit(suite, home / "-".join(key), *key)
            return made[key]

        if "PYTEST_XDIST_WORKER" not in os.environ:  # there the classes are spread over processes already
            for key in CLASSES:
                start(*key)
        yield start
        pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_suite(runs, module, name):
    done = runs(module, name).result()
    assert done.returncode == 0, done.stdout[-20_000:]
    assert "complaints: 0" in done.stdout


@pytest.mark.usefixtures("runs")
def test_nothing_is_left_out(tmp_path):
    """Every class is run or named with a reason, and an exclusion is of a test that is there."""
    tests, excluded = set(), set()
    for module in (SYNC, ASYNC):
        done = suite(tmp_path / module, "--list", module)
        listed = json.loads(done.stdout)
        excluded.update(listed["excluded"])
        for name, names in listed["cases"].items():
            assert (module, name) in CLASSES or name in NOT_OURS
            tests.update(names)
    assert excluded - tests <= set(NOT_EVERYWHERE)
    assert len(excluded) <= 8
