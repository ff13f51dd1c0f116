"""Files that hold what children said: for their owner's eyes, and never where somebody else wants them."""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_private"]

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY


def open_private(path: str | Path) -> int:
    """Open a file to append to; a new one gets mode 0600 whatever the umask, one that is there keeps its mode.

    In a folder where everybody may write, such as /tmp, a file, pipe or link that another user has put there is
    refused: he would read what is written, or choose where. Linux does the same with ``fs.protected_symlinks``,
    ``protected_regular``, ``protected_fifos`` and ``protected_hardlinks`` (proc_sys_fs(5)), where these are on.

    Returns:
        A descriptor.

    Raises:
        OSError: It cannot be opened, or is refused.
    """
    try:
        fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        entry = os.lstat(path)
        if _is_strangers(entry, os.path.dirname(os.fspath(path)) or os.curdir):
            reason = "another user has put it there, where everybody may write"
            raise PermissionError(errno.EACCES, reason, os.fspath(path)) from None
        if stat.S_ISLNK(entry.st_mode):
            return os.open(path, _FLAGS | os.O_CREAT, 0o600)
        fd = os.open(path, _FLAGS | os.O_NOFOLLOW)
        if not os.path.samestat(os.fstat(fd), entry):
            os.close(fd)
            raise PermissionError(errno.EACCES, "it was replaced just now", os.fspath(path)) from None
        return fd
    os.fchmod(fd, 0o600)
    return fd


def _is_strangers(entry: os.stat_result, folder: str) -> bool:
    within = os.stat(folder)
    if not within.st_mode & stat.S_IWOTH:
        return False
    linked = stat.S_ISREG(entry.st_mode) and entry.st_nlink > 1  # it may be anybody's, and anywhere
    return linked or entry.st_uid not in (os.geteuid(), within.st_uid)
