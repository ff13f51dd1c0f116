"""The examples of the READMEs run as they stand there, with a server that takes what they send."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from subwatch_sentry import SentrySink

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
FRONT = (HERE.parents[2] / "README.md").read_text()


def examples(text):
    return dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def sent(answering, patient, tmp_path):
    """Run code as a program of its own; return titles of the errors that it sent, and the program."""

    def run(code):
        server = answering(200)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", patient + code],
            cwd=tmp_path,
            env={**os.environ, "SENTRY_DSN": server.dsn},
            capture_output=True,
            text=True,
            timeout=60,
        )
        titles = [error for event in server.events() for error in event["exception"]["values"]]
        return [f"{error['type']}: {error['value']}" for error in titles], done

    return run


@pytest.mark.parametrize(
    ("name", "titles", "status"),
    [
        ("failure", ["ProcessFailed: sh exited with code 3: error: disk full"], 0),
        ("integration", ["ProcessFailed: sh exited with code 23"], 0),
        ("raised", ["CalledProcessError: sh exited with code 3: error: disk full"], 1),
        ("hooks", ["ProcessFailed: sh exited with code 1"], 0),
    ],
)
def test_example(sent, name, titles, status):
    """What an example says it sends is what a server gets."""
    found, done = sent(examples(README)[name])

    assert (found, done.returncode) == (titles, status), done.stderr


def test_every_example_is_tested():
    """An example that is added is run."""
    assert set(examples(README)) == {"failure", "integration", "raised", "hooks"}
    assert README.count("```python") == 4


def test_example_of_the_front_page(sent):
    """The root README's example, after the ``init`` that it speaks of."""
    found, done = sent(f"import sentry_sdk\nsentry_sdk.init()\n{examples(FRONT)['sentry']}")

    assert found == ["ProcessFailed: sh exited with code 3: disk full"]
    assert done.returncode == 0, done.stderr


def test_table_of_options():
    """The table names every option and no other, and each default that is a plain value."""
    defaults = SentrySink.__init__.__kwdefaults__
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \|", README.split("## Options")[1].split("##")[0], re.MULTILINE)
    )

    assert set(rows) == set(defaults)
    for name, written in rows.items():
        if written.startswith("`"):
            assert written.strip("`") == repr(defaults[name]).replace("'", '"')
        else:
            assert not defaults[name]
