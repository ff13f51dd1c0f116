"""On a terminal all looks as it does without us: programs are run both ways, and the screens compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

CLI = [sys.executable, "-m", "subwatch", "run", "--"]

COLOURS = r"""
printf '\033[1;31mred and bold\033[0m plain \033[44mblue ground\033[0m\n' >&2; sleep 0.1
printf '\033[32mgreen on stdout\033[0m\n'; sleep 0.1
printf '\033[7mreverse\033[27m \033[38;5;208morange\033[0m \033[38;2;1;2;3mrgb\033[0m\n' >&2
printf 'a\tb\tc\nlone linefeed\n\n' >&2; sleep 0.1
printf '\033[s\033[5;20Hplaced\033[u' >&2; printf 'umlauts: \303\244\303\266\303\274 \342\202\254\n' >&2
"""

# A progress bar as most programs draw it: only on a terminal, as wide as the terminal, over itself.
BAR = """
import os, sys, time
for step in range(21):
    if not sys.stderr.isatty():
        print("no terminal", file=sys.stderr)
        break
    width = os.get_terminal_size(2).columns - 10
    print(f"\\r{step * 5:3}% [{'#' * (width * step // 20):{width}}]", end="", file=sys.stderr, flush=True)
    time.sleep(0.01)
print("\\ndone", file=sys.stderr)
"""

SIZES = """
import os, signal, sys, time
def show(*_):
    time.sleep(0.2)
    sizes = [tuple(os.get_terminal_size(fd)) for fd in (1, 2)]
    print("stdout", sizes[0], "stderr", sizes[1], file=sys.stderr, flush=True)
show()
signal.signal(signal.SIGWINCH, show)
for _ in range(100):
    time.sleep(0.05)
