"""Settings: whose files are believed, what a wrong value may show, and that none of any kind ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import subwatch
from subwatch._cli import _config, _values
from subwatch.errors import ConfigError

SECRET = "correct-horse-battery"
SUBWATCH = [sys.executable, "-m", "subwatch"]


@pytest.fixture
def folder(tmp_path):
    """A folder for files of whom it may concern."""
    return tmp_path


def found(folder):
    remarks = []
    return _config.find(str(folder), remarks), remarks


# -- whose files are believed -------------------------------------------------------------------------------


def test_own_files_are_believed(folder):
    path = folder / "subwatch.toml"
    path.write_text("quiet = true")
    assert found(folder) == ((str(path), b"quiet = true"), [])


def test_a_strangers_link_to_a_file_of_ours_is_not(folder, strangers):
    """In /tmp anybody can make a link to a file of root's: a wrong one would keep root's jobs from starting."""
    (folder / "ours.toml").write_text("sinks = ['loki']")
    link = folder / "subwatch.toml"
    link.symlink_to(folder / "ours.toml")
    assert found(folder)[0] == (str(link), b"sinks = ['loki']"), "a link of our own is as good as a file"
    strangers(link)
    taken, remarks = found(folder)
    assert taken is None
    assert remarks == [f"{link} is not used: it belongs to another user; to use it, say --config {link}"]


def test_what_everybody_may_write_is_not(folder):
    path = folder / "subwatch.toml"
    path.write_text("quiet = true")
    path.chmod(0o666)
    taken, remarks = found(folder)
    assert taken is None
    assert "everybody may write to it" in remarks[0]


@pytest.mark.parametrize("name", ["subwatch.toml", "pyproject.toml"])
def test_what_is_no_ordinary_file_is_not_even_opened(folder, name):
    """A pipe would be read for ever, a device might do anything."""
    os.mkfifo(folder / name)
    assert found(folder) == (None, [])
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert found(folder) == (None, [])


def test_what_is_too_large_is_not(folder):
    path = folder / "subwatch.toml"
    path.write_bytes(b"#" * (_config._LARGEST + 1))
    assert "larger than" in found(folder)[1][0]


def test_a_strangers_pyproject_is_not_mentioned_unless_it_means_us(folder, strangers):
    path = folder / "pyproject.toml"
    path.write_text("[project]")
    strangers(path)
    assert found(folder) == (None, [])
    path.write_text("[tool.subwatch]")
    assert "another user" in found(folder)[1][0]


def test_a_named_file_is_used_whosever_it_is(folder):
    path = folder / "subwatch.toml"
    path.write_text("verbose = true")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    done = subprocess.run([*SUBWATCH, "run", "--config", path, "--", "true"], capture_output=True, text=True)
    assert (done.returncode, "true" in done.stderr) == (0, True)


# -- nothing is imported that was not asked for -------------------------------------------------------------

EVIL = "import sys; sys.stderr.write('EVIL'); sys.exit(66)"
NAMES = ("subwatch", "logging", "json", "tomllib", "argparse", "requests", "sitecustomize", "encodings", "re")


def test_a_folder_full_of_modules_runs_none_of_them(tmp_path):
    """The command's folder is not on the path of imports, whoever has put ``logging.py`` there."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(EVIL)
    script = os.path.join(os.path.dirname(sys.executable), "subwatch")
    for arguments in (
        ["run", "--log", "-", "--json", "-", "--", "true"],
        ["sinks", "--check"],
        ["completion", "bash"],
    ):
        done = subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert "EVIL" not in done.stderr
        assert done.returncode == 0, done.stderr


def test_naming_no_plugin_imports_none(tmp_path):
    """Entry points are looked up by their metadata; a broken or malicious one that nobody names does no harm."""
    info = tmp_path / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[subwatch.sinks]\nevil = evil_sink:Sink\nlogging = evil_sink:Sink\n[subwatch.recognizers]\nevil = evil_sink:Sink\n"
    )
    (tmp_path / "evil_sink.py").write_text(EVIL)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for arguments in (["run", "--log", "-", "--json", "-", "--", "true"], ["sinks"], ["sinks", "--names"]):
        done = subprocess.run([*SUBWATCH, *arguments], env=env, capture_output=True, text=True)
        assert "EVIL" not in done.stderr
        assert done.returncode == 0
    done = subprocess.run(
        [*SUBWATCH, "run", "-s", "evil", "--", "true"], env=env, capture_output=True, text=True
    )
    assert "EVIL" in done.stderr, "named, it is imported"


