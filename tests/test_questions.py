"""What README's table of peers says of subwatch, asked again: the same small programs (benchmarks/questions.py)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

QUESTIONS = Path(__file__).parent / "benchmarks" / "questions.py"
NAMES = re.findall(r"^@question\ndef (\w+)", QUESTIONS.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "types"])  # tox -e types runs mypy
def test_subwatch_answers_yes(name):
    command = [sys.executable, str(QUESTIONS), "subwatch", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert json.loads(done.stdout) is True, done.stdout + done.stderr