"""


@pytest.fixture
def both(terminal):
    """Run a program without and with us, with the same keys; return both terminals."""

    def call(command, play=None, wrapped=CLI, **options):
        ends = []
        for wrapper in ([], wrapped):
            with terminal([*wrapper, *command], **options) as term:
                if play is not None:
                    play(term)
                status = term.finish()
            ends.append((status, term))
        assert ends[0][0] == ends[1][0], "exit statuses differ"
        return ends[0][1], ends[1][1]

    return call


def same(both_terminals):
    plain, ours = both_terminals
    assert ours.text() == plain.text()
    assert ours.cells() == plain.cells()
    cursor, expected = ours.screen.cursor, plain.screen.cursor
    assert (cursor.x, cursor.y) == (expected.x, expected.y)
    return plain.text()


def test_colours_and_placing(both):
    assert "placed" in same(both(["sh", "-c", COLOURS]))


@pytest.mark.parametrize("columns", [40, 80, 132])
def test_progress_bar(both, columns):
    text = same(both([sys.executable, "-c", BAR], columns=columns))
    assert f"100% [{'#' * (columns - 10)}]" in text


def test_raw_bytes_are_the_same(both):
    plain, ours = both(["sh", "-c", COLOURS])
    assert ours.raw == plain.raw


def test_dd_shows_its_progress(both):
    plain, ours = both(["dd", "if=/dev/zero", "of=/dev/null", "bs=1M", "count=2000", "status=progress"])
    figures = re.compile(r"[\d.,e+-]+ (s|MB/s|GB/s)")
    assert figures.sub("N", ours.text()) == figures.sub("N", plain.text())


def test_prompt_of_a_shell(both):
    def play(term):
        term.wait_for("Name?")
        term.send("Ada\n")

    script = "read -p 'Name? ' name; echo hello $name; "
    script += "read -s -p 'Secret? ' secret; echo; echo ${#secret} letters >&2"

    def secret(term):
        play(term)
        term.wait_for("Secret?")
        term.send("hunter2\n")

    text = same(both(["bash", "-c", script], secret))
    assert text == "Name? Ada\nhello Ada\nSecret?\n7 letters"


def test_prompt_for_a_password(both):
    def play(term):
        term.wait_for("Password:")
        term.send("hunter2\n")

    text = same(both([sys.executable, "-c", "import getpass; print(len(getpass.getpass()))"], play))
    assert text == "Password:\n7"


def test_settings_of_the_terminal(both):
    """All but one flag: the real terminal does what OPOST stands for, and once is enough."""
    script = "stty -echoctl werase ^P; %s sh -c 'stty -a <&2 | grep -v rows; stty size <&2'"
    plain, ours = (
        both(["sh", "-c", script % wrapper], rows=30, columns=100)[0] for wrapper in ("", " ".join(CLI))
    )
    assert ours.text().replace("-opost ", "opost ") == plain.text()
    assert "30 100" in plain.text()
    assert "werase = ^P" in plain.text()


def test_new_size(both):
    def play(term):
        term.wait_for("(80, 24) stderr (80, 24)")
        term.read(0.3)
        term.resize(40, 120)
        term.wait_for("stdout (120, 40) stderr (120, 40)")
        term.send("\x03")

    plain, ours = both([sys.executable, "-c", SIZES], play)
    assert "(120, 40) stderr (80, 24)" not in ours.text()
    assert "(120, 40) stderr (120, 40)" in plain.text()


def test_a_shell_within(terminal):
    """With job control of its own.

    bash wants the terminal that controls its session as stderr, or none: then it opens /dev/tty.
    """
    with terminal(
        [*CLI[:-1], "--no-pty", "--", "bash", "--norc", "--noprofile", "-i"], env={"PS1": "in$ "}
    ) as term:
        term.wait_for("in$")
        term.send("sleep 30\n")
        term.read(0.5)
        term.send("\x1a")
        term.wait_for("Stopped")
        term.send("fg\n")
        term.read(0.5)
        term.send("\x03")
        term.wait_for("^C")
        term.send("exit 7\n")
        assert term.finish() == 7


def test_a_pager(both, tmp_path):
    (tmp_path / "text").write_text("".join(f"line {n}\n" for n in range(100)))

    def play(term):
        term.wait_for("line 22")
        term.send(" ")
        term.wait_for("line 45")
        term.send("q")

    same(both(["less", str(tmp_path / "text")], play, env={"LESS": "-X"}))
    same(
        both(
            ["sh", "-c", f"cat {tmp_path}/text | less; echo back; sleep 0.3; stty -a | grep -w icanon"], play
        )
    )


FULL_SCREEN = """
import curses, sys
def main(screen):
    keys = []
    while keys[-1:] != ["q"]:
        screen.erase()
        screen.border()
        height, width = screen.getmaxyx()
        screen.addstr(1, 2, f"{width} x {height}", curses.A_BOLD)
        screen.addstr(2, 2, "keys " + " ".join(keys), curses.A_REVERSE)
        screen.refresh()
        key = screen.getkey()
        # with us a change may be told twice: by the kernel, and when stderr's terminal has the new size, too
        if key != "KEY_RESIZE" or key not in keys[-1:]:
            keys.append(key)
    return keys
