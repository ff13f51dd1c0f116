"""Signals sent to us, passed on to the child; and stopping and going on together with it.

No handler does any work: the signals are blocked in every thread, and one thread takes them with
sigwaitinfo(2), which also tells who sent them. The terminal sends its signals (Ctrl-C, Ctrl-Z, a new
window size, a hangup) to the child as well, since it is in our process group: those are not passed on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from contextlib import contextmanager
from signal import (
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
)

from .. import _os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .._drive import Drive
    from .._spawn import Child
    from ._keyboard import Keyboard

__all__ = ["EndedBySignal", "Signals"]

_FATAL = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2}
_TAKEN = {*_FATAL, SIGCHLD, SIGCONT, SIGTSTP, SIGWINCH}
_BEHIND = 0.1  # seconds that the thread may need to take a signal
_MEANT_ANEW = 0.1  # seconds after the child's end; what comes sooner was for the child


class EndedBySignal(Exception):  # noqa: N818 - no error
    """We were told to end before there was a child.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number


class Signals:
    """Takes signals from its making on.

    What was ignored or blocked when we were started (``nohup``, ``trap ''``) stays so, for us and the child.
    """

    def __init__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        signal.signal(SIGCHLD, signal.SIG_DFL)  # where it is ignored, exit statuses are lost
        ignored = {number for number in _TAKEN if signal.getsignal(number) is signal.SIG_IGN}
        self._taken = _TAKEN - ignored - self._mask
        signal.pthread_sigmask(signal.SIG_BLOCK, self._taken)
        self._interrupted = False  # by a key, as the child was
        self._events: deque[tuple[int, bool, int]] = deque()
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wakes, False)
        os.set_blocking(self._wake, False)
        self._ended: tuple[float, int] | None = None
        self._stopped = False

    @contextmanager
    def spawning(self) -> Iterator[None]:
        """The child is started in here: with the signal mask that we were started with.

        Raises:
            EndedBySignal: A signal has come already.
        """
        early: list[signal.Signals] = []
        for number in self._taken:
            signal.signal(number, lambda number, _: early.append(signal.Signals(number)))
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            if SIGTSTP in early:
                os.kill(os.getpid(), SIGSTOP)
            for number in early:
                if number in _FATAL:
                    raise EndedBySignal(number)
            early.clear()
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._taken)
            for number in self._taken:
                signal.signal(number, signal.SIG_DFL)
        self._events.extend((number, False, 0) for number in early if number in _FATAL)

    def attach(self, child: Child[Any], drive: Drive, tree: bool, keyboard: Keyboard | None) -> None:
        """Begin to pass on signals.

        Args:
            child: Whom to.
            drive: Its drive.
            tree: Whether the child is in a session of its own, out of reach of our terminal.
            keyboard: What has to leave the terminal as it was while we are stopped.
        """
        self._child, self._drive, self._tree, self._keyboard = child, drive, tree, keyboard
        drive.poller.read(self._wakes, self._react)
        threading.Thread(target=self._take, name="subwatch-signals", daemon=True).start()
        if self._events:
            self._notify()

    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed on the terminal that we share with the child.

        The thread that takes signals may be a moment behind.
        """
        deadline = time.monotonic() + _BEHIND
        while not self._interrupted and time.monotonic() < deadline:
            time.sleep(0.002)
            self._react()
        return self._interrupted

    def ended(self, status: int) -> None:
        """The child is gone; whoever wants us to end now does not want to wait for sinks."""
        self._ended = (time.monotonic(), status)

    def die(self, number: int) -> None:
        """End by a signal, as the child did."""
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        signal.pthread_kill(threading.get_ident(), number)

    # -- the thread ---------------------------------------------------------------------------------------

    def _take(self) -> None:
        while True:
            event = _os.take_signal(self._taken)
            if self._ended is None:
                self._events.append(event)
                self._notify()
            elif event[0] == SIGTSTP:
                os.kill(os.getpid(), SIGSTOP)
            elif event[0] in _FATAL and time.monotonic() > self._ended[0] + _MEANT_ANEW:
                os._exit(self._ended[1])

    def _notify(self) -> None:
        try:
            os.write(self._wake, b".")
        except BlockingIOError:
            pass  # it is full, so it wakes anyway

    # -- the main thread ----------------------------------------------------------------------------------

    def _react(self) -> None:
        try:
            os.read(self._wakes, 4096)
        except BlockingIOError:
            pass
        while self._events:
            number, by_kernel, sender = self._events.popleft()
            shared = by_kernel and not self._tree
            if number == SIGCHLD:
                self._changed()
            elif number == SIGCONT:
                self._resumed()
            elif number == SIGWINCH:
                self._resized(shared)
            elif shared:
                self._interrupted |= number == SIGINT
            elif number == SIGTSTP and self._stopped:
                pass  # sent to the whole group, and obeyed
            elif number == SIGTSTP and self._tree:
                # its session has no terminal, where the kernel would ignore SIGTSTP
                self._child.deliver(SIGSTOP)
                self._stop()
            elif sender != self._child.pid:  # what it sends to its own group has reached it
                self._child.deliver(number)

    def _changed(self) -> None:
        try:
            info = os.waitid(os.P_PID, self._child.pid, os.WSTOPPED | os.WNOHANG)
        except ChildProcessError:
            return
        # SIGSTOP is sent to one process on purpose, and not by keys: that is not for us; SIGTTIN and SIGTTOU
        # stop us too, since they go to the whole group
        if info is not None and info.si_status == SIGTSTP and not self._tree:
            self._stop()

    def _stop(self) -> None:
        """Stop as the child has stopped, so that the shell notices; return when told to go on."""
        self._stopped = True
        for channel in self._drive.open_channels:
            self._drive.take_rest(channel)
        if self._keyboard is not None:
            self._keyboard.look()
        if hasattr(signal, "sigtimedwait"):
            signal.sigtimedwait({SIGTSTP}, 0)  # the terminal's own, if it is still waiting: once is enough
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {SIGTSTP})
        signal.pthread_kill(threading.get_ident(), SIGTSTP)
        signal.pthread_sigmask(signal.SIG_BLOCK, {SIGTSTP})
        self._drive.ending.silent_since = time.monotonic()

    def _resumed(self) -> None:
        stopped, self._stopped = self._stopped, False
        if stopped and not self._tree:
            time.sleep(0.01)  # a shell tells the whole group, one process after the other
            try:
                if os.waitid(os.P_PID, self._child.pid, os.WCONTINUED | os.WNOHANG) is not None:
                    return
            except ChildProcessError:
                return
        self._child.deliver(SIGCONT)

    def _resized(self, shared: bool) -> None:
        """Pass a new window size on; the child has asked its own terminal too early if it asked at once."""
        terminals = [channel for channel in self._drive.open_channels if os.isatty(channel.fd)]
        for channel in terminals:
            _os.set_window_size(channel.fd, 1 if channel.name == "stdout" else 2)
        if terminals or not shared:
            self._child.deliver(SIGWINCH)
