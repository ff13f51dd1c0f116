"""`Background`: a bounded queue and one thread in front of any sink."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from subwatch.errors import ConfigError
from subwatch.records import Exit, Lines, Run, Start
from subwatch.sinks._background import Background

variable = contextvars.ContextVar("variable", default="unset")


def make_run():
    return Run(
        id="0190-test",
        argv=("true",),
        program="true",
        cwd="/",
        host="here",
        tags={},
        caller=None,
        parent_pid=os.getpid(),
    )


def make_lines(run, texts, first=1):
    return Lines(run, "stderr", first, time.time_ns(), False, None, None, texts=texts)


def make_exit(run):
    return Exit(
        run=run, pid=1, returncode=0, signal=None, reason="exited", start_ns=1, time_ns=2, duration=0.1
    )


class Target:
    """A sink that remembers everything and can be held up."""

    def __init__(self):
        self.seen = []
        self.closed = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error = None
        self.threads = set()

    def open(self, run):
        return TargetStream(self)

    def close(self, timeout):
        self.closed.append(timeout)
        return 0


class TargetStream:
    def __init__(self, target):
        self.target = target
        self.env = {"A": "1"}
        self.closes = 0

    def emit(self, records):
        self.target.entered.set()
        self.target.gate.wait(10)
        self.target.threads.add(
            (threading.current_thread().name, threading.current_thread().daemon, variable.get())
        )
        if self.target.error:
            raise self.target.error
        self.target.seen.append(records)

    def close(self):
        self.closes += 1


@pytest.fixture
def target():
    return Target()


@pytest.fixture
def background(target):
    made = []

    def make(**options):
        made.append(Background(target, **options))
        return made[-1]

    yield make
    target.gate.set()
    for each in made:
        each.close(5)
    for thread in threading.enumerate():
        if thread.name.startswith("subwatch-Target"):
            thread.join(5)
            assert not thread.is_alive()


def hold(target, stream, run):
    """Get the worker stuck in a record, so that what follows stays in the queue."""
    target.gate.clear()
    stream.emit(Start(run, 1, 1))
    assert target.entered.wait(5)


def test_records_arrive_in_order_on_one_named_daemon_thread_in_an_empty_context(target, background):
    variable.set("caller")
    run = make_run()
    stream = background().open(run)
    records = [Start(run, 1, 1), *(make_lines(run, [str(n)], n) for n in range(100)), make_exit(run)]
    for record in records:
        stream.emit(record)
    assert stream.flush(5) == 0
    assert [id(record) for record in target.seen] == [id(record) for record in records]
    assert target.threads == {("subwatch-Target", True, "unset")}
    assert stream.env == {"A": "1"}
    assert stream.dropped == 0


def test_no_thread_before_the_first_record(target, background):
    stream = background().open(make_run())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("subwatch-")]
    assert stream.flush(1) == 0


def test_streams_are_closed_after_their_records(target, background):
    stream = background().open(make_run())
    hold(target, stream, make_run())
    stream.close()
    assert stream.inner.closes == 0
    target.gate.set()
    assert stream.flush(5) == 0
    assert stream.inner.closes == 1


def test_drop_oldest_keeps_the_newest_lines_and_every_start_and_exit(target, background):
    run = make_run()
    stream = background(capacity=20_000).open(run)
    hold(target, stream, run)
    for n in range(100):
        stream.emit(make_lines(run, ["x" * 1000, "y" * 1000], n))
    stream.emit(make_exit(run))
    target.gate.set()
    assert stream.flush(5) == 0
    kinds = [type(records).__name__ for records in target.seen]
    assert kinds[0] == "Start"
    assert kinds[-1] == "Exit"
    firsts = [records.first for records in target.seen if type(records) is Lines]
    assert firsts == list(range(100 - len(firsts), 100))
    assert 0 < len(firsts) < 10
    assert stream.dropped == 2 * (100 - len(firsts))


def test_drop_newest_keeps_the_oldest_lines(target, background):
    run = make_run()
    stream = background(capacity=20_000, policy="drop_newest").open(run)
    hold(target, stream, run)
    for n in range(100):
        stream.emit(make_lines(run, ["x" * 2000], n))
    stream.emit(make_exit(run))
    target.gate.set()
    assert stream.flush(5) == 0
    firsts = [records.first for records in target.seen if type(records) is Lines]
    assert firsts == list(range(len(firsts)))
    assert type(target.seen[-1]) is Exit
    assert stream.dropped == 100 - len(firsts)


def test_block_waits_for_room_and_loses_nothing(target, background):
    run = make_run()
    stream = background(capacity=5_000, policy="block").open(run)
    hold(target, stream, run)
    threading.Timer(0.2, target.gate.set).start()
    begun = time.monotonic()
    for n in range(50):
        stream.emit(make_lines(run, ["x" * 1000], n))
    assert time.monotonic() - begun > 0.1
    assert stream.flush(5) == 0
    assert stream.dropped == 0
    assert len(target.seen) == 51


def test_block_waits_once_per_standstill_not_once_per_batch(target, background):
    run = make_run()
    stream = background(capacity=5_000, policy="block", flush_timeout=0.2).open(run)
    hold(target, stream, run)
    begun = time.monotonic()
    for n in range(50):
        stream.emit(make_lines(run, ["x" * 1000], n))
    assert 0.15 < time.monotonic() - begun < 1.0
    target.gate.set()
    assert stream.flush(5) == 0
    assert stream.dropped + len(target.seen) == 51


def test_closing_wakes_a_blocked_caller(target, background):
    run = make_run()
    wrapped = background(capacity=4_000, policy="block", flush_timeout=30)
    stream = wrapped.open(run)
    hold(target, stream, run)
    stream.emit(make_lines(run, ["x" * 1000]))
    blocked = threading.Thread(target=stream.emit, args=(make_lines(run, ["y" * 2000]),))
    blocked.start()
    left = wrapped.close(0.2)
    blocked.join(5)
    assert not blocked.is_alive()
    assert left == 2, "the batch in the queue and the record that the worker is stuck in"
    assert stream.dropped == 2


def test_the_memory_of_a_long_standstill_is_bounded(target, background):
    run = make_run()
    wrapped = background(capacity=100_000)
    stream = wrapped.open(run)
    hold(target, stream, run)
    for n in range(5_000):
        stream.emit(Start(run, n, n) if n % 10 == 0 else make_lines(run, ["x" * 100], n))
    assert wrapped._size <= 200_000
    assert len(wrapped._lines) + len(wrapped._others) <= 200
    target.gate.set()
    assert stream.flush(5) == 0
    assert stream.dropped + len(target.seen) == 5_001


def test_flush_tells_what_is_left(target, background):
    run = make_run()
    wrapped = background()
    stream, other = wrapped.open(run), wrapped.open(run)
    hold(target, stream, run)
    stream.emit(make_lines(run, ["a", "b", "c"]))
    other.emit(make_lines(run, ["d"]))
    assert stream.flush(0.05) == 4
    assert other.flush(0.05) == 1
    target.gate.set()
    assert stream.flush(5) == 0


def test_a_raising_stream_is_reported_once_and_left_out(target, background, caplog):
    run = make_run()
    wrapped = background()
    stream, healthy = wrapped.open(run), wrapped.open(run)
    target.error = RuntimeError("sink is ill")
    with caplog.at_level(logging.WARNING, "subwatch"):
        for n in range(10):
            stream.emit(make_lines(run, ["a", "b"], n))
        assert stream.flush(5) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "sink Target failed and is left out: RuntimeError('sink is ill')"
    ]
    assert stream.dropped == 20
    target.error = None
    healthy.emit(make_lines(run, ["c"]))
    assert healthy.flush(5) == 0
    assert [records.texts for records in target.seen] == [["c"]]


def test_hooks_of_a_sink_that_batches():
    class Batching(Target):
        idles = 0

        def idle(self):
            self.idles += 1
            return 0.05 if self.idles < 3 else None

        def open(self, run):
            stream = super().open(run)
            stream.flush = lambda timeout: 7
            stream.dropped = 5
            return stream

        def close(self, timeout):
            return 3

    target = Batching()
    wrapped = Background(target, name="batching")
    stream = wrapped.open(make_run())
    stream.emit(make_lines(make_run(), ["a"]))
    time.sleep(0.5)
    assert target.idles == 3
    assert stream.flush(1) == 7
    assert stream.dropped == 5
    assert wrapped.close(5) == 3
    assert wrapped.close(5) == 0
    stream.emit(make_lines(make_run(), ["late"]))
    assert stream.dropped == 6


def test_close_is_bounded_by_its_deadline(target, background):
    run = make_run()
    wrapped = background()
    stream = wrapped.open(run)
    hold(target, stream, run)
    stream.emit(make_lines(run, ["a", "b"]))
    begun = time.monotonic()
    assert wrapped.close(0.3) == 3
    assert time.monotonic() - begun < 1
    assert target.closed


def test_wrong_options_say_what_is_right():
    with pytest.raises(ConfigError, match="drop_oldest, drop_newest, block"):
        Background(Target(), policy="spill")
    with pytest.raises(ConfigError, match="positive number of bytes"):
        Background(Target(), capacity=0)


SCRIPT = """
import os, sys, threading, time
from subwatch.records import Lines, Run
from subwatch.sinks._background import Background

