"""The spool: what a dead server or a killed process leaves behind is delivered by whoever runs next."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import subwatch
from subwatch_loki import LokiSink, _spool
from subwatch_loki._encode import Batch
from subwatch_loki._spool import Spool

DEAD = "http://127.0.0.1:9"
FAST = {"batch_bytes": 4000, "retry_min": 0.02, "retry_max": 0.2, "timeout": 0.5}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "loki.spool"


def job(url, path, label, lines=100, close=5, **options):
    """A short-lived process that runs one child; returns what it has printed."""
    code = f"""
import subprocess, sys, subwatch
from subwatch_loki import LokiSink
sink = LokiSink({url!r}, spool={str(path)!r}, labels={{"test": {label!r}}}, **{ {**FAST, **options}!r})
kept = []
class Keep:
    def open(self, run): kept.append(sink.open(run)); return kept[-1]
    def close(self, timeout): return 0
child = [sys.executable, "-c", "import sys\\nfor n in range({lines}): print('line', n, file=sys.stderr)"]
subwatch.Watch(sinks=[Keep()]).run(child, stderr=subprocess.DEVNULL)
left = sink.close({close})
print(left, kept[0].dropped)
"""
    return [sys.executable, "-W", "error", "-c", code]


def run_job(*arguments, **options):
    done = subprocess.run(job(*arguments, **options), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    left, dropped = map(int, done.stdout.split())
    return left, dropped, done.stderr


def stored(path):
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT coalesce(sum(entries), 0) FROM batch").fetchone()[0]
    db.close()
    return found


def lost(path):
    with sqlite3.connect(path) as db:
        found = dict(db.execute("SELECT reason, sum(entries) FROM lost GROUP BY reason"))
    db.close()
    return found


def numbers(entries):
    found = {}
    for _, _, metadata, _ in entries:
        found.setdefault(metadata["run_id"], []).append(metadata.get("line"))
    return list(found.values())


def complete(lines=100):
    return [None, *(str(n) for n in range(1, lines + 1)), None]


def test_a_cron_job_whose_loki_is_down_loses_nothing(make_server, loki_at, path):
    server = make_server()
    local, port = loki_at(server.url), server.port
    server.stop()
    begun = time.monotonic()
    left, dropped, err = run_job(server.url, path, local.label)
    assert time.monotonic() - begun < 6
    assert (left, dropped) == (0, 0)
    assert "102 records stay in the spool" in err
    assert stored(path) == 102
    back = make_server(server.store, port)
    left, dropped, err = run_job(server.url, path, local.label)
    assert (left, dropped, err) == (0, 0, "")
    assert stored(path) == 0
    assert numbers(local.entries(count=204)) == [complete(), complete()]
    assert [body for _, body in back.requests] == list(dict.fromkeys(body for _, body in back.requests))


def test_files_are_private(path):
    run_job(DEAD, path, "x")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_living_server_gets_all_at_once_and_the_spool_is_empty(local, server, path):
    assert run_job(server.url, path, local.label) == (0, 0, "")
    assert numbers(local.entries(count=102)) == [complete()]
    assert stored(path) == 0


@pytest.mark.slow
def test_the_oldest_goes_first(make_server, loki_at, path):
    server = make_server()
    local, port = loki_at(server.url), server.port
    server.stop()
    for _ in range(3):
        run_job(server.url, path, local.label, lines=10)
    back = make_server(server.store, port)
    run_job(server.url, path, local.label, lines=10)
    arrival = [stamp for stamp, _ in next(iter(back.store.tenants["fake"].values())).entries]
    assert len(arrival) == 48
    assert arrival == sorted(arrival)


def test_sigkill_leaves_at_most_the_last_second_behind(make_server, loki_at, path):
    server = make_server()
    local, port = loki_at(server.url), server.port
    server.stop()
    code = f"""
import subprocess, sys, subwatch
from subwatch_loki import LokiSink
sink = LokiSink({server.url!r}, spool={str(path)!r}, labels={{"test": {local.label!r}}}, batch_seconds=0.2)
child = "for n in `seq 50`; do echo line $n >&2; done; echo told; sleep 60"
subwatch.run(["sh", "-c", child], sinks=[sink], stderr=subprocess.DEVNULL)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"told\n"
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert stored(path) == 51
    make_server(server.store, port)
    run_job(server.url, path, local.label, lines=1)
    assert numbers(local.entries(count=54)) == [complete(50)[:-1], complete(1)]
    assert stored(path) == 0


