"""Real children: what the application, the SDK's own integrations and the sink say together."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sentry_sdk

import subwatch
from subwatch.testing import SinkContract
from subwatch_sentry import SentrySink

FAIL = "import sys; print(sys.argv[1], file=sys.stderr); sys.exit(3)"


def python(code, *arguments):
    return [sys.executable, "-c", code, *arguments]


def test_failure_without_check(sentry, own_lines):
    """The sink is found by its name and sends the event."""
    box = sentry()
    done = subwatch.run(python(FAIL, "disk full"), sinks=["sentry"], stderr=subprocess.DEVNULL)

    assert done.returncode == 3
    assert own_lines(box.event) == ["disk full"]
    assert box.event["contexts"]["subprocess"]["usage"]["max_rss"] > 0
    frame = box.event["exception"]["values"][0]["stacktrace"]["frames"][0]
    assert (frame["filename"], frame["function"]) == ("test_sentry_children.py", "test_failure_without_check")


def test_logging_and_sentry_sinks(sentry, caplog):
    """Both sinks with the SDK's defaults: exactly one event per failure, each line one breadcrumb."""
    caplog.set_level(logging.DEBUG)
    box = sentry()
    sinks = ["logging", "sentry"]
    subwatch.run(python(FAIL, "disk full"), sinks=sinks, stderr=subprocess.DEVNULL)

    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO", "ERROR"]
    assert [crumb["message"] for crumb in box.event["breadcrumbs"]["values"]] == ["disk full"]


def test_logging_sink_floods_no_scope(sentry, caplog):
    """10,000 lines through both sinks leave the application's 80 breadcrumbs."""
    caplog.set_level(logging.DEBUG)
    box = sentry()
    for number in range(80):
        sentry_sdk.add_breadcrumb(message=f"app {number}")
    code = "import sys\nfor n in range(10000): print('line', n, file=sys.stderr)\nsys.exit(1)"
    subwatch.run(python(code), sinks=["logging", "sentry"], stderr=subprocess.DEVNULL)

    messages = [crumb["message"] for crumb in box.event["breadcrumbs"]["values"]]
    assert messages == [*(f"app {n}" for n in range(80)), *(f"line {n}" for n in range(9980, 10000))]


def test_ten_thousand_lines_alone(sentry, tmp_path):
    """The same where no other sink wants the lines; an error in the middle has those so far, each at its time."""
    box = sentry()
    for number in range(79):
        sentry_sdk.add_breadcrumb(message=f"app {number}")
    code = (
        "import os, sys, time\nfor n in range(10000): print('line', n, file=sys.stderr)\n"
        "open('written', 'w').close()\nwhile os.path.exists('written'): time.sleep(0.05)\nsys.exit(1)"
    )

    def application():
        while not (tmp_path / "written").exists():
            time.sleep(0.05)
        time.sleep(0.3)
        sentry_sdk.add_breadcrumb(message="app 79")
        sentry_sdk.capture_message("in the middle")
        (tmp_path / "written").unlink()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(application,))
    thread.start()
    subwatch.run(python(code), sinks=["sentry"], stderr=subprocess.DEVNULL, cwd=tmp_path)
    thread.join()

    expected = [*(f"app {n}" for n in range(79)), *(f"line {n}" for n in range(9980, 10000)), "app 79"]
    for event in box.events:
        assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == expected
    assert [event.get("message") for event in box.events] == ["in the middle", None]


def test_progress_does_not_fill_the_breadcrumbs(sentry, own_lines):
    """Of a program's progress, as pg_basebackup writes it into a pipe, the newest; the attachment has all of it."""
    box = sentry()
    code = (
        "import sys\nsay = lambda text: print(text, file=sys.stderr)\n"
        "say('pg_basebackup: checkpoint completed')\n"
        "for n in range(100): say(f'{n * 100}/10000 kB ({n}%), 0/1 tablespace')\n"
        "say('pg_basebackup: error: could not write: No space left on device')\nsys.exit(1)"
    )
    subwatch.run(python(code), sinks=["sentry"], stderr=subprocess.DEVNULL)

    assert own_lines(box.event) == [
        "pg_basebackup: checkpoint completed",
        "9900/10000 kB (99%), 0/1 tablespace",
        "pg_basebackup: error: could not write: No space left on device",
    ]
    assert box.attachments["stderr.log"].count(b"tablespace") == 100


def test_huge_and_binary_lines(sentry):
    """Lines of 1,000,000 and 100,000 bytes, one of no text, one without an end: sizes hold, nothing is refused."""
    box = sentry()
    code = (
        "import os, sys\nfor n in 1_000_000, 100_000: print('x' * n, file=sys.stderr, flush=True)\n"
        "os.write(2, bytes(range(256)) + b'\\nlast')\nsys.exit(1)"
    )
    subwatch.run(python(code), sinks=["sentry"], stderr=subprocess.DEVNULL)

    values = box.event["breadcrumbs"]["values"]
    assert max(len(crumb["message"]) for crumb in values) == 2048
    assert values[-1]["message"] == "last"
    assert any(crumb["data"].get("truncated") for crumb in values)
    assert 65000 < len(box.attachments["stderr.log"]) <= 65536
    assert box.attachments["stderr.log"].endswith(b"\\xff\nlast\n")