# -- what a mistake may show --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        f'redact = ["{SECRET}", 5]',
        f'redact = {{ a = "{SECRET}" }}',
        f'redact = "\'{SECRET}"',
        f'sinks = ["loki password={SECRET}"]',
        f'sinks = ["loki:{SECRET}"]',
        f'sinks = ["loki:url=x,{SECRET}!=3"]',
        f'sinks = "https://me:{SECRET}@host"',
        f'sinks = ["logging:password={SECRET}"]',
        f'sinks = ["logging"]\n[sink.logging]\npassword = "{SECRET}"',
        f'sinks = ["jsonlines"]\n[sink.jsonlines]\npath = "/nonexistent/{SECRET}"\npassword = "{SECRET}"',
    ],
)
def test_wrong_settings_do_not_show_secrets(content, tmp_path):
    path = tmp_path / "subwatch.toml"
    path.write_text(content)
    for arguments in (["run", "--config", path, "--", "true"], ["sinks", "--check", "--config", path]):
        done = subprocess.run([*SUBWATCH, *arguments], capture_output=True, text=True)
        assert SECRET not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode in (125, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        [f"--redcat={SECRET}", "--", "true"],
        ["--sink", f"loki/{SECRET}", "--", "true"],
        ["--redact", SECRET, "--", f"/nonexistent/{SECRET}"],
        [f"mysql --password={SECRET}"],
        ["--redact", SECRET, "--json", "-", "--", "sh", "-c", f"echo {SECRET} >&2; exit 3", SECRET],
        ["--redact", SECRET, "--verbose", "--quiet", "--log", "-", "--", "sh", "-c", f"exit 3 # {SECRET}"],
    ],
)
def test_the_command_says_no_secret_of_its_own(arguments, tmp_path):
    done = subprocess.run([*SUBWATCH, "run", *arguments], capture_output=True, text=True, cwd=tmp_path)
    said = "".join(
        line for line in done.stderr.splitlines(True) if line != SECRET + "\n"
    )  # that is the command's
    assert SECRET not in said
    assert done.returncode not in (0, 1)


# -- found by tests/fuzz ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 5000,
        "tail = " + "9" * 5000,
        "tail = " + "9" * 25,
        "max_line = 99999999999999",
        "max_line = 3",
        "partial_delay = 0",
        f"grace = '{'9' * 400}'",
        "grace = inf",
        "grace = nan",
        'json = "a\\u0000b"',
        'log = "a\\u0000b"',
        'encoding = "a\\u0000b"',
        'encoding = "rot13"',
        'encoding = "undefined"',
        f'stop_on = "{"(" * 5000}"',
        'stop_on = "a{99999999999999}"',
        'levels = ["debug=a{99999999999999}"]',
        "sink = 3",
        "sinks = [3]",
    ],
)
def test_odd_files_are_wrong_and_no_more(content, tmp_path):
    path = tmp_path / "subwatch.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"subwatch\.toml"):
        _config.from_file(str(path))


@pytest.mark.parametrize("content", ["tool.subwatch = 3", "[tool]\nsubwatch = 'x'"])
def test_odd_pyprojects(content, tmp_path):
    path = tmp_path / "pyproject.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"stand in a table, \[tool.subwatch\]"):
        _config.from_file(str(path))


@pytest.mark.parametrize("word", ["[" * 5000, "9" * 5000, "1\nother = 2", "3 # no", '"', "{", "\x85"])
def test_words_that_are_no_values_are_text(word):
    assert _values.literal(word) in (word, 3)


@pytest.mark.parametrize(
    "options",
    [
        {"grace": float("inf")},
        {"drain": float("nan")},
        {"flush_timeout": 1e300},
        {"partial_delay": 1e300},
        {"tail": 10**30},
        {"max_line": 10**30},
        {"record_encoding": "a\0b"},
        {"stop_on": "(" * 5000},
        {"stop_on": "a{99999999999999}"},
        {"levels": [("a{99999999999999}", 10)]},
    ],
)
def test_odd_options_are_wrong_before_the_start(options):
    with pytest.raises(ConfigError):
        subwatch.Watch(sinks=[], **options)
