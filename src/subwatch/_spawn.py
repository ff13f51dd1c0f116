"""Starting a child so that it can be watched: which pipes, whose descriptors, how it is reaped and told.

`Child` is the part of `subwatch.Popen` that the asyncio front shares: a `subprocess.Popen` whose stderr
(and stdout, where that is watched) leads to us, and from us to where the caller wanted it.
"""

from __future__ import annotations

import os
import subprocess
import time
from functools import partial
from io import BytesIO, UnsupportedOperation

from . import _os
from ._captured import Talk, feed_for
from ._channel import Channel
from ._ending import Ending
from ._tap import channels, tap
from ._veil import veil, veil_error
from .records import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import IO, Any, AnyStr

    from ._monitor import Monitor

__all__ = ["Child", "by_name"]

_Popen = subprocess.Popen  # the original, even where somebody puts ours in its place

# Popen's positional parameters, the same in Python 3.11 to 3.14.
_POSITIONAL = (
    "args", "bufsize", "executable", "stdin", "stdout", "stderr", "preexec_fn", "close_fds", "shell", "cwd", "env",
    "universal_newlines", "startupinfo", "creationflags", "restore_signals", "start_new_session", "pass_fds",
)  # fmt: skip

# Given a path, Python 3.13 and later use posix_spawn(3), by which glibc has the child ignore a signal more.
_LOOKS_UP = not getattr(subprocess, "_HAVE_POSIX_SPAWN_CLOSEFROM", False)
# Arguments of Popen with which it matters how often it tries, and how it finds the program.
_SELF_WILLED = frozenset(("executable", "shell", "preexec_fn", "close_fds"))


