"""Job control with a real bash on a real terminal."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time

import pytest

RUN = f"{sys.executable} -m subwatch run --"
# bash forks. dash, which sh may be, uses vfork: stopped in the instant before its child is another program, it waits
# for that child and is never seen as stopped itself.
TICK = "bash -c 'echo begun >&2; i=0; while :; do sleep 0.1; i=$((i+1)); echo tick$i >&2; done'"


@pytest.fixture(params=["", RUN], ids=["without", "with"])
def wrapper(request):
    """Every test is run without us first: bash is the judge of what is to be expected."""
    return request.param


@pytest.fixture
def shell(terminal, tmp_path):
    with terminal(
        ["bash", "--norc", "--noprofile", "-i"], env={"PS1": "$ "}, rows=50, columns=150, cwd=tmp_path
    ) as term:
        term.wait_for("$")
        yield term


MARKERS = itertools.count()


def settle(term):
    """Have the shell say a word, so that everything before it was done."""
    word = f"done{next(MARKERS)}"
    term.send(f"echo {word[:4]}'{word[4:]}'\n")
    term.wait_for(f"\n{word}")


def states(term):
    """States of the jobs, as the shell sees them."""
    term.send("clear\n")
    term.read(0.1)
    term.send("jobs\n")
    settle(term)
    # a job may be shown twice: because it has just changed, and because of "jobs"
    return list(dict(re.findall(r"^\[(\d)\][+-]?\s+(\w+)", term.text(), re.MULTILINE)).values())


def becomes(term, *expected):
    """Whether the jobs get into these states within some seconds."""
    for _ in range(20):
        if states(term) == list(expected):
            return True
        term.read(0.3)
    return False


def test_stop_and_foreground(shell, wrapper):
    shell.send(f"{wrapper} {TICK}\n")
    shell.wait_for("tick2")
    shell.send("\x1a")
    shell.wait_for("Stopped")
    assert states(shell) == ["Stopped"]
    before = shell.text()
    shell.read(0.5)
    assert "tick" not in shell.text().replace(before, ""), "it went on although it was stopped"
    shell.send("fg\n")
    shell.wait_for(lambda: shell.text().count("tick") > 3)
    shell.send("\x03")
    shell.wait_for("^C")
    shell.send("echo status $?\n")
    shell.wait_for("status 130")


def test_stop_and_background(shell, wrapper):
    shell.send(f"{wrapper} bash -c 'echo begun >&2; sleep 0.5; sleep 0.5; exit 7'\n")
    shell.wait_for("\nbegun")
    shell.send("\x1a")
    shell.wait_for("Stopped")
    shell.send("bg\n")
    assert states(shell) == ["Running"]
    shell.send("wait %1; echo status $?\n")
    shell.wait_for("status 7")


def test_in_the_background_from_the_start(shell, wrapper):
    shell.send(f"{wrapper} sleep 1 &\n")
    assert states(shell) == ["Running"]
    shell.send("wait; echo status $?\n")
    shell.wait_for("status 0")


def test_output_from_the_background(shell, wrapper):
    """It may write to the terminal; where ``stty tostop`` forbids that, it stops until it is in front."""
    shell.send(f"{wrapper} sh -c 'sleep 0.3; echo hello >&2' &\n")
    shell.wait_for(lambda: "hello" in shell.text().split("&\n", 1)[-1])
    settle(shell)
    shell.send(f"stty tostop; {wrapper} sh -c 'sleep 0.3; echo hello again >&2' &\n")
    shell.read(1.0)
    assert states(shell)[-1:] == ["Stopped"]
    shell.send("fg\n")
    shell.wait_for(lambda: "\nhello again" in shell.text())


def test_reading_in_the_background_stops(shell, wrapper):
    shell.send(f"{wrapper} cat &\n")
    shell.read(1.0)
    assert states(shell) == ["Stopped"]
    shell.send("fg\n")
    shell.read(0.3)
    shell.send("typed\n\x04")
    shell.wait_for("\ntyped\ntyped")


def test_ctrl_c_ends_a_loop_of_the_shell(shell, wrapper):
    shell.send(f"while :; do {wrapper} sh -c 'echo begun >&2; exec sleep 60'; done; echo after\n")
    shell.wait_for("\nbegun")
    shell.send("\x03")
    shell.wait_for("^C")
    settle(shell)
    assert "\nafter" not in shell.text()


def test_ctrl_c_that_the_command_survives(shell, wrapper):
    script = (
        "import signal, time; n = []; signal.signal(2, lambda *a: n.append(1)); print('begun', flush=True)"
    )
    script += "; [time.sleep(0.05) for _ in range(30)]; print(len(n), 'signals')"
    shell.send(f'{wrapper} {sys.executable} -c "{script}"; echo status $?\n')
    shell.wait_for("\nbegun")
    shell.send("\x03")
    shell.wait_for("\nstatus 0")
    assert "^C1 signals" in shell.text()


def test_a_command_that_ignores_ctrl_z(shell, wrapper):
    shell.send(f"""{wrapper} bash -c 'trap "" TSTP; echo begun >&2; sleep 1; echo ended >&2'\n""")
    shell.wait_for("\nbegun")
    shell.send("\x1a")
    shell.wait_for("^Zended")
    assert "Stopped" not in shell.text()


def test_a_pipeline_is_one_job(shell, wrapper):
    shell.send(f"{wrapper} bash -c 'echo begun >&2; while :; do sleep 0.1; done' | cat\n")
    shell.wait_for("\nbegun")
    shell.send("\x1a")
    shell.wait_for("Stopped")
    shell.send("kill %1; fg\n")
    settle(shell)
    assert states(shell) == []


def test_ctrl_backslash(shell, wrapper):
    shell.send(f"ulimit -c 0; {wrapper} sh -c 'echo begun >&2; exec sleep 60'\n")
    shell.wait_for("\nbegun")
    shell.send("\x1c")
    shell.wait_for("^\\")
    shell.send("echo status $?\n")
    shell.wait_for("status 131")


def test_stopped_from_outside_and_continued(shell, wrapper, tmp_path):
    log = tmp_path / "log"
    shell.send(f"{wrapper} {TICK} 2> log &\n")
    shell.wait_for(lambda: log.exists() and "tick1" in log.read_text())
    shell.send("kill -TSTP %1\n")
    assert becomes(shell, "Stopped")
    shell.send("kill -CONT %1\n")
    assert becomes(shell, "Running")
    shell.send("kill %1; wait; tail -1 log\n")
    shell.wait_for("tick")


def test_the_terminal_goes_away(terminal, wrapper):
    """A hangup ends the command, and leaves nobody behind."""
    mark = f"77.{time.monotonic_ns() % 10**6}"
    with terminal(["bash", "--norc", "-i"], env={"PS1": "$ "}) as term:
        term.wait_for("$")
        term.send(f"{wrapper} sh -c 'echo begun >&2; exec sleep {mark}'\n")
        term.wait_for("\nbegun")
        look = ["pgrep", "-f", f"sleep {mark}"]
        assert subprocess.run(look, stdout=subprocess.DEVNULL, check=False).returncode == 0
        term.hang_up()
        deadline = time.monotonic() + 10
        while subprocess.run(look, stdout=subprocess.DEVNULL, check=False).returncode == 0:
            assert time.monotonic() < deadline, "the command is still there"
            time.sleep(0.1)
