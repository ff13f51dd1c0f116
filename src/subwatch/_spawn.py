"""Starting a child so that it can be watched: which pipes, whose descriptors, how it is reaped and told.

`Child` is the part of `subwatch.Popen` that the asyncio front shares: a `subprocess.Popen` whose stderr
(and stdout, where that is watched) leads to us, and from us to where the caller wanted it.
"""

from __future__ import annotations

import os
import subprocess
import time
from io import BytesIO

from . import _os
from ._captured import Captured, feed_for
from ._drive import Channel, Drive, Forward, Poller
from ._ending import SIGINT_WAIT, Ending
from .errors import ConfigError
from .records import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ._monitor import Monitor

__all__ = ["Child", "Veiled", "by_name", "veil"]

# Popen's positional parameters, the same in Python 3.11 to 3.14.
_POSITIONAL = (
    "args", "bufsize", "executable", "stdin", "stdout", "stderr", "preexec_fn", "close_fds", "shell", "cwd", "env",
    "universal_newlines", "startupinfo", "creationflags", "restore_signals", "start_new_session", "pass_fds",
)  # fmt: skip


def by_name(popenargs: Sequence[Any], kwargs: dict[str, Any], what: str) -> dict[str, Any]:
    """Return Popen's arguments by name.

    Raises:
        TypeError: There are too many, or one is given twice, or ``args`` is missing.
    """
    if len(popenargs) > len(_POSITIONAL):
        raise TypeError(f"{what}() takes at most {len(_POSITIONAL)} positional arguments ({len(popenargs)} given)")
    named = dict(zip(_POSITIONAL, popenargs, strict=False))
    twice = named.keys() & kwargs.keys()
    if twice:
        raise TypeError(f"{what}() got multiple values for argument {sorted(twice)[0]!r}")
    named.update(kwargs)
    if "args" not in named:
        raise TypeError(f"{what}() missing 1 required positional argument: 'args'")
    return named


class Tap:
    """A stream of the child that leads to us.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        target: What the caller gave for it.
        use_pty: True, False, or None to decide by the terminal.
    """

    __slots__ = ("_captured", "_forward", "child_end", "name", "our_end", "piped")

    def __init__(self, name: str, target: Any, use_pty: bool | None, *, direct: bool) -> None:
        self.name = name
        self.piped = target == subprocess.PIPE and not direct
        self._captured = target == subprocess.PIPE and direct
        if self.piped and use_pty:
            raise ConfigError(f"pty=True with {name}=PIPE works in run() only: Popen's pipe is for you to read")
        self._forward: int | None = None
        self.our_end = self.child_end = -1
        inherited = 1 if name == "stdout" else 2
        if target is None:
            try:
                self._forward = os.dup(inherited)
            except OSError:  # ours is closed, so the child's would be: what it says goes to the sinks alone
                pass
        elif target not in (subprocess.PIPE, subprocess.DEVNULL):
            self._forward = os.dup(target if isinstance(target, int) else target.fileno())
        try:
            if use_pty or (use_pty is None and target is None and os.isatty(inherited)):
                self.our_end, self.child_end = _os.open_pty(inherited)
            else:
                self.our_end, self.child_end = os.pipe()
        except BaseException:
            self.close()
            raise

    def spawned(self) -> None:
        """Close what only the child needs."""
        os.close(self.child_end)
        self.child_end = -1

    def channel(self) -> Channel:
        """Hand over our end as a channel."""
        channel = Channel(self.name, self.our_end, owned=True, watched=True, awaited=self._captured)
        if self._captured:
            channel.capture = BytesIO()
        if self._forward is not None:
            channel.forward = Forward(self._forward)
        self.our_end, self._forward = -1, None
        return channel

    def behind(self, file: Any) -> Channel:
        """Step between the child and the file from which the caller reads its pipe.

        The file keeps its descriptor number, buffering and text layer, but reads from a pipe that we
        write to; so everything that can be done with it still can, and the caller's pace still slows
        the child down.
        """
        fd = file.fileno()
        size = _os.pipe_size(fd)
        child = os.dup(fd)
        os.dup2(self.our_end, fd, inheritable=False)
        os.close(self.our_end)
        if size:
            _os.set_pipe_size(fd, size)
        channel = Channel(self.name, child, owned=True, watched=True, awaited=True)
        channel.forward = Forward(self.child_end, ours=True)
        self.our_end = self.child_end = -1
        return channel

    def close(self) -> None:
        """Give up: nothing was started."""
        for fd in (self.our_end, self.child_end, self._forward):
            if fd is not None and fd >= 0:
                os.close(fd)


class Talk(Captured):
    """A conversation in the caller's thread, which a timeout may interrupt and a later call continue.

    Args:
        child: The child.
        channels: Its streams, those to return with a capture.
        monitor: What watches, or None when that happens elsewhere.
        ending: Decides when to end the child.
        input: Data for its stdin, as the caller gave it.
    """

    def __init__(
        self, child: Child, channels: Sequence[Channel], monitor: Monitor | None, ending: Ending, input: Any
    ) -> None:
        self._poller = Poller()
        feed = feed_for(child, input)
        self.drive = Drive(child, self._poller, channels, monitor, ending, drain=child.drain, feed=feed)
        super().__init__(child, self.drive)
        self.drive.start()

    def run(self, until: float | None = None) -> bool:
        """Go on until all is done or this monotonic time; return whether it is done."""
        return self._poller.run(self.drive, until)


