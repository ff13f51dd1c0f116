"""Logs and terminals: whatever a child, a server or a file's name says, it forges no line and moves no cursor."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import unicodedata

import pytest

import subwatch

SUBWATCH = [sys.executable, "-m", "subwatch"]
#: What terminals and readers of logs have fallen for.
EVIL = {
    "new line": "a\nFAKE",
    "carriage return": "real\rFAKE",
    "vertical tab": "a\x0bFAKE",
    "next line": "a\x85FAKE",
    "separator": "a\u2028FAKE\u2029",
    "colours": "\x1b[31mFAKE\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "cut off": "a\x1b[3",
    "title": "\x1b]0;FAKE\x07",
    "link": "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "unended": "\x1b]0;FAKE",
    "device": "\x1bP+q544e\x1b\\ \x1b_x\x1b\\ \x1b^x\x1b\\",
    "c1": "\x9b31mFAKE \x9d0;t\x9c \x90q\x9c",
    "charset": "\x1b(0\x0e",
    "reset": "\x1bc",
    "back": "ok\x08\x08no",
    "bell": "\x07" * 3,
    "nul": "a\x00b",
    "delete": "a\x7f",
    "bidi": "a\u202egnp.exe\u202c \u2066x\u2069",
}


def harmless(text):
    """Assert that nothing in a text does anything but show."""
    bad = {c for c in text if c not in "\n\t" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp"))}
    bad |= {c for c in text if c in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}
    assert not bad, f"{bad} in {text!r}"


@pytest.fixture
def log():
    """All that is logged, as text."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: out.getvalue()
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(params=EVIL)
def evil(request):
    return EVIL.get(request.param, request.param)


@pytest.fixture
def script(tmp_path, evil):
    """A program with an evil name that says evil things."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / evil.replace("/", "_").replace("\0", "0")
    path.write_text('#!/bin/sh\ncat "$1" >&2\nexit 3\n')
    path.chmod(0o700)
    (tmp_path / "said").write_text(evil)
    return [str(path), str(tmp_path / "said")]


def forged(text):
    return [
        line for line in text.splitlines() if not line.startswith(("DEBUG:", "INFO:", "WARNING:", "ERROR:"))
    ]


@pytest.mark.parametrize("options", [{}, {"group": True}, {"throttle": 5}, {"hold_back": True}], ids=str)
def test_the_log(log, evil, script, options):
    subwatch.run(
        script, sinks=[subwatch.sink("logging", **options)], stderr=subprocess.DEVNULL, tags={"t": evil}
    )
    harmless(log())
    assert forged(log()) == []
    assert "exited with code 3" in log()


def test_what_we_report(log, evil, script):
    """Of a sink that fails, with what a server has answered."""

    def sink(record):
        raise RuntimeError(f"the server says {evil}")

    subwatch.run(script, sinks=[sink], stderr=subprocess.DEVNULL)
    harmless(log())
    assert forged(log()) == []
    assert "the server says" in log()


@pytest.mark.parametrize("evil", [" ".join(EVIL.values())], indirect=True, ids=["all"])
def test_what_the_command_says(evil, script, tmp_path):
    """Of programs, of sinks, of the settings: its own lines are its own."""
    words = {
        "run": [*SUBWATCH, "run", "--verbose", "--quiet", "--log", "-", "--json", "-", "--", *script],
        "missing": [*SUBWATCH, "run", "--", f"/nonexistent/{evil}".replace("\0", "")],
        "option": [*SUBWATCH, "run", f"--{evil}".replace("\0", "")],
        "value": [*SUBWATCH, "run", "--grace", evil.replace("\0", "0"), "--", "true"],
        "sink": [*SUBWATCH, "run", "--sink", f"loki:{evil}=3".replace("\0", ""), "--", "true"],
        "config": [*SUBWATCH, "run", "--config", f"/nonexistent/{evil}".replace("\0", ""), "--", "true"],
        "log": [*SUBWATCH, "run", "--log", f"/nonexistent/{evil}".replace("\0", ""), "--", "true"],
    }
    for name, command in words.items():
        done = subprocess.run(command, capture_output=True, cwd=tmp_path)
        # of the command itself everything is passed on as it is
        said = done.stderr.replace(evil.encode(), b"") if name == "run" else done.stderr
        assert done.returncode != 0, name
        harmless(said.decode())


def test_nobody_reads():
    """``subwatch sinks --check | head -1`` ends as other programs do, without a word."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*SUBWATCH, "sinks", "--check"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
