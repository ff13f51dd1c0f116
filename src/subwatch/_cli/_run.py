"""``subwatch run``: a command as it would run without us, and watched."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from functools import partial
from signal import Signals as Signal

from .._captured import Talk
from .._relay import relay
from .._report import report
from .._spawn import Child
from .._watch import Watch
from ..errors import ConfigError
from ._keyboard import keyboard_for
from ._outputs import Outputs
from ._say import Messages, say
from ._signals import EndedBySignal, Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from .._monitor import Monitor
    from ..records import Exit
    from ._settings import Settings
    from ._spool import Spool

__all__ = ["run"]

#: Exit statuses that are ours and not the command's, as timeout(1) and env(1) use them.
TIMED_OUT, FAULT, NOT_EXECUTABLE, NOT_FOUND, SIGNALED = 124, 125, 126, 127, 128


def run(settings: Settings, command: Sequence[str]) -> int:
    """Run a command; return the exit status to end with.

    Args:
        settings: What holds.
        command: The command and its arguments.

    Raises:
        SubwatchError: A setting or a sink is wrong; nothing was started.
    """
    signals = Signals()
    messages = Messages(everything=bool(settings["verbose"]))
    messages.install()
    if not command:
        raise ConfigError("no command is given: write subwatch run -- COMMAND, or see subwatch run --help")
    outputs = Outputs(settings)
    messages.listen()
    outputs.prepare()
    job = _Job(settings, outputs)
    if os.isatty(2) and not settings["quiet"]:
        messages.defer()
    try:
        job.start(list(command), signals)
    except EndedBySignal as early:
        messages.tell()
        job.deliver()
        return SIGNALED + early.number
    except OSError as error:
        messages.tell()
        job.deliver()
        return _not_started(job.program, error)
    messages.listen()  # opening the sinks may have brought more libraries
    job.go(signals)
    status = _status(job.exit)
    interrupted = job.exit.signal == "SIGINT" and signals.interrupted()
    signals.ended(status)
    messages.tell()
    job.deliver()
    if settings["quiet"]:
        job.show(failed=status != 0)
    if settings["verbose"] or (settings["quiet"] and status != 0):
        _say_last(job.exit)
    if interrupted:
        signals.die(signal.SIGINT)  # so that a shell's loop or script ends too, as it would without us
    return status


class _Command(Child["Any"]):
    """A child that gets the signal mask with which we were started, and may belong to somebody else (sudo).

    Args:
        keywords: The arguments of Popen by name.
        monitor: What watches it.
        signals: Whose mask it is.
    """

    def __init__(self, keywords: dict[str, Any], monitor: Monitor, signals: Signals) -> None:
        self._signals = signals
        super().__init__(keywords, monitor, direct=True)

    def _execute_child(self, *args: Any, **kwargs: Any) -> None:
        # just around the fork: a thread that a sink starts must not get that mask, or signals would go there
        with self._signals.spawning():
            super()._execute_child(*args, **kwargs)  # type: ignore[misc]

    def deliver(self, signal: int) -> None:
        try:
            super().deliver(signal)
        except PermissionError:
            report("may not send %s to the command: it runs as another user", Signal(signal).name)


class _Job:
    """One command on its way.

    Args:
        settings: What holds.
        outputs: Where its records go.
    """

    def __init__(self, settings: Settings, outputs: Outputs) -> None:
        self._settings = settings
        self._outputs = outputs
        self._spool = _spool() if settings["quiet"] else None
        options = settings.watch_options()
        if not outputs.raw:
            options.setdefault("pty", os.isatty(2))
        if outputs.display and os.isatty(1):
            options.setdefault("watch_stdout", True)
        self._watch = Watch(sinks=outputs.sinks, **options)
        self._monitor: Monitor | None = None

    @property
    def exit(self) -> Exit:
        """The record of its end."""
        assert self._monitor is not None
        assert self._monitor.exit is not None
        return self._monitor.exit

    @property
    def program(self) -> str:
        """The first word of the command, without secrets."""
        assert self._monitor is not None
        return self._monitor.redactor.text(self._monitor.run.argv[0])

    def start(self, command: list[str], signals: Signals) -> None:
        """Start it.

        Raises:
            EndedBySignal: We were told to end before it was there.
            OSError: It could not be started.
        """
        # what the shell has opened for it stays open (process substitution, sockets); ours is close-on-exec
        keywords: dict[str, Any] = {"args": command, "close_fds": False}
        if self._spool is not None:
            keywords.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        elif not self._outputs.raw:
            keywords.update(stderr=subprocess.DEVNULL)
        self._monitor, self._ending = self._watch._prepare({}, keywords)
        self._monitor.run.caller = None  # that would be our own code
        child = _Command(keywords, self._monitor, signals)
        # what was written to both at once is shown in this order
        child.channels.sort(key=lambda channel: channel.name != "stdout")
        for channel in child.channels:
            channel.capture = None
            channel.awaited = bool(self._settings["drain"])
            if self._spool is not None:
                channel.deliver = partial(self._spool.write, channel.name)
        if (timeout := self._settings["timeout"]) is not None:
            self._ending.deadline = time.monotonic() + timeout
        self._child = child
        self._talk = Talk(child, child.channels, self._monitor, self._ending, None)

    def go(self, signals: Signals) -> None:
        """Accompany it to its end."""
        drive = self._talk.drive
        keyboard = keyboard_for(drive.channels)
        signals.attach(self._child, drive, bool(self._settings["tree"]), keyboard)
        self._talk.run()
        if keyboard is not None:
            keyboard.close()
        for channel in drive.open_channels:
            # processes that the command has left behind write there: closing it would kill them
            relay(channel)

    def deliver(self) -> None:
        """Give the sinks the time that they have to deliver; say what was lost."""
        given = self._settings["flush_timeout"]
        deadline = time.monotonic() + (2.0 if given is None else given)
        dropped: Mapping[str, int] = {}
        if self._monitor is not None:
            self._monitor.flush()
            self._monitor.close()
            dropped = self._monitor.exit.dropped if self._monitor.exit is not None else {}
        self._outputs.close(deadline, dropped)

    def show(self, *, failed: bool) -> None:
        """Show what was held back, if that is wanted."""
        assert self._spool is not None
        if failed:
            self._spool.replay()
        self._spool.close()


def _spool() -> Spool:
    from ._spool import Spool

    return Spool()


def _status(exit: Exit) -> int:
    if exit.reason in ("timed_out", "idle"):
        return TIMED_OUT
    if exit.reason == "stopped":
        return 0
    if exit.returncode is None:
        return FAULT
    return exit.returncode if exit.returncode >= 0 else SIGNALED - exit.returncode


def _not_started(program: str, error: OSError) -> int:
    say(f"cannot run {program!r}: {error.strerror}")
    if " " in program:
        say("for a line of shell, write: subwatch run -- sh -c '...'")
    return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE


def _say_last(exit: Exit) -> None:
    unfinished = bool(exit.tail) and exit.tail[-1].ending not in ("\n", "\r\n")
    say(exit.message, before="\n" if unfinished else "")
