"""Memory, threads and descriptors of a process with every sink on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_all_sinks_stay_as_small_as_they_were():
    command = [sys.executable, str(Path(__file__).with_name("flat.py")), "130"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    sizes, threads, descriptors = zip(*rounds, strict=True)
    warm = 4  # rounds; queues and caches are full then
    assert sizes[-1] - sizes[warm] < 3.0, sizes  # MiB
    assert threads[-1] <= max(threads[:warm]), threads
    # the server is in this process, too: a connection that happens to be open has two ends
    assert descriptors[-1] <= max(descriptors[:warm]) + 2, descriptors
