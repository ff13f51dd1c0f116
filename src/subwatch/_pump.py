"""The thread that watches a `Popen`."""

from __future__ import annotations

import os
import threading
import weakref

from . import _os
from ._drive import Drive
from ._poller import Poller
from ._relay import follow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._ending import Ending
    from ._monitor import Monitor
    from ._popen import Popen
    from .records import Usage

__all__ = ["Pump"]


class _Peer:
    """The process as its watching thread sees it: looked at, never reaped, and not kept alive."""

    def __init__(self, popen: Popen[Any]) -> None:
        self.pid = popen.pid
        self.lost = False
        self._popen = weakref.ref(popen)

    def status(self) -> int | None:
        popen = self._popen()
        try:
            returncode = _os.status_of(self.pid)
            if returncode is None:
                return None
            if popen is not None and popen._waiting:  # whoever waits reaps, and gets the usage figures for us
                popen._reaped.wait(0.5)
            return returncode
        except ChildProcessError:
            if popen is not None and popen._reaped.wait(0.5) and not popen.lost:
                return popen.returncode
            self.lost = True
            return None

    def usage(self) -> Usage | None:
        popen = self._popen()
        return None if popen is None else popen._usage

    def deliver(self, signal: int) -> None:
        popen = self._popen()
        if popen is not None:
            popen.deliver(signal)
            return
        try:
            if _os.status_of(self.pid) is None:
                os.kill(self.pid, signal)
        except (ChildProcessError, ProcessLookupError):
            pass

    def group_alive(self) -> bool:
        popen = self._popen()
        return popen is not None and popen.group_alive()


class Pump:
    """The thread that watches a `Popen`; it holds no reference to it, so that it can be forgotten as ever."""

    def __init__(self, popen: Popen[Any], monitor: Monitor, ending: Ending) -> None:
        peer = _Peer(popen)
        monitor.usage = peer.usage
        poller = Poller()
        self._caught_up = threading.Event()
        drive = Drive(peer, poller, popen.channels, monitor, ending, drain=popen.drain)
        drive.on_exit = self._caught_up.set
        drive.start()
        self._thread = follow(drive, poller)
        if self._thread is None:
            self._caught_up.set()

    def catch_up(self) -> None:
        """Wait until what the child wrote before its end was handed on (at most a second)."""
        if threading.current_thread() is not self._thread:
            self._caught_up.wait(1.0)
