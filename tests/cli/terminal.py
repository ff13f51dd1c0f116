"""A real terminal for tests: a pseudo-terminal, and an emulator (pyte) that shows what a person would see."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

import pyte


class Terminal:
    """Runs a program as the leader of a session on a terminal of its own."""

    def __init__(self, command, *, env=None, cwd=None, rows=24, columns=80):
        self.master, slave = os.openpty()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(rows, columns)
        environment = {
            "PATH": os.environ["PATH"],
            "TERM": "xterm-256color",
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
        }
        # setsid -c: a session with this terminal in control, as a login gives it
        self.process = subprocess.Popen(
            ["setsid", "-c", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment, **(env or {})},
            cwd=cwd,
        )
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in [self.process.pid, *session(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.hang_up()

    def read(self, seconds=0.05):
        """Show what has come; return False when the terminal is closed."""
        deadline = time.monotonic() + seconds
        while select.select([self.master], [], [], max(0, deadline - time.monotonic()))[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:  # EIO: nobody has it open any more
                return False
            if not data:
                return False
            self.raw += data
            self._stream.feed(data)
        return True

    def send(self, keys):
        """Type."""
        os.write(self.master, keys.encode() if isinstance(keys, str) else keys)

    def hang_up(self):
        """Go away, as a closed window does."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def resize(self, rows, columns):
        """Change the size of the window."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def wait_for(self, what, seconds=15):
        """Wait until text, or a condition, is seen."""
        condition = what if callable(what) else lambda: what in self.text()
        deadline = time.monotonic() + seconds
        while not condition():
            alive = self.read(0.02)
            if time.monotonic() > deadline or not alive:
                if condition():
                    return
                raise AssertionError(f"waited for {what!r}, but the screen shows:\n{self.text()}")

    def finish(self, seconds=20):
        """Wait for the end; return the exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.02)
        self.read(0.1)
        return self.process.wait(0.1)

    def text(self):
        """The screen as text, without blanks at the ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def cells(self):
        """The screen with its colours and attributes."""
        return [
            [self.screen.buffer[row][column] for column in range(self.screen.columns)]
            for row in range(self.screen.lines)
        ]


def session(leader):
    """Pids of a session."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader:
                found.append(int(name))
    return found
