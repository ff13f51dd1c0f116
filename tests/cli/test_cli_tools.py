"""Help, the list of sinks and its check, the demo, completion in three shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from importlib.metadata import version

import pytest


@pytest.fixture
def site(tmp_path):
    """Install a distribution with sinks in a folder of its own; returns the environment that has it."""

    def call(source, **points):
        info = tmp_path / "site" / "subwatch_trial-1.2.dist-info"
        info.mkdir(parents=True)
        (tmp_path / "site" / "subwatch_trial.py").write_text(textwrap.dedent(source))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: subwatch-trial\nVersion: 1.2\n")
        entries = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[subwatch.sinks]\n{entries}")
        return {"PYTHONPATH": str(tmp_path / "site")}

    return call


@pytest.fixture
def shell_environment(environment, tmp_path):
    """An environment in which ``subwatch`` is a command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "subwatch").write_text(f'#!/bin/sh\nexec {sys.executable} -m subwatch "$@"\n')
    (folder / "subwatch").chmod(0o755)
    return {**environment, "PATH": f"{folder}:{environment['PATH']}", "TERM": "xterm"}


def test_version(cli):
    assert cli("--version").stdout == f"subwatch {version('subwatch')}\n"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], [], ["run", "--help"], ["sinks", "--help"], ["demo", "--help"], ["completion", "--help"]],
)
@pytest.mark.parametrize("columns", ["80", "100", "200"])
def test_help_fits_and_is_complete(cli, arguments, columns):
    done = cli(*arguments, env={"COLUMNS": columns})
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= min(int(columns), 100)
    assert "%(" not in done.stdout


def test_help_names_every_option_of_the_library(cli):
    from subwatch._options import DEFAULTS

    in_code = {"on_line", "on_error"}  # a function is for use in code
    text = cli("run", "--help").stdout
    renamed = {
        "sinks": "--sink",
        "tags": "--tag",
        "levels": "--level",
        "recognizers": "--recognizer",
        "record_encoding": "--encoding",
    }
    missing = [
        name
        for name in DEFAULTS.keys() - in_code
        if renamed.get(name, "--" + name.replace("_", "-")) not in text
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "subwatch: there is no command 'rum': did you mean 'run'?\n"),
        (["make", "-j2"], "there is no command 'make'; to run a program, write: subwatch run -- make\n"),
        (["it's"], "there is no command \"it's\"; to run a program, write: subwatch run -- it's\n"),
        (["sinks", "--chek"], "unknown option --chek: did you mean --check?"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
        (["demo", "now"], "unknown argument now"),
    ],
)
def test_wrong_usage(cli, arguments, message):
    done = cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "--help" in done.stderr


def test_sinks_lists_without_importing(cli, site):
    env = site("raise SystemExit('imported')", trial="subwatch_trial:Trial")
    done = cli("sinks", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "DISTRIBUTION", "VERSION", "CLASS"]
    assert ["trial", "subwatch-trial", "1.2", "subwatch_trial:Trial"] in rows
    assert ["logging", "subwatch", version("subwatch"), "subwatch.sinks:LoggingSink"] in rows
    assert cli("sinks", "--names", env=env).stdout.split() == [row[0] for row in rows[1:]]


def test_check_says_what_is_wrong_with_each(cli, site):
    source = """
    class Good:
        def open(self, run): return self
        def close(self, timeout=None): return 0
    class Refuses(Good):
        def open(self, run): raise OSError("nobody listens")
    class Keeps(Good):
        def close(self, timeout=None): return 7 if timeout else None
    class NoSink: pass
    class Lone(Good):
        def open(self, run): raise AssertionError("tells others of a run that is none")
        def standalone(self): import logging; logging.getLogger("subwatch").info("set up")
    class Lacks(Lone):
        def standalone(self): import logging; logging.getLogger("subwatch").warning("nothing is %s", "sent")
    class Misled(Lone):
        def standalone(self): from subwatch.errors import ConfigError; raise ConfigError("VARIABLE is no URL")
    """
    names = ("Good", "Refuses", "Keeps", "NoSink", "Gone", "Lone", "Lacks", "Misled")
    points = {name.lower(): f"subwatch_trial:{name}" for name in names}
    points["nowhere"] = "subwatch_nowhere:Sink"
    done = cli("sinks", "--check", env=site(source, **points))
    assert (done.returncode, done.stderr) == (1, "")
    verdicts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert verdicts["good"] == verdicts["logging"] == verdicts["lone"] == "ok"
    assert verdicts["lacks"] == "ok: installed, not configured (nothing is sent)"
    assert verdicts["misled"] == "wrong: VARIABLE is no URL"
    assert verdicts["callable"].startswith("ok: takes a Python function")
    assert verdicts["jsonlines"].startswith("ok: installed, not configured")
    assert verdicts["refuses"] == "wrong: OSError: nobody listens"
    assert verdicts["keeps"].startswith("wrong: 7 records were not delivered")
    assert "has no method open(run)" in verdicts["nosink"]
    for name in ("gone", "nowhere"):
        assert "of distribution subwatch-trial 1.2) cannot be imported" in verdicts[name]


