"""The JSON-lines sink: one object per record, whole, in order, whoever else writes."""

from __future__ import annotations

import array
import fcntl
import io
import json
import os
import resource
import stat
import subprocess
import sys
import termios
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import subwatch
from subwatch.sinks import JsonLinesSink


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_records(front, tmp_path):
    path = tmp_path / "run.jsonl"
    sink = JsonLinesSink(path)
    front(
        "printf '<4>careful\\nplain\\r\\n\\377\\033[1m\\n50%%\\r' >&2; printf end >&2; exit 3",
        sinks=[sink],
        tags={"job": "x"},
    )
    sink.close(1.0)
    start, *lines, end = read(path)
    assert start["event"] == "start"
    assert start["argv"][0] == "sh"
    assert start["tags"] == {"job": "x"}
    assert start["caller"].count(":") >= 1
    assert [(line["text"], line.get("ending", "\n"), line["level"]) for line in lines] == [
        ("careful", "\n", "warning"),
        ("plain", "\r\n", "info"),
        ("\\xff\x1b[1m", "\n", "info"),
        ("50%", "\r", "info"),
        ("end", "", "info"),
    ]
    assert [line["number"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[3]["progress"]["fraction"] == 0.5
    assert (end["event"], end["returncode"], end["reason"], end["failed"]) == ("exit", 3, "exited", True)
    assert end["lines"] == {"stderr": 5}
    assert end["tail"][-1] == "end"
    assert {record["run"] for record in (start, *lines, end)} == {start["run"]}
    times = [record["time_ns"] for record in (start, *lines, end)]
    assert times == sorted(set(times))


def test_flags(tmp_path):
    path = tmp_path / "run.jsonl"
    subwatch.run(
        ["sh", "-c", "printf 0123456789abcdefXYZ >&2; sleep 0.3; echo >&2"],
        stderr=-3,
        max_line=16,
        partial_delay=0.1,
        sinks=[subwatch.sink("jsonlines", path=str(path))],
    )
    first, second, third = (record for record in read(path) if record["event"] == "line")
    assert (first["text"], first["truncated"], "continued" in first) == ("0123456789abcdef", True, False)
    assert (second["text"], second["partial"], second["continued"]) == ("XYZ", True, True)
    assert (third["text"], third["continued"], "partial" in third) == ("", True, False)


def test_spawn_failure(tmp_path):
    path = tmp_path / "run.jsonl"
    with pytest.raises(FileNotFoundError):
        subwatch.run(
            ["/nonexistent", "-v"], sinks=[subwatch.sink("jsonlines", path=str(path))], tags={"a": "b"}
        )
    (end,) = read(path)
    assert (end["argv"], end["tags"], end["cwd"]) == (["/nonexistent", "-v"], {"a": "b"}, os.getcwd())
    assert end["caller"].startswith(__file__)
    assert (end["reason"], end["error_type"], end["returncode"]) == (
        "spawn_failed",
        "FileNotFoundError",
        None,
    )


def test_file_is_appended_to_and_private(tmp_path):
    path = tmp_path / "run.jsonl"
    for _ in range(2):
        subwatch.run(["true"], sinks=[subwatch.sink("jsonlines", path=str(path))])
    assert [record["event"] for record in read(path)] == ["start", "exit"] * 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_many_at_once_do_not_mix(tmp_path):
    path = tmp_path / "run.jsonl"
    sink = JsonLinesSink(path)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(lambda n: subwatch.run(["sh", "-c", "seq 200 >&2"], stderr=-3, sinks=[sink]), range(16))
        )
    sink.close(1.0)
    runs = {}
    for record in read(path):
        runs.setdefault(record["run"], []).append(record)
    assert len(runs) == 16
    for records in runs.values():
        assert [record["text"] for record in records[1:-1]] == [str(n) for n in range(1, 201)]


def test_open_file_stays_open():
    file = io.StringIO()
    sink = JsonLinesSink(file=file)
    subwatch.run(["true"], sinks=[sink])
    sink.close(1.0)
    assert len(file.getvalue().splitlines()) == 2


def test_stderr(capfd):
    subwatch.run(["true"], sinks=[subwatch.sink("jsonlines", path="-")])
    assert [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()] == ["start", "exit"]


def test_disk_is_full(front, caplog):
    sink = JsonLinesSink("/dev/full")
    done = front("echo hi >&2; exit 3", sinks=[sink])
    sink.close(1.0)
    assert (done.returncode, done.seen.texts) == (3, ["hi"])
    assert done.exit.dropped == {"jsonlines": 2}


def test_disk_that_was_full(tmp_path):
    """Half a record stays behind; the next one does not join it."""
    path = tmp_path / "run.jsonl"
    sink = JsonLinesSink(path)
    subwatch.run(["true"], sinks=[sink])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, limits[1]))
    try:
        subwatch.run(["true"], sinks=[sink])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    subwatch.run(["true"], sinks=[sink])
    sink.close(1.0)
    lines = path.read_bytes().splitlines()
    assert len(lines.pop(2)) == 50
    assert [json.loads(line)["event"] for line in lines] == ["start", "exit"] * 2


def test_run_after_the_sinks_are_closed(tmp_path):
    """At the end of the interpreter, what still runs is counted; nobody could act on a complaint."""
    code = """
import atexit, sys, subwatch
seen = []
def late():
    subwatch.run(["sh", "-c", "echo late >&2"], stderr=-3)
    print(dict(seen[-1].dropped))
atexit.register(late)  # the last of the hooks
subwatch.configure(sinks=[subwatch.sink("jsonlines", path=sys.argv[1]), seen.append])
subwatch.run(["true"])
"""
    path = tmp_path / "run.jsonl"
    command = [sys.executable, "-X", "dev", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'jsonlines': 2}\n", "")
    assert [record["event"] for record in read(path)] == ["start", "exit"]


def test_close_while_a_write_is_stuck(tmp_path):
    """A pipe that nobody empties does not hold whoever closes the sink; what is being written gets there."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink, seen = JsonLinesSink(path), []
    with ThreadPoolExecutor(1) as pool, open(reader, "rb") as pipe:
        options = {"stderr": -3, "sinks": [sink, seen.append], "partial_delay": 60}
        run = pool.submit(subwatch.run, ["sh", "-c", "seq 30000 >&2"], **options)
        filled = array.array("i", [0])
        while filled[0] < 60_000:
            fcntl.ioctl(reader, termios.FIONREAD, filled)
        begin = time.monotonic()
        sink.close(0.2)
        assert time.monotonic() - begin < 5
        os.set_blocking(reader, True)
        records = [json.loads(line) for line in pipe]
        assert run.result(10).returncode == 0
    assert len(records) + seen[-1].dropped["jsonlines"] == 30_001  # the start, and lines


@pytest.mark.parametrize("options", [{}, {"path": "x", "file": io.StringIO()}])
def test_wrong_options(options):
    with pytest.raises(subwatch.ConfigError, match="takes a path or a file"):
        JsonLinesSink(**options)


def test_file_cannot_be_opened():
    with pytest.raises(subwatch.SubwatchError, match="jsonlines"):
        subwatch.run(
            ["true"], sinks=[subwatch.sink("jsonlines", path=os.path.join(os.sep, "nonexistent", "x"))]
        )


def test_arguments_that_are_no_text(tmp_path):
    path = tmp_path / "run.jsonl"
    done = subwatch.run(["true", b"\xff", "\udcfe"], sinks=[subwatch.sink("jsonlines", path=str(path))])
    assert done.args == ["true", b"\xff", "\udcfe"]
    assert read(path)[0]["argv"] == ["true", "\\udcff", "\\udcfe"]
