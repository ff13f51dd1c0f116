"""Where and when it runs: loops, threads, forks, shutdown, signals, odd descriptors, children that outlive us."""

from __future__ import annotations

import asyncio
import gc
import os
import pty
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest
import uvloop

import subwatch
from subwatch import aio
from subwatch.testing import RecordingSink

SOURCE = str(Path(subwatch.__file__).parents[1])
PRELUDE = """
import asyncio, os, signal, subprocess, sys, threading, time
import subwatch
from subwatch import aio
from subprocess import DEVNULL, PIPE
"""


def python(code, *args, check=True, options=("-X", "dev", "-W", "error"), **kwargs):
    """Run code in an interpreter of its own."""
    env = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, *options, "-c", PRELUDE + code, *args],
        env=env, stdout=PIPE, stderr=PIPE, encoding="utf-8", timeout=30, check=False, **kwargs,
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(autouse=True, scope="module")
def what_a_process_keeps():
    """Make what uvloop needs once, so that it does not look like a leak."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))


@pytest.fixture
def sink():
    return RecordingSink()


# -- event loops ------------------------------------------------------------------------------------------


def loops():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=loops())
def on_loop(request):
    """Run a coroutine on a loop of each kind, with its debug mode on."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=loops()[request.param], debug=True) as runner:
            return runner.run(coroutine)

    return run


def test_run_on_loop(on_loop, sink):
    done = on_loop(
        aio.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"data", capture_output=True, sinks=[sink])
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, b"data", b"err\n")
    assert sink.texts == ["err"]
    assert sink.exit.usage.max_rss > 0


def test_process_on_loop(on_loop, sink):
    async def main():
        proc = await aio.create_subprocess_exec(
            "sh",
            "-c",
            "while read x; do echo got $x >&2; done; exit 3",
            stdin=PIPE,
            stderr=PIPE,
            sinks=[sink],
        )
        proc.stdin.write(b"one\n")
        first = await proc.stderr.readline()
        proc.stdin.close()
        return first, await proc.stderr.read(), await proc.wait()

    assert on_loop(main()) == (b"got one\n", b"", 3)
    assert sink.texts == ["got one"]


def test_timeout_and_cancellation_on_loop(on_loop, sink):
    async def main():
        with pytest.raises(subprocess.TimeoutExpired):
            await aio.run(["sleep", "30"], timeout=0.1, sinks=[sink])
        task = asyncio.create_task(aio.run(["sleep", "30"], sinks=[sink]))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    started = time.monotonic()
    on_loop(main())
    assert time.monotonic() - started < 5
    assert [record.reason for record in sink.exits] == ["timed_out", "cancelled"]


def test_sync_run_inside_a_running_loop(on_loop, sink):
    async def main():
        ticks = asyncio.create_task(asyncio.sleep(0))
        done = subwatch.run(["sh", "-c", "echo err >&2"], capture_output=True, sinks=[sink])
        with subwatch.Popen(["sh", "-c", "echo err >&2"], stderr=PIPE, sinks=[sink]) as proc:
            told = proc.stderr.read()
        await ticks
        return done.stderr, told

    assert on_loop(main()) == (b"err\n", b"err\n")
    assert sink.texts == ["err", "err"]


