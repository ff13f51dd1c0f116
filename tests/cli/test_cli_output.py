"""Where output and records go: untouched streams, --quiet, --json, --log, and backends that are dead."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

BOTH = "echo out1; echo err1 >&2; echo out2; echo err2 >&2"


@pytest.fixture
def plugin(tmp_path):
    """Install a distribution with sinks, in a folder of its own; returns the environment that has it."""

    def call(source, **points):
        site = tmp_path / "site"
        info = site / "subwatch_trial-1.2.dist-info"
        info.mkdir(parents=True)
        (site / "subwatch_trial.py").write_text(textwrap.dedent(source))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: subwatch-trial\nVersion: 1.2\n")
        entries = "".join(f"{name} = subwatch_trial:{value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[subwatch.sinks]\n{entries}")
        return {"PYTHONPATH": str(site)}

    return call


def test_streams_are_untouched(cli):
    done = cli("run", "--", "sh", "-c", BOTH)
    assert (done.stdout, done.stderr) == ("out1\nout2\n", "err1\nerr2\n")


def test_stdin_is_the_commands(cli):
    assert cli("run", "--", "cat", stdin=None, input="typed\n").stdout == "typed\n"


def test_binary_is_untouched(environment):
    data = bytes(range(256)) * 1000
    done = subprocess.run(
        [sys.executable, "-m", "subwatch", "run", "--json", "/dev/null", "--", "sh", "-c", "tee /dev/stderr"],
        input=data, capture_output=True, env=environment, check=True,
    )  # fmt: skip
    assert done.stdout == done.stderr == data


def test_verbose_says_how_it_went(cli):
    done = cli("run", "-v", "--", "sh", "-c", "printf half >&2; exit 3")
    assert re.fullmatch(r"half\nsubwatch: sh exited with code 3 after [\d.]+ s\n", done.stderr)


# -- quiet --------------------------------------------------------------------------------------------------


def test_quiet_says_nothing_of_a_success(cli):
    done = cli("run", "--quiet", "--", "sh", "-c", BOTH)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_quiet_shows_all_of_a_failure(cli):
    done = cli("run", "--quiet", "--", "sh", "-c", f"{BOTH}; exit 3")
    assert done.returncode == 3
    assert done.stdout == "out1\nout2\n"
    assert re.fullmatch(r"err1\nerr2\nsubwatch: sh exited with code 3 after [\d.]+ s\n", done.stderr)


def test_quiet_keeps_the_order(cli):
    script = "for i in 1 2 3; do echo out$i; sleep 0.05; echo err$i >&2; sleep 0.05; done; exit 1"
    done = cli(
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        script,
        capture_output=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.stdout.split()[:6] == ["out1", "err1", "out2", "err2", "out3", "err3"]


def test_quiet_without_room_for_a_file(environment):
    """A full disk (here: a limit on the size of files) neither ends the command nor changes its status."""
    run = f"{sys.executable} -m subwatch run -q -- sh -c 'head -c 20000000 /dev/zero; exit 3'"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 4096; {run}"],
        capture_output=True,
        env=environment,
        timeout=30,
        check=False,
    )
    assert done.returncode == 3
    left_out = int(re.search(rb"(\d+) bytes of output are left out", done.stderr)[1])
    assert 15_000_000 < left_out < 20_000_000
    assert len(done.stdout) + left_out == 20_000_000


def test_quiet_shows_what_was_written_at_once_stdout_first(cli):
    script = "echo out; echo err >&2; exit 1"
    options = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    assert cli("run", "-q", "--", "sh", "-c", script, **options).stdout.startswith("out\nerr\n")


def test_quiet_still_makes_records(cli, records, tmp_path):
    cli("run", "-q", "--json", "r.jsonl", "--", "sh", "-c", BOTH)
    assert [record.get("text") for record in records(tmp_path / "r.jsonl")[1:-1]] == ["err1", "err2"]


def test_quiet_is_bounded_and_private(start, tmp_path):
    """400 MB of output: a temporary file that only we can read, and a count of what is left out."""
    script = "head -c 400000000 /dev/zero | tr '\\0' x; sleep 2; exit 1"
    process = start(
        "run", "--quiet", "--", "sh", "-c", script, env={"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL
    )
    time.sleep(0.5)
    deadline = time.monotonic() + 20
    spools = []
    while not spools and time.monotonic() < deadline:
        for fd in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                if str(tmp_path) in os.readlink(fd):
                    spools.append(fd.stat())
            except OSError:
                pass
    assert spools
    assert all(stat.S_IMODE(spool.st_mode) == 0o600 and spool.st_nlink == 0 for spool in spools)
    error = process.communicate(timeout=60)[1]
    peak = int(re.search(r"(\d+) bytes of output are left out", error)[1])
    assert 400_000_000 - 256 * 2**20 <= peak < 400_000_000
    assert list(tmp_path.iterdir()) == []


# -- records ------------------------------------------------------------------------------------------------


def test_json(cli, records, tmp_path):
    done = cli(
        "run", "--json", "r.jsonl", "--tag", "app=x", "--watch-stdout", "--", "sh", "-c", f"{BOTH}; exit 3"
    )
    assert (done.stdout, done.stderr) == ("out1\nout2\n", "err1\nerr2\n")
    found = records(tmp_path / "r.jsonl")
    assert [record["event"] for record in found] == ["start", *["line"] * 4, "exit"]
    assert found[0]["tags"] == {"app": "x"}
    assert "caller" not in found[0]
    assert sorted(f"{record['stream']} {record['text']}" for record in found[1:-1]) == [
        "stderr err1", "stderr err2", "stdout out1", "stdout out2",
    ]  # fmt: skip
    assert (found[-1]["returncode"], found[-1]["usage"]["user"] >= 0) == (3, True)
    assert stat.S_IMODE((tmp_path / "r.jsonl").stat().st_mode) == 0o600


def test_a_program_that_cannot_start_has_a_record(cli, records, tmp_path):
    assert cli("run", "--json", "r.jsonl", "--", "no-such-program").returncode == 127
    assert records(tmp_path / "r.jsonl")[-1]["reason"] == "spawn_failed"


def test_secrets_are_masked_in_records_only(cli, tmp_path):
    script = "echo password=hunter22 opensesame >&2"
    done = cli("run", "--json", "r.jsonl", "--redact", "opensesame", "--", "sh", "-c", script)
    assert done.stderr == "password=hunter22 opensesame\n"
    assert "hunter22" not in (tmp_path / "r.jsonl").read_text()
    assert "opensesame" not in (tmp_path / "r.jsonl").read_text()


def test_progress_is_read_as_told(cli, records, tmp_path):
    option = r"steps=^step (?P<completed>[0-9x]+) of (?P<total>[0-9]+)"
    script = "echo step 3 of 10 >&2; echo 20% >&2; echo step x of 3 >&2; echo step 4 of 10 >&2"
    done = cli("run", "--json", tmp_path / "run.jsonl", "--recognizer", option, "--", "sh", "-c", script)
    assert done.returncode == 0
    told = [record.get("progress") for record in records(tmp_path / "run.jsonl") if record["event"] == "line"]
    assert told == [
        {"completed": 3.0, "total": 10.0, "fraction": 0.3},
        {"fraction": 0.2, "unit": "%"},
        None,
        None,
    ]
    assert "steps raised ValueError" in done.stderr  # and is left out


def test_log_to_a_file(cli, tmp_path):
    done = cli("run", "--log", "run.log", "--", "sh", "-c", "echo 'warning: low' >&2; exit 3")
    assert done.stderr == "warning: low\n"
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} WARNING sh: warning: low", lines[0])
    assert re.fullmatch(r"\S+ ERROR   sh exited with code 3 after [\d.]+ s", lines[1])
    assert stat.S_IMODE((tmp_path / "run.log").stat().st_mode) == 0o600


@pytest.mark.parametrize("options", [["--log", "-"], ["--sink", "logging"]])
def test_log_to_stderr_takes_the_place_of_the_lines(cli, options):
    done = cli(
        "run",
        *options,
        "--log-format",
        "%(levelname)s %(message)s",
        "--",
        "sh",
        "-c",
        "echo once >&2; echo out",
    )
    assert done.stdout == "out\n"
    assert re.fullmatch(r"INFO sh: once\nINFO sh exited with code 0 after [\d.]+ s\n", done.stderr)


WARNS = "echo 'warning: low' >&2; echo last >&2; exit "


@pytest.mark.parametrize("settings", [["--log", "-", "--hold-back"], ["--sink", "logging:hold_back=true"]])
def test_the_exit_status_has_the_last_word_on_warnings(cli, settings):
    """Nobody is alarmed by a success; after a failure its last lines are errors."""
    shown = ["--log-format", "%(levelname)s %(message)s"]
    done = cli("run", *settings, *shown, "--", "sh", "-c", WARNS + "0")
    assert done.stderr.startswith("INFO sh: last\nINFO sh: warning: low\nINFO sh exited with code 0")
    done = cli("run", *settings, *shown, "--", "sh", "-c", WARNS + "1")
    assert "ERROR sh: warning: low\nERROR sh: last\nERROR sh exited with code 1" in done.stderr


def test_log_level(cli):
    done = cli(
        "run",
        "--log",
        "-",
        "--log-level",
        "warning",
        "--",
        "sh",
        "-c",
        "echo fine >&2; echo 'warning: low' >&2",
    )
    assert "fine" not in done.stderr
    assert "warning: low" in done.stderr


def test_log_that_cannot_be_written_is_said(cli):
    done = cli("run", "--log", "/dev/full", "--", "sh", "-c", "echo one >&2")
    assert done.returncode == 0
    assert (
        done.stderr == "one\nsubwatch: 2 records could not be logged to /dev/full: No space left on device\n"
    )


# -- sinks that fail --------------------------------------------------------------------------------------

DEAD = """
import threading, time
class Dead:
    name = "dead"
    def __init__(
        self, host: str = "x", port: int = 1, labels: "dict[str, str] | None" = None, hang: float = 60.0
    ):
        assert isinstance(host, str) and isinstance(port, int), (host, port)
        self.options = dict(host=host, port=port, labels=labels)
        threading.Thread(target=time.sleep, args=(hang,)).start()  # not a daemon: would hold the interpreter
        self.count = 0
    def open(self, run):
        return self
    def emit(self, records):
        self.count += len(records)
    def flush(self, timeout):
        time.sleep(timeout)
        return self.count
    def close(self, timeout=None):
        if timeout is not None:
            time.sleep(timeout)
            return self.count
