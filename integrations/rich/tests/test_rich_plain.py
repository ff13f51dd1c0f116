"""Where there is no terminal, or it goes away, or cannot keep up; options; the contract of sinks."""

from __future__ import annotations

import errno
import io
import logging
import re
import time
from subprocess import DEVNULL

import pytest
from rich.console import Console

import subwatch
from subwatch.errors import ConfigError
from subwatch.records import Exit, Line, Lines, Progress, Run, Start
from subwatch.testing import RecordingSink, SinkContract
from subwatch_rich import RichSink
from subwatch_rich._figures import duration, size


def run(script, console, **options):
    return subwatch.run(["sh", "-c", script], sinks=[RichSink(console, **options)], stderr=DEVNULL)


def figures(text):
    return re.sub(r"[\d.]+ s, [\d.]+ \w+, ", "N s, N MiB, ", text)


def test_no_terminal():
    file = io.StringIO()
    long = "x" * 300
    run(
        f"echo one >&2; printf '1/9 kB (11%%)\\r2/9 kB (22%%)\\r9/9 kB (100%%)\\r\\n{long}\\n' >&2; exit 3",
        Console(file=file),
    )
    assert figures(file.getvalue()) == (
        f"sh: one\nsh: 1/9 kB (11%)\nsh: 9/9 kB (100%)\nsh: {long}\n"
        "sh: FAILED: exited with code 3 after N s, N MiB, 5 lines\n"
    )


def test_no_terminal_and_only_warnings_shows_the_tail():
    file = io.StringIO()
    run("echo one >&2; exit 3", Console(file=file), show="warnings")
    assert figures(file.getvalue()) == ("sh: FAILED: exited with code 3 after N s, N MiB, 1 line\nsh: one\n")


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_dumb_terminal(term):
    file = io.StringIO()
    run(
        "echo 'warning: one' >&2; sleep 0.3", Console(file=file, force_terminal=True, _environ={"TERM": term})
    )
    assert "\x1b" not in file.getvalue()
    assert file.getvalue().startswith("sh │ warning: one\n✓ sh ok ")


def test_spawn_failure():
    file = io.StringIO()
    with pytest.raises(FileNotFoundError):
        subwatch.run(["/nonexistent/program"], sinks=[RichSink(Console(file=file))])
    assert file.getvalue().startswith("program: FAILED: could not be started (FileNotFoundError) after ")


class Failing(io.StringIO):
    """A terminal that goes away after some writes."""

    def __init__(self, error, after):
        super().__init__()
        self.error, self.left = error, after

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "gone"), BrokenPipeError(), ValueError("closed file")])
def test_a_terminal_that_goes_away(error, after, capfd):
    console = Console(file=Failing(error, after), force_terminal=True, width=80)
    seen = RecordingSink()
    script = "for i in 1 2 3 4 5 6; do echo $i >&2; sleep 0.05; done"
    sinks = [RichSink(console, refresh_per_second=50), seen]
    done = subwatch.run(["sh", "-c", script], sinks=sinks, stderr=DEVNULL)
    assert done.returncode == 0
    assert len(seen.lines) == 6
    print("stdout still works")
    assert "stdout still works" in capfd.readouterr().out or isinstance(error, BrokenPipeError)


def test_a_console_that_fails_is_reported_once(caplog):
    class Odd(Console):
        def print(self, *args, **kwargs):
            raise RuntimeError("odd")

    with caplog.at_level(logging.WARNING, "subwatch"):
        assert run("echo one >&2; exit 4", Odd(file=io.StringIO())).returncode == 4
    assert [record.message for record in caplog.records] == ["the rich display failed and stops"]


def test_a_flood_is_cut_and_counted():
    file = io.StringIO()
    seen = RecordingSink()
    sink = RichSink(Console(file=file, force_terminal=True, no_color=True))
    done = subwatch.run(["seq", "1", "200000"], sinks=[sink, seen], stdout=DEVNULL, watch_stdout=True)
    assert done.returncode == 0
    dropped = seen.exit.dropped["rich"]
    missing = sum(
        int(n.replace(",", "")) for n in re.findall(r"\(([\d,]+) lines not shown\)", file.getvalue())
    )
    assert dropped == missing > 0
    assert file.getvalue().count("│") == 200_000 - dropped
    assert "200000\n" in file.getvalue()


