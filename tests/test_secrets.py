"""Planted secrets survive nowhere: real children, every record, log line, exception, note, repr and thread name."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
import traceback
import warnings

import pytest

import subwatch
from subwatch import aio

GIVEN = "correct-horse-battery"  # redact=[...]
IN_ENV = "staple-9-from-the-env"  # value of a variable whose name says that it is secret
SHAPED = "Zq7fK2mP9xL4vN8bT3wR"  # known by where it stands only
SECRETS = (GIVEN, IN_ENV, SHAPED)


def environment():
    return {**os.environ, "DB_PASSWORD": IN_ENV}


def clean(*things):
    """Assert that no secret shows in the texts or reprs of these."""
    for thing in things:
        for text in (thing if isinstance(thing, str) else repr(thing), str(thing)):
            for secret in SECRETS:
                assert secret not in text, f"{secret} shows in {text!r}"


def everything(record):
    """All values of a record, and of what it holds."""
    run = record.run
    yield from (record, run, run.argv, run.cwd, run.program, run.tags, run.fields)
    for name in dir(record):
        if not name.startswith("_"):
            yield getattr(record, name)
    for line in getattr(record, "tail", ()):
        yield from (line, line.text)


def error_texts(error):
    yield from (error, str(error), repr(error), *getattr(error, "__notes__", ()))
    yield "".join(traceback.format_exception(error, chain=False)[-3:])


SCRIPT = (
    f"echo the password={SHAPED} is wrong >&2; printf 'split {GIVEN[:7]}' >&2; sleep 0.05; printf '{GIVEN[7:]} end\\n' >&2;"
    f' echo "env $DB_PASSWORD" >&2; printf "waits {GIVEN[:9]}" >&2; sleep 0.4; printf "{GIVEN[9:]}\\n" >&2;'
    f" echo Authorization: Bearer {SHAPED} >&2; exit 3"
)


@pytest.mark.parametrize("name", ["run", "aio", "Popen"])
def test_no_secret_survives(name, helpers, tmp_path, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    cwd = tmp_path / GIVEN
    cwd.mkdir()
    command = ["sh", "-c", SCRIPT, "sh", f"--password={SHAPED}", "--token", SHAPED, GIVEN, IN_ENV]
    plain = subprocess.run(command, env=environment(), cwd=cwd, capture_output=True)
    threads = []
    done = helpers.Front(name)(
        command,
        env=environment(),
        cwd=cwd,
        check=True,
        redact=[GIVEN],
        partial_delay=0.1,
        sinks=["logging", lambda record: threads.extend(thread.name for thread in threading.enumerate())],
    )
    seen = done.seen
    assert (
        next(line.text for line in seen.lines if not (line.partial or line.continued))
        == "the password=*** is wrong"
    )
    assert len(seen.lines) >= 5
    for record in seen.records:
        clean(*everything(record))
    for record in caplog.records:
        clean(record.getMessage(), record.args, record.__dict__)
    clean(threads, [str(warning.message) for warning in recwarn])
    error = done.error
    assert isinstance(error, subprocess.CalledProcessError)
    if name != "Popen":
        assert error.__notes__
        clean(*error_texts(error))
        clean(error.cmd)
    assert list(error.cmd) == command, "the value is the caller's"
    assert error.stderr == plain.stderr, "captured output is the caller's, and whole"
    if done.proc is not None:
        clean(done.proc, done.proc.args)
        assert done.proc.args == command


@pytest.mark.parametrize("kind", [list, tuple])
def test_results_equal_and_do_not_show(front, kind):
    command = kind(["sh", "-c", "exit 0", f"--password={SHAPED}"])
    done = front(command)
    assert done.args == command
    assert isinstance(done.args, kind)
    clean(done.args, subprocess.CompletedProcess(done.args, 0))
    assert done.args[3] == f"--password={SHAPED}", "a part of it is what it is"


def test_shell_command(front):
    command = f"true --password={SHAPED}"
    done = front([command], shell=True, capture=False)
    clean(done.args, *everything(done.seen.records[0]))
    done = subwatch.run(command, shell=True, sinks=[])
    assert done.args == command
    clean(done)


@pytest.mark.parametrize("name", ["run", "aio"])
def test_timeout(name, helpers):
    command = ["sh", "-c", f"echo password={SHAPED} >&2; exec sleep 30", "sh", f"--token={SHAPED}"]
    done = helpers.Front(name)(command, timeout=0.4)
    assert isinstance(done.error, subprocess.TimeoutExpired)
    clean(*error_texts(done.error))
    clean(done.error.cmd)
    assert done.error.cmd == command
    assert SHAPED.encode() in done.error.stderr, "the caller's own"


def test_spawn_failure(front, tmp_path):
    for program in (f"/nonexistent/{GIVEN}", str(tmp_path)):
        done = front([program, f"--password={SHAPED}"], redact=[GIVEN])
        assert isinstance(done.error, OSError)
        clean(*error_texts(done.error))
        for record in done.seen.records:
            clean(*everything(record))
        assert done.exit.reason == "spawn_failed"
    done = front(["true"], cwd=f"/nonexistent/{GIVEN}", redact=[GIVEN])
    assert isinstance(done.error, FileNotFoundError)
    clean(*error_texts(done.error), *everything(done.exit))


def test_options_do_not_show():
    watch = subwatch.Watch(redact=[GIVEN], tags={"a": "b"}, sinks=[subwatch.sink("jsonlines", path=SHAPED)])
    clean(
        watch, watch.replace(redact=[IN_ENV]), subwatch.sink("loki", password=SHAPED, headers={"X": SHAPED})
    )
    with pytest.raises(subwatch.ConfigError) as caught:
        subwatch.Watch(redact=GIVEN)
    clean(*error_texts(caught.value))
    with pytest.raises(TypeError) as caught:
        subwatch.Watch(pasword=GIVEN)
    clean(*error_texts(caught.value))
    with pytest.raises(subwatch.ConfigError) as caught:
        subwatch.run(["true"], sinks=[subwatch.sink("logging", password=SHAPED)])
    clean(*error_texts(caught.value))


def test_failing_sinks_do_not_show(front, caplog):
    def sink(record):
        raise RuntimeError(f"cannot post to https://me:{SHAPED}@host/ with {GIVEN}")

    front("exit 0", sinks=[sink], redact=[GIVEN])
    assert any("cannot post" in record.getMessage() for record in caplog.records)
    for record in caplog.records:
        clean(record.getMessage(), str(record.exc_info), str(record.exc_text))
        clean(logging.Formatter().format(record))


def test_unclosed_children_warn_without_secrets():
    proc = subwatch.Popen(["sleep", "30", f"--password={SHAPED}"], stderr=subprocess.DEVNULL, sinks=[])
    pid = proc.pid
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        proc.__del__()
    clean([str(warning.message) for warning in caught])
    proc.kill()
    proc.wait()
    assert pid == proc.pid


def test_live_records_and_process():
    async def main():
        command = ["sh", "-c", f"echo password={SHAPED} >&2", "sh", GIVEN]
        proc = await aio.create_subprocess_exec(*command, redact=[GIVEN], sinks=[], stderr=subprocess.DEVNULL)
        records = [record async for record in proc.records()]
        await proc.wait()
        clean(proc, proc._transport)
        return records

    records = asyncio.run(main())
    assert len(records) == 3
    for record in records:
        clean(*everything(record))
