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
    found = set()
    for own in Path("/proc/self/task").glob("*/children"):
        try:
            for pid in own.read_text().split():
                found.add((int(pid), Path("/proc", pid, "comm").read_text().strip()))
        except OSError:  # it is gone
            continue
    return found


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
