"""What a person sees, compared as screens of a terminal."""

from __future__ import annotations

import re
import time
from collections import deque

import pytest
from rich.cells import cell_len

from subwatch.records import Progress
from subwatch_rich import RichSink
from subwatch_rich._row import Row

BAR = "━━━━"


def test_a_life(display):
    screen, start = display()
    backup = start()
    screen.shows(["", "* backup 0:NN"])
    backup.say("backup: initiating base backup\n")
    backup.say("warning: slow disk\n")
    screen.shows(
        [
            "backup │ initiating base backup",
            "backup │ warning: slow disk",
            "",
            "* backup 0:NN warning: slow disk",
        ]
    )
    backup.say("250/1000 kB (25%), 0/1 tablespace\r")
    screen.until(f"* backup 0:NN {BAR}  25% 250/1000 kB (25%), 0/1 tablespace")
    backup.say("1000/1000 kB (100%), 1/1 tablespace\r\n")
    screen.until(f"* backup 0:NN {BAR} 100% 1000/1000 kB (100%), 1/1 tablespace")
    assert backup.end() == 0
    screen.shows(
        [
            "backup │ initiating base backup",
            "backup │ warning: slow disk",
            "backup │ 1000/1000 kB (100%), 1/1 tablespace",
            "✓ backup ok  N s, 4 lines",
        ]
    )
    assert not screen.screen.cursor.hidden
    assert (screen.screen.cursor.x, screen.screen.cursor.y) == (0, 4)


def test_what_is_complete_has_no_time_left():
    """A server that has restored its data goes on running."""
    row = Row("backup", "")
    for fraction in (0.2, 0.6, 1.0):
        row._advance(Progress(fraction=fraction))
        row._samples = deque((now - 3, part) for now, part in row._samples)
        left = row.remaining(time.monotonic())
        assert (left is None) == (fraction in (0.2, 1.0))


def test_failure_shows_the_tail_in_a_panel(display):
    screen, start = display(columns=60, tail=2)
    backup = start(code=3)
    backup.say("one\nwarning: two\nerror: three " + "x" * 60 + "\n")
    assert backup.end() == 3
    assert screen.until("╰")[-7:] == [
        "✗ backup exited with code 3  N s, 3 lines",
        "╭─ last lines of backup " + "─" * 34 + "╮",
        "│ warning: two" + " " * 44 + "│",
        "│ error: three" + " " * 44 + "│",
        "│ " + "x" * 55 + " │",
        "│ " + "x" * 5 + " " * 51 + "│",
        "╰" + "─" * 57 + "╯",
    ]


def test_several_at_once(display):
    screen, start = display()
    first, second, third = start("backup"), start("restore"), start("backup")
    first.say("50/100 kB (50%)\r")
    second.say("waiting\n")
    third.say("10/100 kB (10%)\r")
    lines = screen.until(lambda lines: sum("%" in line for line in lines) == 2 and "waiting" in lines[-2])
    assert [re.sub(" +", " ", line) for line in lines] == [
        "restore │ waiting",
        "",
        f"* backup 0:NN {BAR} 50% 50/100 kB (50%)",
        "* restore 0:NN waiting",
        f"* backup[PID] 0:NN {BAR} 10% 10/100 kB (10%)",
    ]
    second.end()
    screen.until(lambda lines: sum("*" in line for line in lines) == 2)
    first.end()
    third.end()
    lines = screen.until(lambda lines: not any("*" in line for line in lines))
    assert [line.split()[1] for line in lines[1:]] == ["restore", "backup", "backup[PID]"]


def test_a_prompt_is_shown_and_made_one_line_with_its_answer(display):
    screen, start = display()
    backup = start()
    backup.say("Go on? ")
    screen.shows(["", "* backup 0:NN Go on?"])
    backup.say("yes\n")
    backup.end()
    assert screen.until("✓")[0] == "backup │ Go on? yes"


NASTY = (
    "[bold]markup[/bold] :smile: \x1b[31mred\x1b[0m \x1b]52;c;ZXZpbA==\x07clip \x1b]0;title\x1b\\"
    "\x1b[2Jclear\x07bell \u202egnirts \x9b31mc1 \x1bcreset \x00nul\ttab"
)


def test_text_of_children_is_plain_text(display):
    screen, start = display(columns=120)
    backup = start(code=1)
    backup.say(NASTY + "\n")
    screen.until("markup")
    backup.end()
    expected = "[bold]markup[/bold] :smile: red clip clear\\x07bell \\u202egnirts c1 reset \\x00nul"
    seen = [line for line in screen.lines if "markup" in line]
    assert len(seen) == 2  # the line and the panel
    assert all(expected in line for line in seen)
    assert not set(re.findall(r"\x1b.|[\x00-\x08\x0b\x0c\x0e-\x1a\x80-\x9f]", screen.raw)) - {
        "\x1b[",
        "\x1bD",
        "\x1b7",
        "\x1b8",
    }
    assert set(re.findall(r"\x1b\[[0-9;]*([a-zA-Z])", screen.raw)) <= set("mAJK")


