"""How real programs break monitors, cases 1 to 16 of the facts, through every front.

Each test says the right behaviour; `Seen.check` asserts for all of them that start, lines and exit come in
order, numbered, timed and counted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from subprocess import DEVNULL, PIPE

import pytest

import subwatch

KIB = 1024


# 1. A grandchild holds the pipe after the child exits.


def test_grandchild_holds_the_pipe(front, helpers, tmp_path):
    mark = tmp_path / "mark"
    done = front(
        f"echo first >&2; (sleep 0.8; echo second >&2; sleep 0.2; echo third >&2; echo alive > {mark}) & exit 3",
        drain=0.2,
    )
    assert done.returncode == 3
    assert done.stderr == b"first\n"
    assert done.took < 0.8
    assert done.exit.drained is False
    assert done.exit.reason == "exited"
    late = done.seen.wait_late(2)
    assert [line.text for line in late] == ["second", "third"]
    assert helpers.wait_for(mark) == "alive", "our end of the pipe was closed: the grandchild was killed"
    assert done.seen.closed.wait(5)
    done.seen.check()


def test_grandchild_holds_a_stderr_that_is_passed_on(front, helpers, tmp_path):
    """Nothing is captured, so there is nothing to wait for; what comes later is passed on all the same."""
    target = tmp_path / "stderr"
    with open(target, "wb") as file:
        done = front(
            "echo first >&2; (sleep 0.6; echo second >&2) & exit 0", capture=False, stderr=file, drain=5
        )
    assert done.took < 0.5
    assert done.exit.drained is False
    assert target.read_bytes() == b"first\n"
    assert [line.text for line in done.seen.wait_late(1)] == ["second"]
    assert done.seen.closed.wait(5)
    assert target.read_bytes() == b"first\nsecond\n"


def test_waiting_for_a_late_grandchild_costs_nothing(front):
    done = front("(sleep 0.3; echo one >&2; sleep 1; echo two >&2) & echo zero >&2", drain=0.05)
    before = time.process_time()
    done.seen.wait_late(1)
    time.sleep(0.7)
    assert time.process_time() - before < 0.25, "something spins"
    done.seen.wait_late(2)
    assert done.seen.closed.wait(5)


def test_a_chatty_grandchild_cannot_hold_the_caller(front, helpers, tmp_path):
    pid = tmp_path / "pid"
    done = front(f"yes $(printf %01000d 1) >&2 & echo $! > {pid}; sleep 0.1; exit 5", drain=0.3)
    try:
        assert done.returncode == 5
        assert done.took < 5
        assert not done.exit.drained
    finally:
        os.kill(int(helpers.wait_for(pid)), signal.SIGKILL)
    assert done.seen.closed.wait(10)


# 2. A timeout kills only the direct child, then the read hangs.


def test_timeout_with_a_grandchild(front, helpers, tmp_path):
    pid = tmp_path / "pid"
    done = front(
        f"sleep 30 & echo $! > {pid}; echo begun >&2; wait; sleep 30", timeout=0.4, grace=0.2, drain=0.3
    )
    try:
        assert isinstance(done.error, subprocess.TimeoutExpired)
        assert done.took < 5
        assert done.exit.reason == ("timed_out" if front.owns_timeout else "signaled")
        assert done.exit.signal in ("SIGTERM", "SIGKILL")
        assert done.seen.texts == ["begun"]
    finally:
        os.kill(int(helpers.wait_for(pid)), signal.SIGKILL)
    assert done.seen.closed.wait(5)


def test_timeout_ends_the_whole_tree(front, helpers, tmp_path):
    if not front.owns_timeout:
        options = {"idle_timeout": 0.4}  # Popen has no time limit of its own but this one
    else:
        options = {"timeout": 0.4}
    pid = tmp_path / "pid"
    done = front(f"sleep 30 & echo $! > {pid}; sleep 30", tree=True, grace=0.5, **options)
    assert helpers.wait_gone(int(helpers.wait_for(pid)))
    assert done.took < 3
    assert done.exit.reason == ("timed_out" if front.owns_timeout else "idle")
    assert done.exit.drained


# 3. The group is skipped because its leader is already dead.


def test_group_outlives_its_leader(front, helpers, tmp_path):
    pid = tmp_path / "pid"
    stubborn = f"sh -c 'trap \"\" TERM; echo $$ > {pid}; while :; do sleep 0.1; done' & wait"
    done = front(stubborn, tree=True, idle_timeout=0.4, grace=0.3)
    assert done.exit.reason == "idle"
    assert done.exit.signal == "SIGTERM", "the leader obeyed"
    assert helpers.wait_gone(int(helpers.wait_for(pid))), "its grandchild did not, and was left"
    assert done.took < 4


# 4. A group of its own breaks the terminal: only where asked for.


@pytest.mark.parametrize("tree", [False, True])
def test_group(front, tree):
    done = front("py:import os, sys; print(os.getpgrp(), os.getsid(0), os.getpid())", tree=tree)
    group, session, pid = map(int, done.stdout.split())
    if tree:
        assert group == session == pid
    else:
        assert (group, session) == (os.getpgrp(), os.getsid(0))


# 5. and 6. Long lines, and output without any newline.


def test_long_lines_are_cut_and_marked(front):
    done = front("head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2", partial_delay=60)
    assert done.stderr == b"x" * 300_000 + b"end\n"
    lines = done.seen.lines
    assert [len(line.text) for line in lines] == [64 * KIB] * 4 + [300_000 + 3 - 4 * 64 * KIB]
    assert [line.truncated for line in lines] == [True] * 4 + [False]
    assert [line.continued for line in lines] == [False] + [True] * 4
    assert done.exit.truncated == 4
    assert done.exit.bytes["stderr"] == 300_004


def test_output_without_newline_takes_no_memory(front):
    size = 60 * KIB * KIB
    before = peak_memory(reset=True)
    done = front(
        f"head -c {size} /dev/zero >&2",
        sinks=[lambda record: None],
        seen=Forgetful(),
        stderr=DEVNULL,
        partial_delay=60,  # a busy machine may pause in the middle
    )
    assert done.exit.bytes["stderr"] == size
    assert done.exit.lines["stderr"] == size // (64 * KIB)
    assert peak_memory() - before < 40 * KIB * KIB


def peak_memory(*, reset=False):
    """Peak resident size of this process in bytes (proc(5))."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * KIB for line in file if line.startswith("VmHWM"))


