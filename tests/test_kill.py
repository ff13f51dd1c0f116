"""How a child is ended: the ladder, its tree, time limits, what its lines say, Ctrl-C and cancellation."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from subprocess import DEVNULL, PIPE

import pytest

import subwatch
from subwatch import aio

STUBBORN = "trap '' TERM INT; echo ready >&2; while :; do sleep 0.1; done"
OBEDIENT = "trap 'echo bye >&2; exit 5' TERM; echo ready >&2; while :; do sleep 0.05; done"


def limit(front, seconds):
    """A time limit that the front enforces itself."""
    return {"timeout": seconds} if front.owns_timeout else {"idle_timeout": seconds}


# -- the ladder --------------------------------------------------------------------------------------------


def test_term_is_enough(front):
    done = front(OBEDIENT, grace=5, **limit(front, 0.5))
    assert done.took < 3
    assert (done.exit.returncode, done.exit.signal) == (5, None)
    assert done.seen.texts == ["ready", "bye"], "its last words are heard"
    assert done.exit.reason == ("timed_out" if front.owns_timeout else "idle")
    assert done.exit.failed


def test_kill_follows_after_grace(front):
    done = front(STUBBORN, grace=0.6, **limit(front, 0.4))
    assert done.exit.signal == "SIGKILL"
    assert 0.9 < done.took < 4


def test_no_grace_kills_at_once(front):
    done = front(OBEDIENT, grace=0, **limit(front, 0.4))
    assert done.exit.signal == "SIGKILL"
    assert done.seen.texts == ["ready"]


# -- time limits -------------------------------------------------------------------------------------------


def test_idle_timeout(front):
    done = front("for i in 1 2 3 4; do echo $i >&2; sleep 0.2; done; exec sleep 30", idle_timeout=0.5)
    assert done.seen.texts == ["1", "2", "3", "4"], "as long as it says something, it may go on"
    assert done.exit.reason == "idle"
    assert done.took < 5
    if front.owns_timeout:
        assert isinstance(done.error, subprocess.TimeoutExpired)
        assert "idle_timeout" in "".join(done.error.__notes__)


def test_stdout_counts_as_a_sign_of_life(front):
    done = front("for i in 1 2 3 4 5; do echo $i; sleep 0.2; done", idle_timeout=0.6, watch_stdout=True)
    assert (done.error, done.returncode) == (None, 0)


def test_a_limit_that_is_not_reached_changes_nothing(front):
    done = front("echo hi >&2; exit 3", timeout=60, idle_timeout=60)
    assert (done.error, done.returncode, done.exit.reason) == (None, 3, "exited")
    assert done.took < 3


# -- what its lines say ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["port \\d+", re.compile("PORT", re.IGNORECASE), lambda line: line.text.endswith("5432")]
)
def test_stop_on(front, what):
    done = front("echo begin >&2; echo port 5432 >&2; echo more >&2; exec sleep 30", stop_on=what, check=True)
    assert done.exit.reason == "stopped"
    assert not done.exit.failed
    assert done.seen.texts[:2] == ["begin", "port 5432"]
    assert done.took < 4
    if front.owns_timeout:
        assert done.error is None, "stopped on request is no failure, even with check=True"


def test_on_line_sees_every_line(front):
    texts = []
    done = front("for i in 1 2 3; do echo $i >&2; done", on_line=lambda line: texts.append(line.text))
    assert texts == ["1", "2", "3"]
    assert done.error is None


def test_on_line_may_end_the_run(front):
    def on_line(line):
        raise ValueError(f"cannot stand {line.text}")

    done = front("echo this >&2; exec sleep 30", on_line=on_line, on_error="raise")
    assert done.took < 4
    assert done.exit.reason == "stopped"
    if front.owns_timeout:
        assert isinstance(done.error, ValueError)
        assert str(done.error) == "cannot stand this"


def test_a_line_after_a_silence_ends_the_run_at_once(front):
    script = "trap '' TERM; echo begin >&2; sleep 0.5; echo port 5432 >&2; sleep 5; echo late >&2"
    done = front(script, stop_on="port", grace=0.2)
    assert (done.exit.reason, done.seen.texts) == ("stopped", ["begin", "port 5432"])
    assert done.took < 4


# -- what is said about it ---------------------------------------------------------------------------------


def test_usage(front):
    done = front(
        "py:import time; b = bytearray(30_000_000); t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    )
    assert done.exit.usage is not None
    assert 0.15 < done.exit.usage.user + done.exit.usage.system < 5
    # Linux counts what we have in memory ourselves, until the child's exec
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 25e6 < done.exit.usage.max_rss < max(300e6, 1.1 * ours)
    assert done.exit.duration == pytest.approx((done.exit.time_ns - done.exit.start_ns) / 1e9, abs=0.1)


@pytest.mark.parametrize("name", ["run", "aio"])
def test_note_on_exceptions(name, helpers):
    front = helpers.Front(name)
    done = front("for i in 1 2 3; do echo line $i >&2; done; exit 3", check=True, tail=2)
    assert isinstance(done.error, subprocess.CalledProcessError)
    assert done.error.__notes__ == ["sh said last:\n  line 2\n  line 3"]
    done = front("echo why >&2; exec sleep 30", timeout=0.4)
    assert isinstance(done.error, subprocess.TimeoutExpired)
    assert done.error.__notes__ == ["sh said last:\n  why"]
    done = front("exit 3", check=True)
    assert getattr(done.error, "__notes__", []) == [], "nothing said, nothing to say"


# -- a terminal for stderr ---------------------------------------------------------------------------------


def test_pty_gives_the_same_bytes_as_a_pipe(front, tmp_path):
    script = "printf '\\033[31mred\\033[0m\\n50%%\\r100%%\\r\\n\\tend\\r\\n\\377\\000\\n' >&2"
    seen = []
    for pty in (False, True):
        path = tmp_path / f"{pty}"
        with open(path, "wb") as file:
            done = front(script, capture=False, stderr=file, pty=pty)
        assert done.exit.drained
        seen.append((path.read_bytes(), [(line.text, line.ending) for line in done.seen.lines]))
    assert seen[0] == seen[1]
    assert b"\x1b[31mred" in seen[0][0], "colours go through"


def test_pty_ends_with_the_child(front):
    """EIO is the end of a terminal, not an error."""
    done = front("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 3", capture=False, stderr=DEVNULL, pty=True)
    assert (done.returncode, done.exit.drained) == (3, True)
    assert "".join(done.seen.texts) == "x" * 100_000


@pytest.mark.parametrize("name", ["run", "aio"])
def test_pty_captures(name, helpers):
    done = helpers.Front(name)("test -t 2 && echo yes >&2; test -t 1 || echo no", pty=True)
    assert (done.stderr, done.stdout) == (b"yes\n", b"no\n")


def test_pty_with_a_pipe_of_popen_is_refused():
    with pytest.raises(subwatch.ConfigError, match="pty=True with stderr=PIPE"):
        subwatch.Popen(["true"], stderr=PIPE, pty=True)


# -- Ctrl-C ------------------------------------------------------------------------------------------------

PROGRAM = """
import json, sys, subwatch
from subwatch.records import Exit
exits = []
def sink(record):
    if isinstance(record, Exit): exits.append([record.reason, record.signal, record.returncode])
    elif hasattr(record, "text"): print(record.text, flush=True)