@pytest.mark.slow
def test_thousand_concurrent_children(on_loop):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    count = min(1000, (max(soft, wanted) - 200) // 4)
    lines, most = [], 0

    async def one(n):
        nonlocal most
        done = await aio.run(["sh", "-c", f"read go; echo {n} >&2"], stdin=gate[0], capture_output=True)
        most = max(most, threading.active_count())
        return done.stderr

    async def main():
        tasks = [asyncio.create_task(one(n)) for n in range(count)]
        while started.count < count:
            await asyncio.sleep(0.01)
        os.close(gate[1])  # all at once
        return await asyncio.gather(*tasks)

    class Started:
        count = 0

        def open(self, run):
            return self

        def emit(self, records):
            if type(records) is subwatch.Start:
                self.count += 1
            lines.extend(getattr(records, "texts", ()))

        def close(self, timeout=None):
            pass

    started, gate = Started(), os.pipe()
    before = threading.active_count()
    watch = subwatch.Watch(sinks=[started])
    original, subwatch._default.current = subwatch._default.current, watch
    try:
        told = on_loop(main())
    finally:
        subwatch._default.current = original
        os.close(gate[0])
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told == [f"{n}\n".encode() for n in range(count)]
    assert sorted(lines) == sorted(str(n) for n in range(count))
    assert most <= before + 1


# -- threads and forks ----------------------------------------------------------------------------------------


def test_threads(sink):
    def work(n):
        done = subwatch.run(
            ["sh", "-c", f"echo out{n}; echo err{n} >&2; exit {n % 3}"], capture_output=True, sinks=[sink]
        )
        with subwatch.Popen(["sh", "-c", f"echo popen{n} >&2"], stderr=PIPE, sinks=[sink]) as proc:
            told = proc.communicate()[1]
        return done.stdout, done.stderr, done.returncode, told

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(work, range(96)))
    assert results == [
        (f"out{n}\n".encode(), f"err{n}\n".encode(), n % 3, f"popen{n}\n".encode()) for n in range(96)
    ]
    assert sorted(sink.texts) == sorted(f"{word}{n}" for n in range(96) for word in ("err", "popen"))


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)"])
def test_after_fork(end):
    """A forked child runs children of its own, and leaves those of its parent alone when it ends."""
    done = python(
        f"""
import warnings; warnings.simplefilter("ignore", DeprecationWarning)  # fork with threads: the point of this
subwatch.configure(sinks=[lambda record: None])
proc = subwatch.Popen(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo line $i >&2; sleep 0.05; done"])
time.sleep(0.1)
pid = os.fork()
if not pid:
    assert subwatch.run(["sh", "-c", "echo forked run >&2"], stderr=PIPE).stderr == b"forked run\\n"
    with subwatch.Popen(["sh", "-c", "echo forked popen >&2"]) as inner:
        pass
    assert asyncio.run(aio.run(["sh", "-c", "exit 4"])).returncode == 4
    {end}
assert os.waitpid(pid, 0)[1] == 0
proc.wait()
""",
        options=("-W", "error"),  # no debug mode: it complains of a slow machine
    )
    assert sorted(done.stderr.splitlines()) == sorted([*(f"line {n}" for n in range(1, 9)), "forked popen"])


# -- long lives -----------------------------------------------------------------------------------------------


def test_handle_kept_for_long():
    """A handle whose records nobody takes does not grow with what its child says."""

    def talk(proc, megabytes):
        proc.stdin.write(b"%d\n" % (megabytes * 10))
        assert proc.stdout.readline() == b"done\n"

    script = "while read n; do while [ $n -gt 0 ]; do head -c 100000 /dev/zero | tr '\\0' '\\n' >&2; n=$((n-1)); done; echo done; done"
    with subwatch.Popen(
        ["sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, bufsize=0, sinks=[]
    ) as proc:
        talk(proc, 1)
        gc.collect()
        tracemalloc.start()
        try:
            talk(proc, 8)
            gc.collect()
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        proc.stdin.close()
    assert grown < 2_000_000


# -- the end of the interpreter ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "proc = subwatch.Popen(['sleep', '0.3'])",
        "proc = subwatch.Popen(['sh', '-c', 'while echo x >&2; do :; done & sleep 0.3; kill $!'], stderr=DEVNULL)",
        "subwatch.Popen(['sleep', '0.3'], stderr=PIPE)",
        "threading.Thread(target=subwatch.run, args=(['sleep', '0.3'],)).start()",
        "threading.Thread(target=subwatch.run, args=(['sleep', '0.3'],), daemon=True).start(); time.sleep(0.1)",
        "import atexit; atexit.register(lambda: subwatch.run(['sh', '-c', 'exit 0'], check=True))",
        "import atexit; atexit.register(lambda: subwatch.Popen(['sh', '-c', 'exit 0']).wait())",
        "subwatch.run(['sh', '-c', 'sleep 0.3 &'], capture_output=True, drain=0)",
        "import atexit; atexit.register(lambda: subwatch.run(['sh', '-c', 'sleep 0.3 &'], stderr=PIPE, drain=0))",
        "asyncio.run(aio.run(['sh', '-c', 'sleep 0.3 &'], capture_output=True, drain=0))",
    ],
)
def test_shutdown_in_the_middle(code):
    started = time.monotonic()
    done = python(
        code, options=("-W", "error", "-W", "ignore::ResourceWarning")
    )  # these are subprocess's own
    assert time.monotonic() - started < 10
    assert done.stderr == ""