def by_name(popenargs: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return Popen's arguments by name.

    Raises:
        TypeError: There are too many, or one is given twice, or ``args`` is missing.
    """
    named = {**dict(zip(_POSITIONAL, popenargs, strict=False)), **kwargs}
    if len(named) != len(popenargs) + len(kwargs) or "args" not in named:
        _Popen(*popenargs, **kwargs)  # raises, and says best what is wrong
    return named


def _hint(error: TypeError, keywords: Iterable[str], options: Iterable[str]) -> None:
    """Where Popen does not know a keyword that looks like an option of ours, say so in a note."""
    from difflib import get_close_matches

    said = str(error)
    for name in keywords:
        if f"unexpected keyword argument {name!r}" in said and (close := get_close_matches(name, options, 1)):
            error.add_note(f"did you mean {close[0]!r}, an option of subwatch?")


class Child(subprocess.Popen["AnyStr"]):
    """A `subprocess.Popen` that leads to us.

    Args:
        keywords: The arguments of Popen by name.
        monitor: What watches it.
        direct: Whether the driver reads the caller's pipes itself, to capture them (`run`).
    """

    # attributes of subprocess.Popen that the stubs of the standard library leave out, or make too narrow or wide
    args: Any
    stdin: IO[AnyStr] | None
    stdout: IO[AnyStr] | None
    stderr: IO[AnyStr] | None
    text_mode: bool | None
    encoding: str | None
    errors: str | None
    _communication_started: bool
    _sigint_wait_secs: float

    lost: bool = False  # somebody else has taken the exit status
    told: int | None = None  # ... and has said what it is, as a return code
    _usage: Usage | None = None
    _leads_group = False
    _closed_group = False
    _talk: Talk | None = None

    def __init__(self, keywords: dict[str, Any], monitor: Monitor, *, direct: bool) -> None:
        options = monitor.options
        self.drain: float = options["drain"]
        try:
            if options["tree"]:
                if not keywords.get("start_new_session") and keywords.get("process_group") is None:
                    keywords["start_new_session"] = True
                self._leads_group = keywords.get("process_group") in (None, 0, -1)
            env = keywords.get("env")
            # a function that runs in the child may mean to change the environment there
            if (env is not None or keywords.get("preexec_fn") is None) and (
                more := monitor.env(env)
            ) is not None:
                keywords["env"] = more
            taps = tap(keywords, options, direct=direct)
        except BaseException as error:
            monitor.spawn_failed(error)
            raise
        try:
            self._spawn(keywords)
        except BaseException as error:
            for made in taps:
                made.close()
            veil_error(error, monitor)
            if isinstance(error, TypeError):
                _hint(error, keywords, monitor.options)
            monitor.spawn_failed(error)
            raise
        self.args = veil(self.args, monitor)
        self.channels: list[Channel] = channels(taps, self)
        for channel in self.channels:
            if channel.forward is not None and monitor.replaces(channel.name):
                channel.forward.replaced = partial(monitor.replaces, channel.name)
        monitor.usage = lambda: self._usage
        monitor.watch([channel.name for channel in self.channels if channel.watched])
        monitor.started(self.pid)

    def _spawn(self, keywords: dict[str, Any]) -> None:
        """Start the child; its program is looked up in PATH here, once, where Popen has the child try every directory.

        A fifth of the start. What comes of a file that is there and cannot be run, Popen's way decides and says.
        """
        if _LOOKS_UP and not _SELF_WILLED & keywords.keys():
            program = _os.in_path(keywords["args"], keywords.get("env"))
            if program is not None:
                try:
                    super().__init__(**keywords, executable=program)
                except OSError:
                    pass
                else:
                    return
        super().__init__(**keywords)

    # -- talking -------------------------------------------------------------------------------------------

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """As :meth:`subprocess.Popen.communicate`; also returns when another process keeps a pipe open.

        Args:
            input: Data for the child's stdin.
            timeout: Seconds after which TimeoutExpired is raised; call again to go on.

        Returns:
            Output and error output, each None where it is not a pipe.

        Raises:
            subprocess.TimeoutExpired: The time is over; the child is left alone.
        """
        talk = self._talk
        if talk is None:
            if not self._ours_to_read():
                return super().communicate(input, timeout)
            talk = self._talk = self._begin_talk(input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        until = None if timeout is None else time.monotonic() + timeout
        try:
            if not talk.run(until):
                assert timeout is not None
                out, err = talk.so_far()
                raise subprocess.TimeoutExpired(self.args, timeout, output=out, stderr=err)
        except KeyboardInterrupt:
            # as the standard library: the child has got the Ctrl-C too, see bpo-25942
            at = time.monotonic() + self._sigint_wait_secs
            self._sigint_wait_secs = 0.0
            talk.run(at if until is None else min(at, until))
            raise
        return talk.result()

    def _ours_to_read(self) -> bool:
        """Whether there are pipes for us to read; text that a file has decoded already only itself can give."""
        files: list[Any] = [file for file in (self.stdout, self.stderr) if file is not None]
        if not files or self._communication_started:
            return False
        if self.stdin is not None and self.stdin.closed:  # wrong or not: that differs between Pythons
            return False
        try:
            for file in files:
                if self.text_mode and not file.closed:
                    file.reconfigure(newline=None)  # as it is; refused when there is such text
        except UnsupportedOperation:
            return False
        return True

    def _begin_talk(self, input: Any) -> Talk:
        """Talk beside the thread that watches: what the caller reads is ours to read now."""
        feed = feed_for(self, input)
        channels = []
        for name in ("stdout", "stderr"):
            file = getattr(self, name)
            if file is not None and not file.closed:
                channel = Channel(name, file.fileno(), owned=False, watched=False, awaited=True)
                channel.capture = BytesIO()
                buffered = getattr(file, "buffer", file)
                if hasattr(buffered, "read1"):  # what the caller's own reading has left in the buffer
                    channel.capture.write(buffered.read1())
                channels.append(channel)
        return Talk(self, channels, None, Ending(0, None, False), feed)

    # -- reaping: as the standard library does it, with the child's usage --------------------------------

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        try:
            pid, status, usage = os.wait4(self.pid, wait_flags)
        except ChildProcessError:
            if self.told is not None:
                return self.pid, -self.told if self.told < 0 else self.told << 8  # as wait(2) has it
            # SIGCHLD is ignored, or somebody else has waited: the caller gets what subprocess makes of it,
            # and the records say that it is not known
            self.lost = True
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        except ImportError:  # wait4 imports `resource`, for which it may be too late at shutdown
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        if pid == self.pid:
            self._usage = Usage(usage.ru_utime, usage.ru_stime, _os.max_rss_bytes(usage.ru_maxrss))
        return pid, status

    def _internal_poll(self, _deadstate: int | None = None, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if self.lost and _deadstate is not None:
                        self.returncode = _deadstate
                    elif pid == self.pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    # -- what the drive needs ------------------------------------------------------------------------------

    def status(self) -> int | None:
        """Reap the child if it has ended; return its status, or None (see `lost`)."""
        returncode = self.poll()
        return None if self.lost else returncode

    def deliver(self, signal: int) -> None:
        """Send a signal to the child, or to its whole group where we made that."""
        if not self._leads_group:
            self.send_signal(signal)
        elif self.group_alive():
            os.killpg(self.pid, signal)

    def group_alive(self) -> bool:
        """Whether anything of the group that we made is left; False where we made none."""
        if not self._leads_group or self._closed_group:
            return False
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            self._closed_group = True  # never again: the number may belong to somebody else soon
            return False
        return True