class Raises:
    def open(self, run):
        raise RuntimeError("no")
    def close(self, timeout):
        pass
"""


def test_a_dead_backend_costs_the_flush_timeout_at_most(cli, plugin):
    env = plugin(DEAD, dead="Dead")
    begun = time.monotonic()
    done = cli(
        "run", "--sink", "dead", "--flush-timeout", "1s", "--", "sh", "-c", "echo said >&2; exit 5", env=env
    )
    took = time.monotonic() - begun
    assert done.returncode == 5
    assert done.stderr == "said\nsubwatch: 3 records did not reach dead\n"
    assert 1 <= took < 10


def test_a_dead_backend_does_not_delay_the_start(start, plugin):
    env = plugin(DEAD, dead="Dead")
    process = start("run", "--sink", "dead", "--", "sh", "-c", "echo here; sleep 10", env=env)
    begun = time.monotonic()
    assert process.stdout.readline() == "here\n"
    assert time.monotonic() - begun < 2


def test_whoever_interrupts_the_wait_for_a_backend_need_not_wait(start, plugin):
    process = start(
        "run",
        "--sink",
        "dead",
        "--flush-timeout",
        "20",
        "--",
        "sh",
        "-c",
        "echo x; exit 5",
        env=plugin(DEAD, dead="Dead"),
    )
    process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 5


def test_a_sink_that_raises_is_reported_and_left_out(cli, plugin, records, tmp_path):
    env = plugin(DEAD, raises="Raises")
    done = cli("run", "--sink", "raises", "--json", "r.jsonl", "--", "sh", "-c", "exit 4", env=env)
    assert done.returncode == 4
    assert "sink 'raises' failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert records(tmp_path / "r.jsonl")[-1]["dropped"]


def test_a_sink_may_set_up_what_it_needs_without_an_application(cli, plugin):
    source = """
    class Alone:
        def standalone(self): print("set up", flush=True)
        def open(self, run): return self
        def emit(self, records): pass
        def close(self, timeout=None): pass
    """
    done = cli("run", "--sink", "alone", "--", "echo", "started", env=plugin(source, alone="Alone"))
    assert (done.returncode, done.stdout) == (0, "set up\nstarted\n")


def test_words_of_sink_options_become_what_the_sink_takes(cli, plugin):
    env = plugin(DEAD, dead="Dead") | {"SUBWATCH_SINK_DEAD_HOST": "1234"}
    env["SUBWATCH_FLUSH_TIMEOUT"] = "0"
    done = cli("run", "--sink", "dead:port=77,labels.app=5,hang=0.1", "--", "true", env=env)
    assert done.returncode == 0, done.stderr


def test_threads_of_sinks_take_no_signals(start, plugin):
    """Whenever a sink starts them: signals are for the command."""
    source = """
    import threading, time
    class Threads:
        def _start(self): threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
        def __init__(self): self._start()
        def open(self, run): self._start(); return self
        def emit(self, records): self._start()
        def close(self, timeout=None): pass
    """
    process = start(
        "run", "--sink", "threads", "--", "sh", "-c", "trap 'echo got; exit 9' TERM USR1; echo up; while :; do sleep 0.05; done",
        env=plugin(source, threads="Threads"),
    )  # fmt: skip
    assert process.stdout.readline() == "up\n"
    time.sleep(0.3)
    process.terminate()
    assert process.communicate(timeout=20)[0] == "got\n"
    assert process.returncode == 9


def test_an_unreachable_server(cli):
    """The Loki sink, where it is installed, has nobody to talk to."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = cli(
        "run",
        "--sink",
        f"loki:url={url}",
        "--flush-timeout",
        "0.5",
        "--",
        "sh",
        "-c",
        "echo said >&2; exit 6",
    )
    assert done.returncode in (6, 125)
    if done.returncode == 125:
        assert "pip install subwatch-loki" in done.stderr