def test_asyncio_in_an_exit_hook():
    """There are no threads any more that a sink that delivers in its own time could be waited for in."""
    done = python(
        """
import atexit
class Waited:
    def open(self, run):
        return self
    def emit(self, records):
        pass
    def flush(self, timeout):
        return 0
    def close(self, timeout=0.0):
        pass
watch = subwatch.Watch(sinks=[Waited()])
async def both():
    done = await aio.run(["sh", "-c", "echo one >&2; exit 3"], watch=watch, stderr=DEVNULL)
    other = await aio.create_subprocess_exec("sh", "-c", "exit 4", watch=watch)
    return done.returncode, await other.wait()
atexit.register(lambda: print(asyncio.run(both())))
""",
        options=("-W", "error"),
    )
    assert (done.stdout, done.stderr) == ("(3, 4)\n", "")


OUTLIVES = """
import sys, time, os
for n in range(6):
    os.write(2, b"line %d\\n" % n)
    time.sleep(0.1)
open(sys.argv[1], "w").write("survived")
"""


@pytest.mark.parametrize(
    ("how", "arrives"),
    [
        ("child = subwatch.Popen(CHILD)", True),
        ("child = subwatch.Popen(CHILD, watch_stdout=True)", True),
        ("child = subwatch.Popen(CHILD, stderr=DEVNULL)", False),
        ("child = subwatch.Popen(CHILD, stderr=open('log', 'wb', 0))", False),
        ("subwatch.run(['sh', '-c', '\"$@\" &', 'sh', *CHILD])", True),
        ("asyncio.run(aio.run(['sh', '-c', '\"$@\" &', 'sh', *CHILD]))", True),
        ("import atexit; atexit.register(lambda: subwatch.Popen(CHILD))", True),
        (
            "import atexit; atexit.register(lambda: subwatch.run(['sh', '-c', '\"$@\" &', 'sh', *CHILD]))",
            True,
        ),
    ],
)
def test_child_outlives_us(tmp_path, how, arrives):
    """It goes on writing to where it wrote, and is not killed by our end."""
    code = f"""
CHILD = {[sys.executable, "-c", OUTLIVES, str(tmp_path / "made")]!r}
subwatch.configure(sinks=[])
{how}
time.sleep(0.15)
"""
    done = python(code, options=(), cwd=tmp_path)  # returns at the end of all who hold the pipe
    deadline = time.monotonic() + 10
    while not (tmp_path / "made").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (tmp_path / "made").exists()
    expected = "".join(f"line {n}\n" for n in range(6))
    assert done.stderr == (expected if arrives else "")
    if "log" in how:
        time.sleep(0.2)
        assert (tmp_path / "log").read_text() == expected


