"""How real programs break monitors, cases 17 to 25 and what is close behind, through every front."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

import subwatch
from subwatch.sinks import Background
from subwatch.testing import RecordingSink

# 17. The child block-buffers because it sees a pipe: a terminal for stderr alone.


def test_pty_makes_the_child_write_lines(front):
    script = (
        "py:import sys, os, time; print(sys.stderr.isatty(), sys.stdout.isatty(), sys.stdin.isatty())\n"
        "f = os.fdopen(os.dup(2), 'w'); f.write('first\\n'); time.sleep(0.4); f.write('second\\n')"
    )
    done = front(script, pty=True, capture=False, stdout=DEVNULL, stdin=DEVNULL, stderr=DEVNULL)
    assert done.error is None
    assert done.seen.texts == ["first", "second"]
    assert done.seen.arrived[2] - done.seen.arrived[1] > 0.2, "a terminal is written to line by line"


# 18. A timeout loses or garbles what was read.


@pytest.mark.parametrize("text", [False, True])
def test_timeout_keeps_what_was_read(front, text):
    done = front(
        "printf 'out \\303\\251\\n'; printf 'err\\n' >&2; exec sleep 30", timeout=0.6, text=text, grace=0.3
    )
    assert isinstance(done.error, subprocess.TimeoutExpired)
    want = ("out é\n", "err\n") if text else ("out é\n".encode(), b"err\n")
    assert (done.error.output, done.error.stderr) == want
    assert done.error.timeout == 0.6
    assert done.took < 3
    assert done.seen.texts == ["err"]
    if front.owns_timeout:
        assert done.exit.reason == "timed_out"
        assert done.exit.signal == "SIGTERM"
        assert any("err" in note for note in done.error.__notes__)


# 19. A slow sink stalls the child or blocks the loop.


class Slow:
    name = "slow"

    def __init__(self):
        self.taken = 0
        self.hold = threading.Event()

    def open(self, run):
        return self

    def emit(self, records):
        self.hold.wait(5)
        self.taken += len(records)

    def close(self, timeout=None):
        self.hold.set()


def test_slow_sink_behind_background(front):
    slow = Slow()
    background = Background(slow, capacity=50_000)
    lines = 20_000
    try:
        done = front(
            f"yes 0123456789 | head -n {lines} >&2; sleep 0.1; exit 3", sinks=[background], flush_timeout=0.3
        )
        assert done.took < 3.5, "the child waits for no sink"
        assert done.returncode == 3
        records = len(done.seen.lines)  # on a busy machine a line may be shown in two pieces
        assert sum(not line.continued for line in done.seen.lines) == lines
        slow.hold.set()
        lost = background.close(5)
        dropped = done.exit.dropped["slow"]
        assert dropped > 0
        assert lost == 0
        assert slow.taken + dropped == records + 2, "taken or counted"
    finally:
        slow.hold.set()
        background.close(1)


def test_the_end_of_one_stream_is_not_the_end_of_all():
    """The exit comes after the lines of both streams, even when a slow sink lets the child end first."""

    class Slow(RecordingSink):
        def emit(self, records):
            super().emit(records)
            if type(records) is subwatch.Lines:
                time.sleep(0.4)  # the child goes on and ends meanwhile

    sink = Slow()
    script = "echo e1 >&2; sleep 0.1; echo e2 >&2; echo o1"
    null = subprocess.DEVNULL
    subwatch.run(["sh", "-c", script], stdout=null, stderr=null, watch_stdout=True, sinks=[sink])
    assert sorted(line.text for line in sink.lines) == ["e1", "e2", "o1"]
    assert not any(line.late for line in sink.lines)
    assert sink.records[-1] is sink.exit


def test_slow_sink_does_not_block_the_loop():
    """`aio.run` waits for delivery in a thread."""

    class Flushing:
        name = "flushing"

        def open(self, run):
            return self

        def emit(self, records):
            pass

        def flush(self, timeout):
            time.sleep(min(timeout, 0.5))
            return 1

        def close(self, timeout=None):
            pass

    async def main():
        ticks = 0
        job = asyncio.create_task(subwatch.aio.run(["true"], sinks=[Flushing()], flush_timeout=0.5))
        while not job.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(main()) > 20


# 20. The outage of a sink breaks the job.


def test_sink_outage(front, caplog):
    class Dead:
        name = "dead"

        def open(self, run):
            return self

        def emit(self, records):
            raise ConnectionError("backend is down")

        flush = None

        def close(self, timeout=None):
            raise ConnectionError("backend is still down")

    done = front("echo out; echo err >&2; exit 5", sinks=[Dead()], check=True)
    assert isinstance(done.error, subprocess.CalledProcessError)
    assert (done.error.returncode, done.error.stdout, done.error.stderr) == (5, b"out\n", b"err\n")
    assert done.exit.dropped == {"dead": 2}, "start and line; the loss of the exit itself comes after it"


# 21. The exit status is stolen or wrong.


def test_sigchld_is_ignored(front):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        done = front("echo hi >&2; exit 5")
        want = subprocess.run(["sh", "-c", "exit 5"], check=False).returncode
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert done.returncode == want == 0, "as subprocess has it"
    assert (done.exit.returncode, done.exit.reason) == (None, "unknown"), "never invented"
    assert done.seen.texts == ["hi"]


def test_status_is_stolen(front):
    """Somebody else waits for all children, as badly written servers do."""
    stop = threading.Event()

    def thief():
        while not stop.is_set():
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass

    thread = threading.Thread(target=thief)
    thread.start()
    try:
        for _ in range(5):
            done = front("echo hi >&2; sleep 0.02; exit 5")
            assert done.returncode in (0, 5)
            assert (done.exit.returncode, done.exit.reason) in ((5, "exited"), (None, "unknown"))
    finally:
        stop.set()
        thread.join()


def test_status_is_taken_by_a_watcher_that_tells():
    """asyncio's FastChildWatcher reaps all children of the process, ours too; Python 3.14 has none."""
    if not hasattr(asyncio, "FastChildWatcher"):
        return

    async def main(watcher):
        process = await subwatch.aio.create_subprocess_exec("sh", "-c", "kill -9 $$", sinks=[exits.append])
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        watcher._sig_chld()  # before the loop has looked
        code = await process.wait()
        await asyncio.sleep(0)
        return code

    exits = []
    policy = asyncio.get_event_loop_policy()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        watcher = asyncio.FastChildWatcher()
        with asyncio.Runner() as runner:
            watcher.attach_loop(runner.get_loop())
            policy.set_child_watcher(watcher)
            try:
                assert runner.run(main(watcher)) == -9
                assert not watcher._callbacks, "the number will be another child's"
            finally:
                policy.set_child_watcher(None)
                watcher.close()
    (last,) = [record for record in exits if isinstance(record, subwatch.Exit)]
    assert (last.returncode, last.signal, last.reason) == (-9, "SIGKILL", "signaled")


