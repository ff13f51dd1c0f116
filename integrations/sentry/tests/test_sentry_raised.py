"""Failures that raise: the exception is the event, and says what the child said, not how it was called."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading

import pytest
import sentry_sdk

import subwatch
from subwatch_sentry import SentrySink

FAIL = "import sys; print(sys.argv[1], file=sys.stderr); sys.exit(3)"
SECRET = "".join(["s3cr", "3t-Xy", "Zzy42"])


def python(code, *arguments):
    return [sys.executable, "-c", code, *arguments]


def test_failure_with_check(sentry, own_lines):
    """The exception is the event, once, although it passes two captures."""
    box = sentry()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subwatch.run(python(FAIL, "disk full"), sinks=["sentry"], check=True, stderr=subprocess.DEVNULL)
    assert box.events == []
    sentry_sdk.capture_exception(caught.value)
    sentry_sdk.capture_exception(caught.value)

    error = box.event["exception"]["values"][-1]
    program = os.path.basename(sys.executable)
    assert (error["type"], error["value"]) == (
        "CalledProcessError",
        f"{program} exited with code 3: disk full",
    )
    assert box.event["fingerprint"] == ["subwatch", program, "exit:3"]
    assert own_lines(box.event) == ["disk full"]
    assert box.attachments == {"stderr.log": b"disk full\n"}


def test_failure_that_the_application_handles(sentry, own_lines):
    """Who asks for an exception and handles it gets no event; a later error still tells what the child said."""
    box = sentry()
    with pytest.raises(subprocess.CalledProcessError):
        subwatch.run(python(FAIL, "no such table"), sinks=["sentry"], check=True, stderr=subprocess.DEVNULL)
    assert box.envelopes == []
    sentry_sdk.capture_message("gave up")

    assert own_lines(box.event) == ["no such table"]


def test_mode_event_sends_what_is_handled_too(sentry):
    """With ``mode="event"`` every failure is sent, whoever handles the exception."""
    box = sentry()
    sink = SentrySink(mode="event")
    with pytest.raises(subprocess.CalledProcessError):
        subwatch.run(python(FAIL, "disk full"), sinks=[sink], check=True, stderr=subprocess.DEVNULL)

    assert box.event["exception"]["values"][0]["type"] == "ProcessFailed"


def test_timeout_and_spawn_failure_raise(sentry, own_lines):
    """Both raise without ``check=True``; each is one event, whoever captures what."""
    box = sentry()
    sleep = python("import sys,time; print('waiting', file=sys.stderr, flush=True); time.sleep(60)")
    with pytest.raises(subprocess.TimeoutExpired) as late:
        subwatch.run(sleep, sinks=["sentry"], timeout=0.5, stderr=subprocess.DEVNULL)
    sentry_sdk.capture_exception(late.value)
    with pytest.raises(FileNotFoundError) as missing:
        subwatch.run(["/no/such/program"], sinks=["sentry"])
    sentry_sdk.capture_exception(missing.value)

    timed_out, not_found = box.events
    assert timed_out["fingerprint"][2] == "timed_out"
    assert own_lines(timed_out) == ["waiting"]
    assert not_found["fingerprint"] == ["subwatch", "program", "spawn:FileNotFoundError"]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("mode", ["auto", "event", "enrich"])
def test_secrets_are_nowhere(sentry, tmp_path, monkeypatch, check, mode, own_lines):
    """A secret in argv, environment, lines, URL and working directory is in no byte that is sent."""
    cwd = tmp_path / f"password={SECRET}"
    cwd.mkdir()
    box = sentry(traces_sample_rate=1.0)
    code = "import os, sys; sys.exit('password=' + os.environ['DB_PASSWORD'] + str(sys.argv))"
    url = f"postgresql://me:{SECRET}@db/x"
    command = python(code, "--password", SECRET, f"--token={SECRET}", url)
    alone = mode == "auto"  # then the core makes no lines, and the sink asks for the last
    sink = SentrySink(mode=mode, logs=not alone, monitor="nightly")
    sinks = [sink] if alone else ["logging", sink]
    environment = {**os.environ, "DB_PASSWORD": SECRET}

    def job(command, environment):
        subwatch.run(command, sinks=sinks, check=check, env=environment, cwd=cwd, stderr=subprocess.DEVNULL)

    with sentry_sdk.start_transaction(name="job"):
        try:
            job(command, environment)
        except subprocess.CalledProcessError as error:
            sentry_sdk.capture_exception(error)
        sentry_sdk.capture_message("after")
        try:
            subwatch.run([f"/no/{SECRET}"], sinks=[sink], redact=[SECRET])
        except FileNotFoundError as error:
            sentry_sdk.capture_exception(error)
    sentry_sdk.flush()

    assert len(box.transactions) == 1
    assert bool(box.logs) is not alone
    assert box.attachments or (mode, check) == ("enrich", False)  # nobody captures that failure
    assert any(own_lines(event) for event in box.events)
    assert SECRET.encode() not in box.raw
    assert SECRET.encode() not in b"".join(box.attachments.values())


def test_errors_that_pass_through_our_frames(sentry):
    """An error that is no child's failure shows nothing of our frames; the user's stay as they are."""
    box = sentry()

    def look(line):
        raise LookupError("no")

    environment = {"SOME_VARIABLE": SECRET}
    mine = "a local variable"
    assert mine
    with pytest.raises(LookupError) as caught:
        subwatch.run(
            ["/bin/sh", "-c", "echo x >&2"],
            env=environment,
            sinks=["sentry"],
            on_line=look,
            on_error="raise",
            stderr=subprocess.DEVNULL,
        )
    environment.clear()
    sentry_sdk.capture_exception(caught.value)

    frames = box.event["exception"]["values"][0]["stacktrace"]["frames"]
    assert mine in frames[0]["vars"]["mine"]
    ours = [frame for frame in frames if frame["module"].startswith("subwatch.")]
    assert ours
    assert not any("vars" in frame for frame in ours)
    assert SECRET.encode() not in box.raw


@pytest.mark.parametrize("ends", ["timeout", "interrupt", "soft limit"])
def test_child_that_the_caller_gives_up(sentry, own_lines, ends):
    """The exception stays what it is and is grouped as such, with the child's lines; it tells no raw command."""
    box = sentry()
    script = "echo why >&2; sleep 1; " + ("" if ends == "timeout" else "kill -USR1 $PPID; ") + "exec sleep 60"
    command = ["/bin/sh", "-c", script, f"--password={SECRET}"]
    environment = {**os.environ, "DB_PASSWORD": SECRET}

    async def for_a_while(command, environment):
        async with asyncio.timeout(None) as limit:
            await subwatch.aio.run(
                command,
                sinks=["sentry"],
                env=environment,
                stderr=subprocess.DEVNULL,
                on_line=lambda line: limit.reschedule(0),
            )

    def on_signal(number, frame):
        raise KeyboardInterrupt if ends == "interrupt" else Exhausted(f"limit of {ends}")

    def job(command, environment):
        if ends == "timeout":
            asyncio.run(for_a_while(command, environment))
            return
        before = signal.signal(signal.SIGUSR1, on_signal)
        try:
            subwatch.run(command, sinks=["sentry"], env=environment, stderr=subprocess.DEVNULL)
        finally:
            signal.signal(signal.SIGUSR1, before)

    try:
        job(command, environment)
    except BaseException as error:
        sentry_sdk.capture_exception(error)

    told = {"timeout": "TimeoutError", "interrupt": "KeyboardInterrupt", "soft limit": "Exhausted"}[ends]
    last = box.event["exception"]["values"][-1]
    assert (last["type"], last["value"]) == (told, "limit of soft limit" if told == "Exhausted" else "")
    assert "fingerprint" not in box.event
    assert box.event["contexts"]["subprocess"]["reason"] == (
        "cancelled" if ends == "timeout" else "interrupted"
    )
    assert own_lines(box.event) == ["why"]
    assert SECRET.encode() not in box.raw