INTERPRETER = """
import subwatch
ends = []
with subwatch.Popen(CHILD, sinks=[ends.append]):
    pass
assert (ends[-1].reason, ends[-1].drained) == ("left_running", False), ends
done = subwatch.run(["sh", "-c", "echo said; sleep 0.3 &"], stdout=-1, drain=0, sinks=[ends.append])
assert (done.stdout, ends[-1].reason) == (b"said" + bytes([10]), "exited"), ends
"""


def test_child_of_a_subinterpreter(tmp_path):
    """Those of Python 3.14 allow no daemon threads: what such a thread would follow is handed over at once."""
    if sys.version_info < (3, 14):
        return
    child = [sys.executable, "-c", OUTLIVES, str(tmp_path / "made")]
    code = f"""
from concurrent import interpreters
interpreter = interpreters.create()
interpreter.exec({f"CHILD = {child!r}{INTERPRETER}"!r})
interpreter.close()
"""
    done = python(code, options=())
    assert done.stderr == "".join(f"line {n}\n" for n in range(6))
    assert (tmp_path / "made").read_text() == "survived"


def test_child_outlives_us_on_a_terminal(tmp_path):
    master, slave = pty.openpty()
    chunks = []

    def read():
        try:
            while data := os.read(master, 1000):
                chunks.append(data)
        except OSError:
            os.close(master)

    reader = threading.Thread(target=read)
    reader.start()
    code = f"{PRELUDE}\nsubwatch.configure(sinks=[])\np = subwatch.Popen({[sys.executable, '-c', OUTLIVES, str(tmp_path / 'made')]!r})\ntime.sleep(0.3)"
    subprocess.run(
        [sys.executable, "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "PYTHONPATH": SOURCE},
        timeout=30,
        check=True,
    )
    os.close(slave)
    reader.join(20)
    assert b"".join(chunks).decode().split("\r\n") == [*(f"line {n}" for n in range(6)), ""]
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("size", [130_000, 500_000])
def test_what_waits_is_handed_over_too(size):
    """Our reader is slow: what was read of the child and not yet written is not lost at our end.

    The child that writes less has ended by then, and all of it was read.
    """
    read, write = os.pipe()
    code = f"head -c {size} /dev/zero | tr '\\0' x >&2; echo end >&2"
    env = {**os.environ, "PYTHONPATH": SOURCE}
    script = f"{PRELUDE}\nsubwatch.configure(sinks=[])\np = subwatch.Popen(['sh', '-c', {code!r}])\ntime.sleep(0.5)"
    proc = subprocess.Popen([sys.executable, "-c", script], stderr=write, env=env)
    os.close(write)
    assert proc.wait(30) == 0
    with os.fdopen(read, "rb") as file:
        data = file.read()
    assert data == b"x" * size + b"end\n"


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=subwatch.run, args=(CMD,), daemon=True).start()",
        "threading.Thread(target=lambda: asyncio.run(two()), daemon=True).start()",
    ],
)
def test_child_of_a_daemon_thread_outlives_us_and_is_told_of(tmp_path, start):
    """Its thread stands still when the interpreter ends: the exit is sent before, and the child goes on writing."""
    began = time.monotonic()
    done = python(
        f"""
CMD = ["sh", "-c", "echo hi >&2; sleep 1.5; echo later >&2; echo x >>{tmp_path}/made"]
async def two():
    await asyncio.gather(aio.run(CMD), aio.run(CMD))
seen = []
def show(record):
    seen.append(record)
    print(type(record).__name__, getattr(record, "text", ""), getattr(record, "reason", ""), flush=True)
subwatch.configure(sinks=[show])
{start}
while sum(type(record) is subwatch.Line for record in seen) < ("two" in {start!r}) + 1:
    time.sleep(0.01)
print("end", flush=True)
""",
        options=(),
    )
    count = 2 if "two" in start else 1
    assert done.stdout.splitlines()[-1 - count :] == ["end"] + ["Exit  left_running"] * count
    assert done.stderr.split() == ["hi"] * count + ["later"] * count  # it was read until the relay had ended
    assert (tmp_path / "made").read_text().split() == ["x"] * count
    assert time.monotonic() - began < 20


