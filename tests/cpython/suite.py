"""Run one class of CPython's own subprocess tests with subwatch in the place of the originals.

    python tests/cpython/suite.py test.test_subprocess RunFuncTestCase [--plain] [NAME...]

``--plain`` runs the originals, to tell our fault from that of a machine.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import resource
import subprocess
import sys
import threading
import unittest

#: Tests that do not apply, with the reason. Each puts a mock in the middle of the implementation; what it is
#: about is asked of ours from outside in test_dropin.py and test_environments.py.
EXCLUDED = {
    "test_repr": "replaces Popen._execute_child by a mock, so that there is no child to watch",
    "test_run_keyboardinterrupt_no_kill": "expects run() to find a mock in subprocess.Popen, and counts its calls",
    "test_popen_error": "expects create_subprocess_exec() to find a mock in subprocess.Popen",
    "test_popen_error_with_stdin_pipe": "expects create_subprocess_exec() to find a mock in subprocess.Popen",
    "test_pause_reading": "replaces loop.connect_read_pipe, to look into the transport that asyncio makes for itself",
    "test_subprocess_read_pipe_cancelled": "expects a mock in the place of loop.connect_read_pipe to be called",
    "test_create_subprocess_fails_with_inactive_watcher": "asks asyncio's child watcher, which ours does not need",
    "test_pid_not_reaped_before_exit_published": "asks asyncio's child watcher for its thread",
}


class Watching:
    """A sink that takes every record and checks their order."""

    def __init__(self) -> None:
        self.runs = 0
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def open(self, run):
        with self._lock:
            self.runs += 1
        return _Stream(self)

    def close(self, timeout):
        return None


class _Stream:
    def __init__(self, sink):
        self._sink = sink
        self._seen = []

    def emit(self, records):
        kind = type(records).__name__
        if kind == "Lines":
            assert [line.text for line in records] == records.texts
            ok = self._seen[:1] == ["Start"] and (records.late or "Exit" not in self._seen)
        elif kind == "Start":
            ok = not self._seen
        else:
            ok = "Exit" not in self._seen and (records.reason == "spawn_failed") == (not self._seen)
        if not ok:
            self._sink.errors.append(f"{kind} after {self._seen} in {records!r}")
        self._seen.append(kind)

    def close(self):
        if self._seen[:1] == ["Start"] and "Exit" not in self._seen:
            self._sink.errors.append("closed without an exit record")


class _Complaints(logging.Handler):
    """Whatever subwatch says about itself is an error here."""

    def __init__(self, sink):
        super().__init__()
        self._sink = sink

    def emit(self, record):
        self._sink.errors.append(record.getMessage())


def put_in_place() -> Watching:
    """Replace the originals."""
    import subwatch
    import subwatch.aio

    sink = Watching()
    logging.getLogger("subwatch").addHandler(_Complaints(sink))
    subwatch.configure(sinks=[sink])
    subprocess.run, subprocess.Popen = subwatch.run, subwatch.Popen
    for module in (asyncio, asyncio.subprocess):
        module.create_subprocess_exec = subwatch.aio.create_subprocess_exec
        module.create_subprocess_shell = subwatch.aio.create_subprocess_shell
    return sink


def cases(module: str) -> dict[str, list[str]]:
    """The names of the tests of a module, by class."""
    found = {}
    for name, case in vars(importlib.import_module(module)).items():
        if isinstance(case, type) and issubclass(case, unittest.TestCase) and case.__module__ == module:
            found[name] = unittest.defaultTestLoader.getTestCaseNames(case)
    return {name: tests for name, tests in found.items() if tests}


def run(module: str, name: str, only: list[str], *, plain: bool) -> int:
    """Run the tests of a class; return 0 when all is well."""
    # one test fills the table of descriptors: give it the usual one
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.set_event_loop(None)  # one test counts on another's having done this
    sink = None if plain else put_in_place()
    tests = only or [test for test in cases(module).get(name, ()) if test not in EXCLUDED]
    case = getattr(importlib.import_module(module), name, None)  # not every Python has every class
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(unittest.TestSuite(map(case, tests)))
    if sink is not None:
        print(f"watched {sink.runs} runs of {result.testsRun} tests; complaints: {len(sink.errors)}")
        for error in sink.errors:
            print(" ", error)
        if sink.errors or (tests and not sink.runs):
            return 1
    return not result.wasSuccessful()


if __name__ == "__main__":
    if sys.argv[1] == "--list":
        print(json.dumps({"cases": cases(sys.argv[2]), "excluded": list(EXCLUDED)}))
    else:
        module, name, *only = (arg for arg in sys.argv[1:] if arg != "--plain")
        sys.exit(run(module, name, only, plain="--plain" in sys.argv))
