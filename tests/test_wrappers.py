"""Whose lines they are where a program runs another one."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import subwatch
from subwatch.processors._wrappers import _WRAPPERS, speaker
from subwatch.records import WARNING


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("rsync -a x y", "rsync"),
        ("/usr/bin/sudo -u postgres /usr/bin/pg_basebackup -D x", "pg_basebackup"),
        ("sudo -nu postgres PGPORT=5433 pgbench -T 4", "pgbench"),
        ("sudo -E -- restic backup", "restic"),
        ("runuser -u postgres -- pgbench", "pgbench"),
        ("nice rsync", "rsync"),
        ("nice -n 19 ionice -c2 -n 7 tar cf x y", "tar"),
        ("nice -5 tar", "tar"),
        ("ionice -c 3 curl x", "curl"),
        ("timeout -k 5 1h borg create", "borg"),
        ("timeout --signal=INT 10 ffmpeg", "ffmpeg"),
        ("env -u HOME -i A=b LANG=C wget x", "wget"),
        ("nohup setsid stdbuf -oL -e 0 make", "make"),
        ("taskset -c 0-3 restic backup", "restic"),
        ("taskset 1 restic backup", "restic"),
        ("flock -n /run/lock dd", "dd"),
        ("chrt -f 5 pv x", "pv"),
        ("/usr/bin/time -v -o x npm ci", "npm"),
        ("sh -c 'curl x'", "sh"),
        ("sudo -l", "sudo"),
        ("timeout 5", "timeout"),
        ("env", "env"),
        ("nice ''", "nice"),
    ],
)
def test_who_speaks(command: str, expected: str) -> None:
    argv = shlex.split(command)
    assert speaker(argv[0].rpartition("/")[2], argv) == expected


@given(st.lists(st.sampled_from([*_WRAPPERS, "-u", "--", "-", "", "a=b", "x"]), min_size=1))
def test_there_is_always_an_answer(argv: list[str]) -> None:
    assert speaker(argv[0], argv) in (*argv, argv[0])


def test_its_rules_are_used_and_the_record_says_what_was_run() -> None:
    lines: list[subwatch.Line] = []
    subwatch.run(
        ["nice", "-n", "1", "timeout", "20", "curl", "-sS", "http://127.0.0.1:1/"],
        stderr=subprocess.DEVNULL, sinks=[], on_line=lines.append,
    )  # fmt: skip

    (line,) = [line for line in lines if line.text.startswith("curl: (7)")]
    assert (line.level, line.run.program) == (WARNING, "nice")
