"""The exit status, and signals: each reaches the command exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

COUNT = """
import signal, sys, time
seen = []
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), lambda number, _: seen.append(signal.Signals(number).name))
print("ready", flush=True)
deadline = time.monotonic() + 20
while not seen and time.monotonic() < deadline:
    time.sleep(0.01)
time.sleep(0.4)  # for a second one, that must not come
print(*seen, flush=True)
"""


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 1", 1),
        ("exit 2", 2),
        ("exit 124", 124),
        ("exit 255", 255),
        ("kill -HUP $$", 129),
        ("kill -INT $$", 130),
        ("kill -ABRT $$", 134),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
        ("kill -PIPE $$", 141),
        ("kill -TERM $$", 143),
    ],
)
def test_status_is_passed_on(cli, script, status):
    done = cli("run", "--", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_program_that_does_not_exist(cli):
    done = cli("run", "--", "no-such-program")
    assert done.returncode == 127
    assert done.stderr == "subwatch: cannot run 'no-such-program': No such file or directory\n"


def test_shell_line_as_program_gets_advice(cli):
    done = cli("run", "--", "ls -l")
    assert done.returncode == 127
    assert "write: subwatch run -- sh -c '...'" in done.stderr


def test_program_that_may_not_run(cli, tmp_path):
    (tmp_path / "plain").write_text("no program")
    for program in (tmp_path / "plain", tmp_path):
        done = cli("run", "--", program)
        assert done.returncode == 126
        assert "Permission denied" in done.stderr


def test_no_program_at_all(cli):
    for arguments in (["run"], ["run", "--"], ["run", "--quiet"]):
        done = cli(*arguments)
        assert done.returncode == 125
        assert "no command is given" in done.stderr


@pytest.mark.parametrize("options", [["--timeout", "0.3"], ["--idle-timeout", "300ms"]])
def test_timeouts_are_124(cli, options, records, tmp_path):
    begun = time.monotonic()
    done = cli("run", *options, "--json", "r.jsonl", "--", "sleep", "20")
    assert done.returncode == 124
    assert time.monotonic() - begun < 10
    assert records(tmp_path / "r.jsonl")[-1]["signal"] == "SIGTERM"


def test_a_stubborn_command_is_killed_after_the_grace_time(cli, records, tmp_path):
    script = "trap '' TERM; while :; do sleep 0.05; done"
    done = cli("run", "--timeout", "0.5", "--grace", "0.3", "--json", "r.jsonl", "--", "sh", "-c", script)
    assert done.returncode == 124
    assert records(tmp_path / "r.jsonl")[-1]["signal"] == "SIGKILL"


def test_stop_on_is_a_success(cli):
    done = cli("run", "--stop-on", "ready to .*", "--", "sh", "-c", "echo ready to serve >&2; exec sleep 20")
    assert done.returncode == 0


def test_tree_ends_all(cli):
    done = cli("run", "--tree", "--timeout", "0.5", "--", "sh", "-c", "sleep 77.123 & sleep 77.123; wait")
    assert done.returncode == 124
    assert subprocess.run(["pgrep", "-f", "sleep 77[.]123"], check=False).returncode == 1


def test_options_of_the_command_are_its_own(cli):
    assert cli("run", "sh", "-c", "echo $0 $1", "--timeout", "--").stdout == "--timeout --\n"
    assert cli("run", "--", "printf", "%s ", "--", "--json").stdout == "-- --json "


@pytest.mark.parametrize(
    "name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT"]
)
@pytest.mark.parametrize("tree", [[], ["--tree"]], ids=["group", "tree"])
def test_each_signal_is_passed_on_once(start, name, tree):
    process = start("run", *tree, "--", sys.executable, "-c", COUNT, name, start_new_session=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=30) == (f"{name}\n", "")
    assert process.returncode == 0


def test_a_signal_that_kills_the_command_is_the_status(start):
    process = start("run", "--", "sh", "-c", "echo ready; exec sleep 20")
    process.stdout.readline()
    process.terminate()
    assert process.wait(20) == 143


def test_what_the_command_sends_to_its_own_group_comes_once(start):
    script = COUNT.replace('print("ready", flush=True)', "import os; os.kill(0, signal.SIGTERM)")
    process = start("run", "--", sys.executable, "-c", script, "SIGTERM", start_new_session=True)
    assert process.communicate(timeout=30)[0] == "SIGTERM\n"


def test_ignored_signals_stay_ignored(environment):
    """As nohup has it: a hangup neither ends the tool nor the command."""
    script = "'echo ready; sleep 0.5; grep SigIgn /proc/$$/status'"
    line = f"trap '' HUP; exec {sys.executable} -m subwatch run -- sh -c {script}"
    with subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, text=True, env=environment) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        ignored = int(process.stdout.read().split()[1], 16)
    assert process.returncode == 0
    assert ignored & 1 << (signal.SIGHUP - 1)


def test_signal_mask_and_dispositions_reach_the_command_as_they_were(cli):
    show = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status"
    plain = subprocess.run(["sh", "-c", show], capture_output=True, text=True, check=True).stdout
    assert cli("run", "--", "sh", "-c", show).stdout == plain


def test_environment_and_descriptors_reach_the_command(environment):
    """Also in the C locale, where Python sets LC_CTYPE for itself; and what the shell opened stays open."""
    del environment["LANG"]
    read, write = os.pipe()
    script = "env | grep -v ^_= | sort; echo through >&$1"
    try:
        outputs = []
        for wrapper in ([], [sys.executable, "-m", "subwatch", "run", "--"]):
            done = subprocess.run(
                [*wrapper, "bash", "-c", script, "bash", str(write)],
                env=environment, pass_fds=[write], stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            outputs.append((done.stdout, os.read(read, 100)))
        assert outputs[0] == outputs[1]
        assert outputs[0][1] == b"through\n"
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_stay_closed(environment, closed, tmp_path):
    def seen(wrapper):
        show = f"for n in 0 1 2; do test -e /proc/$$/fd/$n && o=$o,$n; done; echo $o, > {tmp_path}/seen"
        line = f"{wrapper} sh -c '{show}' {closed}"
        assert subprocess.run(["bash", "-c", line], env=environment, check=False).returncode == 0
        return set((tmp_path / "seen").read_text().split(",")) - {"", "\n"}

    # what it says on stderr goes to the sinks alone, where stderr was closed
    assert seen(f"{sys.executable} -m subwatch run --json {tmp_path}/r.jsonl --") == seen("") | {"2"}
    assert "event" in (tmp_path / "r.jsonl").read_text()