def test_nothing_stays_behind_after_us(tmp_path):
    """The relay ends with the stream."""
    pids = python(
        "subwatch.configure(sinks=[])\np = subwatch.Popen(['sleep', '0.4'])\nprint(os.getpid(), os.getpgid(p.pid))",
        options=(),
    ).stdout
    assert pids  # python() returns when nobody holds its pipes any more: neither child nor relay


# -- signals ------------------------------------------------------------------------------------------------


def test_sigchld_ignored():
    done = python(
        """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
seen = []
subwatch.configure(sinks=[seen.append])
theirs = subprocess.run(["sh", "-c", "exit 3"], capture_output=True)
ours = subwatch.run(["sh", "-c", "echo err >&2; exit 3"], capture_output=True)
assert ours.returncode == theirs.returncode, (ours, theirs)
with subwatch.Popen(["sh", "-c", "exit 3"]) as proc:
    pass
assert proc.returncode == theirs.returncode
assert asyncio.run(aio.run(["sh", "-c", "exit 3"])).returncode == theirs.returncode
proc._pump._thread.join(10)
exits = [record for record in seen if type(record) is subwatch.Exit]
assert [(record.reason, record.returncode) for record in exits] == [("unknown", None)] * 3, exits
"""
    )
    assert done.stderr == ""


@pytest.mark.parametrize(
    "call",
    ["subwatch.run(CMD)", "subwatch.Popen(CMD).wait()", "subwatch.Popen(CMD, stderr=PIPE).communicate()"],
)
def test_signal_handler_raises(call):
    """As with subprocess: the exception comes out at once, and run() leaves no child behind."""
    done = python(
        f"""
class Alarm(Exception): pass
def handler(*_): raise Alarm
CMD = ["sleep", "20"]
signal.signal(signal.SIGALRM, handler)
def show(record):
    print(type(record).__name__, getattr(record, "reason", ""), flush=True)
    if type(record) is subwatch.Start:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
subwatch.configure(sinks=[show])
started = time.monotonic()
try:
    {call}
except Alarm:
    print("raised", time.monotonic() - started < 5)
if "run" in {call!r}:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no child")
subprocess.run(["pkill", "-P", str(os.getpid()), "sleep"])
""",
        options=(),
    )
    assert "raised True" in done.stdout
    if "run" in call:
        assert done.stdout.split("\n")[:4] == ["Start ", "Exit interrupted", "raised True", "no child"]


def test_signal_handler_returns():
    """A handler that does not raise disturbs nothing."""
    done = python(
        """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
subwatch.configure(sinks=[])
done = subwatch.run(["sh", "-c", "sleep 0.5; cat; echo err >&2"], input=b"x" * 200_000, capture_output=True)
signal.setitimer(signal.ITIMER_REAL, 0)
assert (len(done.stdout), done.stderr, done.returncode) == (200_000, b"err\\n", 0)
"""
    )
    assert done.stderr == ""


@pytest.mark.parametrize("who", ["subprocess", "subwatch"])
def test_ctrl_c(who):
    """Ctrl-C on the terminal: the child gets it too and is given a moment; KeyboardInterrupt comes out."""
    master, slave = pty.openpty()
    code = f"""{PRELUDE}
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
subwatch.configure(sinks=[])
try:
    {who}.run(["sh", "-c", "trap 'echo caught; exit 7' INT; echo ready; sleep 20 & wait"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    proc = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )  # fmt: skip
    os.close(slave)
    told = b""
    while b"ready" not in told:
        told += os.read(master, 1000)
    os.write(master, b"\x03")
    assert proc.wait(20) == 0
    try:
        while data := os.read(master, 1000):
            told += data
    except OSError:
        os.close(master)
    assert sorted(told.replace(b"^C", b"").split()) == [b"caught", b"interrupted", b"ready"]


# -- descriptors ----------------------------------------------------------------------------------------------

CLOSED = """
import json
out = open(sys.argv[2], "w")
os.dup2(out.fileno(), 50); out.close()
for fd in json.loads(sys.argv[3]):
    os.close(fd)