print("typed", curses.wrapper(main))
print("restored", file=sys.stderr)
"""


@pytest.fixture
def step_by_step(terminal, tmp_path):
    """Run a program without and with us; each time a text is there, the screens have to be the same."""

    def call(command, steps, **options):
        seen = []
        for wrapper in ([], CLI):
            with terminal([*wrapper, *command], cwd=tmp_path, **options) as term:
                screens = []
                for text, keys in steps:
                    term.wait_for(text)
                    term.read(0.3)  # all of it
                    screens.append((term.text(), term.cells(), (term.screen.cursor.x, term.screen.cursor.y)))
                    if callable(keys):
                        keys(term)
                    else:
                        term.send(keys)
                screens.append((term.finish(), term.text(), term.cells()))
            seen.append(screens)
        for plain, ours in zip(*seen, strict=True):
            assert ours == plain, f"\n{plain[0]}\n{plain[1]}\n-- and with us:\n{ours[0]}\n{ours[1]}"

    return call


def test_a_full_screen_program(step_by_step):
    step_by_step(
        [sys.executable, "-c", FULL_SCREEN],
        [
            ("80 x 24", "ab"),
            ("keys a b", "\x1bOA"),
            ("KEY_UP", lambda term: term.resize(30, 100)),
            ("KEY_RESIZE", "q"),
        ],
    )


def test_an_interpreter(step_by_step, tmp_path):
    step_by_step(
        [sys.executable, "-I", "-q"],
        [
            # with a pause: the next prompt goes to stdout, and may come before what has just gone to stderr
            (
                ">>>",
                "import sys, time; print('to stdout'); print('to stderr', file=sys.stderr); time.sleep(0.2)\n",
            ),
            ("\nto stderr", "print(1 / 3, file=sys.stderr); time.sleep(0.2)\n"),
            ("\n0.333", "\x04"),
        ],
        columns=100,
        # where it cannot keep its history, Python 3.14 complains before each prompt
        env={"HOME": str(tmp_path)},
    )


def test_git_with_its_pager(step_by_step, tmp_path):
    def git(*words):
        names = {f"GIT_{who}_{what}": "x@y" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(
            ["git", *words], cwd=tmp_path, env={**os.environ, **names}, check=True, capture_output=True
        )

    git("init", "-q")
    (tmp_path / "file").write_text("".join(f"line {n}\n" for n in range(100)))
    git("add", "file")
    git("commit", "-qm", "First")
    # what is new is green, and the pager asks for the next page
    step_by_step(
        ["git", "-c", "color.ui=always", "log", "-p"],
        [("+line 8", " "), ("+line 31", "/line 77\n"), ("+line 77", "q")],
        env={"LESS": "-R", "GIT_PAGER": "less"},
    )


def test_watch(step_by_step):
    step_by_step(
        ["watch", "-t", "-n", "0.1", "echo still here; stty size < /dev/tty"], [("still here", "\x03")]
    )


def test_curl_draws_its_bar(step_by_step, tmp_path):
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    step_by_step(["curl", "-#", "-o", "copy", f"file://{tmp_path}/source"], [("100.0%", "")])


def test_head_ends_the_command(terminal):
    loop = "sh -c 'for i in 1 2 3 4 5; do echo $i; sleep 0.1; done'"
    for wrapper in ("", " ".join(CLI)):
        with terminal(["bash", "-c", f"{wrapper} {loop} | head -1; echo ${{PIPESTATUS[@]}}"]) as term:
            assert term.finish() == 0
        assert term.text() == "1\n141 0"


def test_no_pty_gives_a_pipe(terminal):
    for option, said in (("--no-pty", "no"), ("--pty", "yes")):
        with terminal([*CLI[:-1], option, "--", "sh", "-c", "test -t 2 && echo yes || echo no"]) as term:
            assert term.finish() == 0
        assert term.text() == said


def test_pty_where_stderr_is_no_terminal(cli):
    done = cli("run", "--pty", "--", "sh", "-c", "test -t 2 && echo yes >&2; printf 'a\\nb\\n' >&2")
    assert (done.returncode, done.stderr) == (0, "yes\na\nb\n")


def test_such_a_terminal_has_a_size(cli):
    done = cli("run", "--pty", "--", "sh", "-c", "stty size <&2")
    assert (done.returncode, done.stdout) == (0, "24 80\n")


def test_messages_wait_for_the_end_of_the_display(terminal):
    """A sink that fails does not write into a progress bar."""
    command = [
        *CLI[:-1],
        "--json",
        "/dev/full",
        "--",
        "sh",
        "-c",
        "printf '10%%\\r' >&2; sleep 0.3; printf '20%%\\r' >&2; sleep 0.3; echo done >&2",
    ]
    with terminal(command) as term:
        assert term.finish() == 0
    lines = term.text().splitlines()
    assert lines[0] == "done"
    assert "sink 'jsonlines' failed and is left out" in lines[1]
