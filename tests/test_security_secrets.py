"""Secrets in places where nobody looks for them: what libraries raise, frames, threads, reprs, spools of lines."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import threading
import traceback

import pytest

import subwatch
from subwatch.errors import ConfigError, SinkLoadError
from subwatch.sinks import Background, CallableSink

GIVEN = "correct-horse-battery"
IN_ENV = "staple-9-from-the-env"
SHAPED = "Zq7fK2mP9xL4vN8bT3wR"
URL = f"https://me:{SHAPED}@host.invalid/push"


def clean(text):
    for secret in (GIVEN, IN_ENV, SHAPED):
        assert secret not in text, f"{secret} shows in {text[:2000]!r}"


class Library:
    """A sink on a library that tells the URL it was given, chained three deep, as requests and urllib3 do."""

    def __init__(self, **options):
        self.options = options

    def fail(self):
        try:
            try:
                raise OSError(f"[Errno 111] connection to {URL} refused, password={IN_ENV}")
            except OSError as error:
                raise RuntimeError(f"Max retries exceeded with url: {URL}") from error
        except RuntimeError as error:
            local = URL
            raise ValueError(f"cannot push to {local}") from error

    def open(self, run):
        return self

    def emit(self, records):
        self.fail()

    def close(self, timeout=0.0):
        pass


@pytest.fixture
def log(caplog):
    """All that is logged: as a formatter writes it, and what the records hold."""
    caplog.set_level(logging.DEBUG)

    def texts():
        for record in caplog.records:
            assert record.exc_info is None, "frames hold local variables, and error trackers send them"
            yield logging.Formatter().format(record)
            yield repr(record.__dict__)

    return lambda: "\n".join(texts())


def test_what_a_failing_sink_raises(log):
    subwatch.run(["true"], sinks=[Library()])
    clean(log())
    assert "cannot push to https://me:***@host.invalid" in log()


def test_what_a_failing_sink_raises_in_the_background(log, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", GIVEN)
    sink = Background(Library())
    subwatch.run(["true"], sinks=[sink])
    sink.close(5)
    clean(log())
    assert "cannot push to https://me:***@host.invalid" in log()
    assert "Max retries exceeded with url: https://me:***@host.invalid" in log(), (
        "the causes are told as well"
    )


def test_what_a_sink_raises_that_cannot_be_made(monkeypatch):
    class Unmade(Library):
        def __init__(self, **options):
            super().__init__(**options)
            self.fail()

    class Picky(Library):
        def __init__(self, *, url="", password="", token=""):
            raise TypeError(f"{url} with {password} and {token} is wrong")

    for made, kind in ((Unmade, SinkLoadError), (Picky, ConfigError)):
        monkeypatch.setattr("subwatch._plugins.factory", lambda name, made=made: made)
        with pytest.raises(kind) as caught:
            subwatch.run(["true"], sinks=[subwatch.sink("x", url=URL, password=GIVEN, token=IN_ENV)])
        clean("".join(traceback.format_exception(caught.value)))


def test_our_own_errors_say_why_and_not_what(log, monkeypatch):
    """Should we ever fail at a line, the traceback must not hold it."""

    def broken(self, *args):
        raise RuntimeError(f"at password={SHAPED}, {GIVEN}")

    monkeypatch.setattr("subwatch._session.Session.feed", broken)
    done = subwatch.run(
        ["sh", "-c", "echo hello >&2"], redact=[GIVEN], sinks=[lambda record: None], capture_output=True
    )
    assert done.stderr == b"hello\n", "the child's output is not concerned"
    assert "are lost from here on" in log()
    assert "RuntimeError: at password=***" in log()
    clean(log())


@pytest.mark.parametrize(
    "env",
    [
        {"A": "x\0y"},
        {"A": 5},
        {"A=B": "c"},
        {5: "x"},
        {"A": "\ud800"},
        {"": "x"},
        {"A\0": None},
        [("A", "b")],
        "AB",
    ],
    ids=repr,
)
def test_a_sink_that_adds_impossible_variables_is_left_out(env, log):
    class Sink(Library):
        def emit(self, records):
            pass

    sink = Sink()
    sink.env = env
    seen = []
    assert subwatch.run(["sh", "-c", "exit 3"], sinks=[sink, seen.append]).returncode == 3
    assert seen[-1].returncode == 3
    assert "sink 'Sink' failed and is left out" in log()


# -- frames -------------------------------------------------------------------------------------------------


def frames(error, seen=None):
    """All local variables of all frames but the caller's, of an error and whatever it is chained to."""
    seen = seen or set()
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__ or frame.f_code.co_name == "runner":
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_filename} {frame.f_code.co_name} {name}={value!r}"
    yield from frames(error.__cause__, seen)
    yield from frames(error.__context__, seen)