def test_a_push_in_flight_at_the_end_is_delivered_once(make_server, loki_at, lokiserver, path):
    """Stored, but not answered in time: the next run sends the same bytes, and Loki has them already."""
    server = make_server()
    local = loki_at(server.url)
    server.always = lokiserver.Fault(hang="before", store=True)
    left, dropped, _ = run_job(server.url, path, local.label, batch_bytes=2**20, timeout=30, close=0.3)
    assert (left, dropped) == (0, 0)
    assert stored(path) == 102
    assert len(local.entries()) > 0
    server.always = None
    server.released.set()
    assert run_job(server.url, path, local.label, lines=1)[:2] == (0, 0)
    assert numbers(local.entries(count=105)) == [complete(), complete(1)]
    assert server.store.sent_twice > 0
    bodies = [body for _, body in server.requests]
    assert bodies[0] == bodies[1]


def test_several_processes_share_a_spool(make_server, loki_at, lokiserver, path):
    server = make_server()
    local = loki_at(server.url)
    server.always = lokiserver.Fault(status=503)
    jobs = [
        subprocess.Popen(
            job(server.url, path, local.label, lines=400), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    time.sleep(1.0)
    server.always = None
    for each in jobs:
        out, err = each.communicate(timeout=60)
        assert out.split() == [b"0", b"0"], err
    run_job(server.url, path, local.label, lines=400)
    assert stored(path) == 0
    assert numbers(local.entries(count=5 * 402)) == [complete(400)] * 5
    assert server.store.sent_twice == 0, "one process at a time sends"


def test_another_process_delivers_ours(server, local, lokiserver, path):
    """A holder of the turn that is alive sends what a second process has stored; that one waits for it."""
    server.always = lokiserver.Fault(status=503)
    holder = LokiSink(server.url, spool=path, labels={"test": local.label}, **FAST)
    subwatch.run(["true"], sinks=[holder])
    process = subprocess.Popen(
        job(server.url, path, local.label), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(1.0)
    server.always = None
    out, err = process.communicate(timeout=30)
    assert (out.split(), err) == ([b"0", b"0"], b"")
    assert holder.close(5) == 0
    assert len(local.entries(count=104)) == 104


def test_destinations_do_not_mix(server, local, make_server, path):
    run_job(DEAD, path, "x", lines=5)
    run_job(server.url, path, local.label, lines=5)
    assert len(local.entries(count=7)) == 7
    assert stored(path) == 7


def test_the_spool_is_bounded_and_the_oldest_give_way(path, caplog):
    left, dropped, err = run_job(DEAD, path, "x", lines=5000, spool_bytes=20_000)
    assert left == 0
    assert dropped > 1000
    assert stored(path) + dropped == 5002
    assert lost(path) == {"spool_full": dropped}
    assert "the spool is full" in err
    assert path.stat().st_size < 200_000


def test_what_is_being_sent_does_not_give_way(server, local, path):
    """It would be delivered, and counted as lost as well."""
    push = server.push

    def slowly(headers, body):
        answer = push(headers, body)
        time.sleep(0.1)
        return answer

    server.push = slowly
    left, dropped, _ = run_job(
        server.url, path, local.label, lines=5000, spool_bytes=5000, timeout=5, close=30
    )
    assert dropped > 1000
    assert lost(path) == {"spool_full": dropped}
    assert stored(path) == left == 0
    assert len(local.entries(count=5002 - dropped)) + dropped == 5002


def test_what_another_process_sends_does_not_give_way(path):
    sending, storing = (Spool(path, name, 100) for name in ("sent", "stored"))
    for age in (3, 2, 1):
        sending.add(Batch(bytes(30), 10, -age, -age))
    assert sending.oldest().oldest == -3
    assert [entries for _, entries in storing.add(Batch(bytes(60), 5, 0, 0))] == [10, 10]
    assert sending.remove(sending.oldest().row)
    assert lost(path) == {"spool_full": 20}
    for spool in (sending, storing):
        spool.close()


def test_the_counts_agree_whatever_happens(make_server, loki_at, lokiserver, path):
    """Four processes, a spool too small for them, a server that comes and goes, and a drain at the end."""
    server = make_server()
    local = loki_at(server.url)
    troubles = [{"status": 503}, {"reset": "middle", "store": True}, {}, {"hang": "before", "store": True}]
    each_job = job(server.url, path, local.label, lines=1000, spool_bytes=8000)
    jobs = [
        subprocess.Popen(each_job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for trouble in troubles * 3:
        server.always = lokiserver.Fault(**trouble) if trouble else None
        time.sleep(0.2)
    server.always = None
    server.released.set()
    for each in jobs:
        out, err = each.communicate(timeout=60)
        assert out.split()[:1] == ["0"], err
    done = command("spool", "drain", "--spool", path, "--url", server.url)
    assert done.returncode == 0, done.stderr
    assert stored(path) == 0
    assert len(local.entries()) + sum(lost(path).values()) == 4 * 1002


def test_some_of_the_disk_is_left_free(server, local, path, monkeypatch, caplog):
    """On a disk that is full nothing could be deleted either."""
    monkeypatch.setattr(_spool, "RESERVE", 2**70)
    sink = LokiSink(server.url, spool=path, labels={"test": local.label}, **FAST)
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(5) == 0
    assert len(local.entries(count=2)) == 2
    assert stored(path) == 0
    assert "disk is full" in caplog.text


def test_entries_that_have_become_too_old_are_dropped_and_counted(make_server, loki_at, path):
    server = make_server()
    local, port = loki_at(server.url), server.port
    server.stop()
    run_job(server.url, path, local.label)
    make_server(server.store, port)
    time.sleep(1.0)
    left, _, err = run_job(server.url, path, local.label, lines=1, max_age=0.9)
    assert left == 0
    assert "older than the server takes" in err
    assert stored(path) == 0
    assert lost(path) == {"too_old": 102}
    assert len(local.entries(count=3)) == 3


def test_a_full_disk_costs_nothing_while_the_server_lives(server, local, path):
    """The file cannot grow (RLIMIT_FSIZE): memory takes over, and it is said once."""
    command = job(server.url, path, local.label, lines=3000)
    limit = 100_000
    done = subprocess.run(
        [sys.executable, "-c", FSIZE.format(limit=limit), *command],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    left, dropped = map(int, done.stdout.split())
    assert (left, dropped) == (0, 0)
    assert numbers(local.entries(count=3002)) == [complete(3000)]
    assert done.stderr.count("cannot be used, memory is") == 1
    # What could not be deleted is sent once more, and is there once.
    run_job(server.url, path, local.label, lines=1)
    assert stored(path) == 0
    assert numbers(local.entries(count=3005)) == [complete(3000), complete(1)]


FSIZE = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_full_disk_and_a_dead_server_are_counted(path):
    command = job(DEAD, path, "x", lines=20_000, batch_bytes=20_000)
    done = subprocess.run(
        [sys.executable, "-c", FSIZE.format(limit=100_000), *command],
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    _, dropped = map(int, done.stdout.split())
    assert stored(path) > 0
    assert stored(path) + dropped == 20_002
    assert done.stderr.count("cannot be used, memory is") == 1


def test_a_file_that_is_no_spool(server, local, path, caplog):
    path.parent.mkdir()
    path.write_text("not a database, but long enough to look like one " * 100)
    sink = LokiSink(server.url, spool=path, labels={"test": local.label}, **FAST)
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(5) == 0
    assert len(local.entries(count=2)) == 2
    assert [record.getMessage() for record in caplog.records if "cannot be used" in record.getMessage()]


def test_unwelcome_batches_stay_in_the_spool(server, local, lokiserver, path, caplog):
    server.always = lokiserver.Fault(status=401, text="no org id")
    sink = LokiSink(server.url, spool=path, labels={"test": local.label}, **FAST)
    subwatch.run(["true"], sinks=[sink])
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(2) == 0
    assert stored(path) == 4
    assert len(server.requests) == 1


# -- the command ---------------------------------------------------------------------------------------------


def command(*arguments, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOKI_")}
    return subprocess.run(
        [sys.executable, "-m", "subwatch_loki", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**environment, **variables},
    )  # fmt: skip


def test_status_and_drain(make_server, loki_at, path):
    server = make_server()
    local, port = loki_at(server.url), server.port
    assert command("spool", "status", "--spool", path).stdout == f"{path}: empty\n"
    server.stop()
    run_job(server.url, path, local.label)
    done = command("spool", "status", "--spool", path)
    assert done.returncode == 1
    assert f"{server.url}/loki/api/v1/push: 102 entries in " in done.stdout
    found = json.loads(command("spool", "status", "--json", "--spool", path).stdout)
    assert found[f"{server.url}/loki/api/v1/push"]["entries"] == 102
    done = command("spool", "drain", "--spool", path, "--timeout", 1)
    assert done.returncode == 1
    assert "0 of 102 entries done" in done.stdout
    make_server(server.store, port)
    done = command("spool", "drain", "--spool", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "102 of 102 entries done, 0 of them lost" in done.stdout
    assert numbers(local.entries(count=102)) == [complete()]
    assert command("spool", "drain", "--spool", path).returncode == 0


def test_drain_ends_when_the_server_does_not_want_us(make_server, loki_at, path):
    server = make_server(auth=True)
    run_job(server.url, path, "x", lines=1)
    begun = time.monotonic()
    done = command("spool", "drain", "--spool", path)
    assert time.monotonic() - begun < 20, "not after the 60 seconds that it may take"
    assert done.returncode == 1
    assert "set tenant=" in done.stderr
    assert "0 of 3 entries done" in done.stdout
    assert stored(path) == 3


def test_drain_wants_to_know_which_server(path):
    run_job(DEAD, path, "x", lines=1)
    run_job("http://127.0.0.1:10", path, "x", lines=1)
    done = command("spool", "drain", "--spool", path)
    assert done.returncode == 2
    assert "say which one with --url" in done.stderr
