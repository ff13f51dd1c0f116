"""The guiding example: a real backup of a real PostgreSQL cluster, watched live."""

from __future__ import annotations

import logging
import subprocess
from subprocess import PIPE

import pytest

import subwatch

pytestmark = pytest.mark.shared_children


@pytest.fixture(scope="module")
def cluster(pg):
    cluster = pg.Cluster()
    yield cluster
    cluster.close()


@pytest.fixture
def target(cluster, request):
    return cluster.folder / request.node.name.replace("[", "-").replace("]", "")


@pytest.mark.slow
def test_backup(front, cluster, target):
    done = front(
        cluster.backup(target, "--max-rate", "32M"),
        check=True,
        text=True,
        capture=False,
        stdout=PIPE,
        stderr=PIPE,
        cwd="/",
    )
    assert done.error is None
    assert (done.returncode, done.stdout) == (0, "")
    lines = done.seen.lines
    # all of stderr, in its order; text mode makes every ending a newline
    assert "".join(line.text + "\n" for line in lines) == done.stderr
    updates = [line for line in lines if line.progress is not None and line.progress.fraction is not None]
    assert len(updates) >= 2, "progress is recognised"
    fractions = [line.progress.fraction for line in updates]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert updates[-1].progress.total > 50_000
    assert updates[-1].progress.unit == "kB"
    spread = (lines[-1].time_ns - lines[0].time_ns) / 1e9
    assert spread > 0.5 * done.exit.duration > 0.4, "the lines came while it ran"
    early = sum(moment < done.seen.arrived[-1] - 0.2 for moment in done.seen.arrived)
    assert early >= 4, "and were passed on at once"
    assert done.seen.texts[0].startswith("pg_basebackup: initiating base backup")
    assert done.seen.texts[-1] == "pg_basebackup: base backup completed"
    assert done.exit.reason == "exited"
    verified = subwatch.run(
        cluster.command("pg_verifybackup", target), capture_output=True, text=True, cwd="/", sinks=[]
    )
    assert verified.returncode == 0, verified.stderr
    assert "backup successfully verified" in verified.stdout


def test_result_is_that_of_subprocess(front, cluster, target):
    """The same command by subprocess.run writes the same lines, but for figures and names of the moment."""
    plain = subprocess.run(
        cluster.backup(f"{target}-plain"), capture_output=True, text=True, cwd="/", check=True
    )
    done = front(cluster.backup(target), text=True, check=True, cwd="/")
    assert done.returncode == plain.returncode
    assert done.stdout == plain.stdout

    def steps(stderr):
        return [line.split('"')[0][:34] for line in stderr.splitlines() if line.startswith("pg_basebackup:")]

    assert steps(done.stderr) == steps(plain.stderr)


@pytest.mark.parametrize("name", ["run", "aio"])
def test_failure_says_why(name, helpers, cluster, target, caplog):
    caplog.set_level(logging.INFO)
    command = cluster.backup(target)
    command[command.index("-p") + 1] = "1"
    done = helpers.Front(name)(command, check=True, text=True, sinks=["logging"], cwd="/")
    assert isinstance(done.error, subprocess.CalledProcessError)
    assert done.error.returncode == 1
    why = "Connection refused"
    assert why in done.error.stderr
    assert why in done.error.__notes__[0]
    logged = [record for record in caplog.records if record.name.startswith("subwatch.")]
    assert any(why in record.getMessage() for record in logged)
    said = next(line for line in done.seen.lines if "pg_basebackup: error:" in line.text)
    assert said.level == logging.WARNING
    assert logged[-1].levelno == logging.ERROR
    assert "exited with code 1" in logged[-1].getMessage()
    assert done.exit.failed