@pytest.mark.parametrize("status", [0, 1, 77, 255])
def test_exit_status(front, status):
    done = front(f"exit {status}")
    assert (done.returncode, done.exit.returncode, done.exit.signal, done.exit.reason) == (
        status,
        status,
        None,
        "exited",
    )
    assert done.exit.failed == bool(status)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGPIPE"])
def test_exit_by_signal(front, name):
    number = getattr(signal, name)
    done = front(f"ulimit -c 0; kill -{int(number)} $$")
    assert (done.returncode, done.exit.returncode, done.exit.signal, done.exit.reason) == (
        -number,
        -number,
        name,
        "signaled",
    )


def test_no_signal_to_a_reaped_pid(monkeypatch):
    proc = subwatch.Popen(["true"], sinks=[])
    proc.wait()
    killed = []
    monkeypatch.setattr(os, "kill", lambda *args: killed.append(args))
    monkeypatch.setattr(os, "killpg", lambda *args: killed.append(args))
    proc.kill()
    proc.terminate()
    proc.deliver(signal.SIGKILL)
    assert killed == []


# 22. and 23. Fork in a threaded parent; logging in a signal handler. 24. select().


def test_what_the_core_never_does():
    source = Path(subwatch.__file__).parent
    for path in source.rglob("*.py"):
        text = re.sub(r"(?m)#.*$", "", path.read_text())
        assert "os.fork(" not in text, path
        assert "asyncio.run(" not in text, path
        assert not re.search(r"preexec_fn\s*=", text), path
        if "_cli" not in path.parts:  # the command has few descriptors, and its process to itself
            assert "select.select" not in text, path
            assert not re.search(r"signal\.(signal|siginterrupt|set_wakeup_fd)\(", text), path


