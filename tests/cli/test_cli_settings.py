"""Settings: who wins, and what is said when one is wrong."""

from __future__ import annotations

import os
import textwrap

import pytest


@pytest.fixture
def write(tmp_path):
    def call(content, name="subwatch.toml"):
        (tmp_path / name).write_text(textwrap.dedent(content))

    return call


@pytest.fixture
def tags(cli, records, tmp_path):
    """Run a command and return the tags that its records carry."""

    def call(*arguments, **options):
        (tmp_path / "tags.jsonl").unlink(missing_ok=True)
        done = cli("run", *arguments, "--json", tmp_path / "tags.jsonl", "--", "true", **options)
        assert done.returncode == 0, done.stderr
        return records(tmp_path / "tags.jsonl")[0].get("tags", {})

    return call


def test_the_command_line_wins_over_variables_over_the_file(cli, write):
    write("timeout = '0.2s'")
    sleep = ["--", "sleep", "0.6"]
    assert cli("run", *sleep).returncode == 124
    assert cli("run", *sleep, env={"SUBWATCH_TIMEOUT": "1m"}).returncode == 0
    assert cli("run", "--timeout", "1m", *sleep, env={"SUBWATCH_TIMEOUT": "0.1"}).returncode == 0
    assert cli("run", "--no-config", *sleep).returncode == 0


def test_switches_can_be_switched_off_again(cli, write):
    write("quiet = true")
    command = ["--", "sh", "-c", "echo said"]
    assert cli("run", *command).stdout == ""
    assert cli("run", "--no-quiet", *command).stdout == "said\n"
    assert cli("run", *command, env={"SUBWATCH_QUIET": "no"}).stdout == "said\n"


def test_tags_add_up(tags, write):
    write('tags = { a = "file", b = "file", c = "file" }')
    assert tags("--tag", "c=line", env={"SUBWATCH_TAGS": "b=variable c=variable d='two words'"}) == {
        "a": "file", "b": "variable", "c": "line", "d": "two words",
    }  # fmt: skip


def test_pyproject_counts_where_it_has_a_table(tags, write):
    write('[project]\nname = "other"\n', "pyproject.toml")
    assert tags() == {}
    write('[project]\nname = "other"\n[tool.subwatch.tags]\nfrom = "pyproject"\n', "pyproject.toml")
    assert tags() == {"from": "pyproject"}
    write('tags = { from = "own file" }')
    assert tags() == {"from": "own file"}


