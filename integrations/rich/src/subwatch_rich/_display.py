"""The display of one console: a queue of what is to be printed, the rows, and the one thread that draws."""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import rich
from rich.cells import cell_len
from rich.console import Console
from rich.control import Control
from rich.segment import Segments

from subwatch.sinks import plain

from ._hook import Hook
from ._print import Item, segments
from ._row import LABEL, render

if TYPE_CHECKING:
    from rich.segment import Segment

    from ._row import Row

__all__ = ["Display", "default_console", "display_of"]

_WAITING = 10_000  # lines that may wait to be printed
_FRAME = 2_000  # lines printed at once on a terminal, more than anybody can read
_JOIN = 1.0  # seconds that the end of the last child may wait for a terminal that takes nothing

_displays: WeakValueDictionary[int, Display] = WeakValueDictionary()  # by id of the console, which they keep
_lock = threading.Lock()
_stderr = Console(stderr=True)


def default_console() -> Console:
    """Return rich's own console where that is a terminal or a notebook, otherwise one on stderr.

    What a program writes to stdout may be data for somebody else.
    """
    console = rich.get_console()
    return console if console.is_terminal or console.is_jupyter else _stderr


def display_of(console: Console) -> Display:
    """Return the display of a console; there is only one."""
    with _lock:
        display = _displays.get(id(console))
        if display is None:
            display = _displays[id(console)] = Display(console)
        return display