def test_slow_terminals_keep_no_child_waiting():
    class Slow(io.StringIO):
        def write(self, text):
            time.sleep(0.5)
            return super().write(text)

    file = Slow()
    begin = time.monotonic()
    child = subwatch.Popen(
        ["sh", "-c", "seq 1 50000 >&2"], sinks=[RichSink(Console(file=file))], stderr=DEVNULL
    )
    child.wait()
    assert time.monotonic() - begin < 5
    end = time.monotonic() + 10
    while "ok after" not in file.getvalue():
        assert time.monotonic() < end
        time.sleep(0.01)


def record(progress):
    class Reader:
        def texts(self, block):
            raise AssertionError

        def levels(self, texts):
            return [20] * len(texts)

        def progress(self, lines):
            return [progress] * len(lines)

        def fields(self, lines):
            return None

    return Reader()


@pytest.mark.parametrize("fraction", [-1.0, 0.0, 1.0, 17.5, float("nan"), float("inf"), None])
def test_absurd_progress(terminal, fraction):
    screen, console = terminal()
    sink = RichSink(console, refresh_per_second=50)
    run = Run(id="1", argv=("x",), program="x", cwd="/", host="h", tags={}, caller=None, parent_pid=1)
    stream = sink.open(run)
    stream.emit(Start(run, 2, 1))
    reader = record(Progress(fraction=fraction))
    stream.emit(Lines(run, "stderr", 1, 1, False, reader, None, ["text"], ["\r"]))
    screen.until("text")
    exit = Exit(run=run, pid=2, returncode=0, signal=None, reason="exited", start_ns=0, time_ns=1, duration=1)
    stream.emit(exit)
    assert stream.flush(5) == 0
    stream.close()
    assert screen.lines == ["✓ x ok  N s, 0 lines"]


@pytest.mark.parametrize(
    "options",
    [
        {"console": "stdout"},
        {"show": "some"},
        {"refresh_per_second": 0},
        {"refresh_per_second": "fast"},
        {"tail": -1},
        {"tail": True},
        {"styles": {"loud": "red"}},
        {"styles": {"info": "no such style"}},
        {"styles": "red"},
    ],
)
def test_wrong_options(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        subwatch.run(["true"], sinks=[subwatch.sink("rich", **options)])


def test_figures():
    assert [duration(s) for s in (0.001, 9.99, 12.34, 61, 3725)] == [
        "0.00 s",
        "9.99 s",
        "12.3 s",
        "1:01",
        "1:02:05",
    ]
    assert [duration(s, clock=True) for s in (0, 59.9, 86400)] == ["0:00", "0:59", "24:00:00"]
    assert [size(n) for n in (0, 1024, 999 * 1024, 2**20, 300 * 2**20, 2**40)] == [
        "0.0 KiB",
        "1.0 KiB",
        "999 KiB",
        "1.0 MiB",
        "300 MiB",
        "1.0 TiB",
    ]


class TestPlain(SinkContract):
    def make_sink(self):
        return RichSink(Console(file=io.StringIO()))


class TestTerminal(SinkContract):
    def make_sink(self):
        return RichSink(Console(file=io.StringIO(), force_terminal=True))


def test_lines_are_lines(terminal):
    """The records of a run are used through their public names only; a late line does no harm."""
    screen, console = terminal()
    seen = []
    sinks = [RichSink(console), seen.append]
    subwatch.run(["sh", "-c", "(sleep 0.5; echo late >&2) & echo early >&2"], sinks=sinks, stderr=DEVNULL)
    screen.until("✓ sh")
    assert [record.text for record in seen if isinstance(record, Line)][:1] == ["early"]
    screen.until("late")
