"""One way to call the three fronts, and a sink that remembers: `run`, `Popen` and `aio.run` in the same tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from subprocess import PIPE

import subwatch
from subwatch import aio
from subwatch.records import Exit, Line, Start

FRONTS = ("run", "Popen", "aio")


class Seen:
    """A sink that keeps the records of one run and knows when they are complete."""

    name = "seen"

    def __init__(self):
        self.records = []
        self.run = None
        self.ended = threading.Event()
        self.closed = threading.Event()
        self.arrived = []  # monotonic time at which each record came

    def open(self, run):
        self.run = run
        return self

    def emit(self, records):
        for record in records:
            self.records.append(record)
            self.arrived.append(time.monotonic())
        if isinstance(records, Exit):
            self.ended.set()

    def close(self, timeout=None):
        self.closed.set()

    @property
    def lines(self):
        return [record for record in self.records if isinstance(record, Line)]

    @property
    def texts(self):
        return [line.text for line in self.lines]

    @property
    def exit(self):
        (record,) = [record for record in self.records if isinstance(record, Exit)]
        return record

    @property
    def joined(self):
        return "".join(line.text + line.ending for line in self.lines)

    def wait_late(self, count, timeout=10):
        """Wait for this many late lines."""
        until = time.monotonic() + timeout
        while sum(line.late for line in self.lines) < count:
            assert time.monotonic() < until, "the late lines did not come"
            time.sleep(0.01)
        return [line for line in self.lines if line.late]

    def check(self):
        """What holds for every run: start, lines, exit, then only late lines; counted, in order."""
        assert self.ended.wait(10), "there was no exit record"
        records = list(self.records)
        end = records.index(self.exit)
        if self.exit.reason != "spawn_failed":
            assert isinstance(records[0], Start)
            assert self.exit.pid == records[0].pid
        lines = records[1:end]
        assert all(isinstance(line, Line) and not line.late for line in lines)
        assert all(isinstance(line, Line) and line.late for line in records[end + 1 :])
        assert sum(self.exit.lines.values()) == len(lines)
        numbers = [record.number for record in records if isinstance(record, Line)]
        assert numbers == list(range(1, len(numbers) + 1))
        times = [record.time_ns for record in records]
        assert times == sorted(set(times))
        assert all(record.run is self.run for record in records)
        assert self.exit.truncated == sum(line.truncated for line in lines)
        return self


class Done:
    """How a call ended."""

    def __init__(self, seen):
        self.seen = seen
        self.error = None
        self.returncode = self.stdout = self.stderr = None
        self.took = 0.0
        self.proc = None

    @property
    def exit(self):
        return self.seen.exit


class Front:
    """Calls one of the fronts as `subprocess.run` is called, with capture; always returns."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name

    @property
    def owns_timeout(self):
        """Whether the time limit is ours to enforce (with Popen it is the caller's)."""
        return self.name != "Popen"

    def __call__(self, cmd, *, capture=True, seen=None, sinks=(), **kwargs):
        seen = Seen() if seen is None else seen
        kwargs["sinks"] = [*sinks, seen]
        if capture:
            kwargs.setdefault("stdout", PIPE)
            kwargs.setdefault("stderr", PIPE)
        done = Done(seen)
        began = time.monotonic()
        try:
            getattr(self, f"_{self.name}")(done, self.command(cmd), kwargs)
        except Exception as error:
            done.error = error
        done.took = time.monotonic() - began
        if seen.run is not None:
            seen.check()
        return done

    @staticmethod
    def command(cmd):
        """A string is a shell script, ``py:`` in front makes it Python."""
        if not isinstance(cmd, str):
            return cmd
        if cmd.startswith("py:"):
            return [sys.executable, "-c", cmd[3:]]
        return ["sh", "-c", cmd]

    def _keep(self, done, completed):
        done.returncode, done.stdout, done.stderr = completed.returncode, completed.stdout, completed.stderr
        done.args = completed.args

    def _run(self, done, cmd, kwargs):
        self._keep(done, subwatch.run(cmd, **kwargs))

    def _aio(self, done, cmd, kwargs):
        async def main():
            return await aio.run(cmd, **kwargs)

        self._keep(done, asyncio.run(main()))

    def _Popen(self, done, cmd, kwargs):
        input, timeout = kwargs.pop("input", None), kwargs.pop("timeout", None)
        check = kwargs.pop("check", False)
        if input is not None:
            kwargs["stdin"] = PIPE
        proc = done.proc = subwatch.Popen(cmd, **kwargs)
        try:
            stdout, stderr = proc.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            proc.kill()  # as the documentation of subprocess says
            proc.communicate()
            raise
        completed = subprocess.CompletedProcess(proc.args, proc.returncode, stdout, stderr)
        self._keep(done, completed)
        if check:
            completed.check_returncode()


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_gone(pid, timeout=5.0):
    """Whether a process ends within this time."""
    until = time.monotonic() + timeout
    while alive(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def wait_for(path, timeout=10.0):
    """Wait until a file has a whole line, and return it."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if os.path.exists(path) and (text := Path(path).read_text()).endswith("\n"):
            return text.strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")
