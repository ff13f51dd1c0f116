"""What the core offers to sinks and to other code beyond plain records: the tail, times, pickles, observation."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
import threading
import time

import pytest

import subwatch
from subwatch.records import CONTINUED, TRUNCATED, Exit, Lines, Start


class Stream:
    """Keeps records, and what `look` returned for each batch."""

    def __init__(self, look=None, **attributes):
        self.records = []
        self.seen = []
        self.closed = False
        self._look = look
        self.__dict__.update(attributes)

    def emit(self, records):
        if self._look is not None:
            self.seen.append(self._look())
        self.records += records

    def close(self):
        self.closed = True


class Sink:
    name = "test"

    def __init__(self, **attributes):
        self.attributes = attributes

    def open(self, run):
        self.run = run
        self.stream = Stream(**self.attributes)
        return self.stream

    def close(self, timeout):
        return 0


def say(*lines, end=0):
    return ["sh", "-c", "".join(f"echo {line} >&2;" for line in lines) + f"exit {end}"]


# -- the tail -----------------------------------------------------------------------------------------


def test_the_tail_is_there_for_a_stream_that_wants_no_lines():
    sink = Sink(wants_lines=False)
    sink.attributes["look"] = lambda: [line.text for line in sink.run.tail()]
    subwatch.run(say("one", "two", "three"), sinks=[sink])
    assert [type(record) for record in sink.stream.records] == [Start, Exit]
    assert sink.stream.seen == [[], ["one", "two", "three"]]
    assert sink.run.tail() == ()  # the streams are closed


def test_the_tail_is_as_long_as_asked_for():
    sink = Sink()
    sink.attributes["look"] = lambda: ([line.number for line in sink.run.tail(500)], len(sink.run.tail()))
    subwatch.run(["sh", "-c", "seq 1000 >&2"], sinks=[sink], tail=3)
    numbers, default = sink.stream.seen[-1]
    assert (numbers, default) == (list(range(501, 1001)), 3)


def test_the_tail_can_be_read_from_another_thread_meanwhile():
    sink = Sink(wants_lines=False)
    code = "import sys, time\nfor n in range(20000): print(n, file=sys.stderr)\n"
    running = threading.Thread(
        target=subwatch.run,
        args=([sys.executable, "-c", code],),
        kwargs={"sinks": [sink], "stderr": subprocess.PIPE},
    )
    running.start()
    looks = []
    while running.is_alive():
        if getattr(sink, "run", None) is not None:
            looks.append([int(line.text) for line in sink.run.tail(50)])
    running.join()
    assert all(look == list(range(look[0], look[-1] + 1)) for look in looks if look)
    assert [int(line.text) for line in sink.stream.records[-1].tail] == list(range(19980, 20000))
    assert len([look for look in looks if look]) > 1


def test_the_tail_of_lines_that_nobody_wants_has_their_times():
    sink = Sink(wants_lines=False)
    sink.attributes["look"] = lambda: [(line.text, line.number, line.time_ns) for line in sink.run.tail()]
    script = "for n in 1 2 3; do printf $n >&2; printf ' of 3\\n' >&2; sleep 0.2; done; printf end >&2"
    looks = []
    timer = threading.Timer(0.5, lambda: looks.append([line.text for line in sink.run.tail()]))
    timer.start()
    subwatch.run(["sh", "-c", script], sinks=[sink])
    timer.join()
    assert looks[0] == ["1 of 3", "2 of 3", "3 of 3"][: len(looks[0])]
    assert looks[0]
    texts, numbers, times = zip(*sink.stream.seen[-1])
    assert (texts, numbers) == (("1 of 3", "2 of 3", "3 of 3", "end"), (1, 2, 3, 4))
    assert all(later - time_ns > 1e8 for time_ns, later in itertools.pairwise(times))
    assert sink.stream.records[-1].lines == {"stderr": 0}  # none was made


# -- time ---------------------------------------------------------------------------------------------


def test_a_stream_is_called_when_it_is_due():
    class Timed(Stream):
        due = None

        def emit(self, records):
            super().emit(records)
            if type(records) is Lines:
                self.due = time.monotonic() + 0.1

        def idle(self):
            self.seen.append(time.monotonic() - self.due)
            self.due = None

    sink = Sink()
    sink.open = lambda run: sink.__dict__.setdefault("stream", Timed())
    subwatch.run(["sh", "-c", "echo x >&2; sleep 0.6; echo y >&2; sleep 0.6"], sinks=[sink])
    assert len(sink.stream.seen) == 2
    assert all(0 <= late < 0.4 for late in sink.stream.seen)


def test_a_stream_that_fails_when_it_is_due_is_left_out(caplog):
    def idle():
        raise RuntimeError("no idea")

    sink = Sink(idle=idle, due=0.0)
    subwatch.run(["sh", "-c", "sleep 0.1; echo x >&2"], sinks=[sink])
    assert sink.stream.closed
    assert not [record for record in sink.stream.records if type(record) is Exit]
    assert "sink 'test' failed and is left out" in caplog.text


@pytest.mark.parametrize("name", ["due", "dropped", "flush", "replaces", "wants_lines", "env"])
def test_a_stream_whose_properties_raise_is_left_out(name, caplog, capfd):
    asked = []

    def wrong(self):
        asked.append(name)
        raise RuntimeError("no idea")

    wants = {} if name == "wants_lines" else {"wants_lines": property(lambda self: True)}
    kind = type("Wrong", (Stream,), {name: property(wrong), "idle": lambda self: None, **wants})
    sink = Sink()
    sink.open = lambda run: kind()
    other = Sink(wants_lines=True)  # were it to take lines in any case, nobody would be asked
    done = subwatch.run(say("one"), sinks=[sink, other])
    assert (done.returncode, len(other.stream.records)) == (0, 3)
    assert capfd.readouterr().err == "one\n"
    assert "sink 'test' failed and is left out" in caplog.text
    assert len(asked) == 1


# -- where the bytes go -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "forwarded"),
    [
        ({}, {"stderr"}),
        ({"stderr": 2}, {"stderr"}),
        ({"stderr": subprocess.PIPE}, set()),
        ({"stderr": subprocess.DEVNULL}, set()),
        ({"stderr": subprocess.STDOUT}, {"stdout"}),
        ({"stderr": subprocess.STDOUT, "stdout": subprocess.PIPE}, set()),
        ({"watch_stdout": True}, {"stderr", "stdout"}),
        ({"watch_stdout": True, "stdout": subprocess.DEVNULL}, {"stderr"}),
    ],
)
def test_the_run_tells_what_is_forwarded(arguments, forwarded):
    sink = Sink()
    subwatch.run(["true"], sinks=[sink], **arguments)
    assert sink.run.forwarded == forwarded


# -- pickles ------------------------------------------------------------------------------------------


def test_records_pickle():
    taken = []

    class Batches(Sink):
        def open(self, run):
            stream = super().open(run)
            stream.emit = taken.append
            return stream

    subwatch.run(
        say("WARNING: one", "'50%'", "x" * 30, end=3), sinks=[Batches()], max_line=20, tags={"a": "b"}
    )
    for batch, twin in zip(taken, pickle.loads(pickle.dumps(taken)), strict=True):
        assert type(batch) is type(twin)
        assert twin.run.tail() == ()
        for record, other in zip(batch, twin, strict=True):
            assert repr(record) == repr(other)
            for name in (
                "level",
                "number",
                "time_ns",
                "progress",
                "fields",
                "partial",
                "truncated",
                "continued",
            ):
                assert getattr(record, name, None) == getattr(other, name, None)
    assert copy.deepcopy(taken[-1]).tail[-1].text == taken[-1].tail[-1].text
    flags = [flag for batch in taken if type(batch) is Lines for flag in batch.flags]
    assert flags == [0, 0, TRUNCATED, CONTINUED]


# -- observation --------------------------------------------------------------------------------------


def observe(sink, *args, **keywords):
    return subwatch.Watch(sinks=[sink]).observe(list(args), **keywords)


def test_a_process_of_other_code_is_observed():
    sink = Sink(env={"ADDED": "1"})
    child = observe(sink, "prog", "--password=hunter2", env={"A": "b"}, streams=["stderr"], tags={"job": "x"})
    assert child.env == {"A": "b", "ADDED": "1"}
    child.started(42)
    child.data("stderr", b"half a li")
    child.data("stderr", b"ne\nand a last")
    child.exited(3, usage=subwatch.Usage(1.0, 2.0, 3))
    child.exited(4)
    start, *lines, ended = sink.stream.records
    assert (start.pid, child.run.tags, child.run.argv) == (42, {"job": "x"}, ("prog", "--password=***"))
    assert [line.text for line in lines] == ["half a line", "and a last"]
    assert (ended.returncode, ended.reason, ended.lines, ended.usage.max_rss) == (
        3,
        "exited",
        {"stderr": 2},
        3,
    )
    assert sink.stream.closed


def test_a_process_that_could_not_be_started_is_observed():
    sink = Sink()
    error = FileNotFoundError(2, "No such file")
    child = observe(sink, "prog")
    assert child.env is None
    child.spawn_failed(error)
    assert sink.stream.records[-1] is error.subwatch_exit
    assert error.subwatch_exit.reason == "spawn_failed"


def test_a_process_whose_end_nobody_knows_is_observed():
    sink = Sink()
    child = observe(sink, "prog")
    child.started(42)
    child.exited(None, reason="left_running")
    ended = sink.stream.records[-1]
    assert (ended.reason, ended.failed, ended.outcome) == ("left_running", False, "was left running")


def test_data_of_a_stream_that_was_not_announced():
    child = observe(Sink(), "prog", streams=["stderr"])
    with pytest.raises(ValueError, match="stream 'stdout' is not among those observed: stderr"):
        child.data("stdout", b"x")
    child.exited(0)


def test_options_of_an_observation_are_checked():
    with pytest.raises(subwatch.ConfigError):
        observe(Sink(), "prog", tail=-1)


def test_a_child_that_outlives_this_python_was_left_running():
    code = """
import subwatch
child = subwatch.Popen(["sleep", "5"], sinks=[lambda record: print(record.reason) if hasattr(record, "reason") else None])
print(child.pid)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    pid, reason = done.stdout.split()
    subprocess.run(["kill", pid], check=True)
    assert reason == "left_running"