def test_files_of_folders_above_count_the_nearest_wins(tags, write, tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    write('tags = { from = "above" }')
    assert tags(cwd=tmp_path / "deep" / "deeper") == {"from": "above"}
    write('tags = { from = "near" }', "deep/subwatch.toml")
    assert tags(cwd=tmp_path / "deep" / "deeper") == {"from": "near"}


def test_a_file_can_be_named(tags, write, tmp_path):
    write('tags = { from = "named" }', "other.toml")
    write('tags = { from = "here" }')
    assert tags("--config", tmp_path / "other.toml") == {"from": "named"}
    assert tags(env={"SUBWATCH_CONFIG": str(tmp_path / "other.toml")}) == {"from": "named"}


def test_a_file_of_another_user_is_not_taken(write, tmp_path, monkeypatch):
    from subwatch._cli._config import find

    write("quiet = true")
    path, remarks = tmp_path / "subwatch.toml", []
    assert find(str(tmp_path), remarks) == (str(path), b"quiet = true")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    if path.stat().st_uid == 0:
        os.chown(path, 12345, -1)  # root's files are taken by everybody
    assert find(str(tmp_path), remarks) is None
    assert remarks == [f"{path} is not used: it belongs to another user; to use it, say --config {path}"]


def test_options_of_sinks_come_from_all_three(cli, write, records, tmp_path):
    write('sinks = ["jsonlines"]\n[sink.jsonlines]\npath = "file.jsonl"\n')
    for env, arguments, name in (
        ({}, [], "file"),
        ({"SUBWATCH_SINK_JSONLINES_PATH": "variable.jsonl"}, [], "variable"),
        ({"SUBWATCH_SINK_JSONLINES_PATH": "variable.jsonl"}, ["--sink", "jsonlines:path=line.jsonl"], "line"),
        ({"SUBWATCH_SINKS": "'jsonlines:path=a b.jsonl'"}, [], "a b"),
    ):
        assert cli("run", *arguments, "--", "true", env=env).returncode == 0
        assert [record["event"] for record in records(tmp_path / f"{name}.jsonl")] == ["start", "exit"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("\n\ntimout = 3\n", ", line 3: unknown key 'timout': did you mean 'timeout'?"),
        (
            "# no\ntimeout = 'soon'\n",
            ", line 2: timeout takes a time such as 90, '1.5s', '15m', '2h' or '1d'; 'soon' is not that",
        ),
        ("timeout = -1\n", ", line 1: timeout takes a time"),
        ("timeout = true\n", ", line 1: timeout takes a time"),
        ("quiet = 'perhaps'\n", ", line 1: quiet takes true or false; 'perhaps' is not that"),
        ("tail = 1.5\n", ", line 1: tail takes a whole number, 0 or more"),
        ("\n[tags]\na = 1\n", ', line 2: tags takes a table of texts such as { app = "backup" }'),
        ("sinks = 3\n", ", line 1: sinks takes a list of texts"),
        ("[sinks.loki]\nurl = 'x'\n", ', line 1: sinks takes a list such as ["loki"]; the options of that sink go into'),
        ("stop_on = '('\n", ", line 1: stop_on takes a regular expression; '(' is none: missing )"),
        ("encoding = 'klingon'\n", ", line 1: encoding takes the name of an encoding"),
        ("sink = ['loki']\n", ", line 1: options of a sink stand in a table of its own, such as [sink.loki]"),
        ("timeout = \n", " is no valid TOML: Invalid value (at line 1, column 11)"),
        ("\n[tool.subwatch]\ntimeout = 3\n", ", line 2: unknown key 'tool'"),
        ('sinks = ["jsonlines"]\n\n[sink.jsonlines]\npth = "x"\n', ", line 3: sink 'jsonlines' has no option 'pth': did you mean 'path'?"),
        ('sinks = ["logging"]\n[sink.logging]\ngroup = "x"\n', ", line 2: option 'group' of sink 'logging' takes true or false"),
        ('sinks = ["logging"]\n[sink.logging]\nthrottle = "9"\n', ", line 2: option 'throttle' of sink 'logging' takes a whole number"),
        ('sinks = ["logging"]\n[sink.logging]\nprogress = []\n', ", line 2: option 'progress' of sink 'logging' takes a number or true or false"),
        ('# so\nsinks = ["lokki"]\n', ", line 2: no sink named 'lokki' is installed"),
        ('sinks = ["jsonlines"]\n', ", line 1: JsonLinesSink takes a path or a file"),
    ],
)  # fmt: skip
def test_errors_in_a_file_name_the_file_the_line_and_the_cure(cli, write, tmp_path, content, message):
    write(content)
    done = cli("run", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"subwatch: {tmp_path / 'subwatch.toml'}{message}"), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_errors_in_pyproject_name_the_right_line(cli, write, tmp_path):
    write(
        '[project]\ntimeout = 3\n\n[tool.subwatch]\n# so\ntimeout = "x"\n[tool.other]\ntimeout = 3\n',
        "pyproject.toml",
    )
    assert cli("run", "--", "true").stderr.startswith(
        f"subwatch: {tmp_path / 'pyproject.toml'}, line 6: timeout takes a time"
    )


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"SUBWATCH_GRACE": "long"}, "subwatch: variable SUBWATCH_GRACE takes a time such as"),
        (
            {"SUBWATCH_TAGS": "novalue"},
            "subwatch: variable SUBWATCH_TAGS takes NAME=VALUE; 'novalue' is not that",
        ),
        (
            {"SUBWATCH_SINKS": "'open"},
            "subwatch: variable SUBWATCH_SINKS cannot be split into words: No closing quotation",
        ),
        (
            {"SUBWATCH_PTY": "maybe"},
            "subwatch: variable SUBWATCH_PTY takes true, false or 'auto'; 'maybe' is not that",
        ),
        (
            {"SUBWATCH_SINKS": "lokki"},
            "subwatch: variable SUBWATCH_SINKS: no sink named 'lokki' is installed",
        ),
        (
            {"SUBWATCH_SINKS": "logging", "SUBWATCH_SINK_LOGGING_THROTTLE": "few"},
            "subwatch: variables SUBWATCH_SINK_LOGGING_...: option 'throttle' of sink 'logging' takes a whole number",
        ),
    ],
)
def test_errors_in_variables_name_them(cli, env, message):
    done = cli("run", "--", "true", env=env)
    assert done.returncode == 125
    assert done.stderr.startswith(message)


