"""All that differs by platform, in one place; nothing else asks which one it is.

POSIX only. What Linux alone has (pidfd, pipe sizes) is used where it is there and done without elsewhere.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache, partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set
    from typing import Any

__all__ = [
    "PIPE_SIZE",
    "clear",
    "environment",
    "exit_fd",
    "in_foreground",
    "in_path",
    "is_writable",
    "max_rss_bytes",
    "open_pty",
    "pipe",
    "pipe_size",
    "set_pipe_size",
    "set_window_size",
    "status_of",
    "take_signal",
]

#: What a flooded pipe is enlarged to, in bytes. Only under flood: every pipe counts against the user's
#: fs.pipe-user-pages-soft (pipe(7)).
PIPE_SIZE = 256 * 1024


def exit_fd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when our child exits; None where there is no such thing."""
    try:
        return clear(os.pidfd_open(pid))
    except (AttributeError, OSError):
        return None


def status_of(pid: int) -> int | None:
    """Look at the status of our ended child without reaping it.

    Returns:
        The return code as `subprocess` writes it, or None while it runs.

    Raises:
        ChildProcessError: Somebody has reaped it already.
    """
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status


def max_rss_bytes(ru_maxrss: int) -> int:
    """Convert ru_maxrss: kilobytes everywhere but on macOS (getrusage(2))."""
    return ru_maxrss if sys.platform == "darwin" else ru_maxrss * 1024


def open_pty(like: int) -> tuple[int, int]:
    r"""Open a pseudo-terminal of the size and with the settings of the terminal `like`; 80 by 24 where it is none.

    Output is left as the program writes it (no ``\n`` to ``\r\n``): the real terminal does that, and
    records and captures then hold the same bytes as through a pipe.

    Returns:
        The descriptor to read from and the one for the child.
    """
    import termios

    master, slave = os.openpty()
    try:
        attributes = termios.tcgetattr(like if in_foreground(like) else slave)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(master, (24, 80))  # a new one has no columns, and tqdm then shows nothing
        set_window_size(master, like)
    except BaseException:
        os.close(master)
        os.close(slave)
        raise
    return master, slave


def in_foreground(terminal: int) -> bool:
    """Whether this is our terminal and we are in front of it, so that its settings are meant for us."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False


def set_window_size(fd: int, like: int) -> None:
    """Give a pseudo-terminal the size of the terminal `like`."""
    import termios

    try:
        size = os.get_terminal_size(like)
        termios.tcsetwinsize(fd, (size.lines, size.columns))
    except OSError:
        pass


def take_signal(signals: Set[int]) -> tuple[int, bool, int]:
    """Wait for one of these signals, all of them blocked, and take it.

    Returns:
        Its number; whether the kernel sent it, as it does for keys of the terminal; and who sent it,
        0 where that is not known. Without sigwaitinfo(2), as on macOS, it is guessed by the number.
    """
    import signal

    if not hasattr(signal, "sigwaitinfo"):
        number = signal.sigwait(signals)
        return number, number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH), 0
    info = signal.sigwaitinfo(signals)
    return info.si_signo, info.si_code > 0, info.si_pid


class _Name(bytes):
    """Name of a variable, without a ``=``: quick to say so, where CPython's ``b"=" in name`` fails at an int first.

    Popen asks that of each variable; it costs more than all else that it does with one.
    """

    __slots__ = ()
    __contains__: Any = frozenset[bytes]().__contains__


_environ: tuple[dict[bytes, bytes], dict[bytes, bytes], dict[str, str]] | None = None


def environment() -> tuple[dict[bytes, bytes], dict[str, str]]:
    """Return a snapshot of os.environb and os.environ, the same as long as nothing changes (decoding it is dear)."""
    global _environ  # noqa: PLW0603 - a cache of one
    current: dict[bytes, bytes] = getattr(os.environ, "_data", None) or dict(os.environb)
    if _environ is None or _environ[0] != current:
        named: dict[bytes, bytes] = {_Name(name): value for name, value in current.items()}
        _environ = (dict(current), named, dict(os.environ))
    return _environ[1:]


_is_there = partial(os.access, mode=os.F_OK, effective_ids=os.access in os.supports_effective_ids)


def in_path(args: Any, env: Any) -> bytes | None:
    """Return the first file in the directories of PATH that has the name of a command's program, or None.

    None too where it is not ours to say: a directory is relative, and the child's working directory may be another;
    the program is no plain name; the environment is not ours, and not a dictionary of bytes.
    """
    name = args[0] if isinstance(args, (list, tuple)) and args else args
    if env is None:
        path = os.environb.get(b"PATH")
    else:
        path = env.get(b"PATH") if type(env) is dict and "PATH" not in env else None
    if type(name) is str and type(path) is bytes:
        return next(filter(_is_there, _places(name, path)), None)
    return None


@lru_cache(64)
def _places(name: str, path: bytes) -> tuple[bytes, ...]:
    try:
        file = os.fsencode(name)
    except UnicodeEncodeError:  # Popen says so
        return ()
    directories = path.split(os.fsencode(os.pathsep))
    if not file or b"/" in file or b"\0" in file + path or not all(map(os.path.isabs, directories)):
        return ()
    return tuple(os.path.join(directory, file) for directory in directories)


def pipe() -> tuple[int, int]:
    """As `os.pipe`, with both ends out of the way of standard streams."""
    ours, theirs = os.pipe()
    if ours > 2 and theirs > 2:
        return ours, theirs
    return clear(ours), clear(theirs)


def clear(fd: int) -> int:
    """Move a descriptor out of the way of standard streams: where ours are closed, it may have their number."""
    if fd > 2:
        return fd
    import fcntl

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def is_writable(fd: int) -> bool:
    """Whether a descriptor is open for writing.

    Raises:
        OSError: It is not open at all.
    """
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY


def pipe_size(fd: int) -> int:
    """Return the capacity of a pipe in bytes; 0 where that cannot be told."""
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    except (AttributeError, OSError):
        return 0


def set_pipe_size(fd: int, size: int) -> None:
    """Set the capacity of a pipe in bytes, where that is possible."""
    import fcntl

    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except (AttributeError, OSError):
        pass
