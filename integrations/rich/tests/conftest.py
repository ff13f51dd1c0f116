"""Fixtures: a terminal in memory, and children that say what a test tells them to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time

import pyte
import pytest
from rich.console import Console

import subwatch
from subwatch_rich import RichSink

SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")


class Screen:
    """A terminal emulator that rich writes to as to a file."""

    encoding = "utf-8"

    def __init__(self, columns=80, lines=24):
        self.screen = pyte.HistoryScreen(columns, lines, history=1000, ratio=1)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.screen)
        self.raw = ""
        self.writes = 0
        self.lock = threading.Lock()

    def write(self, text):
        with self.lock:
            self.raw += text
            self.writes += 1
            self.stream.feed(text)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True

    @property
    def lines(self):
        """What is seen, the history above included; figures that vary are made the same."""
        with self.lock:
            above = [
                "".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top
            ]
            lines = [line.rstrip() for line in (*above, *self.screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return [tidy(line) for line in lines]

    def shows(self, expected, timeout=10.0):
        """Wait until exactly this is seen."""
        end = time.monotonic() + timeout
        while self.lines != expected and time.monotonic() < end:
            time.sleep(0.01)
        assert self.lines == expected

    def until(self, condition, timeout=10.0):
        """Wait until a text is seen, or a condition of the lines holds; return the lines."""
        if isinstance(condition, str):
            text = condition
            condition = lambda lines: any(text in line for line in lines)  # noqa: E731
        end = time.monotonic() + timeout
        while True:
            lines = self.lines
            if condition(lines):
                return lines
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.01)


def tidy(line):
    line = SPINNER.sub("*", line)
    line = re.sub("[━╸]{4,}", "━━━━", line)
    line = re.sub(r"\b\d+\.\d+ s\b", "N s", line)
    line = re.sub(r"\b\d+(\.\d)? [KMG]iB, ", "", line)  # not known when somebody else reaped the child
    line = re.sub(r"eta \S+ ", "", line)  # comes when it is known well enough
    line = re.sub(r"\b\d:\d\d\b", "0:NN", line)
    return re.sub(r"\[\d{2,}\]", "[PID]", line)


class Child:
    """A child that writes what it is told, and ends when it is told to."""

    def __init__(self, folder, program, sink, code=0, stderr=subprocess.DEVNULL, **options):
        folder = folder / f"{program}-{time.monotonic_ns()}"
        folder.mkdir()
        executable, fifo = folder / program, folder / "words"
        executable.symlink_to(shutil.which("sh"))
        os.mkfifo(fifo)
        script = 'cat "$0" >&2; exit "$1"'
        argv = [str(executable), "-c", script, str(fifo), str(code)]
        self.process = subwatch.Popen(argv, sinks=[sink], stderr=stderr, **options)
        self.words = os.open(fifo, os.O_WRONLY)

    def say(self, text):
        os.write(self.words, text.encode())

    def end(self):
        """Let it end; return its exit status."""
        if self.words >= 0:
            os.close(self.words)
            self.words = -1
        return self.process.wait(timeout=20)


@pytest.fixture
def terminal():
    """Make a screen and a console on it."""

    def make(columns=80, lines=24, **options):
        screen = Screen(columns, lines)
        options = {"force_terminal": True, "color_system": "standard", "_environ": {}} | options
        return screen, Console(file=screen, width=columns, height=lines, **options)

    return make


@pytest.fixture
def child(tmp_path):
    """Start children; whatever happens, they end with the test."""
    children = []

    def start(program, sink, **options):
        children.append(Child(tmp_path, program, sink, **options))
        return children[-1]

    yield start
    for one in children:
        one.end()


@pytest.fixture
def display(terminal, child):
    """A screen, and a function that starts a child shown on it."""

    def make(columns=80, lines=24, console=None, **options):
        screen, console = terminal(columns, lines, **(console or {}))
        sink = RichSink(console, refresh_per_second=50, **options)
        return screen, lambda program="backup", **more: child(program, sink, **more)

    return make


@pytest.fixture(name="tidy")
def tidy_fixture():
    """Make figures that vary the same."""
    return tidy


@pytest.fixture(autouse=True)
def nothing_is_left():
    """After the last child there is no thread of ours."""
    yield
    end = time.monotonic() + 5
    while names := [thread.name for thread in threading.enumerate() if thread.name == "subwatch-rich"]:
        assert time.monotonic() < end, names
        time.sleep(0.01)