def test_many_threads_start_children(front):
    results = []

    def work(number):
        done = front(f"echo {number} >&2; exit {number}")
        results.append((done.returncode, done.seen.texts))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(number, [str(number)]) for number in range(12)]


def test_descriptors_above_1023(front):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    files = []
    try:
        while not files or files[-1] < 1100:
            files.append(os.open(os.devnull, os.O_RDONLY))
        done = front("cat; echo err >&2", input=b"in" * 100_000)
        assert done.error is None
        assert (len(done.stdout), done.stderr, done.seen.texts) == (200_000, b"err\n", ["err"])
    finally:
        for fd in files:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# 25. Ctrl-C or cancel: see test_kill.


# -- close behind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run", "Popen"])
def test_inside_a_running_loop(name, helpers):
    """Sync calls in async code (Jupyter) work, and warn nobody."""

    async def main():
        return helpers.Front(name)("cat; echo hi >&2", input=b"x" * 300_000)

    done = asyncio.run(main())
    assert (len(done.stdout), done.seen.texts) == (300_000, ["hi"])


@pytest.mark.parametrize("name", ["run", "Popen", "aio"])
def test_target_is_flipped_to_non_blocking(name, helpers):
    """Somebody makes the pipe behind our stderr non-blocking, and its reader is slow: nothing is lost."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    got = bytearray()

    def reader():
        while data := os.read(read, 5000):
            got.extend(data)
            time.sleep(0.0005)

    thread = threading.Thread(target=reader)
    thread.start()
    done = helpers.Front(name)("yes $(printf %099d 1) | head -c 500000 >&2", capture=False, stderr=write)
    os.close(write)
    thread.join()
    os.close(read)
    assert done.returncode == 0
    assert bytes(got) == (b"1".zfill(99) + b"\n") * 5000
    assert len(done.seen.lines) == 5000


def test_nobody_reads_the_target(front):
    """The child is slowed down, not killed, and nothing spins; when the reader goes, the child is told."""
    read, write = os.pipe()
    threading.Timer(0.6, os.close, [read]).start()
    before = time.process_time()
    done = front(
        "trap '' PIPE; i=0; while echo 0123456789abcdef >&2; do i=1; done; exit 9",
        capture=False,
        stderr=write,
    )
    os.close(write)
    assert done.returncode == 9, "its write failed with EPIPE, as without us"
    assert done.took > 0.5
    assert time.process_time() - before < 1.5


def test_disk_is_full(front, caplog):
    """What cannot be passed on is said once; the child goes on and the records are complete."""
    with open("/dev/full", "wb") as full:
        done = front("echo one >&2; sleep 0.1; echo two >&2; exit 3", capture=False, stderr=full)
    assert done.returncode == 3
    assert done.seen.texts == ["one", "two"]
    (report,) = [record for record in caplog.records if record.name == "subwatch"]
    assert report.levelno == logging.WARNING
    assert "No space left" in report.getMessage()


def test_parent_has_no_stderr(tmp_path):
    """With descriptor 2 closed, as some daemons have it, nothing of ours lands in a wrong place."""
    script = (
        "import os, sys, json; os.close(2); import subwatch\n"
        "from subwatch.testing import RecordingSink\n"
        "seen = RecordingSink(); done = subwatch.run(['sh', '-c', 'echo hi >&2; exit 3'], sinks=[seen])\n"
        "print(json.dumps([done.returncode, seen.texts]))"
    )
    done = subprocess.run([sys.executable, "-c", script], stdout=PIPE, check=True)
    assert done.stdout == b'[3, ["hi"]]\n'


def test_cost_is_linear():
    """CPU time per byte does not grow with the length of a line (invoke #1079)."""

    def cost(size):
        before = time.process_time()
        subwatch.run(
            ["head", "-c", str(size), "/dev/zero"], stdout=PIPE, stderr=PIPE, sinks=[], watch_stdout=True
        )
        return time.process_time() - before

    cost(1_000_000)
    assert min(cost(40_000_000) for _ in range(2)) < 8 * 3 * max(0.01, min(cost(5_000_000) for _ in range(3)))
