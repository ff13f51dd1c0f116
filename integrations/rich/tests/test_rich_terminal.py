"""Programs of their own on a real (pseudo-)terminal, and what becomes of it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pyte
import pytest

PROLOGUE = """
import os, subprocess, sys, threading, time
import subwatch
from subprocess import DEVNULL
subwatch.configure(sinks=["rich"])
STEPS = '''
import sys, time
for step in sys.argv[1:]:
    print(step.encode().decode("unicode_escape"), end="", file=sys.stderr, flush=True)
    time.sleep(0.4)
'''
def run(*steps, stderr=DEVNULL, run=subwatch.run):
    return run([sys.executable, "-c", STEPS, *steps], stderr=stderr)
"""


class Terminal:
    """A program on a pseudo-terminal, and what is seen on it."""

    def __init__(self, program, columns=72, lines=16, env=()):
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        self.resize(columns, lines)
        environ = {
            name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
        }
        environ |= {"TERM": "xterm-256color"} | dict(env)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + program],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environ,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def resize(self, columns, lines):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def read(self, timeout=0.05):
        """Take in what is written; return whether the program still has the terminal."""
        if select.select([self.master], [], [], timeout)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return False
            self.raw += data
            self.stream.feed(data)
        return True

    def lines(self, tidy):
        lines = [tidy(line.rstrip()) for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def end(self):
        """Read to the end; return the exit status."""
        while self.read(10.0):
            pass
        return self.process.wait(timeout=10)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def start(tidy):
    """Start programs on terminals of their own."""
    terminals = []

    def make(program, *args, **kwargs):
        terminals.append(Terminal(program, *args, **kwargs))
        return terminals[-1]

    def until(terminal, condition, timeout=20.0):
        end = time.monotonic() + timeout
        while not condition(lines := terminal.lines(tidy)):
            assert terminal.read(), "\n".join(lines)
            assert time.monotonic() < end, "\n".join(lines)
        return lines

    make.until = until
    yield make
    for terminal in terminals:
        terminal.close()


def test_screens_of_a_run(start, tidy):
    terminal = start(
        "run('one\\n', '10/100 kB (10%)\\r', '60/100 kB (60%)\\r', '100/100 kB (100%)\\n', 'two\\n')"
    )
    screens = [
        ["python │ one", "", "* python 0:NN one"],
        ["python │ one", "", "* python 0:NN ━━━━  10% 10/100 kB (10%)"],
        ["python │ one", "", "* python 0:NN ━━━━  60% 60/100 kB (60%)"],
        ["python │ one", "python │ 100/100 kB (100%)", "python │ two", "", "* python 0:NN ━━━━ 100% two"],
        ["python │ one", "python │ 100/100 kB (100%)", "python │ two", "✓ python ok  N s, 5 lines"],
    ]
    for screen in screens:
        start.until(
            terminal,
            lambda lines, screen=screen: [line.replace("python3", "python") for line in lines] == screen,
        )
    assert terminal.end() == 0
    assert not terminal.screen.cursor.hidden
    assert (terminal.screen.cursor.x, terminal.screen.cursor.y) == (0, 4)


def test_a_run_at_the_bottom_of_the_screen(start, tidy):
    """Where each line scrolls the screen: no line is lost, no row stays."""
    numbers = ", ".join(f"'{n}\\n'" for n in range(4))
    terminal = start(
        "print(*range(100), sep='\\n')\n"
        f"jobs = [threading.Thread(target=run, args=({numbers},)) for _ in range(3)]\n"
        "for job in jobs: job.start()\nfor job in jobs: job.join()\nprint('after')",
        lines=30,
    )
    assert terminal.end() == 0
    lines = terminal.lines(tidy)
    assert lines[-1] == "after"
    shown = lines[lines.index("99") + 1 : -1]
    assert sum("│" in line for line in shown) == 12
    assert sum("✓" in line for line in shown) == 3
    assert len(shown) == 15


def test_resizing(start, tidy):
    terminal = start("run('one\\n', *(f'{n}/100 kB ({n}%)\\r' for n in (10, 11, 12, 13)))")
    start.until(terminal, lambda lines: any("10%" in line for line in lines))
    terminal.resize(24, 16)
    start.until(terminal, lambda lines: any(line.endswith("13%") for line in lines))
    assert terminal.end() == 0
    lines = terminal.lines(tidy)
    assert not any("*" in line or "%" in line for line in lines)


def test_stderr_of_the_child_on_the_same_terminal(start, tidy):
    """The display shows it, once; the child has a terminal."""
    terminal = start("run('one\\n', 'two\\n', '50/100 kB (50%)\\r', 'three\\n', stderr=None)")
    start.until(terminal, lambda lines: any("50%" in line and "━" in line for line in lines))
    assert terminal.end() == 0
    lines = [line.replace("python3", "python") for line in terminal.lines(tidy)]
    assert lines == ["python │ one", "python │ two", "python │ three", "✓ python ok  N s, 4 lines"]


def test_the_end_of_the_program_before_the_child(start, tidy):
    terminal = start("child = run(*'abcdefgh', run=subwatch.Popen)\ntime.sleep(1)\nprint('bye')")
    assert terminal.end() == 0
    lines = terminal.lines(tidy)
    assert "bye" in lines
    assert not any("*" in line for line in lines)
    assert not terminal.screen.cursor.hidden


def test_the_terminal_hangs_up(start, tmp_path):
    result = tmp_path / "result"
    terminal = start(
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "done = run('one\\n', '10%\\r', 'two\\n', '20%\\r', 'three\\n')\n"
        f"open({str(result)!r}, 'w').write(str(done.returncode))"
    )
    start.until(terminal, lambda lines: any("one" in line for line in lines))
    os.close(terminal.master)
    terminal.master = os.open(os.devnull, os.O_RDONLY)
    terminal.process.wait(timeout=20)
    assert result.read_text() == "0"


def test_a_stopped_terminal_keeps_no_child_waiting(start, tmp_path):
    """As with Ctrl-S."""
    result = tmp_path / "result"
    terminal = start(
        "begin = time.monotonic()\n"
        "child = run(*(f'{n}\\n' for n in range(4)), run=subwatch.Popen)\n"
        "import termios; termios.tcflow(1, termios.TCOOFF)\n"
        "child.wait()\n"
        f"open({str(result)!r}, 'w').write(str(time.monotonic() - begin))\n"
        "termios.tcflow(1, termios.TCOON)\n"
    )
    assert terminal.end() == 0
    assert float(result.read_text()) < 8


def test_a_reader_that_ends_early(tmp_path):
    """As in ``program 2>&1 | head -1``: the program goes on, and its stdout stays its own."""
    result = tmp_path / "result"
    program = (
        f"{PROLOGUE}before = os.fstat(1).st_ino\n"
        "done = run('one\\n', 'two\\n', 'three\\n', 'four\\n')\n"
        f"open({str(result)!r}, 'w').write(f'{{done.returncode}} {{os.fstat(1).st_ino == before}}')"
    )
    script = f'{sys.executable} -c "$0" 2>&1 | head -1'
    done = subprocess.run(["sh", "-c", script, program], stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout.endswith(": one\n")
    end = time.monotonic() + 20
    while not result.exists() or not result.read_text():  # a shell need not wait for all of a pipeline
        assert time.monotonic() < end
        time.sleep(0.05)
    assert result.read_text() == "0 True"


def test_interrupt(start, tidy):
    terminal = start("try: run('one\\n', *'abcdefghijkl')\nexcept KeyboardInterrupt: print('interrupted')")
    start.until(terminal, lambda lines: any("│ one" in line for line in lines))
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 0
    lines = terminal.lines(tidy)
    assert any(line.startswith("✗ ") for line in lines)
    assert lines[-1] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SHOW = "import os, sys; print('err', os.isatty(2), file=sys.stderr, flush=True); print('out', os.isatty(1))"


def test_the_command_line_tool_shows_both_streams_once(start, tidy):
    tool = [sys.executable, "-m", "subwatch", "run", "--sink", "rich", "--", sys.executable, "-c", SHOW]
    terminal = start(f"os.execv(sys.executable, {tool})")
    assert terminal.end() == 0
    lines = [line.replace("python3", "python") for line in terminal.lines(tidy)]
    assert sorted(lines[:2]) == ["python │ err True", "python │ out True"]
    assert lines[2:] == ["✓ python ok  N s, 2 lines"]


def test_stderr_that_leads_elsewhere_gets_its_bytes(start, tidy, tmp_path):
    tool = [sys.executable, "-m", "subwatch", "run", "--sink", "rich", "--", sys.executable, "-c", SHOW]
    terminal = start(f"os.dup2(os.open({str(tmp_path / 'err')!r}, 65), 2); os.execv(sys.executable, {tool})")
    assert terminal.end() == 0
    assert (tmp_path / "err").read_text() == "err False\n"
    assert sum("err False" in line for line in terminal.lines(tidy)) == 1


def test_a_file_has_each_line_once(tmp_path):
    program = PROLOGUE + "run('one\\n', 'two\\n', stderr=None)"
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, stderr=log, check=True, timeout=60)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.replace("python3", "python") for line in lines[:2]] == ["python: one", "python: two"]
    assert len(lines) == 3


def test_a_file_keeps_lines_that_are_not_to_be_shown(tmp_path):
    program = PROLOGUE + "subwatch.configure(sinks=[subwatch.sink('rich', show='none')])\n"
    program += "run('one\\n', stderr=None)"
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, stderr=log, check=True, timeout=60)
    first, end = (tmp_path / "log").read_text().splitlines()
    assert first == "one"
    assert ": ok after " in end


def test_a_display_that_fails_leaves_the_rest_to_the_terminal(start, tidy):
    terminal = start(
        "import logging, rich\n"
        "logging.disable()\n"
        "def fail(*args, **options): raise RuntimeError\n"
        "threading.Timer(1.0, lambda: setattr(rich.get_console(), 'print', fail)).start()\n"
        "run(*(f'{n}\\n' for n in range(8)), stderr=None)"
    )
    assert terminal.end() == 0
    lines = terminal.lines(tidy)
    assert lines[0].endswith("│ 0")
    assert "7" in lines