@pytest.mark.parametrize("columns", [3, 5, 20, 33, 60])
def test_narrow_terminals(display, columns):
    screen, start = display(columns=columns, console={"color_system": None})
    backup, other = start("pg_basebackup"), start("日本語のプログラム")
    backup.say("50/100 kB (50%)\r")
    other.say("日本語の行がここにあります、とても長い\r")
    screen.until(lambda lines: any("*" in line for line in lines))
    rows = [
        line for write in screen.raw.split("\x1b7")[1:] for line in write.split("\x1b8")[0].split("\n")[1:]
    ]
    assert rows
    assert all(cell_len(re.sub(r"\x1b\[.", "", row).rstrip("\r")) < max(columns, 2) for row in rows)
    backup.end()
    other.end()
    screen.until(lambda lines: not any("*" in line for line in lines))


def test_twenty_columns(display):
    screen, start = display(columns=20)
    backup = start("pg_basebackup")
    backup.say("50/100 kB (50%)\r")
    screen.shows(["", "* pg_ba… 0:NN  50%"])


def test_more_children_than_lines(display):
    screen, start = display(lines=6)
    children = [start(f"job{n}") for n in range(7)]
    screen.shows(["", "* job0 0:NN", "* job1 0:NN", "* job2 0:NN", "  and 4 more"])
    for one in children:
        one.end()
    screen.until(lambda lines: sum("✓" in line for line in lines) == 7 == len(lines))


def test_no_colour(display):
    screen, start = display(console={"_environ": {"NO_COLOR": "1"}})
    backup = start(code=1)
    backup.say("error: no\n")
    screen.until("* backup")
    backup.end()
    screen.until("╰")
    codes = {code for group in re.findall(r"\x1b\[([0-9;]*)m", screen.raw) for code in group.split(";")}
    assert codes <= {"", "0", "1", "2", "3"}


def test_a_terminal_that_knows_ascii_only(display):
    screen, start = display()
    screen.encoding = "ascii"
    backup = start("sauvegarde-é", code=1)
    backup.say("50/100 kB (50%)\r")
    screen.until("50%")
    backup.say("\n日本\n")
    backup.end()
    screen.until("exited")
    assert screen.raw.isascii()
    assert "\\u65e5\\u672c" in screen.raw


def test_options(display):
    screen, start = display(show="warnings", transient=True, programs="back*", styles={"warning": "blue"})
    backup, other = start(), start("other")
    backup.say("hello\nwarning: careful\n")
    other.say("not shown\n")
    screen.shows(["backup │ warning: careful", "", "* backup 0:NN warning: careful"])
    assert "\x1b[34mwarning: careful" in screen.raw
    backup.end()
    other.end()
    screen.shows(["backup │ warning: careful"])


def test_nothing_scrolls_and_no_bars(display):
    screen, start = display(show="none", progress=False, tail=0)
    backup = start(code=1)
    backup.say("hello\n50/100 kB (50%)\r")
    screen.shows(["", "* backup 0:NN 50/100 kB (50%)"])
    backup.end()
    screen.shows(["✗ backup exited with code 1  N s, 2 lines"])


def test_updates_are_read_and_drawn_no_more_often_than_shown(terminal, child):
    screen, console = terminal()
    backup = child("backup", RichSink(console, refresh_per_second=5))
    begin = time.monotonic()
    for n in range(1000):
        backup.say(f"{n}/1000 kB ({n // 10}%)\r")
    screen.until("99%")
    spent = time.monotonic() - begin
    assert screen.writes <= 5 * spent + 3
    assert not any("100/1000" in line for line in screen.lines)


def test_structured_lines_show_what_they_say(display, terminal, child):
    line = '{"level": "warning", "time": "2026-01-01T00:00:00Z", "msg": "low space", "free": 3}\n'
    screen, start = display(columns=100)
    process = start("server", code=1)
    process.say(line)
    screen.until(lambda lines: "server │ low space free=3" in lines and "low space free=3" in lines[-1])
    process.end()
    screen.until(lambda lines: lines[-2].startswith("│ low space free=3 "))
    screen, console = terminal(columns=100)
    process = child("server", RichSink(console, structured=False))
    process.say(line)
    screen.until(lambda lines: f"server │ {line.strip()}" in lines)
    process.end()


def test_progress_in_json_is_a_bar_without_the_json(display):
    screen, start = display()
    process = start("restic")
    process.say('{"message_type":"status","percent_done":0.39,"total_files":5,"files_done":2}\n')
    screen.until(lambda lines: lines and lines[-1] == "* restic 0:NN ━━━━  39%")
    process.end()
