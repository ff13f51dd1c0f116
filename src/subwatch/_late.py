"""Imports that wait for their first use must not meet a fork.

A process that is forked while another thread imports a module finds that module locked for ever: Python does not
free these locks in the child, and whoever imports it there waits for a thread that does not exist. So what we
import late is imported under a lock that forks wait for.
"""

from __future__ import annotations

import os
import threading

__all__ = ["importing"]

importing = threading.RLock()

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release
    )
