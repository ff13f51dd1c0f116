"""The soak test's short form: a bit of everything; `tox run -e soak` takes minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_soak():
    command = [sys.executable, str(Path(__file__).with_name("soak.py")), "--seconds", "10"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
