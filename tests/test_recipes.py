"""The recipes of the README run as they stand there, but for addresses and paths."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.shared_children

README = Path(__file__).parent.parent / "README.md"
RECIPES = dict(re.findall(r"<!-- recipe: (\w+) -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL))
SUBWATCH = str(Path(sys.executable).with_name("subwatch"))


def program(name, package):
    """The path of a program that a recipe runs."""
    path = shutil.which(name)
    assert path, f"{name} is missing: apt-get install {package}"
    return path


def script(code, folder):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, timeout=120
    )


def percents(text):
    return [int(number) for number in re.findall(r"^(\d+)%", text, re.MULTILINE)]


def test_backup(pg, tmp_path):
    cluster = pg.Cluster(megabytes=20)
    try:
        address = f"postgresql://{pg.USER}:secret@127.0.0.1:{cluster.port}/postgres"
        code = RECIPES["backup"].replace("postgresql://backup:secret@db/postgres", address)
        done = script(code.replace('"-P"', '"-P", "-c", "fast"'), tmp_path)
    finally:
        cluster.close()

    assert done.returncode == 0, done.stderr
    assert percents(done.stdout)[-1] == 100
    assert "INFO:subwatch.pg_basebackup:pg_basebackup: pg_basebackup: base backup completed" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert (tmp_path / "pgdata" / "backup_manifest").exists()


def test_rsync(tmp_path):
    program("rsync", "rsync")
    (tmp_path / "source").mkdir()
    for number in range(20):
        (tmp_path / "source" / str(number)).write_bytes(os.urandom(200_000))
    done = script(RECIPES["rsync"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert percents(done.stdout)[-1] == 100
    assert len(list((tmp_path / "target").iterdir())) == 20


def test_ffmpeg(tmp_path):
    made = ["-nostdin", "-f", "lavfi", "-i", "testsrc=duration=20:size=640x480", "-c:v", "mpeg4", "input.mkv"]
    subprocess.run([program("ffmpeg", "ffmpeg"), *made], cwd=tmp_path, check=True, capture_output=True)
    done = script(RECIPES["ffmpeg"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert percents(done.stdout)[-1] >= 95
    assert "of 20.0 s" in done.stdout
    assert (tmp_path / "output.mp4").exists()


def test_ffmpeg_says_why_it_failed(tmp_path):
    program("ffmpeg", "ffmpeg")
    done = script(RECIPES["ffmpeg"], tmp_path)

    assert done.returncode == 1
    assert "failed:" in done.stdout
    assert "No such file or directory" in done.stdout


APP = """
from celery import Celery
app = Celery("jobs", broker="filesystem://", backend="file://{folder}/results")
app.conf.broker_transport_options = {{"data_folder_in": "{folder}/queue", "data_folder_out": "{folder}/queue"}}
"""
CLIENT = """
import time, jobs
good = jobs.command.delay("sh", "-c", "for i in 10 50 100; do echo $i% >&2; sleep 0.4; done")
bad = jobs.command.delay("sh", "-c", "printf 'disk %s' full >&2; exit 3")
slow = jobs.command.apply_async(args=["sh", "-c", "echo $$ > pid; exec sleep 120"], soft_time_limit=1)
states, until = set(), time.monotonic() + 60
while time.monotonic() < until and not (good.ready() and bad.ready() and slow.ready()):
    result = good.backend.get_task_meta(good.id)
    states.add((result["status"], str(result["result"])))
    time.sleep(0.05)