def test_options_for_a_misspelt_sink_are_remarked(cli, write, tmp_path):
    write('sinks = ["logging"]\n\n[sink.loging]\ngroup = true\n[sink.loki]\nurl = "x"\n')
    done = cli("run", "--", "true", env={"SUBWATCH_SINK_LOGGIN_GROUP": "1"})
    assert done.returncode == 0
    assert done.stderr.splitlines()[:2] == [
        f"subwatch: {tmp_path / 'subwatch.toml'}, line 3: options for 'loging' are not used: did you mean 'logging'?",
        "subwatch: variables SUBWATCH_SINK_LOGGIN_...: options for 'loggin' are not used: did you mean 'logging'?",
    ]


@pytest.mark.parametrize("word", ["no", "false", "0", "off"])
def test_truth_values_of_sinks_are_words_as_everywhere(cli, word):
    done = cli(
        "run", "--sink", f"logging:structured={word}", "--", "sh", "-c", """echo '{"msg": "a", "x": 1}' >&2"""
    )
    assert done.stderr.splitlines()[0].endswith('sh: {"msg": "a", "x": 1}')


def test_a_misspelt_variable_is_remarked(cli):
    done = cli("run", "--", "true", env={"SUBWATCH_TIMEUOT": "3", "SUBWATCH_TEST_CACHE": "x"})
    assert done.returncode == 0
    assert (
        done.stderr
        == "subwatch: variable SUBWATCH_TIMEUOT means nothing to subwatch: did you mean SUBWATCH_TIMEOUT?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "soon"], "subwatch: -t/--timeout: takes a time such as"),
        (["--timout", "3"], "unknown option --timout: did you mean --timeout?"),
        (["--sink", "lokki"], "no sink named 'lokki' is installed: did you mean 'loki'?"),
        (["--sink", "jsonlines:pth=x"], "sink 'jsonlines' has no option 'pth': did you mean 'path'?"),
        (["--sink", "jsonlines:=x"], "takes NAME:key=value,key=value"),
        (["--sink", "callable"], "takes a Python function"),
        (["--tag", "x"], "subwatch: --tag: takes NAME=VALUE; 'x' is not that"),
        (["--log", "/nonexistent/x.log"], "cannot log to /nonexistent/x.log: No such file or directory"),
        (["--log", "x.log", "--log-format", "%(nosuch)s"], "log_format: '%(nosuch)s' cannot be used"),
        (
            ["--log-level", "loud"],
            "subwatch: --log-level: takes one of debug, info, warning, error, critical",
        ),
        (["--config", "nowhere.toml"], "nowhere.toml cannot be read: No such file or directory"),
        (["--sink", "loki,jsonlines"], "'loki...' is not that; blanks separate several sinks"),
        (
            ["--level", "loud"],
            "subwatch: --level: takes LEVEL=REGEX such as 'debug=^trace'; 'loud' is not that",
        ),
        (
            ["--level", "loud=x"],
            "subwatch: --level: takes one of debug, info, warning, error, critical; 'loud' is not",
        ),
        (
            ["--recognizer", "nope"],
            "takes NAME or NAME=REGEX; no installed distribution offers the recogniser 'nope'",
        ),
        (["--recognizer", "x=("], "--recognizer: takes a regular expression; '(' is none"),
        (["--recognizer", "x=step"], "--recognizer: takes NAME=REGEX with a group (?P<completed>...)"),
        (["--recognizer", "=(?P<percent>.)"], "--recognizer: takes NAME or NAME=REGEX"),
        (
            ["--recognizer", "x=(?P<percent>.)(?P<y>.)"],
            "and no groups but completed, total, percent, unit, label",
        ),
        (
            ["--json", "/nonexistent/x"],
            "sink 'jsonlines' cannot be made: [Errno 2] No such file or directory: '/nonexistent/x'\n",
        ),
    ],
)
def test_errors_on_the_command_line_start_nothing(cli, arguments, message):
    done = cli("run", *arguments, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_credentials_are_not_shown_in_errors(cli):
    done = cli(
        "run", "--sink", "jsonlines:path=x,password", "--sink", "loki:token=hunter2,oops", "--", "true"
    )
    assert done.returncode == 125
    assert "hunter2" not in done.stderr