def fail_with(name, command, options):
    options = {"env": {**os.environ, "DB_PASSWORD": IN_ENV}, "sinks": [], "redact": [GIVEN], **options}
    if name == "run":
        subwatch.run(command, **options)
    elif name == "watch":
        subwatch.Watch(sinks=[]).run(command, **options)
    elif name == "aio":
        asyncio.run(subwatch.aio.run(command, **options))
    else:
        options.pop("check", None)
        with subwatch.Popen(command, stderr=subprocess.DEVNULL, **options) as child:
            child.wait()
        raise OSError("that one does not fail")


FAILURES = {
    "status": (["sh", "-c", "exit 3", "sh", f"--password={SHAPED}", GIVEN], {"check": True}),
    "missing": (["/nonexistent", f"--password={SHAPED}", GIVEN], {}),
    "folder": (["true", f"--password={SHAPED}", GIVEN], {"cwd": "/nonexistent"}),
    "nul": (["true", f"--password={SHAPED}", GIVEN, "\0"], {}),
    "option": (["true", f"--password={SHAPED}", GIVEN], {"tail": -1}),
}


@pytest.fixture(params=[False, True], ids=["", "wrapped"])
def wrapped(request, monkeypatch):
    """Popen as it is, and as error trackers wrap it: with a frame of their own that holds all arguments."""
    if request.param:
        original = subprocess.Popen.__init__

        def runner(*args, **kwargs):
            return original(*args, **kwargs)

        monkeypatch.setattr(subprocess.Popen, "__init__", runner)


@pytest.mark.parametrize("name", ["run", "watch", "aio", "Popen"])
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.usefixtures("wrapped")
def test_frames_hold_no_secret(name, failure):
    """Error trackers send along the local variables of all frames: of those behind ours none holds the command."""
    command, options = FAILURES[failure]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of five kinds
        fail_with(name, command, options)
    for text in frames(caught.value):
        clean(text)
    assert caught.traceback


def test_a_timeout_holds_no_secret_either():
    for front in (subwatch.run, lambda *args, **kwargs: asyncio.run(subwatch.aio.run(*args, **kwargs))):
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            front(
                ["sh", "-c", "exec sleep 9", f"--password={SHAPED}"],
                timeout=0.2,
                grace=0,
                sinks=[],
                env={**os.environ, "PASSWORD": IN_ENV},
            )
        for text in frames(caught.value):
            clean(text)


# -- reprs, threads -----------------------------------------------------------------------------------------


def test_reprs_hold_no_secret():
    watch = subwatch.Watch(sinks=[subwatch.sink("x", token=SHAPED)], redact=[GIVEN])
    for thing in (watch, Background(Library(token=SHAPED)), subwatch.sink("x", url=URL)):
        clean(repr(thing))
        clean(str(thing))


def test_threads_are_named_without_secrets(tmp_path):
    names = []
    sink = Background(CallableSink(lambda record: names.extend(t.name for t in threading.enumerate())))
    with subwatch.Popen(
        ["sh", "-c", "echo hello >&2", f"--password={SHAPED}"],
        sinks=[sink],
        stderr=subprocess.DEVNULL,
    ):
        names += [thread.name for thread in threading.enumerate()]
    sink.close(5)
    clean(" ".join(names))


def test_a_script_of_a_shell(log):
    """What `shell=True` is given is one string; the secrets of the commands in it show nowhere."""
    script = f"exec 2>/dev/null; true -v && mysql -uroot -p{SHAPED} db; curl -u 'me:{GIVEN}' x:; exit 3"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        subwatch.run(script, shell=True, check=True)
    clean("".join(traceback.format_exception(caught.value)))
    clean(repr(caught.value.subwatch_exit))
    clean(log())
    assert caught.value.cmd == script
    assert "mysql -uroot -p*** db; curl -u 'me:***' x:" in str(caught.value)