class Target:
    name = "target"
    forks = 0
    def __init__(self): self.gate = threading.Event()
    def open(self, run): return self
    def emit(self, records):
        self.gate.wait()
        print(os.getpid() == parent, *records.texts, flush=True)
    def close(self, timeout=None): return 0
    def forked(self): Target.forks += 1; self.gate = threading.Event()

parent = os.getpid()
run = Run(id="1", argv=(), program="p", cwd="/", host="h", tags={}, caller=None, parent_pid=1)
def lines(*texts): return Lines(run, "stderr", 1, 1, False, None, None, texts=list(texts))
target = Target()
background = Background(target, flush_timeout=1)
stream = background.open(run)
"""


def script(body):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split("\n")[:-1], done.stderr


def test_what_is_queued_is_delivered_at_the_end_of_the_process():
    out, err = script(
        "stream.emit(lines('a')); stream.emit(lines('b')); threading.Timer(0.2, target.gate.set).start()"
    )
    assert out == ["True a", "True b"]
    assert err == ""


def test_the_end_of_the_process_waits_no_longer_than_the_deadline_and_says_what_is_lost():
    begun = time.monotonic()
    out, err = script("stream.emit(lines('a')); stream.emit(lines('b', 'c'))")
    assert time.monotonic() - begun < 5
    assert out == []
    assert "sink target: 3 records were not delivered" in err


def test_a_forked_child_starts_afresh_and_the_parent_delivers_what_was_queued():
    out, err = script(
        """
        stream.emit(lines("before", "one")); stream.emit(lines("before", "two"))
        time.sleep(0.1)                       # the worker is inside emit by now
        pid = os.fork()
        target.gate.set()
        if pid == 0:
            assert Target.forks == 1 and background._thread is None
            assert stream.flush(0.1) == 0     # nothing of the parent's is ours
            stream.emit(lines("child"))
            assert stream.flush(5) == 0
            assert background.close(1) == 0
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        stream.emit(lines("parent"))
        """
    )
    assert sorted(out) == ["False child", "True before one", "True before two", "True parent"]
    assert err == ""


def test_importing_it_imports_no_logging():
    code = "import sys; import subwatch.sinks._background; print('logging' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def slow(target, seconds=0.02):
    """Have the worker take so long for each record."""
    append = target.seen.append

    class Slow(list):
        def append(self, records):
            time.sleep(seconds)
            append(records)

    seen, target.seen = target.seen, Slow()
    return seen


def test_patience_slows_a_flood_down_where_dropping_would_lose_lines(target, background):
    run, seen = make_run(), slow(target)
    stream = background(capacity=10_000, patience=1.0).open(run)
    for n in range(50):
        stream.emit(make_lines(run, ["x" * 1000], n))
    assert stream.flush(5) == 0
    assert stream.dropped == 0
    assert len(seen) == 50


@pytest.mark.parametrize("why", ["failing", "asyncio"])
def test_nobody_waits_for_a_failing_sink_or_in_an_event_loop(target, background, why):
    run = make_run()
    slow(target)
    target.failing = why == "failing"
    stream = background(capacity=10_000, patience=5.0).open(run)

    async def flood():
        for n in range(50):
            stream.emit(make_lines(run, ["x" * 1000], n))

    begun = time.monotonic()
    if why == "asyncio":
        asyncio.run(flood())
    else:
        for n in range(50):
            stream.emit(make_lines(run, ["x" * 1000], n))
    assert time.monotonic() - begun < 0.5
    assert stream.dropped > 20


def test_patience_ends_once_per_overload(target, background):
    run = make_run()
    stream = background(capacity=10_000, patience=0.2).open(run)
    hold(target, stream, run)
    begun = time.monotonic()
    for n in range(100):
        stream.emit(make_lines(run, ["x" * 1000], n))
    assert 0.15 < time.monotonic() - begun < 0.6
    assert stream.dropped > 80
