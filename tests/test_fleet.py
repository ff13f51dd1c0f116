"""`Watch.map`: the same commands on threads and on processes, one of which is killed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver, get_context, resource_tracker

import pytest

import subwatch
from subwatch.records import Exit, Line, Start

asked = contextvars.ContextVar("asked", default=None)


class Sink:
    """Keeps what it gets, by run, and contributes to the environment."""

    name = "test"

    def __init__(self):
        self.runs = {}
        self.contexts = set()

    def open(self, run):
        self.contexts.add(asked.get())
        run.fields["trace_id"] = "abc"
        records = self.runs[run.id] = []
        return _Stream(records, run)

    def close(self, timeout):
        return 0

    @property
    def ends(self):
        return [records[-1] for records in self.runs.values()]

    @property
    def lines(self):
        return sorted(r.text for records in self.runs.values() for r in records if type(r) is Line)


class _Stream:
    env = {"FROM_SINK": "sink"}

    def __init__(self, records, run):
        self._records, self._run = records, run

    def emit(self, records):
        self._records += records
        if type(records) is Exit:
            self.tail = [line.text for line in self._run.tail(5)]

    def close(self):
        pass


@pytest.fixture(scope="module", autouse=True)
def helpers_of_multiprocessing():
    """They live as long as the process: not to be taken for something that a test has left behind."""
    forkserver.ensure_running()
    yield
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


@pytest.fixture(autouse=True)
def nothing_left():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and set(threading.enumerate()) - before:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before


@contextlib.contextmanager
def executor(kind):
    if kind == "default":
        yield None
    elif kind == "threads":
        with ThreadPoolExecutor(3) as made:
            yield made
    elif kind == "interpreters":
        with concurrent.futures.InterpreterPoolExecutor(3) as made:
            yield made
    else:
        with ProcessPoolExecutor(3, mp_context=get_context(kind)) as made:
            yield made


KINDS = ["default", "threads", "fork", "forkserver"]
INTERPRETERS = ["interpreters"] if sys.version_info >= (3, 14) else []


def say(text, end=0):
    return ["sh", "-c", f'echo "{text}" >&2; exit {end}']


@pytest.mark.parametrize("kind", KINDS + INTERPRETERS)
def test_one_result_for_each_command_in_order(kind):
    watch = subwatch.Watch(sinks=[], tags={"job": "x"})
    commands = [say(n, n) for n in range(6)] + [["no-such-program"]]
    with executor(kind) as engine:
        results = list(watch.map(commands, executor=engine, stderr=subprocess.PIPE, text=True))
    assert [result.index for result in results] == list(range(7))
    assert [result.command for result in results] == commands
    assert [result.returncode for result in results] == [0, 1, 2, 3, 4, 5, None]
    assert [result.result().stderr for result in results[:-1]] == [f"{n}\n" for n in range(6)]
    assert [result.exit.reason for result in results] == ["exited"] * 6 + ["spawn_failed"]
    assert {result.exit.run.tags["job"] for result in results} == {"x"}
    with pytest.raises(FileNotFoundError):
        results[-1].result()
    assert repr(results[1]).startswith("MapResult(1, 'sh exited with code 1 after ")


@pytest.mark.parametrize("kind", KINDS + INTERPRETERS)
def test_failures_and_timeouts_are_the_results_own(kind):
    commands = [["false"], {"args": ["sleep", "60"], "timeout": 0.2}, ["true"]]
    with executor(kind) as engine:
        failed, late, fine = subwatch.Watch(sinks=[]).map(commands, executor=engine, check=True)
    assert type(failed.error) is subprocess.CalledProcessError
    assert type(late.error) is subprocess.TimeoutExpired
    assert (late.exit.reason, fine.error, fine.returncode) == ("timed_out", None, 0)


def test_results_as_they_come():
    commands = [["sleep", "0.5"], ["true"]]
    results = subwatch.Watch(sinks=[]).map(commands, executor=None, ordered=False)
    assert [result.index for result in results] == [1, 0]


def test_everything_is_submitted_at_once_and_cancelled_when_nobody_wants_it(tmp_path):
    commands = [["touch", str(tmp_path / "first")]] + [["sleep", "0.2"]] * 50
    with ThreadPoolExecutor(1) as engine:
        results = subwatch.Watch(sinks=[]).map(commands, executor=engine)
        while not (tmp_path / "first").exists():
            time.sleep(0.01)
        began = time.monotonic()
        results.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", KINDS)
def test_records_come_to_the_sinks_of_the_caller(kind):
    sink = Sink()
    asked.set("me")
    with executor(kind) as engine:
        results = subwatch.Watch(sinks=[sink]).map(
            [say(f"$FROM_SINK {n}") for n in range(20)],
            executor=engine,
            records="caller",
            stderr=subprocess.DEVNULL,
        )
        assert all(result.returncode == 0 for result in results)
    assert sink.lines == sorted(f"sink {n}" for n in range(20))
    assert sink.contexts == {"me"}
    for records in sink.runs.values():
        assert [type(record) for record in records] == [Start, Line, Exit]
        assert records[-1].run.fields == {"trace_id": "abc"}


def test_records_cannot_come_from_interpreters():
    for kind in INTERPRETERS:
        with executor(kind) as engine, pytest.raises(subwatch.ConfigError, match="use threads or processes"):
            subwatch.Watch(sinks=[]).map([["true"]], executor=engine, records="caller")


def test_records_come_live(tmp_path):
    sink = Sink()
    seen = []
    go = tmp_path / "go"
    command = ["sh", "-c", f"echo waiting >&2; while [ ! -e {go} ]; do sleep 0.05; done"]
    with executor("fork") as engine:
        results = subwatch.Watch(sinks=[sink]).map([command], executor=engine, records="caller")
        deadline = time.monotonic() + 20
        while not seen and time.monotonic() < deadline:
            seen = sink.lines
            time.sleep(0.01)
        go.touch()
        list(results)
    assert seen == ["waiting"]


@pytest.mark.parametrize("records", ["caller", "worker"])
def test_a_worker_that_dies_is_reported(records, tmp_path):
    sink = Sink()
    go = tmp_path / "go"
    command = ["sh", "-c", f"echo dying >&2; while [ ! -e {go} ]; do sleep 0.05; done; kill -9 $PPID"]
    with executor("fork") as engine:
        results = subwatch.Watch(sinks=[sink] if records == "caller" else []).map(
            [command], executor=engine, records=records
        )
        deadline = time.monotonic() + 20
        while records == "caller" and not sink.lines and time.monotonic() < deadline:
            time.sleep(0.01)
        go.touch()
        (result,) = results
    assert "terminated abruptly" in str(result.error)
    assert result.error.subwatch_exit is result.exit
    assert (result.exit.reason, result.exit.failed, result.returncode) == ("lost", True, None)
    assert result.exit.outcome == "was lost with its worker"
    if records == "caller":
        (ended,) = sink.ends
        assert ended is result.exit
        assert ended.lines == {"stderr": 1}
        assert [line.text for line in ended.tail] == ["dying"]


def test_each_run_that_a_broken_pool_has_lost_is_told_of_by_an_error_of_its_own():
    with executor("fork") as engine:
        commands = [["sh", "-c", "kill -9 $PPID", str(number)] for number in range(3)]
        results = list(subwatch.Watch(sinks=[]).map(commands, executor=engine))
    assert [result.exit.run.argv[-1] for result in results] == ["0", "1", "2"]
    for result in results:
        assert result.error.subwatch_exit is result.exit
        with pytest.raises(type(result.error), match="terminated abruptly"):
            result.result()


def test_a_pool_that_breaks_while_commands_are_given_to_it_is_reported():
    class Breaking(ThreadPoolExecutor):
        """Takes two, and is broken then."""

        taken = 0

        def submit(self, *args, **kwargs):
            self.taken += 1
            if self.taken > 2:
                raise BrokenExecutor("a worker died")
            return super().submit(*args, **kwargs)

    sink = Sink()
    watch = subwatch.Watch(sinks=[sink])
    with Breaking(2) as engine:
        results = list(watch.map([["sh", "-c", f"exit {number}"] for number in range(4)], executor=engine))
        assert [result.exit.reason for result in results] == ["exited", "exited", "lost", "lost"]
        assert sorted(end.reason for end in sink.ends) == ["exited", "exited", "lost", "lost"]
        with pytest.raises(BrokenExecutor, match="a worker died"):
            watch.map([["true"]], executor=engine)


def test_a_run_that_is_lost_in_a_worker_with_its_own_sinks_is_told_of_here(caplog):
    with executor("fork") as engine, caplog.at_level(logging.INFO):
        list(subwatch.Watch().map([["sh", "-c", "kill -9 $PPID"]], executor=engine))
    assert "sh was lost with its worker" in caplog.text


def test_a_worker_that_cannot_reach_the_caller_still_runs(monkeypatch):
    sink = Sink()
    from subwatch import _desk

    def refused(self, run):
        raise ConnectionRefusedError("no way")

    monkeypatch.setattr(_desk._Sender, "open", refused)  # the worker is a fork of this process
    with executor("fork") as engine:
        (result,) = subwatch.Watch(sinks=[sink]).map([["true"]], executor=engine, records="caller")
    assert (result.returncode, [ended.reason for ended in sink.ends]) == (0, ["exited"])


def test_who_has_no_key_is_turned_away(caplog):
    import socket

    from subwatch._desk import Desk

    desk = Desk((), "127.0.0.1")
    with socket.create_connection(desk.address[0]) as stranger:
        stranger.sendall(b"\0\0\0\4evil")
    deadline = time.monotonic() + 5
    while "desk" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    desk.close()
    assert "a connection to the desk of Watch.map failed" in caplog.text


def test_a_worker_keeps_its_sinks_from_one_command_to_the_next(tmp_path):
    code = f"""
