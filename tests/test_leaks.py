"""Two thousand runs of all kinds leave nothing behind; the check itself is the fixture in conftest.py."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import tracemalloc
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

import subwatch
from subwatch import aio

RUNS = 2000


def sync_runs(number, sink):
    """Twelve runs, every way out."""
    run, Popen = subwatch.run, subwatch.Popen
    run(["true"], sinks=[sink])
    run(["sh", "-c", "echo out; echo err >&2"], capture_output=True, sinks=[sink])
    run(["cat"], input=b"x" * 1000, stdout=PIPE, sinks=[sink])
    with pytest.raises(subprocess.CalledProcessError):
        run(["sh", "-c", "echo no >&2; exit 1"], check=True, stderr=PIPE, sinks=[sink])
    with pytest.raises(FileNotFoundError):
        run(["/no/such/program"], sinks=[sink])
    with pytest.raises(TypeError):
        run(["cat"], input="text", stdout=PIPE, sinks=[sink])
    with pytest.raises(UnicodeDecodeError):
        run(["printf", "\\377"], stdout=PIPE, encoding="utf-8", sinks=[sink])
    run(["sh", "-c", "echo err >&2"], stderr=DEVNULL, sinks=[broken])
    with Popen(["sh", "-c", "echo err >&2"], stderr=PIPE, sinks=[sink]) as proc:
        proc.communicate()
    proc = Popen(["sh", "-c", "echo err >&2"], stderr=DEVNULL, sinks=[sink])
    proc.wait()
    with pytest.raises(FileNotFoundError):
        Popen(["/no/such/program"], stdin=PIPE, stderr=PIPE, sinks=[sink])
    if number % 10 == 0:
        with pytest.raises(subprocess.TimeoutExpired):
            run(["sleep", "10"], timeout=0.01, capture_output=True, sinks=[sink])
        with Popen(["sleep", "10"], stderr=PIPE, sinks=[sink]) as proc:
            with pytest.raises(subprocess.TimeoutExpired):
                proc.communicate(timeout=0.01)
            proc.kill()
        run(["sh", "-c", "sleep 0.02 &"], capture_output=True, drain=0.0, sinks=[sink])
    return 12


async def async_runs(number, sink):
    """Eight runs on the loop, at once."""

    async def failing(expected, awaitable):
        with pytest.raises(expected):
            await awaitable

    async def process():
        proc = await aio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE, sinks=[sink])
        assert (await proc.communicate(b"x"))[0] == b"x"

    async def streamed():
        proc = await aio.create_subprocess_shell("echo a >&2; echo b >&2", stderr=PIPE, sinks=[sink])
        assert [line async for line in proc.stderr] == [b"a\n", b"b\n"]
        await proc.wait()

    async def cancelled():
        task = asyncio.create_task(aio.run(["sleep", "10"], capture_output=True, sinks=[sink]))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])

    await asyncio.gather(
        aio.run(["sh", "-c", "echo err >&2"], capture_output=True, sinks=[sink]),
        aio.run(["cat"], input=b"x", stdout=PIPE, sinks=[sink]),
        failing(subprocess.TimeoutExpired, aio.run(["sleep", "10"], timeout=0.01, sinks=[sink])),
        failing(FileNotFoundError, aio.run(["/no/such/program"], sinks=[sink])),
        failing(FileNotFoundError, aio.create_subprocess_exec("/no/such/program", stdin=PIPE, sinks=[sink])),
        process(),
        streamed(),
        cancelled(),
    )
    return 8


def broken(record):
    raise RuntimeError("a sink that raises")


@pytest.mark.slow
def test_two_thousand_runs(caplog):
    caplog.set_level("CRITICAL")
    seen = {"Start": 0, "Line": 0, "Exit": 0}

    def sink(record):
        seen[type(record).__name__] += 1

    def round_of(number):
        return sync_runs(number, sink) + asyncio.run(async_runs(number, sink))

    for number in range(5):  # caches, pools, the first of everything
        round_of(number)
    gc.collect()
    tracemalloc.start()
    before, rss = tracemalloc.get_traced_memory()[0], rss_bytes()
    done = 0
    while done < RUNS:
        done += round_of(done // 20)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert done >= RUNS
    assert grown < 200_000, f"{grown} bytes are held after {done} runs"
    assert rss_bytes() - rss < 30_000_000
    assert seen["Exit"] >= seen["Start"] > 0


def rss_bytes():
    """Resident memory of this process (proc(5), statm counts pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


forgotten = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@forgotten
@pytest.mark.parametrize("stderr", [None, PIPE, DEVNULL])
def test_dropped_handle(stderr):
    """A Popen that is forgotten while its child runs, and asked for nothing ever again."""
    pid = subwatch.Popen(["sh", "-c", "sleep 0.2; echo err >&2 || :"], stderr=stderr, sinks=[]).pid
    gc.collect()
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    subprocess._cleanup()


@forgotten
def test_loop_ends_first():
    """The loop is closed while the child runs: it is killed, as by asyncio, and nothing of it stays."""

    async def main():
        proc = await aio.create_subprocess_exec("sleep", "30", stdin=PIPE, stdout=PIPE, stderr=PIPE, sinks=[])
        return proc.pid

    pid = asyncio.run(main())
    gc.collect()
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_status == 9
    subprocess._cleanup()
