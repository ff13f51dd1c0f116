"""Beside what the application itself does with the console: Live, Progress, logging, capture; and forks."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from subprocess import DEVNULL

import pytest
import rich
from rich.console import Console
from rich.live import Live
from rich.logging import RichHandler
from rich.progress import Progress

import subwatch
from subwatch_rich import RichSink


def rows(lines):
    return [line for line in lines if "*" in line]


@pytest.mark.parametrize("transient", [False, True])
def test_progress_of_the_application_comes_and_goes(terminal, child, transient):
    screen, console = terminal()
    sink = RichSink(console, refresh_per_second=50)
    backup = child("backup", sink)
    backup.say("one\n")
    screen.shows(["backup │ one", "", "* backup 0:NN one"])
    with Progress("own {task.completed}", console=console, transient=transient) as own:
        task = own.add_task("own", total=9)
        screen.shows(["backup │ one", "own 0", "* backup 0:NN one"])
        backup.say("two\n")
        own.advance(task)
        screen.shows(["backup │ one", "backup │ two", "own 1", "* backup 0:NN two"])
        other = child("other", sink)
        screen.until(lambda lines: len(rows(lines)) == 2)
        other.end()
        screen.until(lambda lines: len(rows(lines)) == 1)
    screen.until(lambda lines: ("own 1" in lines) is not transient and lines[-1].startswith("*"))
    backup.end()
    last = screen.until(lambda lines: lines[-1].startswith("✓ backup"))
    expected = ["backup │ one", "backup │ two", "✓ other ok  N s, 0 lines", "own 1"]
    expected = [line for line in expected if line != "own 1" or not transient]
    assert [line for line in last if line] == [*expected, "✓ backup ok  N s, 2 lines"]
    assert console._render_hooks == []


def test_a_child_comes_and_goes_within_a_live_of_the_application(terminal, child):
    screen, console = terminal()
    with Live("own", console=console, auto_refresh=False) as live:
        backup = child("backup", RichSink(console, refresh_per_second=50))
        backup.say("one\n")
        screen.shows(["backup │ one", "own", "* backup 0:NN one"])
        backup.end()
        screen.shows(["backup │ one", "✓ backup ok  N s, 1 line", "own"])
        live.update("changed", refresh=True)
        screen.shows(["backup │ one", "✓ backup ok  N s, 1 line", "changed"])
        assert console._render_hooks == [live]
    assert console._render_hooks == []


def test_logging_and_prints_land_above(terminal, child):
    screen, console = terminal()
    logger = logging.getLogger("test_rich_beside")
    logger.propagate = False
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logger.addHandler(handler)
    try:
        backup = child("backup", RichSink(console, refresh_per_second=50))
        screen.shows(["", "* backup 0:NN"])
        for n in range(5):
            logger.warning("message %s", n)
            console.print("printed\ntwice", n)
    finally:
        logger.removeHandler(handler)
    expected = [text for n in range(5) for text in (f"WARNING  message {n}", "printed", f"twice {n}")]
    screen.shows([*expected, "", "* backup 0:NN"])
    backup.end()
    screen.shows([*expected, "✓ backup ok  N s, 0 lines"])


def test_what_others_write_past_rich_is_kept(terminal, child):
    """Such as the child's own stderr, or print: the line is whole, and no row stays behind."""
    screen, console = terminal()
    backup = child("backup", RichSink(console, refresh_per_second=50))
    for n in range(5):
        screen.until(lambda lines: lines[-2:] == ["", "* backup 0:NN"])
        screen.write(f"raw line {n}\n")
    screen.write("no end")
    backup.say("more\n")
    screen.until("* backup 0:NN more")
    screen.write("\n")
    backup.end()
    lines = screen.until(lambda lines: lines[-1].startswith("✓"))
    assert [line for line in lines if line.startswith("raw line")] == [f"raw line {n}" for n in range(5)]
    assert not rows(lines)


def test_captured_output_is_the_applications_own(terminal, child):
    screen, console = terminal()
    backup = child("backup", RichSink(console, refresh_per_second=50))
    screen.until("* backup")
    with console.capture() as capture:
        console.print("captured")
    assert capture.get() == "captured\n"
    backup.end()