class Exhausted(Exception):
    """As a task queue's that ends a task from a signal handler."""


def test_logging_and_sentry_sinks(sentry, caplog, own_lines):
    """Both sinks with the SDK's defaults, and a caller that logs the exception as well: one event."""
    caplog.set_level(logging.DEBUG)
    box = sentry()
    try:
        subwatch.run(
            python(FAIL, "disk full"), sinks=["logging", "sentry"], stderr=subprocess.DEVNULL, check=True
        )
    except subprocess.CalledProcessError as error:
        logging.getLogger("app").exception("backup failed")
        sentry_sdk.capture_exception(error)

    assert own_lines(box.event) == ["disk full"]


def test_twenty_threads(sentry, own_lines):
    """Every exception has its own child's lines and nobody else's, the commands being the same."""
    box = sentry()
    wrong = []

    def work(number):
        try:
            subwatch.run(
                ["/bin/sh", "-c", "echo $NUMBER >&2; exit 3"],
                env={"NUMBER": str(number)},
                sinks=["sentry"],
                check=True,
                stderr=subprocess.DEVNULL,
            )
        except subprocess.CalledProcessError as error:
            sentry_sdk.capture_exception(error)
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert sorted(own_lines(event) for event in box.events) == sorted([str(n)] for n in range(20))


def test_two_hundred_tasks(sentry, own_lines):
    """The same for tasks that share one isolation scope; their parent captures the exceptions."""
    box = sentry()

    async def work(number, gate):
        async with gate:
            await subwatch.aio.run(
                ["/bin/sh", "-c", "echo $NUMBER >&2; exit 3"],
                env={"NUMBER": str(number)},
                sinks=["sentry"],
                check=True,
                stderr=subprocess.DEVNULL,
            )

    async def main():
        gate = asyncio.Semaphore(50)
        results = await asyncio.gather(*(work(n, gate) for n in range(200)), return_exceptions=True)
        for result in results:
            sentry_sdk.capture_exception(result)

    asyncio.run(main())

    assert sorted(own_lines(event) for event in box.events) == sorted([str(n)] for n in range(200))