def test_check_says_what_a_sink_lacks_that_is_wanted(cli, site):
    source = """
    class Lacks:
        def __init__(self, mode=""): pass
        def open(self, run): raise AssertionError
        def close(self, timeout): return 0
        def standalone(self): import logging; logging.getLogger("subwatch").warning("nothing is sent")
    """
    env = {**site(source, lacks="subwatch_trial:Lacks"), "SUBWATCH_SINK_LACKS_MODE": "event"}
    done = cli("sinks", "--check", env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"^lacks +wrong: nothing is sent$", done.stdout, re.MULTILINE)


def test_check_uses_the_settings(cli, tmp_path):
    (tmp_path / "subwatch.toml").write_text('[sink.jsonlines]\npath = "/nonexistent/x"\n')
    done = cli("sinks", "--check")
    assert done.returncode == 1
    assert re.search(r"jsonlines\s+wrong: .*No such file or directory", done.stdout)
    (tmp_path / "subwatch.toml").write_text('[sink.jsonlines]\npath = "x.jsonl"\n')
    assert cli("sinks", "--check").returncode == 0


def test_demo(cli):
    done = cli("demo", "--plain")
    assert (done.returncode, done.stderr) == (0, "")
    assert "(100%)" in done.stdout
    assert "FAILED  tests exited with code 1" in done.stdout
    assert "AssertionError: 0.30000000000000004 != 0.3" in done.stdout
    assert "server was stopped on request" in done.stdout
    assert max(map(len, done.stdout.partition("What the exit records hold")[2].splitlines())) <= 80


def test_demo_leaves_nothing_behind_after_ctrl_c(terminal, tmp_path):
    with terminal(
        [sys.executable, "-m", "subwatch", "demo", "--plain"], env={"TMPDIR": str(tmp_path)}
    ) as term:
        term.wait_for("kB (")
        term.send("\x03")
        assert term.finish() == 130
        assert "Traceback" not in term.text()
    assert list(tmp_path.iterdir()) == []


# -- completion ----------------------------------------------------------------------------


def need(shell):
    assert shutil.which(shell), f"{shell} is missing: apt-get install {shell}"


@pytest.fixture
def script(cli, tmp_path):
    def call(shell):
        need(shell)
        done = cli("completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        path = tmp_path / f"completion.{shell}"
        path.write_text(done.stdout)
        return path

    return call


CASES = [
    (["subwatch", ""], {"run", "sinks", "demo", "completion"}),
    (["subwatch", "run", "--idle"], {"--idle-timeout"}),
    (["subwatch", "run", "--sink", "json"], {"jsonlines"}),
    (["subwatch", "run", "--log-level", "war"], {"warning"}),
    (["subwatch", "run", "--timeout", "5", "mkfif"], {"mkfifo"}),
    (["subwatch", "run", "--", "mkfif"], {"mkfifo"}),
    (["subwatch", "completion", "f"], {"fish"}),
    (["subwatch", "sinks", "--ch"], {"--check"}),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_completion_in_bash(script, shell_environment, words, expected):
    quoted = " ".join(f"'{word}'" for word in words)
    line = f"source {script('bash')}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _subwatch; "
    line += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", line], capture_output=True, text=True, env=shell_environment, check=True
    )
    assert done.stderr == ""
    assert expected <= set(done.stdout.split())


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_completion_in_fish(script, shell_environment, words, expected):
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {script('fish')}; complete -C '{' '.join(words)}'"],
        capture_output=True, text=True, env=shell_environment, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert expected <= {line.split("\t")[0] for line in done.stdout.splitlines()}


@pytest.mark.parametrize(("words", "expected"), [case for case in CASES if case[0][-1]])
def test_completion_in_zsh(script, shell_environment, terminal, words, expected):
    with terminal(
        ["zsh", "-f", "-i"],
        env={**shell_environment, "PS1": "z> ", "ZDOTDIR": os.fspath(script("zsh").parent)},
        columns=120,
    ) as term:
        term.wait_for("z>")
        term.send(f"autoload -U compinit; compinit -u -D; source {script('zsh')}; clear; echo load''ed\n")
        term.wait_for(lambda: "loaded\n" in term.text() + "\n" and "compinit" not in term.text())
        term.send(" ".join(words) + "\t")
        (only,) = expected
        term.wait_for(" ".join([*words[:-1], only]))