class Display:
    """Draws lines, verdicts and rows, as long as children run.

    Only its own thread prints: a terminal that stands still (Ctrl-S) or crawls keeps no child waiting, and
    much output costs one drawing per interval.

    Args:
        console: Where it draws.

    Attributes:
        live: Whether there are rows; otherwise there are lines alone.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._hook = Hook(console)
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._queue: deque[Item] = deque()
        self._waiting = self._missing = self._users = self._width = 0
        self._rows: tuple[Row, ...] = ()
        self._interval = 0.1
        self._thread: threading.Thread | None = None
        self._urgent = self._busy = False
        self.gone = False

    @property
    def live(self) -> bool:
        """Whether the console can show rows."""
        console = self.console
        return console.is_interactive and console.is_terminal and not console.is_dumb_terminal

    def covers(self, fd: int) -> bool:
        """Whether what is written to a descriptor comes out where the display draws."""
        if self.console.is_jupyter:  # IPython's kernel shows in the notebook what comes to its descriptors
            return True
        try:
            return os.path.samestat(os.fstat(self.console.file.fileno()), os.fstat(fd))
        except (OSError, ValueError, AttributeError):  # no file of the system
            return False

    def enter(self, interval: float) -> None:
        """Begin with a child; draw at least every `interval` seconds."""
        with self._changed:
            self._users += 1
            self._interval = interval if self._users == 1 else min(interval, self._interval)
            if self._users > 1 or self._thread is not None:
                return
            self.gone = self._urgent = False
            self._width = 0
            thread = threading.Thread(target=self._run, name="subwatch-rich", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # Python is about to end: `leave` draws
                return
            self._thread = thread

    def leave(self) -> None:
        """End with a child; after the last one nothing is left but what was printed."""
        with self._changed:
            self._users -= 1
            if self._users > 0:
                return
            thread, self._thread = self._thread, None
            self._urgent = True
            self._changed.notify_all()
        if thread is None:
            self._finish()
        else:
            thread.join(_JOIN)

    def show(self, row: Row) -> None:
        """Show a row."""
        with self._changed:
            self._rows = (*self._rows, row)
            self._width = max(self._width, min(cell_len(plain(row.label)), LABEL))

    def hide(self, row: Row) -> None:
        """Show it no longer."""
        with self._changed:
            self._rows = tuple(other for other in self._rows if other is not row)

    def labels(self) -> set[str]:
        """The labels of the rows."""
        return {row.label for row in self._rows}

    def put(self, item: Item) -> None:
        """Print something soon; where too many lines wait, the oldest are dropped and counted."""
        with self._changed:
            self._queue.append(item)
            self._waiting += len(item.lines)
            for old in self._queue:
                if self._waiting <= _WAITING:
                    break
                count = old.drop(self._waiting - _WAITING)
                self._waiting -= count
                self._missing += count

    def flush(self, timeout: float) -> int:
        """Have everything drawn now; return how many things are left when the time is over."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while (self._queue or self._busy) and self._thread is not None and not self.gone:
                self._urgent = True
                self._changed.notify_all()
                if not self._changed.wait(deadline - time.monotonic()):
                    break
            return 0 if self.gone else len(self._queue)

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._urgent:
                    self._changed.wait(self._interval)
                self._urgent = False
                ending = self._thread is not threading.current_thread()
                if ending and self._users:  # somebody has come since, and has a thread of their own
                    return
            if ending:
                self._finish()
                return
            self._frame(self._interval)

    def _finish(self) -> None:
        end = time.monotonic() + _JOIN
        while self._frame(max(0.0, end - time.monotonic())) and self._queue:
            pass
        with self._changed:
            for item in self._take(_WAITING)[0]:
                item.drop(_WAITING)
        self._hook.detach()

    def _frame(self, patience: float) -> bool:
        """Draw once; return whether the terminal takes it within so many seconds."""
        with self._drawing:
            if not self._writable(patience):
                return False
            live = self.live
            with self._changed:
                items, missing = self._take(_FRAME if live else _WAITING)
                rows = self._rows
                self._busy = bool(items)
            try:
                self._draw(items, missing, rows if live else ())
            except (OSError, ValueError, SystemExit):  # closed, hung up; rich exits at a broken pipe
                self.gone = True
            except Exception:  # a plugin of rich, or a console of the application's own making
                self.gone = True
                logging.getLogger("subwatch").warning("the rich display failed and stops", exc_info=True)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        return not self.gone

    def _take(self, most: int) -> tuple[list[Item], int]:
        items: list[Item] = []
        while self._queue and (most > 0 or not self._queue[0].lines):
            items.append(self._queue.popleft())
            most -= len(items[-1].lines)
            self._waiting -= len(items[-1].lines)
        missing, self._missing = self._missing, 0
        return items, missing

    def _draw(self, items: list[Item], missing: int, rows: tuple[Row, ...]) -> None:
        content: list[Segment] = []
        if items or missing:
            content = segments(self.console, items, missing, self._width)
        if not rows and not content and not self._hook.rows:
            return
        for row in rows:
            row.catch_up()
        self._hook.rows = render(rows, self.console)
        if self._hook.rows:
            self._hook.attach()
        with self._hook.alone():
            self.console.print(Segments(content) if content else Control(), soft_wrap=True, end="")

    def _writable(self, patience: float) -> bool:
        """Wait until the terminal takes something; return whether it does, and is there."""
        if self.gone:
            return False
        try:
            poll = select.poll()
            poll.register(self.console.file.fileno(), select.POLLOUT)
            events = poll.poll(patience * 1000)
        except (OSError, ValueError, AttributeError):  # no file of the system
            return True
        if events and events[0][1] & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            self.gone = True  # rich would put /dev/null in stdout's place if it found out by writing
        return bool(events) and not self.gone


_held: list[threading.Lock] = []


def _hold() -> None:
    locks = [display._drawing for display in list(_displays.values())]
    _held[:] = [lock for lock in locks if lock.acquire(timeout=1.0)]


def _release() -> None:
    while _held:
        _held.pop().release()


def _forget() -> None:
    """In a forked process: the children and the thread are the other one's."""
    global _lock  # noqa: PLW0603
    _held.clear()
    _lock = threading.Lock()
    for display in list(_displays.values()):
        display._hook.rows = []
        display._hook.detach()
        display._hook = Hook(display.console)
        display._reset()


@atexit.register
def _end() -> None:
    for display in list(_displays.values()):
        with display._changed:
            display._rows = ()
            thread, display._thread = display._thread, None
            display._users, display._urgent = 0, True
            display._changed.notify_all()
        if thread is not None:
            thread.join(_JOIN)


os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_forget)