def test_threads_and_asyncio_share_a_display(terminal):
    screen, console = terminal()
    sinks = [RichSink(console), RichSink(console)]

    def run(n):
        return subwatch.run(["sh", "-c", f"echo {n} >&2; sleep 0.3"], sinks=[sinks[n % 2]], stderr=DEVNULL)

    async def main():
        runs = (
            subwatch.aio.run(["sh", "-c", "echo a >&2; sleep 0.3"], sinks=sinks[:1], stderr=DEVNULL)
            for _ in range(4)
        )
        await asyncio.gather(*runs)

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(asyncio.run, main()), *(pool.submit(run, n) for n in range(4))]
        screen.until(lambda lines: len(rows(lines)) == 8)
        threads = [thread for thread in threading.enumerate() if thread.name == "subwatch-rich"]
        assert len(threads) == 1
        for job in jobs:
            job.result()
    assert sum("✓" in line for line in screen.lines) == 8
    assert len(screen.lines) == 16
    assert console._render_hooks == []


def test_after_run_returns_everything_is_printed(terminal):
    screen, console = terminal()
    for n in range(3):
        subwatch.run(["sh", "-c", f"echo {n} >&2"], sinks=[RichSink(console)], stderr=DEVNULL)
        assert f"sh │ {n}" in screen.lines
        assert not rows(screen.lines)
    assert [line.split()[0] for line in screen.lines] == ["sh", "✓"] * 3


def test_a_fork_in_the_middle(terminal, child):
    screen, console = terminal()
    sink = RichSink(console, refresh_per_second=50)
    backup = child("backup", sink)
    screen.until("* backup")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            clean = console._render_hooks == []
            done = subwatch.run(["sh", "-c", "echo forked >&2"], sinks=[sink], stderr=DEVNULL)
            code = 0 if clean and done.returncode == 0 and "sh │ forked" in screen.lines else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    backup.say("still here\n")
    screen.until("backup │ still here")
    backup.end()
    screen.until("✓ backup")


def test_the_default_console(monkeypatch, capsys):
    """Rich's own where it is a terminal; otherwise stderr, since stdout may be data."""
    subwatch.run(["sh", "-c", "echo hello >&2"], sinks=["rich"], stderr=DEVNULL)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sh: hello\nsh: ok after ")
    console = Console(force_terminal=True, file=open(os.devnull, "w"), record=True)  # noqa: SIM115
    monkeypatch.setattr(rich, "_console", console)
    subwatch.run(["sh", "-c", "echo hello >&2"], sinks=["rich"], stderr=DEVNULL)
    console.file.close()
    assert "sh │ hello" in console.export_text()


def test_everything_at_once(terminal):
    """Children that come and go while the application prints: each line once, nothing left."""
    screen, console = terminal(lines=40)
    sink = RichSink(console, refresh_per_second=60)
    script = 'for i in 1 2 3 4 5; do echo "$0.$i" >&2; sleep 0.02; done'

    def work(n):
        for m in range(4):
            subwatch.run(["sh", "-c", script, f"line {n}.{m}"], sinks=[sink], stderr=DEVNULL)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(work, n) for n in range(4)]
        printed = 0
        while not all(job.done() for job in jobs):
            console.print("printed", printed)
            printed += 1
            time.sleep(0.003)
        for job in jobs:
            job.result()
    assert [line for line in screen.lines if line[:1] == "p"] == [f"printed {n}" for n in range(printed)]
    lines = [line for line in screen.lines if "│" in line]
    said = sorted(line.partition("│ ")[2] for line in lines)
    expected = sorted(f"line {n}.{m}.{i}" for n in range(4) for m in range(4) for i in range(1, 6))
    assert said == expected
    assert sum("✓" in line for line in screen.lines) == 16
    assert not rows(screen.lines)
    assert console._render_hooks == []


def test_status_and_alternate_screen_of_the_application(terminal, child):
    screen, console = terminal()
    backup = child("backup", RichSink(console, refresh_per_second=50))
    with console.status("own status", spinner="line"):
        screen.until(lambda lines: any("own status" in line for line in lines) and rows(lines))
    with Live("own screen", console=console, screen=True):
        backup.say("one\n")
    screen.until("* backup 0:NN one")
    backup.end()
    lines = screen.until(lambda lines: lines[-1].startswith("✓"))
    assert not rows(lines)
    assert console._render_hooks == []