import os, subwatch
class Sink:
    def __init__(self): open({str(tmp_path / "made")!r}, "a").write(f"{{os.getpid()}}\\n")
    def open(self, run): return self
    def emit(self, records): pass
    def close(self, timeout=0): pass
"""
    (tmp_path / "fleetsink.py").write_text(code)
    (tmp_path / "fleetsink-1.dist-info").mkdir()
    (tmp_path / "fleetsink-1.dist-info" / "METADATA").write_text("Name: fleetsink\nVersion: 1\n")
    (tmp_path / "fleetsink-1.dist-info" / "entry_points.txt").write_text(
        "[subwatch.sinks]\nfleet = fleetsink:Sink\n"
    )
    main = """
import subwatch
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(2) as engine:
        print([r.returncode for r in subwatch.Watch(sinks=["fleet"]).map([["true"]] * 20, executor=engine)])
"""
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", main], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{[0] * 20}\n", done.stderr
    makers = (tmp_path / "made").read_text().split()
    assert len(makers) == len(set(makers)) <= 2


def test_secrets_of_a_command_do_not_show_on_their_way_back():
    command = ["sh", "-c", "exit 3", "--password=hunter2"]
    with executor("fork") as engine:
        (result,) = subwatch.Watch(sinks=[]).map([command], executor=engine, check=True)
    assert "hunter2" not in f"{result!r} {result.error} {result.error!r} {result.exit!r}"
    assert result.error.cmd == command


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"records": "both"}, 'records= is "worker" or "caller"'),
        ({"tail": -1}, "tail"),
        ({"commands": [{"cwd": "/"}]}, "names its args="),
    ],
)
def test_wrong_arguments(keywords, message):
    with pytest.raises(subwatch.ConfigError, match=message):
        subwatch.Watch(sinks=[]).map(**{"commands": [["true"]], **keywords})


def test_no_commands():
    assert list(subwatch.Watch(sinks=[]).map([])) == []
