"""What a test must not leave behind: descriptors, threads, tasks and children."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from pathlib import Path

GRACE = 5.0  # seconds; threads that follow a child end a moment after it, on a busy machine later


def descriptors():
    """Open descriptors, and what they lead to."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:  # the listing itself
            pass
    return found


def children():
    """Pids and names of our children, zombies included."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    assert lists, "this kernel does not list children (CONFIG_PROC_CHILDREN), so none would be seen"
    pids = [pid for each in lists for pid in _text(each).split()]
    return {(int(pid), name) for pid in pids if (name := _text(Path("/proc", pid, "comm")).strip())}


def _text(path):
    try:
        return path.read_text()
    except OSError:  # it is gone
        return ""


def tasks():
    """Unfinished asyncio tasks of all loops."""
    known = getattr(asyncio.tasks, "_scheduled_tasks", None) or getattr(asyncio.tasks, "_all_tasks", ())
    return {task for task in list(known) if not task.done()}


def state():
    """Everything that can leak."""
    return {
        "descriptors": descriptors(),
        "threads": {thread for thread in threading.enumerate() if thread.is_alive()},
        "tasks": tasks(),
        "children": children(),
    }


def left_behind(before):
    """What is there and was not before; waits a little for it to go."""
    deadline = time.monotonic() + GRACE
    while True:
        left = {name: found - before[name] for name, found in state().items() if found - before[name]}
        if not left or time.monotonic() > deadline:
            return left
        gc.collect()
        time.sleep(0.02)