# -- what is left behind -------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_a_daemon_that_the_command_starts_lives_on(cli, tmp_path, options):
    """The tool ends with the command; who still writes to stderr is not killed by that."""
    script = f"(sleep 4; echo late >&2; echo alive > {tmp_path}/daemon) & echo started"
    log = tmp_path / "stderr"
    begun = time.monotonic()
    with log.open("w") as error:
        done = cli(
            "run",
            *options,
            "--",
            "sh",
            "-c",
            script,
            capture_output=False,
            stdout=subprocess.DEVNULL,
            stderr=error,
        )
    assert done.returncode == 0
    assert time.monotonic() - begun < 3.5
    deadline = time.monotonic() + 20
    while not (tmp_path / "daemon").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "daemon").read_text() == "alive\n"
    time.sleep(0.2)
    assert log.read_text() == ("" if options else "late\n")


def test_drain_waits_for_what_comes_late(cli, records, tmp_path):
    done = cli(
        "run",
        "--drain",
        "5",
        "--json",
        "r.jsonl",
        "--",
        "sh",
        "-c",
        "(sleep 0.5; echo late >&2) & echo early >&2",
    )
    assert done.stderr == "early\nlate\n"
    assert [record.get("text") for record in records(tmp_path / "r.jsonl")[1:-1]] == ["early", "late"]


def test_nobody_reads_stderr(environment):
    script = "'trap \"\" PIPE; while echo x >&2; do :; done; exit 9'"
    line = f"{sys.executable} -m subwatch run -- sh -c {script} 2>&1 | head -1; echo ${{PIPESTATUS[@]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=environment, timeout=30, check=False
    )
    assert done.stdout == "x\n9 0\n"