try:
    subwatch.run(["sh", "-c", sys.argv[1]], sinks=[sink], grace=float(sys.argv[2]), tree=sys.argv[3] == "tree", stderr=subwatch_null)
except KeyboardInterrupt as error:
    print(json.dumps([exits, getattr(error, "__notes__", [])]), flush=True)
""".replace("subwatch_null", "-3")


def interrupt(script, *, grace, group, tree=False, again=None):
    """Interrupt a Python that runs a script; return its exits, notes, and the seconds that it took."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, script, str(grace), "tree" if tree else "same"],
        stdout=PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert parent.stdout.readline() == "ready\n"
        began = time.monotonic()
        send = os.killpg if group else os.kill
        send(parent.pid, signal.SIGINT)
        if again is not None:
            time.sleep(again)
            os.kill(parent.pid, signal.SIGINT)
        out, _ = parent.communicate(timeout=20)
        exits, notes = json.loads(out.splitlines()[-1])
        (ended,) = exits
        return ended, notes, time.monotonic() - began, out.splitlines()[:-1]
    finally:
        try:
            os.killpg(parent.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        parent.wait()
        parent.stdout.close()


def test_interrupt_in_the_same_group():
    """The terminal has told the child too; it is given the time to act on it."""
    script = "trap 'echo aborting >&2; exit 6' INT; echo ready >&2; while :; do sleep 0.05; done"
    ended, _, took, said = interrupt(script, grace=5, group=True)
    assert ended == ["interrupted", None, 6]
    assert said == ["aborting"]
    assert took < 4


def test_interrupt_of_the_parent_alone():
    ended, _, took, said = interrupt(OBEDIENT, grace=5, group=False)
    assert ended == ["interrupted", None, 5]
    assert said == ["bye"]
    assert took < 4


def test_interrupt_reaches_a_session_of_its_own_once():
    script = "trap 'echo int >&2' INT; trap 'echo term >&2; exit 7' TERM; echo ready >&2; while :; do sleep 0.05; done"
    ended, _, _, said = interrupt(script, grace=5, group=True, tree=True)
    assert ended == ["interrupted", None, 7]
    assert [text for text in said if text != "Terminated"] == ["int", "term"], "sleep has got the signals too"


def test_interrupt_escalates():
    ended, _, took, _ = interrupt(STUBBORN, grace=0.4, group=True)
    assert ended == ["interrupted", "SIGKILL", -9]
    assert took < 5


def test_second_interrupt_makes_short_work():
    ended, _, took, _ = interrupt(STUBBORN, grace=30, group=True, again=0.6)
    assert ended == ["interrupted", "SIGKILL", -9]
    assert took < 5


def test_interrupt_while_sinks_deliver():
    """The child has ended and its exit is out: only the wait for a sink is given up, and all is closed."""

    class Held:
        closed = False

        def open(self, run):
            return self

        def emit(self, records):
            pass

        def flush(self, timeout):
            raise KeyboardInterrupt

        def close(self, timeout=None):
            self.closed = True

    held = Held()
    with pytest.raises(KeyboardInterrupt):
        subwatch.run(["sh", "-c", "echo hi >&2"], capture_output=True, sinks=[held])
    assert held.closed


# -- cancellation ------------------------------------------------------------------------------------------


def cancel(script, helpers, *, times=1, **options):
    seen = helpers.Seen()

    async def main():
        task = asyncio.create_task(aio.run(["sh", "-c", script], sinks=[seen], stderr=DEVNULL, **options))
        while not seen.texts:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0.3)
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    took = asyncio.run(main())
    return seen.check().exit, took


def test_cancel(helpers):
    ended, took = cancel(OBEDIENT, helpers, grace=10)
    assert (ended.reason, ended.returncode) == ("cancelled", 5)
    assert took < 3


def test_cancel_escalates(helpers):
    ended, took = cancel(STUBBORN, helpers, grace=0.5)
    assert (ended.reason, ended.signal) == ("cancelled", "SIGKILL")
    assert took < 4


def test_cancel_twice(helpers):
    ended, took = cancel(STUBBORN, helpers, grace=30, times=2)
    assert (ended.reason, ended.signal) == ("cancelled", "SIGKILL")
    assert took < 5


def test_wait_for_and_task_groups(helpers):
    """Structured concurrency: a sibling's failure, or a deadline, ends the child, and nothing is left."""

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aio.run(["sleep", "30"], sinks=[]), 0.2)

        async def fail():
            await asyncio.sleep(0.2)
            raise ValueError

        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(aio.run(["sleep", "30"], sinks=[seen]))
                group.create_task(fail())

    seen = helpers.Seen()
    asyncio.run(main())
    assert seen.check().exit.reason == "cancelled"
