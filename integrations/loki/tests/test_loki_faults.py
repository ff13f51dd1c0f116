"""What goes wrong between us and Loki: nothing lost uncounted, nothing stored twice, the child unaffected."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import threading
import time

import pytest

import subwatch
from subwatch_loki import LokiSink, _outbox, _push, _sender

LINES = 300
# Small batches and short pauses, so that every run takes many requests and a test no time.
FAST = {"batch_bytes": 4000, "retry_min": 0.02, "retry_max": 0.2, "timeout": 0.5, "flush_timeout": 5}


def script(lines=LINES, pause=0.0):
    say = f"print('line', n, file=sys.stderr, flush=True); time.sleep({pause})"
    code = f"import sys, time\nfor n in range({lines}): {say}"
    return [sys.executable, "-c", code]


class Account:
    """One run, and where its records went."""

    def __init__(self, local, lines=LINES, pause=0.0, close=10.0, tenant=None, **options):
        self.local = local
        sink = LokiSink(**{**local.options, **FAST, **options})
        watch = subwatch.Watch(sinks=[self.keep_stream(sink)])
        begun = time.monotonic()
        self.done = watch.run(script(lines, pause), stderr=subprocess.DEVNULL)
        self.run_seconds = time.monotonic() - begun
        begun = time.monotonic()
        self.left = sink.close(close)
        self.close_seconds = time.monotonic() - begun
        self.written = lines + 2
        self.spooled = sink._shipper._outbox.spool and spooled(options["spool"])
        self.dropped = self.stream.dropped

    def keep_stream(self, sink):
        account = self

        class Keep:
            name = "loki"

            def open(self, run):
                account.stream = sink.open(run)
                return account.stream

            def close(self, timeout):
                return 0

        return Keep()

    def check(self, delivered=None):
        """The counts agree exactly, nothing is there twice, the child never noticed."""
        assert self.done.returncode == 0
        entries = self.local.entries(count=self.written - self.dropped - (self.spooled or 0))
        numbers = [metadata.get("line") for _, _, metadata, _ in entries]
        assert len(numbers) == len(set(numbers)) + (numbers.count(None) == 2)
        assert self.written == len(entries) + (self.spooled or 0) + self.dropped
        if delivered is not None:
            assert len(entries) == delivered
        return entries


def spooled(path):
    from subwatch_loki._spool import Spool

    spool = Spool(path, "", 1)
    try:
        return sum(each["entries"] for each in spool.status().values())
    finally:
        spool.close()


def said(caplog, text):
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


@pytest.fixture
def fault(lokiserver):
    return lokiserver.Fault


def outage(server, fault, seconds):
    """Have every push answered so for a while."""
    server.always = fault
    threading.Timer(seconds, lambda: setattr(server, "always", None)).start()


# -- the server fails, then recovers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500, "text": "internal"},
        {"status": 503},
        {"status": 502, "store": True},
        {"status": 429, "text": "ingestion rate limit exceeded"},
        {"status": 408},
        {"reset": "before"},
        {"reset": "middle"},
        {"reset": "middle", "store": True},
        {"hang": "before", "store": True},
        {"hang": "middle"},
        {"hang": "middle", "store": True},
    ],
    ids=str,
)
def test_passing_faults_cost_nothing(server, local, fault, trouble):
    server.faults.extend([None, fault(**trouble), None, fault(**trouble), fault(**trouble)])
    Account(local).check(LINES + 2)
    if trouble.get("store"):
        assert server.store.sent_twice > 0, "what was stored before the fault came again, and was stored once"


def test_retries_are_byte_identical(server, local, fault):
    server.faults.extend([fault(status=429)] * 5)
    Account(local).check(LINES + 2)
    bodies = [body for _, body in server.requests]
    assert len(set(bodies[:6])) == 1
    assert bodies[6] != bodies[5]


def test_an_outage_of_500s(server, local, fault, caplog):
    outage(server, fault(status=500, text="no"), 2.0)
    with caplog.at_level(logging.INFO, "subwatch"):
        account = Account(local, pause=0.005)
    account.check(LINES + 2)
    assert len(said(caplog, "cannot deliver")) == 1
    assert len(said(caplog, "delivering again")) == 1
    assert len(server.requests) < 150, "it backs off"


@pytest.mark.slow
def test_half_a_minute_of_500s(server, local, fault, caplog):
    """With the default pauses, but for the longest one."""
    outage(server, fault(status=500, text="no"), 30.0)
    account = Account(local, lines=600, pause=0.05, close=30, retry_min=0.5, retry_max=5.0)
    account.check(602)
    assert account.dropped == 0
    assert len(said(caplog, "cannot deliver")) == 1
    assert len(server.requests) < 60, "it backs off"


def test_a_restart_of_the_server(make_server, loki_at):
    first = make_server()
    local = loki_at(first.url)
    servers = [first]

    def restart():
        first.stop()
        time.sleep(0.5)
        servers.append(make_server(first.store, first.port))

    timer = threading.Timer(0.3, restart)
    timer.start()
    account = Account(local, pause=0.004)
    timer.join()
    assert len(servers) == 2
    account.check(LINES + 2)
    assert servers[1].requests


def test_retry_after_is_honoured(server, local, fault):
    server.faults.append(fault(status=429, headers={"Retry-After": "1"}))
    account = Account(local)
    account.check(LINES + 2)
    assert account.run_seconds + account.close_seconds > 1
    assert len(server.requests) < 20


@pytest.mark.parametrize(
    ("after", "date", "seconds"),
    [
        ("120", None, 120),
        ("Sat, 28 Nov 2026 20:00:10 GMT", "Sat, 28 Nov 2026 20:00:00 GMT", 10),
        ("Saturday, 28-Nov-26 20:00:10 GMT", "Sat, 28 Nov 2026 20:00:00 GMT", 10),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, 0),
        ("Sat, 28 Nov 99999 20:00:10 GMT", None, None),
        ("soon", None, None),
        ("-5", None, None),
        (None, None, None),
    ],
)
def test_both_forms_of_retry_after(after, date, seconds):
    headers = {"Retry-After": after, "Date": date}
    assert _push._seconds({name: value for name, value in headers.items() if value}) == seconds


def test_a_retry_after_that_is_a_date(server, local, fault):
    """By the clock of the server, which here is years away from ours."""
    headers = {"Date": "Sat, 28 Nov 2015 20:00:00 GMT", "Retry-After": "Sat, 28 Nov 2015 20:00:02 GMT"}
    server.faults.append(fault(status=503, headers=headers))
    account = Account(local)
    account.check(LINES + 2)
    assert 2 < account.run_seconds + account.close_seconds < 5


def test_a_retry_after_of_nothing_does_not_make_a_storm(server, local, fault):
    server.always = fault(status=429, headers={"Retry-After": "0"})
    Account(local, close=0.5)
    assert len(server.requests) < 100


def test_without_retry_after_it_is_the_backoff(server, local, fault):
    server.faults.append(fault(status=429))
    account = Account(local)
    account.check(LINES + 2)
    assert account.run_seconds + account.close_seconds < 1.5


# -- the server stays away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://loki.invalid:3100"], ids=["refused", "dns"])
def test_an_unreachable_server_holds_nobody_up(local, caplog, url):
    account = Account(local, url=url, close=0.5)
    assert account.done.returncode == 0
    assert account.run_seconds < 4, "the start is not held up, the end by the flush deadline at most"
    assert account.close_seconds < 1.5
    assert account.dropped == account.left == LINES + 2
    assert len(said(caplog, "cannot deliver to")) == 1


def test_many_runs_do_not_each_wait_for_a_dead_server():
    sink = LokiSink("http://127.0.0.1:9", **FAST)
    watch = subwatch.Watch(sinks=[sink])
    watch.run(["true"])
    begun = time.monotonic()
    for _ in range(10):
        watch.run(["true"])
    assert time.monotonic() - begun < 5
    assert sink.close(0.2) == 22


def test_a_hanging_server_holds_nobody_up(server, local, fault, caplog):
    server.always = fault(hang="before")
    account = Account(local, close=0.5, timeout=10.0)
    assert account.run_seconds < 6
    assert len(said(caplog, "no answer in the time for delivery")) == 1
    assert account.close_seconds < 2
    assert account.dropped == account.left == LINES + 2
    account.check(0)


def test_an_event_loop_goes_on_while_the_server_hangs_and_memory_is_full(server, local, fault):
    server.always = fault(hang="before")
    sink = LokiSink(**{**local.options, **FAST, "timeout": 3}, capacity=100_000)
    gaps = []

    async def beat():
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    async def main():
        heart = asyncio.create_task(beat())
        code = "import os, time\nfor n in range(20): os.write(2, b'some words\\n' * 5000); time.sleep(0.05)"
        done = await subwatch.aio.run([sys.executable, "-c", code], sinks=[sink], stderr=subprocess.DEVNULL)
        heart.cancel()
        return done

    assert asyncio.run(main()).returncode == 0
    assert sink.close(0.2) > 0
    assert len(gaps) > 50
    assert max(gaps) < 0.9, "a synchronous caller would be held for a second"


def test_an_answer_that_never_ends_is_an_answer(server, local, fault):
    server.faults.append(
        fault(
            status=400,
            text="entry refused, total ignored: 0 out of 9999",
            headers={"Content-Length": "99999"},
        )
    )
    account = Account(local)
    assert account.dropped == 0


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_memory_is_bounded_and_what_gives_way_is_counted(server, local, fault, policy):
    server.always = fault(status=500, text="no")
    sink = LokiSink(**{**local.options, **FAST}, policy=policy, capacity=50_000)
    stream = []

    class Keep:
        def open(self, run):
            stream.append(sink.open(run))
            return stream[0]

    command = [sys.executable, "-c", "import sys\nfor n in range(20000): sys.stderr.write('line %d\\n' % n)"]
    subwatch.Watch(sinks=[Keep()]).run(command, stderr=subprocess.DEVNULL)
    assert sink._size < 150_000
    assert stream[0].dropped > 5000
    server.always = None
    assert sink.close(10) == 0
    entries = local.entries()
    assert len(entries) + stream[0].dropped == 20_002
    assert entries[-1][2]["event"] == "exit"


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_which_lines_give_way(server, local, fault, policy):
    server.always = fault(status=500, text="no")
    sink = LokiSink(**{**local.options, **FAST}, policy=policy, capacity=50_000)
    before, stream = sink.open(make_run()), sink.open(make_run())
    feed(before, ["x" * 100] * 300)  # more than is on its way behind the queue
    deadline = time.monotonic() + 10
    while len(sink._shipper._outbox._memory) < _outbox.ROOM and time.monotonic() < deadline:
        time.sleep(0.01)  # from now on the queue gives nothing away
    lines = [f"line {n}" for n in range(20_000)]
    for n in range(0, 20_000, 100):
        feed(stream, lines[n : n + 100])
    server.always = None
    assert sink.close(10) == 0
    assert before.dropped == 0
    kept = [line for _, line, _, _ in local.entries() if line[0] == "l"]
    assert 500 < len(kept) == 20_000 - stream.dropped
    assert kept == (lines[-len(kept) :] if policy == "drop_oldest" else lines[: len(kept)])


def test_memory_is_flat_while_a_child_writes_a_million_lines():
    code = """