def test_structured_lines(sentry):
    """What a JSON line says is in the breadcrumb's data, and its message in the title."""
    box = sentry()
    line = json.dumps({"level": "error", "msg": "disk full", "device": "sda1", "free": 0})
    subwatch.run(["/bin/sh", "-c", f"echo '{line}' >&2; exit 1"], sinks=["sentry"], stderr=subprocess.DEVNULL)

    (crumb,) = box.event["breadcrumbs"]["values"]
    assert (crumb["level"], crumb["message"]) == ("warning", line)  # no line is an error by default
    assert crumb["data"]["fields"] == json.loads(line)
    assert box.event["exception"]["values"][0]["value"] == "sh exited with code 1: disk full"


def test_late_lines(sentry):
    """What another process still writes after the child's end is told to later events, marked."""
    box = sentry()
    script = "echo mine >&2; (sleep 0.4; echo late >&2) & exit 0"
    subwatch.run(["/bin/sh", "-c", script], sinks=["sentry"], stderr=subprocess.PIPE, drain=0.1)
    time.sleep(1)
    sentry_sdk.capture_message("after")

    mine, late = box.event["breadcrumbs"]["values"][1:]
    assert (mine["message"], late["message"], late["data"].get("late")) == ("mine", "late", True)


def test_cron_job_that_cannot_be_started(sentry):
    """A monitor hears of it at once."""
    box = sentry()
    with pytest.raises(FileNotFoundError):
        subwatch.run(["/no/such/program"], sinks=[SentrySink(monitor="nightly")])

    assert [(one["monitor_slug"], one["status"]) for one in box.check_ins] == [("nightly", "error")]


def test_one_span_and_no_raw_command(sentry):
    """One span for the child, none of the SDK's for it; the SDK goes on with others' children."""
    box = sentry(traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="job"):
        subwatch.run(python("pass", "hunter2hunter2"), sinks=["sentry"])
        with subwatch.Popen(python("pass", "hunter2hunter2"), sinks=["sentry"]):
            pass
        subprocess.run(["true", "theirs"], check=True)
    sentry_sdk.capture_message("after")

    program = os.path.basename(sys.executable)
    named = [span["description"] for span in box.spans if span["op"] == "subprocess"]
    assert named == [program, program, "true theirs"]
    commands = [crumb for crumb in box.event["breadcrumbs"]["values"] if crumb["category"] == "subprocess"]
    assert len(commands) == 3


def test_asyncio_spawns_as_quietly(sentry):
    """The same for the asyncio front."""
    box = sentry(traces_sample_rate=1.0)

    async def main():
        with sentry_sdk.start_transaction(name="job"):
            await subwatch.aio.run(python("pass", "token=hunter2hunter2"), sinks=["sentry"])

    asyncio.run(main())

    assert [span["op"] for span in box.spans] == ["subprocess"]
    assert b"hunter2hunter2" not in box.raw


def test_threads_that_share_a_scope_spawn_as_quietly(sentry):
    """Ours are quiet, theirs are not, although all of them spawn at once under one scope."""
    box = sentry(traces_sample_rate=1.0)
    client = sentry_sdk.get_client()

    def ours():
        for _ in range(20):
            subwatch.run(["true", "raw-command-of-ours"], sinks=["sentry"], redact=["raw-command-of-ours"])

    def theirs():
        for _ in range(20):
            subprocess.run(["true", "theirs"], check=True)

    with sentry_sdk.start_transaction(name="job"), ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(contextvars.copy_context().run, work) for work in [ours, theirs] * 3]
    for job in jobs:
        job.result()

    assert sentry_sdk.get_client() is client
    names = Counter(span["description"] for span in box.spans if span["op"] == "subprocess")
    assert names == {"true": 60, "true theirs": 60}
    assert b"raw-command-of-ours" not in box.raw


CONTINUES = """
import json, os, sys
import sentry_sdk
sentry_sdk.init(dsn="http://key@127.0.0.1:9/1")
print(json.dumps([sentry_sdk.get_traceparent(), {k: v for k, v in os.environ.items() if "SENTRY" in k}]))
"""