class Forgetful:
    """Keeps the exit only."""

    run = None

    def open(self, run):
        return self

    def emit(self, records):
        for record in records:
            if hasattr(record, "returncode"):
                self.exit = record

    def close(self, timeout=None):
        pass


# 7. One bad byte kills the reader, the pipe fills, the child blocks for ever.


def test_bad_bytes_do_not_stop_reading(front):
    done = front("py:import os\nfor _ in range(40): os.write(2, b'\\xff\\xfe bad\\n' * 1000)")
    assert done.stderr == b"\xff\xfe bad\n" * 40_000
    assert set(done.seen.texts) == {"\\xff\\xfe bad"}
    assert done.exit.lines["stderr"] == 40_000


def test_bad_bytes_and_strict_text(front):
    done = front("printf 'good\\n\\377\\n' >&2; exit 4", text=True, encoding="utf-8")
    assert isinstance(done.error, UnicodeDecodeError)
    assert done.exit.returncode == 4
    assert done.seen.texts == ["good", "\\xff"]
    if front.owns_timeout:
        assert any("exited with code 4" in note for note in done.error.__notes__)


# 8. A multi-byte character split by a read.


def test_split_character(front):
    done = front(
        "printf '\\303' >&2; sleep 0.1; printf '\\251t\\303\\251\\342\\202' >&2; sleep 0.1; printf '\\254\\n' >&2"
    )
    assert done.seen.joined == "été€\n"
    done = front("printf '\\303' >&2; sleep 0.5; printf '\\251\\n' >&2", partial_delay=0.1)
    assert done.seen.joined == "é\n", "also when the line is shown before its end"


# 9. A callback or sink raises.