class Child(subprocess.Popen["Any"]):
    """A `subprocess.Popen` that leads to us.

    Args:
        keywords: The arguments of Popen by name.
        monitor: What watches it.
        direct: Whether the driver reads the caller's pipes itself, to capture them (`run`).
    """

    _closed_group = False
    _talk: Talk | None = None

    def __init__(self, keywords: dict[str, Any], monitor: Monitor, *, direct: bool) -> None:
        options = monitor.options
        self.lost = False  # somebody else has taken the exit status
        self._usage: Usage | None = None
        self.drain: float = options["drain"]
        self._leads_group = False
        try:
            if options["tree"] and not keywords.get("start_new_session") and keywords.get("process_group") is None:
                keywords["start_new_session"] = True
            self._leads_group = bool(options["tree"]) and keywords.get("process_group") in (None, 0, -1)
            if (env := monitor.env(keywords.get("env"))) is not None:
                keywords["env"] = env
            taps = self._tap(keywords, options, direct)
        except BaseException as error:
            monitor.spawn_failed(error)
            raise
        try:
            super().__init__(**keywords)
        except BaseException as error:
            for tap in taps:
                tap.close()
            _veil_error(error, monitor)
            monitor.spawn_failed(error)
            raise
        self.args = veil(self.args, monitor)
        self.channels = self._channels(taps, options, direct)
        monitor.usage = lambda: self._usage
        monitor.watch([channel.name for channel in self.channels if channel.watched])
        monitor.started(self.pid)

    def _tap(self, keywords: dict[str, Any], options: Any, direct: bool) -> list[Tap]:
        """Put our pipes where the child's streams are; a pipe that the driver reads anyway stays as it is."""
        taps: list[Tap] = []
        merged = keywords.get("stderr") == subprocess.STDOUT
        names = ["stdout"] if merged else ["stderr", "stdout"] if options["watch_stdout"] else ["stderr"]
        try:
            for name in names:
                target = keywords.get(name)
                if direct and target == subprocess.PIPE and not options["pty"]:
                    continue
                tap = Tap(name, target, options["pty"], direct=direct)
                taps.append(tap)
                if not tap.piped:
                    keywords[name] = tap.child_end
        except BaseException:
            for tap in taps:
                tap.close()
            raise
        self._watched = names
        return taps

    def _channels(self, taps: list[Tap], options: Any, direct: bool) -> list[Channel]:
        channels = []
        for tap in taps:
            if tap.piped:
                channels.append(tap.behind(getattr(self, tap.name)))
            else:
                tap.spawned()
                channels.append(tap.channel())
        if direct:
            for name in ("stdout", "stderr"):
                file = getattr(self, name)
                if file is not None:
                    watched = name in self._watched
                    channel = Channel(name, file.fileno(), owned=False, watched=watched, awaited=True)
                    channel.capture = BytesIO()
                    channels.append(channel)
        return channels

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
            talk = self._talk = self._begin_talk(input)
        elif input:
            raise ValueError("Cannot send input after starting communication")
        try:
            if not talk.run(None if timeout is None else time.monotonic() + timeout):
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout, *talk.so_far())
        except KeyboardInterrupt:
            # as the standard library: the child has got the Ctrl-C too, see bpo-25942
            talk.run(time.monotonic() + SIGINT_WAIT)
            raise
        return talk.result()

    def _begin_talk(self, input: Any) -> Talk:
        """Talk beside the thread that watches: what the caller reads is ours to read now."""
        channels = []
        for name in ("stdout", "stderr"):
            file = getattr(self, name)
            if file is not None and not file.closed:
                channel = Channel(name, file.fileno(), owned=False, watched=False, awaited=True)
                channel.capture = BytesIO()
                channels.append(channel)
        return Talk(self, channels, None, Ending(0, None, False), input)

    # -- reaping: as the standard library does it, with the child's usage --------------------------------

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        try:
            pid, status, usage = os.wait4(self.pid, wait_flags)
        except ChildProcessError:
            # SIGCHLD is ignored, or somebody else has waited: subprocess says 0 then, and so do we to the
            # caller; the records say that it is not known
            self.lost = True
            return self.pid, 0
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

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r}>"


# -- secrets in what the caller gets back ------------------------------------------------------------------


class Veiled:
    """Mixin: equal to the command it holds in every way, but shown with its secrets masked."""

    shown: str

    def __repr__(self) -> str:
        return self.shown


class _VeiledList(Veiled, list["Any"]):
    pass


class _VeiledTuple(Veiled, tuple["Any", ...]):
    pass


class _VeiledStr(Veiled, str):
    __slots__ = ("shown",)

    def __str__(self) -> str:
        return self.shown

    def __format__(self, spec: str) -> str:
        return format(self.shown, spec)


def veil(args: Any, monitor: Monitor) -> Any:
    """Return a command as it is; or, where it holds secrets, an equal one that does not show them."""
    if isinstance(args, str):
        shown = monitor.redactor.argv([args])[0]
        if shown == args:
            return args
        veiled = _VeiledStr(args)
        veiled.shown = shown
        return veiled
    if isinstance(args, (list, tuple)):
        plain = [os.fsdecode(arg) if isinstance(arg, (bytes, os.PathLike)) else str(arg) for arg in args]
        safe = monitor.redactor.argv(plain)
        if list(safe) != plain:
            hidden = _VeiledList(args) if isinstance(args, list) else _VeiledTuple(args)
            hidden.shown = repr(type(args)(safe)) if type(args) in (list, tuple) else repr(list(safe))
            return hidden
    return args


def _veil_error(error: BaseException, monitor: Monitor) -> None:
    """Mask secrets in the file name of an OSError."""
    if isinstance(error, OSError) and isinstance(error.filename, str):
        safe = monitor.redactor.text(error.filename)
        if safe != error.filename:
            error.filename = safe
