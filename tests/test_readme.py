"""The examples of the README run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README.read_text(), re.DOTALL))


@pytest.mark.parametrize("name", ["run", "configure", "aio", "map"])
def test_example(name, tmp_path):
    """Each example of the core runs as it stands."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[name]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    seen = {
        "run": "INFO:subwatch.sh:sh: copying",
        "configure": "Exit(",
        "aio": "b'9\\n'",
        "map": "2 2 sh exited",
    }[name]
    assert seen in done.stdout + done.stderr


def test_example_of_redaction_hides_the_secret(tmp_path):
    """The configure example's secret is in none of its records."""
    subprocess.run(
        [sys.executable, "-c", EXAMPLES["configure"]], cwd=tmp_path, capture_output=True, check=True
    )

    written = (tmp_path / "runs.jsonl").read_text()
    assert "my password is ***" in written
    assert "hunter2" not in written


def test_every_option_is_in_the_table():
    """The table of options names every option and no other, with its default where that is a plain value."""
    from subwatch._options import DEFAULTS

    table = README.read_text().split("## Options")[1].split("##")[0]
    named = {
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }

    assert named == set(DEFAULTS)


def test_what_is_said_of_the_peers_is_in_the_table():
    """Who says yes how often."""
    said, _, table = README.read_text().partition("<!-- peers: begin -->")
    lines = table.partition("| | start and end")[0].splitlines()
    (names, _, *answers) = ([cell.strip() for cell in line.split("|")[2:-1]] for line in lines if "|" in line)
    yes = {name: column.count("yes") for name, column in zip(names, zip(*answers, strict=True), strict=True)}

    assert (len(answers), yes.pop("subwatch"), yes.pop("sh")) == (18, 18, 13)
    assert (min(yes.values()), max(yes.values())) == (6, 10)
    assert "yes to all\neighteen, sh to thirteen, the others to six to ten." in said
