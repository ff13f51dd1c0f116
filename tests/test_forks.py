"""Forks in the middle of what other threads do: the child must not wait for threads that it does not have."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

import subwatch
from subwatch.sinks import JsonLinesSink

# A finder that takes its time, so that the fork comes in the middle of the import.
FORKS = """
import logging, os, signal, sys, threading, time
from importlib.machinery import PathFinder
import subwatch

class Slow:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1]:
            importing.set()
            time.sleep(1)
        return PathFinder.find_spec(name, path, target)

importing = threading.Event()
sys.meta_path.insert(0, Slow)
run = lambda: subwatch.run(["sh", "-c", "echo said >&2"], stderr=-3, sinks=["logging", seen])
def seen(record):
    if isinstance(record, subwatch.Line):
        record.level, record.progress
thread = threading.Thread(target=run)
thread.start()
assert importing.wait(10)
if not (pid := os.fork()):
    signal.alarm(15)
    run()
    os._exit(0)
thread.join()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_fork_while_another_thread_imports():
    """The forked process would wait for the other thread's import for ever."""
    for module in ("_build", "sinks._logging", "processors._shapes", "processors.structured"):
        command = [sys.executable, "-W", "ignore", "-c", FORKS, f"subwatch.{module}"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), module


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("held", ["sink", "watch"])
def test_fork_while_another_thread_holds_a_lock(tmp_path, held):
    """In the child the lock of the sink, or of the watch, is open."""
    sink = JsonLinesSink(tmp_path / "records")
    watch = subwatch.Watch(sinks=[sink])
    locked, go = threading.Event(), threading.Event()

    def hold():
        with {"sink": sink, "watch": watch}[held]._lock:
            locked.set()
            go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(30)
    if not (pid := os.fork()):
        signal.alarm(10)
        watch.run(["true"])
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    go.set()
    thread.join()
    sink.close(1.0)
    assert os.waitstatus_to_exitcode(status) == 0