class Broken:
    """Raises where it is told to."""

    name = "broken"

    def __init__(self, where):
        self.where = where
        self.emitted = 0
        self.closed = 0

    def open(self, run):
        self._maybe("open")
        return self

    def emit(self, records):
        self.emitted += 1
        self._maybe("emit")

    def flush(self, timeout):
        self._maybe("flush")
        return 0

    def close(self, timeout=None):
        self.closed += 1
        self._maybe("close")

    def _maybe(self, where):
        if where == self.where:
            raise RuntimeError(f"broken in {where}, password=hunter2hunter2")


@pytest.mark.parametrize(
    ("where", "dropped"), [("open", 10_002), ("emit", 10_002), ("flush", 0), ("close", 0)]
)
def test_sink_raises(front, where, dropped, caplog):
    broken = Broken(where)
    done = front("yes | head -n 10000 >&2; exit 6", sinks=[broken])
    assert done.returncode == 6
    assert done.stderr == b"y\n" * 10_000
    assert len(done.seen.lines) == 10_000, "the other sink got everything"
    # what is lost after the exit record was made cannot be in it
    assert done.exit.dropped.get("broken", 0) in ({dropped, dropped - 1} if dropped else {0})
    time.sleep(0.05)
    reports = [record for record in caplog.records if record.name == "subwatch"]
    assert len(reports) == (0 if where == "flush" and not front.owns_timeout else 1), "reported once"
    for record in reports:  # nobody waits for the end of a Popen, so nothing is flushed there
        assert "broken" in record.getMessage()
        assert "hunter2" not in record.getMessage()
    assert broken.emitted <= 1 or where in ("flush", "close")


def test_on_line_raises(front, caplog):
    calls = []

    def on_line(line):
        calls.append(line.text)
        raise ValueError("my mistake")

    done = front("for i in 1 2 3; do echo $i >&2; sleep 0.05; done; exit 2", on_line=on_line)
    assert done.returncode == 2
    assert calls == ["1"]
    assert done.seen.texts == ["1", "2", "3"]
    assert sum(record.name == "subwatch" for record in caplog.records) == 1
    assert done.exit.dropped["on_line"] >= 3


# 10. Only one pipe is drained.


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_both_pipes_are_drained(front, order):
    first, second = order
    done = front(f"head -c 400000 /dev/zero >&{first}; head -c 400000 /dev/zero >&{second}; echo end >&2")
    assert len(done.stdout) == 400_000
    assert done.stderr == b"\0" * 400_000 + b"end\n"


def test_watched_but_not_captured_pipe_is_drained(front):
    done = front("head -c 400000 /dev/zero >&2; echo out", stdout=PIPE, stderr=DEVNULL)
    assert done.stdout == b"out\n"
    assert done.exit.bytes["stderr"] == 400_000


# 11. All of stdin is written before anything is read.


def test_stdin_is_fed_while_reading(front):
    data = os.urandom(1_500_000)
    done = front("tee /dev/stderr", input=data)
    assert done.stdout == data
    assert done.stderr == data
    assert done.exit.bytes["stderr"] == len(data)


# 12. The child does not read its stdin.


@pytest.mark.parametrize(
    "script", ["exec <&-; echo hi >&2; sleep 0.1; exit 7", "head -c 1 >/dev/null; echo hi >&2; exit 7"]
)
def test_child_does_not_read_stdin(front, script):
    done = front(script, input=b"x" * 1_000_000)
    assert done.error is None
    assert (done.returncode, done.stderr) == (7, b"hi\n")


def test_child_never_reads_stdin_and_ends_late(front):
    """What it did not take is still ours when it has ended: no hang, no error."""
    done = front(
        "(sleep 0.5 <&0) & exit 9", input=b"x" * 1_000_000, stderr=DEVNULL, stdout=DEVNULL, drain=0.1
    )
    assert done.error is None
    assert done.returncode == 9


# 13. Trailing output is lost at exit.


@pytest.mark.slow
def test_trailing_output(front):
    for _ in range(15):
        done = front("yes $(printf %099d 1) | head -c 60000 >&2; printf last >&2; exit 4")
        assert len(done.seen.lines) == 601
        assert done.seen.texts[-1] == "last"
        assert done.stderr.endswith(b"last")