assert any(status == "PROGRESS" and "0.5" in text for status, text in states), states
assert (good.state, bad.state) == ("SUCCESS", "FAILURE"), (good.state, bad.state)
assert "said last:\\n  disk full" in bad.traceback, bad.traceback
assert "SoftTimeLimitExceeded" in slow.traceback, slow.traceback
"""


@pytest.mark.slow
def test_celery(tmp_path, helpers):
    """A real worker with a process of its own for tasks; broker and results are folders."""
    for name in ("queue", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "jobs.py").write_text(APP.format(folder=tmp_path) + RECIPES["celery"])
    worker = [
        sys.executable,
        "-m",
        "celery",
        "-A",
        "jobs",
        "worker",
        "--pool",
        "prefork",
        "-c",
        "1",
        "-l",
        "INFO",
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(worker, cwd=tmp_path, stdout=log, stderr=log) as proc,
    ):
        done = subprocess.run(
            [sys.executable, "-c", CLIENT], cwd=tmp_path, capture_output=True, text=True, timeout=90
        )
        proc.terminate()
    said = (tmp_path / "log").read_text()

    assert "No module named celery" not in said, "celery is missing: pip install --group test"
    assert done.returncode == 0, done.stderr + said
    assert re.search(r"ForkPoolWorker.* sh: disk full$", said, re.MULTILINE)
    assert helpers.wait_gone(int((tmp_path / "pid").read_text()))


@pytest.fixture
def operator(monkeypatch):
    """The operator, as a class with a base of Airflow's shape."""

    class BaseOperator:
        def __init__(self, *, task_id):
            self.task_id = task_id

    for name in ("airflow", "airflow.sdk"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(BaseOperator=BaseOperator))
    names = {}
    exec(RECIPES["airflow"], names)  # noqa: S102
    return lambda *command: names["CommandOperator"](task_id="backup", command=list(command))


CONTEXT = {"ti": SimpleNamespace(dag_id="nightly", task_id="backup")}


def test_airflow(operator, caplog):
    caplog.set_level("INFO")
    operator("sh", "-c", "echo copying >&2").execute(CONTEXT)

    assert "sh: copying" in caplog.messages


def test_airflow_failure_says_why(operator):
    with pytest.raises(RuntimeError, match=r"(?s)exited with code 3.*disk full"):
        operator("sh", "-c", "echo disk full >&2; exit 3").execute(CONTEXT)


def test_airflow_kill_ends_all_of_the_command(operator, tmp_path, helpers):
    """Airflow calls on_kill while execute waits."""
    task = operator("sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait")
    pid = tmp_path / "pid"

    def kill():
        helpers.wait_for(pid)
        while task.child is None:
            time.sleep(0.01)
        task.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(RuntimeError, match="SIGTERM"):
        task.execute(CONTEXT)
    killer.join()

    assert helpers.wait_gone(int(pid.read_text()))


@pytest.fixture
def backup(tmp_path):
    """A command that stands for /usr/local/bin/backup: it says a line, and fails where it is told to."""
    path = tmp_path / "backup"
    path.write_text('#!/bin/sh\necho "copying $PGHOST" >&2\nexit ${1:-0}\n')
    path.chmod(0o755)
    return str(path)


def here(text, backup):
    return text.replace("/opt/subwatch/bin/subwatch", SUBWATCH).replace("/usr/local/bin/backup", backup)


def test_systemd(tmp_path, backup):
    unit = tmp_path / "backup.service"
    unit.write_text(here(RECIPES["systemd"], backup).replace("User=postgres\n", ""))
    verified = subprocess.run(
        [program("systemd-analyze", "systemd"), "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
    )
    assert (verified.returncode, unit.name in verified.stderr) == (0, False), verified.stderr

    (tmp_path / "subwatch.toml").write_text(f'sinks = ["jsonlines:path={tmp_path}/records"]\n')
    command = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)[1].replace("%d", str(tmp_path))
    done = subprocess.run([*shlex.split(command), "5"], capture_output=True, text=True, env={"PGHOST": "db"})
    assert (done.returncode, done.stderr) == (5, "copying db\n")
    assert '"copying db"' in (tmp_path / "records").read_text()


@pytest.mark.parametrize(("status", "mail"), [("0", ""), ("4", "copying db\n")])
def test_cron(tmp_path, backup, status, mail):
    """The command of the line, run as cron does: by sh, with next to no environment; what it prints is mailed."""
    line = re.fullmatch(r"(?:[\d*]+ +){5}(.*)\n", RECIPES["cron"])[1]
    assert "%" not in line, "cron makes newlines of it"
    env = {
        "HOME": str(tmp_path),
        "LOGNAME": "root",
        "SHELL": "/bin/sh",
        "PATH": "/usr/bin:/bin",
        "PGHOST": "db",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", f"{here(line, backup)} {status}"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )

    assert done.returncode == int(status)
    assert done.stdout == ""
    assert done.stderr.startswith(mail)
    assert bool(done.stderr) == bool(mail)
    assert "copying db" in (tmp_path / "backup.log").read_text()
