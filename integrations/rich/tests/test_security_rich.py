"""The display shows what children say, and does nothing that they say: no cursor moved, no title, no forged line."""

from __future__ import annotations

import io
import re
import subprocess
import unicodedata

import pytest
from rich.console import Console

import subwatch
from subwatch_rich import RichSink

EVIL = (
    "a\rFAKE \x1b[2J\x1b[H\x1b]0;title\x07\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\\x1b]52;c;ZXZpbA==\x07"
    "\x9b31m\x9d0;t\x9c \x1bP+q\x1b\\ \x1bc \x08\x08 \x7f \x85 \u2028 \u202egnp.exe\u2066 [bold]x[/bold] \x1b[3"
)
# What the display itself writes: colours, and on a terminal the cursor and the lines of its rows.
OWN = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[hl]|\d*[ABGJK]|\d;\d+H|\?2026[hl])|\x1b[78DM]|\r")


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("code", [0, 3])
def test_nothing_of_a_child_acts(tmp_path, terminal, code):
    program = tmp_path / EVIL.replace("/", "_")
    program.write_text(f'#!/bin/sh\ncat "$1" >&2; exit {code}\n')
    program.chmod(0o700)
    (tmp_path / "said").write_text(EVIL + "\nplain\n")
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=500, color_system="standard", legacy_windows=False
    )
    sink = RichSink(console)
    subwatch.run(
        [str(program), str(tmp_path / "said")], sinks=[sink], stderr=subprocess.DEVNULL, tags={"t": EVIL}
    )
    sink.close(5)
    shown = OWN.sub("", out.getvalue()) if terminal else out.getvalue()
    bad = {c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}
    bad |= set(shown) & set("\u202e\u2066")
    assert not bad, f"{bad} in {shown!r}"
    assert "title" not in shown
    assert "evil" not in shown, "links lead nowhere"
    assert "[bold]x[/bold]" in shown, "nor is it markup"
    assert "plain" in shown