SH = ["sh", "-c", "echo out; echo err >&2; cat"]
if sys.argv[1] == "ours":
    subwatch.configure(sinks=[])
    subprocess.run, subprocess.Popen = subwatch.run, subwatch.Popen
told = []
for kwargs in ({}, {"stderr": PIPE}, {"stdout": PIPE, "stderr": PIPE}, {"stderr": DEVNULL}, {"stderr": -2, "stdout": PIPE},
               {"input": b"in", "stdout": PIPE}, {"stdin": DEVNULL}, {"stderr": -2}):
    try:
        done = subprocess.run(SH, **kwargs)
        told.append(repr(done))
        kwargs.pop("input", None)
        with subprocess.Popen(SH, **kwargs) as proc:
            told.append(repr(proc.communicate()))
    except OSError as error:
        told.append(repr(error))
    told.append([fd for fd in (0, 1, 2) if fd not in json.loads(sys.argv[3])] == [fd for fd in (0, 1, 2) if os.path.exists(f"/proc/self/fd/{fd}")])
os.write(50, json.dumps(told).encode())
"""


@pytest.mark.parametrize("closed", ["[0]", "[1]", "[2]", "[0, 1]", "[0, 2]", "[1, 2]", "[0, 1, 2]"])
def test_standard_descriptors_closed(tmp_path, closed):
    results = {}
    for who in ("original", "ours"):
        place = tmp_path / who
        done = python(CLOSED, who, str(place), closed, options=(), check=False, stdin=DEVNULL)
        results[who] = place.read_text(), done.stdout, sorted(done.stderr.splitlines())
    assert results["ours"] == results["original"]


def test_descriptors_above_1023(sink):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4096:
        pytest.fail("needs a limit of 4096 open files: ulimit -Hn 4096")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1200)]
    try:
        done = subwatch.run(["sh", "-c", "cat; echo err >&2"], input=b"in", capture_output=True, sinks=[sink])
        assert (done.stdout, done.stderr) == (b"in", b"err\n")
        with subwatch.Popen(["sh", "-c", "echo err >&2"], stderr=PIPE, sinks=[sink]) as proc:
            assert proc.stderr.fileno() > 1023
            assert proc.communicate() == (None, b"err\n")
        done = asyncio.run(aio.run(["sh", "-c", "echo err >&2"], capture_output=True, sinks=[sink]))
        assert done.stderr == b"err\n"
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sink.texts == ["err"] * 3


def test_no_descriptors_left():
    """Out of descriptors: the standard error, nothing leaks, and it works again afterwards."""
    python(
        """
import errno, resource
subwatch.configure(sinks=[])
subwatch.run(["true"])
with subwatch.Popen(["true"]) as proc:
    pass
proc._pump._thread.join()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
failed = 0
while held:
    os.close(held.pop())
    before = len(os.listdir("/proc/self/fd")) if len(held) < 30 else None
    for call in (subwatch.run, lambda *a, **k: subwatch.Popen(*a, **k).communicate()):
        try:
            call(["true"], capture_output=True) if call is subwatch.run else call(["true"], stdout=PIPE, stderr=PIPE)
        except OSError as error:
            assert error.errno == errno.EMFILE, error
            failed += 1
    if before is not None:
        deadline = time.monotonic() + 5
        while len(os.listdir("/proc/self/fd")) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(os.listdir("/proc/self/fd")) == before, (before, os.listdir("/proc/self/fd"))
assert failed
assert subwatch.run(["echo", "x"], capture_output=True).stdout == b"x\\n"
""",
        options=(),
    )
