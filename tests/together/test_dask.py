"""`Watch.map` on a real engine: Dask distributed with several worker processes, one of them killed."""

from __future__ import annotations

import collections
import os
import signal
import time

import pytest
from dask.config import set as dask_settings
from distributed import Client, LocalCluster

import subwatch
from subwatch.records import Exit, Line, Start

pytestmark = [
    pytest.mark.shared_children,  # Dask's nanny processes end in their own time
    pytest.mark.filterwarnings("default"),  # those of Dask are not ours
]


class Sink:
    name = "test"

    def __init__(self):
        self.runs = collections.defaultdict(list)

    def open(self, run):
        return _Stream(self.runs[run.id])

    def close(self, timeout):
        return 0


class _Stream:
    def __init__(self, records):
        self._records = records

    def emit(self, records):
        self._records += records

    def close(self):
        pass


@pytest.fixture(scope="module")
def dask():
    settings = {"n_workers": 3, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        dask_settings({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(host="127.0.0.1", silence_logs=False, **settings) as cluster,
        Client(cluster) as client,
    ):
        yield client


def workers(client):
    return set(client.run(os.getpid).values())


@pytest.mark.slow
def test_the_same_code_on_dask(dask):
    sink = Sink()
    commands = [["sh", "-c", f"echo $PPID {n} >&2; exit {n % 3}"] for n in range(60)]
    watch = subwatch.Watch(sinks=[sink], tags={"job": "fleet"})
    results = list(watch.map(commands, executor=dask.get_executor(), records="caller", stderr=-3))
    assert [result.returncode for result in results] == [n % 3 for n in range(60)]
    lines = [
        record.text.split() for records in sink.runs.values() for record in records if type(record) is Line
    ]
    assert sorted(int(number) for _, number in lines) == list(range(60))
    assert {int(pid) for pid, _ in lines} == workers(dask)
    assert all([type(record) for record in records] == [Start, Line, Exit] for records in sink.runs.values())


def test_a_worker_that_is_killed_is_reported_and_nothing_is_lost(dask, tmp_path):
    """Dask starts a new worker and repeats the task there; the first attempt is told of all the same."""
    sink = Sink()
    begun = tmp_path / "begun"
    # the first to come this far has its worker killed; whoever comes after finishes
    script = f"echo $0 >&2; if mkdir {begun} 2>/dev/null; then echo $PPID >{begun}/pid; sleep 60; fi"
    commands = [["sh", "-c", script, str(n)] for n in range(12)]
    watch = subwatch.Watch(sinks=[sink])
    results = watch.map(commands, executor=dask.get_executor(), records="caller", stderr=-3, ordered=False)
    deadline = time.monotonic() + 30
    while not (begun / "pid").exists() or not (begun / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while len(sink.runs) < 1:
        time.sleep(0.02)
    time.sleep(0.3)  # its first line is on its way
    os.kill(int((begun / "pid").read_text()), signal.SIGKILL)
    done = list(results)
    assert sorted(result.index for result in done) == list(range(12))
    assert [result.returncode for result in done] == [0] * 12
    ends = [records[-1] for records in sink.runs.values()]
    assert collections.Counter(ended.reason for ended in ends) == {"exited": 12, "lost": 1}
    (lost,) = [ended for ended in ends if ended.reason == "lost"]
    assert lost.failed
    assert [line.text for line in lost.tail] == [lost.run.argv[-1]]


def test_a_task_that_is_not_repeated_is_reported_as_lost(dask):
    """A command that kills every worker it is given: Dask gives up, and says so."""
    sink = Sink()
    watch = subwatch.Watch(sinks=[sink])
    command = ["sh", "-c", "echo dying >&2; sleep 0.3; kill -9 $PPID"]
    (result,) = watch.map([command], executor=dask.get_executor(), records="caller", stderr=-3)
    assert type(result.error).__name__ == "KilledWorker"
    assert (result.exit.reason, result.returncode) == ("lost", None)
    assert {records[-1].reason for records in sink.runs.values()} == {"lost"}