import resource, subprocess, subwatch, sys
from subwatch_loki import LokiSink
sink = LokiSink("http://127.0.0.1:9", flush_timeout=0.3)
exits = []
child = "import os\\nfor n in range({}): os.write(2, b'some words of a line, as long as many are, and of no meaning\\\\n' * 1000)"
def run(thousands):
    watch = subwatch.Watch(sinks=[sink, Last()])
    watch.run([sys.executable, "-c", child.format(thousands)], stderr=subprocess.DEVNULL)
class Last:
    wants_lines = False
    def open(self, run): return self
    def emit(self, record): exits[:] = [record]
    def close(self, timeout=None): pass
run(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(1000)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
end = exits[-1]
print(grown // 1024, sum(end.lines.values()), end.dropped["loki"])
sink.close(0.3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    grown, written, dropped = map(int, done.stdout.split())
    assert written >= 1_000_000
    assert 10 * 2**20 / 60 * 1.1 > written - dropped > 0, "the rest is in the queue; the exit record says so"
    assert grown < 30, "MiB, above the 10 MiB that the queue may hold"


# -- the server refuses --------------------------------------------------------------------------------------


def test_a_partial_400_is_counted_and_not_repeated(make_server, loki_at, caplog):
    server = make_server(max_line_size=100)
    local = loki_at(server.url)
    sink = LokiSink(**{**local.options, **FAST, "batch_bytes": 2**20})
    stream = sink.open(make_run())
    feed(stream, ["short", "x" * 200, "y" * 101, "z" * 100, "end"])
    assert sink.close(5) == 0
    assert stream.dropped == 2
    assert [line[:5] for _, line, _, _ in local.entries()] == ["short", "zzzzz", "end"]
    assert len(server.requests) == 1
    assert len(said(caplog, "has not stored 2 of 5 entries: 400")) == 1


def test_what_both_have_refused_is_counted(make_server, loki_at):
    """The ingester's answer says nothing of the lines that never came to it."""
    local = loki_at(make_server(max_line_size=100).url)
    sink = LokiSink(**{**local.options, **FAST, "batch_bytes": 2**20})
    stream = sink.open(make_run())
    feed(stream, ["newest"])
    stream.flush(5)
    feed(stream, ["behind"] * 3, time.time_ns() - 2 * 3600 * 10**9)
    feed(stream, ["x" * 200] * 2)
    feed(stream, ["good"] * 4)
    assert sink.close(5) == 0
    assert [line for _, line, _, _ in local.entries()] == ["newest", *["good"] * 4]
    assert stream.dropped == 5


def test_lines_too_old_are_counted(server, local):
    sink = LokiSink(**{**local.options, **FAST}, max_age=30 * 86400)
    stream = sink.open(make_run())
    feed(stream, ["old"] * 7, time.time_ns() - 8 * 86400 * 10**9)
    feed(stream, ["new"] * 3)
    assert sink.close(5) == 0
    assert stream.dropped == 7
    assert len(local.entries()) == 3


def test_a_clock_that_steps_back(server, local, caplog):
    sink = LokiSink(**{**local.options, **FAST, "batch_seconds": 0.05})
    stream = sink.open(make_run())
    now = time.time_ns()
    for behind in (0, 60, 1800, 2 * 3600, -1):
        feed(stream, ["same"] * 5, now - behind * 10**9)
        stream.flush(5)
    assert sink.close(5) == 0
    assert len(local.entries()) == 20
    assert stream.dropped == 5, "two hours behind is further than Loki takes"


def test_413_splits_down_to_the_line(server, local, fault):
    push, limit = server.push, 700

    def small(headers, body):
        return (413, "request body too large") if len(body) > limit else push(headers, body)

    server.push = small
    account = Account(local, batch_bytes=50_000)
    account.check(LINES + 2)
    limit = 10
    account = Account(type(local)(local.url), lines=5)
    account.check(0)
    assert account.dropped == 7


def test_an_entry_that_the_server_cannot_digest_is_found_and_left_out(server, local):
    push = server.push

    def poisoned(headers, body):
        import zlib

        return (
            (500, "rpc error: cannot digest")
            if b'line 77"' in zlib.decompress(body, 31)
            else push(headers, body)
        )

    server.push = poisoned
    account = Account(local, pause=0.003, lines=150)
    entries = account.check(151)
    assert account.dropped == 1
    assert "line 77" not in [line for _, line, _, _ in entries]


def test_a_server_that_comes_back_while_an_entry_is_suspected(server, local, fault):
    """It takes the next one, so the first is asked for once more before it is given up."""
    server.faults.extend([fault(status=500, text="ingester is away")] * _sender.SUSPECT)
    sink = LokiSink(**{**local.options, **FAST, "batch_bytes": 100})
    stream = sink.open(make_run())
    for text in ("first", "second"):
        feed(stream, [text + 200 * "."])
    assert sink.close(5) == 0
    assert stream.dropped == 0
    assert len(local.entries()) == 2


@pytest.mark.parametrize(
    ("status", "cure"), [(401, "set tenant="), (403, "not allowed to write"), (404, "no push API")]
)
def test_a_server_that_does_not_want_us_is_left_alone(server, local, fault, caplog, status, cure):
    server.always = fault(status=status, text="no org id")
    account = Account(local, close=2)
    account.check(0)
    assert account.dropped == LINES + 2
    assert len(server.requests) == 1
    assert len(said(caplog, cure)) == 1
    assert "no org id" in caplog.text


def test_a_server_that_wants_us_again_gets_what_comes_then(server, local, fault, caplog, monkeypatch):
    monkeypatch.setattr(_sender, "DENIED_PAUSE", 1.0)
    sink = LokiSink(**{**local.options, **FAST})
    stream = sink.open(make_run())

    def send(*texts):
        feed(stream, texts)
        return stream.flush(5)

    server.always = fault(status=401, text="no org id")
    assert [send("a"), send("b", "c")] == [0, 0]
    assert (len(server.requests), stream.dropped) == (1, 3)
    server.always = None
    assert send("d") == 0
    assert stream.dropped == 4, "it is left alone for a while"
    time.sleep(1.1)
    assert send("e", "f") == 0
    server.always = fault(status=403)
    send("g")
    assert sink.close(5) == 0
    assert [line for _, line, _, _ in local.entries()] == ["e", "f"]
    assert stream.dropped == 5
    assert (len(said(caplog, " 401, ")), len(said(caplog, " 403, "))) == (1, 1)


def test_a_missing_tenant_is_explained(make_server, loki_at, caplog):
    server = make_server(auth=True)
    sink = LokiSink(server.url)
    subwatch.run(["true"], sinks=[sink])
    sink.close(5)
    (message,) = said(caplog, "401")
    assert "set tenant=" in message
    assert "no org id" in message


def test_a_redirect_is_not_followed(server, local, fault, caplog):
    server.always = fault(status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    assert Account(local, close=2).dropped == LINES + 2
    assert len(server.requests) == 1
    assert said(caplog, "redirects")


@pytest.mark.parametrize(
    ("status", "dropped"), [(200, 0), (260, LINES + 2), (422, LINES + 2), (202, LINES + 2)]
)
def test_other_statuses(server, local, fault, status, dropped):
    server.always = fault(status=status, store=not dropped)
    account = Account(local)
    account.check(LINES + 2 - dropped)
    assert account.dropped == dropped


def test_without_structured_metadata_the_lines_hold_it(make_server, loki_at, caplog):
    local = loki_at(make_server(structured_metadata=False).url)
    entries = Account(local).written and local.entries()
    assert len(entries) == LINES + 2
    assert " run_id=" in entries[5][1]
    assert entries[5][1].startswith("line 4 line=5 ")
    assert len(said(caplog, "takes no structured metadata")) == 1


def test_limits_of_a_strict_server(make_server, loki_at):
    """Rates: 429 until there is room again; nothing is lost."""
    local = loki_at(make_server(rate=200_000, burst=30_000, stream_rate=150_000, stream_burst=20_000).url)
    Account(local).check(LINES + 2)


# -- by hand -------------------------------------------------------------------------------------------------


def make_run():
    return subwatch.Run(
        id="0190-test", argv=("x",), program="x", cwd="/", host="h", tags={}, caller=None, parent_pid=1
    )


class Plain:
    """Reads lines that are texts already, and says nothing of them."""

    @staticmethod
    def levels(texts):
        return [20] * len(texts)

    @staticmethod
    def progress(lines):
        return None

    fields = progress


def feed(stream, texts, time_ns=None):
    stream.emit(
        subwatch.Lines(
            stream.inner._run, "stderr", 1, time_ns or time.time_ns(), False, Plain, None, texts=texts
        )
    )


@pytest.mark.parametrize(
    ("text", "count", "lost"),
    [
        ("user 'fake', total ignored: 3 out of 10 for stream: {}", 10, 3),
        ("user 'fake', total ignored: 3 out of 8 for stream: {}", 10, 5),
        ("user 'fake', total ignored: 3 out of 3 for stream: {}", 3, 3),
        ("2 errors like: entry a; 3 errors like: entry b", 10, 5),
        ("couldn't parse labels", 10, 10),
        ("99 errors like: x", 10, 10),
        ("", 1, 1),
    ],
)
def test_numbers_in_refusals(text, count, lost):
    assert _sender.refused(text, count) == lost


def test_an_empty_batch_sends_nothing(server, local):
    sink = LokiSink(**local.options)
    stream = sink.open(make_run())
    feed(stream, [])
    stream.close()
    assert stream.flush(5) == 0
    assert sink.close(5) == 0
    assert server.requests == []


def test_closing_twice_and_emitting_afterwards(server, local):
    sink = LokiSink(**local.options)
    stream = sink.open(make_run())
    feed(stream, ["a"])
    assert sink.close(5) == sink.close(5) == 0
    feed(stream, ["b", "c"])
    assert stream.dropped == 2
    with contextlib.suppress(Exception):
        stream.close()
    assert len(local.entries()) == 1


def test_the_connection_is_kept(server, local, monkeypatch):
    accepted = []
    get_request = server._server.get_request
    monkeypatch.setattr(server._server, "get_request", lambda: accepted.append(1) or get_request())
    sink = LokiSink(**{**local.options, **FAST})
    subwatch.run(script(), sinks=[sink], stderr=subprocess.DEVNULL)
    assert sink.close(5) == 0
    assert len(server.requests) > 5
    assert len(accepted) == 1


def test_a_batch_in_the_spool_that_is_damaged_is_dropped_and_counted(
    server, local, lokiserver, tmp_path, caplog
):
    import sqlite3

    path = tmp_path / "loki.spool"
    options = {**local.options, **FAST, "spool": path}
    server.always = lokiserver.Fault(status=503)
    sink = LokiSink(**options)
    subwatch.run(["true"], sinks=[sink])
    sink.close(1)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE batch SET body = x'00'")
        db.commit()
    server.always = None
    server.faults.append(lokiserver.Fault(status=413))
    sink = LokiSink(**options)
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(5) == 0
    assert len(local.entries(count=2)) == 2
    assert said(caplog, "a batch of 2 entries is dropped")
    assert spooled(path) == 0


def test_levels_of_ones_own(server, local):
    class Odd(Plain):
        @staticmethod
        def levels(texts):
            return [5, 25, 60]

    sink = LokiSink(**local.options)
    stream = sink.open(make_run())
    stream.emit(
        subwatch.Lines(
            stream.inner._run, "stderr", 1, time.time_ns(), False, Odd, None, texts=["a", "b", "c"]
        )
    )
    assert sink.close(5) == 0
    assert [metadata["level"] for _, _, metadata, _ in local.entries()] == ["debug", "info", "critical"]
