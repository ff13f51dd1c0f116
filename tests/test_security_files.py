"""Files: only their owner reads them, and nobody else chooses where they are."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

import subwatch
from subwatch.sinks._files import open_private

SUBWATCH = [sys.executable, "-m", "subwatch"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(params=[0, 0o022, 0o077, 0o277], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def shared():
    """Names in a folder where everybody may write."""
    assert os.stat(tempfile.gettempdir()).st_mode & stat.S_IWOTH
    names = [os.path.join(tempfile.gettempdir(), f"subwatch-{uuid.uuid4()}") for _ in range(2)]
    yield names
    for name in names:
        if os.path.lexists(name):
            os.unlink(name)


def test_new_files_are_private_whatever_the_umask(tmp_path, umask):
    path = tmp_path / "run.jsonl"
    subwatch.run(
        ["sh", "-c", "echo hello >&2"],
        sinks=[subwatch.sink("jsonlines", path=path)],
        stderr=subprocess.DEVNULL,
    )
    assert mode(path) == 0o600
    assert len(path.read_text().splitlines()) == 3


def test_files_of_the_command_are_private(tmp_path):
    for umask in ("000", "022"):
        log, json_file = tmp_path / f"{umask}.log", tmp_path / f"{umask}.jsonl"
        words = [
            *SUBWATCH,
            "run",
            "--log",
            log,
            "--json",
            json_file,
            "--quiet",
            "--",
            "sh",
            "-c",
            "echo hello >&2",
        ]
        done = subprocess.run(["sh", "-c", f'umask {umask}; exec "$@"', "sh", *map(str, words)])
        assert done.returncode == 0
        assert (mode(log), mode(json_file)) == (0o600, 0o600)


def test_files_that_are_there_keep_their_mode_and_content(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text("before\n")
    path.chmod(0o640)
    os.write(fd := open_private(path), b"after\n")
    os.close(fd)
    assert (mode(path), path.read_text()) == (0o640, "before\nafter\n")


def test_links_of_our_own_are_followed(tmp_path, shared):
    link, target = shared
    os.symlink(target, link)
    os.close(open_private(link))
    assert mode(target) == 0o600
    os.close(open_private(link))
    os.close(open_private("/dev/null"))
    assert os.path.islink(link)


def test_a_strangers_link_is_not_followed(shared, strangers):
    link, target = shared
    os.symlink(target, link)
    strangers(link)
    with pytest.raises(PermissionError, match="another user"):
        open_private(link)
    assert not os.path.exists(target), "nothing was made where he wants it"
    with pytest.raises(subwatch.SinkLoadError, match="another user"):
        subwatch.run(["true"], sinks=[subwatch.sink("jsonlines", path=link)])


@pytest.mark.parametrize("make", [lambda path: open(path, "x").close(), os.mkfifo], ids=["file", "pipe"])
def test_a_strangers_file_is_not_written_to(shared, strangers, make):
    path = shared[0]
    make(path)
    os.chmod(path, 0o666)
    strangers(path)
    with pytest.raises(PermissionError, match="another user"):
        open_private(path)


def test_a_hard_link_in_a_shared_folder_is_not_written_to(shared):
    path, other = shared
    open(other, "x").close()
    os.link(other, path)
    with pytest.raises(PermissionError, match="another user"):
        open_private(path)


def test_elsewhere_files_of_others_are_written_to(tmp_path):
    """Root may log to a file of the user it works for."""
    path = tmp_path / "theirs.log"
    path.touch()
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    os.close(open_private(path))


def test_the_command_refuses_a_strangers_log(shared, tmp_path):
    path = shared[0]
    if os.geteuid() != 0:
        os.symlink("/etc/hostname", path)  # root's, and not ours to write to
    else:
        open(path, "x").close()
        os.chown(path, 12345, -1)
    for option in ("--log", "--json"):
        done = subprocess.run(
            [*SUBWATCH, "run", option, path, "--", "echo", "started"], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (125, "")
        assert path in done.stderr
        assert "Traceback" not in done.stderr


def test_what_is_held_back_has_no_name(tmp_path):
    """``--quiet`` keeps much output in a temporary file: nobody finds it, and a kill leaves nothing behind."""
    script = "head -c 3000000 /dev/zero; ls -l /proc/$PPID/fd; ls -A $TMPDIR; exit 1"
    done = subprocess.run(
        [*SUBWATCH, "run", "--quiet", "--", "sh", "-c", script],
        capture_output=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    said = done.stdout.lstrip(b"\0").decode()
    assert f"{tmp_path}/" in said, "it is there"
    assert all("(deleted)" in line for line in said.splitlines() if f"{tmp_path}/" in line)
    assert os.listdir(tmp_path) == []


def test_the_helper_that_reads_on_gets_nothing_of_ours(tmp_path):
    """At the end of the interpreter a ``cat`` reads a daemon's stderr: no variable of ours, no open file."""
    code = (
        "import subwatch, sys\n"
        "subwatch.Popen(['sh', '-c', 'sleep 3; echo late >&2'], stderr=open(sys.argv[1], 'wb'), sinks=[])\n"
    )
    path = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", code, path], env={**os.environ, "DB_PASSWORD": "hunter2-hunter2"}, check=True
    )
    deadline = time.monotonic() + 10
    while not (found := [entry for entry in Path("/proc").glob("[0-9]*") if is_cat(entry, path)]):
        assert time.monotonic() < deadline
    (mine,) = found
    assert b"hunter2" not in (mine / "environ").read_bytes()
    assert (mine / "cmdline").read_bytes() == b"cat\0-\0"
    os.kill(int(mine.name), 15)


def is_cat(entry, path):
    try:
        return (entry / "comm").read_text() == "cat\n" and (entry / "fd/1").readlink() == path
    except OSError:
        return False


def test_json_of_a_child_cannot_act_on_a_terminal(tmp_path):
    evil = "\x1b]0;title\x07 \x9b31m \x85 \u202egnp.exe \u2066 \u2028 \x7f \r\x1b[2K"
    path = tmp_path / "run.jsonl"
    script = tmp_path / "say"
    script.write_text(evil)
    command = ["sh", "-c", 'cat "$0" >&2', str(script)]
    subwatch.run(
        command, sinks=[subwatch.sink("jsonlines", path=path)], stderr=subprocess.DEVNULL, tags={"a": evil}
    )
    raw = path.read_text()
    assert all(character.isprintable() or character == "\n" for character in raw)
    assert json.loads(raw.splitlines()[0])["tags"] == {"a": evil}, "and is the same when read"
    texts = [record["text"] for record in map(json.loads, raw.splitlines()) if record["event"] == "line"]
    assert "".join(texts) == evil.replace("\r", "")
