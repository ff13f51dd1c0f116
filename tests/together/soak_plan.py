"""Random children for the soak test: commands of `soak_child.py`, and options for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from soak_book import SETTINGS

CHILD = [sys.executable, "-I", "-S", str(Path(__file__).with_name("soak_child.py"))]

# kind: lines, seconds between them, bytes in each, options
KINDS = {
    "chatty": ((50, 800), (0, 0), (5, 60), {}),
    "slow": ((3, 12), (0.02, 0.1), (5, 60), {}),
    "binary": ((5, 40), (0, 0.01), (10, 200), {}),
    "huge": ((1, 3), (0, 0), (60_000, 300_000), {}),
    "progress": ((10, 60), (0, 0.01), (5, 30), {}),
    "windows": ((5, 30), (0, 0.01), (5, 30), {}),
    "prompt": ((1, 4), (0, 0), (5, 30), {}),
    "both": ((5, 50), (0, 0), (5, 30), {"watch_stdout": True}),
    "terminal": ((5, 50), (0, 0), (5, 30), {"pty": True}),
    "failing": ((1, 20), (0, 0), (5, 30), {}),
    "killed": ((1, 20), (0, 0), (5, 30), {}),
    "crashed": ((1, 20), (0, 0), (5, 30), {}),
    "forking": ((1, 5), (0, 0.2), (5, 30), {"drain": 0.05}),
    "reader": ((1, 5), (0, 0), (5, 30), {"input": b"x" * 300_000}),
    "stubborn": ((1, 5), (0, 0), (5, 30), {"timeout": 0.8, "grace": 0.1}),
    "mute": ((1, 2), (0, 0), (5, 30), {"idle_timeout": 0.8, "grace": 0.1}),
    "missing": ((0, 0), (0, 0), (0, 0), {}),
}


def plan(random, key):
    """A random child: its command and options."""
    kind = random.choice(SETTINGS["kinds"] or list(KINDS))
    counts, delays, sizes, options = KINDS[kind]
    numbers = random.randint(*counts), random.uniform(*delays), random.randint(*sizes)
    options = {**options, **random.choice([{}, {"tail": 0}, {"tree": True}])}
    captured = random.random() < 0.5 and kind not in ("terminal", "stubborn")
    command = [*CHILD, key, kind, *map(str, numbers)]
    if kind == "missing":
        command = ["/nonexistent/program", key]
    quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    options |= {"capture_output": True} if captured else quiet
    options["tags"] = {"key": key, "kind": kind}
    if not options.get("pty") and "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    return command, options