def test_child_with_sentry_joins_the_trace(sentry, monkeypatch):
    """The child's own SDK continues from our span; a stale inherited trace does not get in between."""
    monkeypatch.setenv("SENTRY_TRACE", "a" * 32 + "-" + "b" * 16 + "-1")
    monkeypatch.setenv("SENTRY_BAGGAGE", "sentry-trace_id=" + "a" * 32)
    box = sentry(traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="job", trace_id="c" * 32):
        done = subwatch.run(python(CONTINUES), sinks=["sentry"], capture_output=True, text=True, check=True)
        explicit = subwatch.run(
            python(CONTINUES),
            sinks=["sentry"],
            capture_output=True,
            text=True,
            env={"SENTRY_TRACE": "d" * 32 + "-" + "e" * 16, "PATH": os.environ["PATH"]},
        )

    traceparent, env = json.loads(done.stdout)
    assert traceparent.split("-")[0] == "c" * 32
    assert env["SENTRY_TRACE"] == f"{'c' * 32}-{box.spans[0]['span_id']}-1"
    assert "a" * 32 not in env["SENTRY_BAGGAGE"]
    assert json.loads(explicit.stdout)[0].startswith("d" * 32)


def test_twenty_threads(sentry, own_lines):
    """Every error has its own child's lines and nobody else's."""
    box = sentry()
    wrong = []

    def work(number):
        try:
            subwatch.run(python(FAIL, f"thread {number}"), sinks=["sentry"], stderr=subprocess.DEVNULL)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert sorted(own_lines(event) for event in box.events) == sorted([f"thread {n}"] for n in range(20))


@pytest.mark.slow
def test_two_hundred_tasks(sentry, own_lines):
    """The same for tasks that share one isolation scope."""
    box = sentry()

    async def work(number, gate):
        async with gate:
            sentry_sdk.add_breadcrumb(message="shared", category="app")
            await subwatch.aio.run(
                ["/bin/sh", "-c", f"echo task {number} >&2; exit 3"],
                sinks=["sentry"],
                stderr=subprocess.DEVNULL,
            )

    async def main():
        gate = asyncio.Semaphore(50)
        await asyncio.gather(*(work(number, gate) for number in range(200)))

    asyncio.run(main())

    assert len(box.events) == 200
    assert sorted(own_lines(event) for event in box.events) == sorted([f"task {n}"] for n in range(200))


def test_error_of_a_task_has_its_own_childs_lines(sentry, own_lines):
    """An application's error in the middle of a run, in tasks that share a scope."""
    box = sentry()

    async def work(number):
        script = f"echo task {number} >&2; sleep 0.5; exit 0"
        process = await subwatch.aio.create_subprocess_exec(
            "/bin/sh", "-c", script, sinks=["sentry"], stderr=subprocess.DEVNULL
        )
        await asyncio.sleep(0.3)
        sentry_sdk.capture_message(f"error {number}")
        await process.wait()

    async def main():
        await asyncio.gather(*(work(number) for number in range(5)))

    asyncio.run(main())

    found = {event["message"]: own_lines(event) for event in box.events}
    assert found == {f"error {n}": [f"task {n}"] for n in range(5)}


def test_server_in_the_background(sentry, own_lines):
    """A long-lived child: the caller's errors have what it said so far; its end is an event of its own."""
    box = sentry()
    code = "import sys,time\nfor n in range(30): print('up', n, file=sys.stderr, flush=True)\ntime.sleep(60)"
    with subwatch.Popen(python(code), sinks=["sentry"], stderr=subprocess.DEVNULL) as server:
        for record in server.records():
            if getattr(record, "text", "") == "up 29":
                break
        sentry_sdk.capture_message("request failed")
        server.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + 5
    while len(box.events) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    middle, end = box.events
    assert own_lines(middle) == own_lines(end) == [f"up {n}" for n in range(10, 30)]
    assert end["tags"]["subprocess.signal"] == "SIGKILL"


class TestContract(SinkContract):
    """The sink stands what every sink has to stand, with the SDK in use."""

    @pytest.fixture(autouse=True)
    def use_sdk(self, sentry):
        sentry(traces_sample_rate=1.0)

    def make_sink(self):
        return SentrySink(logs=True)


class TestContractUninitialised(SinkContract):
    """And without."""

    def make_sink(self):
        return SentrySink()


def test_arguments_that_are_no_text(sentry, tmp_path, own_lines):
    """Bytes that are no UTF-8, in arguments, program and directory, make no event that a server refuses."""
    program = os.fsencode(tmp_path) + b"/caf\xe9"
    os.symlink("/bin/sh", program)
    cwd = os.fsencode(tmp_path) + b"/dir\xff"
    os.mkdir(cwd)
    box = sentry(traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="job"):
        subwatch.run(
            [program, b"-c", b"printf '\\377\\0 \\303\\251\\n' >&2; exit 1", b"\xfe"],
            sinks=["sentry"],
            cwd=cwd,
            stderr=-3,
        )

    assert box.event["contexts"]["subprocess"]["argv"][-1] == "\\udcfe"
    assert own_lines(box.event) == ["\\xff\x00 é"]


def test_flush_at_the_end_of_a_watch(sentry):
    """Closing a watch flushes its sink, within its deadline."""
    sentry()
    watch = subwatch.Watch(sinks=["sentry"])
    watch.run(python(FAIL, "x"), stderr=subprocess.DEVNULL)

    assert watch.close(timeout=1.0) == 0
