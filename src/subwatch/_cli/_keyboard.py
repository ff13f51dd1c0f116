"""What is typed, for a command that reads the keyboard by way of its stderr, as pagers do.

less(1) opens the terminal that stderr is on. With us that is the pseudo-terminal that we have put there,
and nobody types into that. Whoever wants to read single keys switches line editing off; so as long as that
is off there, the real terminal gets the same settings, and what is typed on it goes there.
"""

from __future__ import annotations

import os
import select
import termios
import threading

from .. import _os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._channel import Channel

__all__ = ["Keyboard", "keyboard_for"]

# Seconds between looks at the settings, of whose change nothing tells: seldom, and while keys are passed on.
_LOOK, _GLANCE = 0.1, 0.01
_OUTPUT, _LOCAL = 1, 3  # in what tcgetattr returns


class Keyboard:
    """Passes keys on while they are asked for.

    Args:
        real: Descriptor of the real terminal; it is closed in `close`.
        ours: Master side of the command's pseudo-terminal.
    """

    def __init__(self, real: int, ours: int) -> None:
        self._real = real
        self._ours = ours
        # in the background the settings at the start may be those that the shell edits its line with
        self._first = None if _os.in_foreground(real) else termios.tcgetattr(ours)
        self._before: list[Any] | None = None
        self._mirrored: list[Any] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="subwatch-keyboard", daemon=True)
        self._thread.start()

    def look(self) -> bool:
        """Give the real terminal the settings that hold; return whether its keys are to be passed on."""
        with self._lock:
            try:
                if self._closed.is_set() or not _os.in_foreground(self._real):
                    return False
                wanted = termios.tcgetattr(self._ours)
                if wanted[_LOCAL] & termios.ICANON or wanted == self._first:
                    self._restore()
                    return False
                if self._before is None:
                    self._before = termios.tcgetattr(self._real)
                wanted[_OUTPUT] = self._before[_OUTPUT]
                if wanted != self._mirrored:
                    termios.tcsetattr(self._real, termios.TCSADRAIN, wanted)
                    self._mirrored = wanted
            except (OSError, termios.error):  # a terminal has gone away
                return False
            return True

    def close(self) -> None:
        """Leave the real terminal as it was."""
        self._closed.set()
        self._thread.join(5 * _LOOK)
        with self._lock:
            try:
                self._restore()
            except termios.error:
                pass
            os.close(self._real)

    def _restore(self) -> None:
        if self._before is not None:
            termios.tcsetattr(self._real, termios.TCSADRAIN, self._before)
            self._before, self._mirrored = None, []

    def _watch(self) -> None:
        while not self._closed.is_set():
            if not self.look():
                self._closed.wait(_LOOK)
            elif select.select([self._real], [], [], _GLANCE)[0]:
                try:
                    os.write(self._ours, os.read(self._real, 1024))
                except OSError:
                    return


def keyboard_for(channels: Sequence[Channel]) -> Keyboard | None:
    """Return a keyboard where a command has a pseudo-terminal as stderr and we have a terminal."""
    for channel in channels:
        if channel.name == "stderr" and os.isatty(channel.fd):
            try:
                return Keyboard(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY), channel.fd)
            except OSError:
                return None
    return None
