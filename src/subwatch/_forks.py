"""Forks while other threads are at work: what these hold must not stay locked in the child, where they do not exist."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

__all__ = ["importing", "new_lock"]

# A module that another thread imports at the fork is locked in the child for ever: Python does not free such locks.
# So what we import late is imported under a lock that forks wait for.
importing = threading.RLock()

_locks: WeakSet[threading.Lock] = WeakSet()


def new_lock() -> threading.Lock:
    """Return a lock that is open in a forked child, whoever held it."""
    lock = threading.Lock()
    _locks.add(lock)
    return lock


def _open_locks() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # type: ignore[attr-defined]
    importing.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=importing.acquire, after_in_parent=importing.release, after_in_child=_open_locks
    )