def test_killed_child_leaves_its_last_words(front):
    done = front("echo last words >&2; kill -9 $$")
    assert done.seen.texts == ["last words"]
    assert (done.returncode, done.exit.reason, done.exit.signal) == (-9, "signaled", "SIGKILL")


# 14. A last line without newline is never delivered.


def test_last_line_without_newline(front):
    done = front("printf 'one\\ntwo' >&2")
    assert [(line.text, line.ending, line.partial) for line in done.seen.lines] == [
        ("one", "\n", False),
        ("two", "", False),
    ]


# 15. A prompt has no newline.


def test_prompt_is_shown(front):
    done = front("printf 'Continue? ' >&2; sleep 0.7; echo yes >&2", partial_delay=0.1)
    prompt, rest = done.seen.lines
    assert (prompt.text, prompt.ending, prompt.partial, prompt.continued) == ("Continue? ", "", True, False)
    assert (rest.text, rest.ending, rest.partial, rest.continued) == ("yes", "\n", False, True)
    assert rest.time_ns - prompt.time_ns > 0.3e9
    assert done.seen.arrived[2] - done.seen.arrived[1] > 0.3


def test_slow_sink_makes_no_prompts(front):
    """A line that has not been read to its end because a sink took its time is a whole one."""

    def slow(record):
        if type(record) is subwatch.Line and record.number == 1:
            time.sleep(0.5)

    done = front("seq 20000 >&2", sinks=[slow])
    assert done.seen.texts == [str(number) for number in range(1, 20_001)]


def test_slow_sink_makes_no_prompts_of_the_other_stream(front):
    def slow(record):
        if type(record) is subwatch.Line and record.stream == "stdout":
            time.sleep(0.5)

    script = (
        "printf one >&2; sleep 0.1; echo out; sleep 0.1; echo two >&2; sleep 0.7; printf name: >&2; sleep 0.6"
    )
    done = front(script, sinks=[slow], watch_stdout=True)
    assert sorted(done.seen.texts) == ["name:", "onetwo", "out"]
    assert [line.partial for line in done.seen.lines] == [False, False, True]


def test_stopped_terminal_makes_no_prompts(front):
    """Nor is one that could not be read on because what is passed on was not taken."""
    read, write = os.pipe()

    def reader():
        time.sleep(0.6)
        while os.read(read, 65536):
            pass

    thread = threading.Thread(target=reader)
    thread.start()
    line = "x" * 1000
    done = front(f"yes {line} | head -n 3000 >&2", capture=False, stderr=write)
    os.close(write)
    thread.join()
    os.close(read)
    assert done.seen.texts == [line] * 3000


def test_prompt_reaches_the_terminal_at_once(front):
    """What is passed on is raw and does not wait for the end of a line, nor for records."""
    read, write = os.pipe()
    came = []

    def reader():
        while data := os.read(read, 100):
            came.append((time.monotonic(), data))

    thread = threading.Thread(target=reader)
    thread.start()
    began = time.monotonic()
    front("printf 'Continue? ' >&2; sleep 0.6; echo yes >&2", capture=False, stderr=write, partial_delay=5)
    os.close(write)
    thread.join()
    os.close(read)
    assert came[0][1] == b"Continue? "
    assert came[1][0] - came[0][0] > 0.4
    assert came[0][0] - began < 0.5


# 16. Progress with lone carriage returns.


def test_progress_updates_are_live(front):
    done = front(
        "for p in 10 50 100; do printf '%s%%\\r' $p >&2; sleep 0.25; done; printf '\\ndone\\n' >&2",
        partial_delay=0.1,
    )
    assert done.seen.texts[:3] == ["10%", "50%", "100%"]
    assert done.seen.lines[0].ending == "\r"
    assert [line.progress.fraction for line in done.seen.lines[:3]] == [0.1, 0.5, 1.0]
    assert done.seen.arrived[2] - done.seen.arrived[1] > 0.15
    assert done.seen.texts[-1] == "done"


def test_ending_split_by_a_read_is_one(front):
    done = front("printf 'a\\r' >&2; sleep 0.05; printf '\\nb\\r\\n' >&2", partial_delay=1)
    assert [(line.text, line.ending) for line in done.seen.lines] == [("a", "\r\n"), ("b", "\r\n")]
