"""`LokiSink` with real children and a Loki that answers: what arrives, and how."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import zlib

import pytest

import subwatch
import subwatch.testing
from subwatch.errors import ConfigError
from subwatch_loki import LokiSink


@pytest.fixture
def make_sink(loki):
    """Sinks for the shared server, closed at the end with nothing left."""
    sinks = []

    def make(**options):
        labels = {**loki.options["labels"], **options.pop("labels", {})}
        sinks.append(LokiSink(**{**loki.options, "labels": labels, **options}))
        return sinks[-1]

    yield make
    for sink in sinks:
        assert sink.close(60) == 0


def script(text):
    return [sys.executable, "-c", text]


def say(*lines, code=0):
    return script(f"import sys\nfor line in {lines!r}: print(line, file=sys.stderr)\nsys.exit({code})")


def run(sink, command, **options):
    return subwatch.run(command, sinks=[sink], stderr=subprocess.DEVNULL, **options)


def sent(server, at=-1):
    """The document of a push."""
    return json.loads(zlib.decompress(server.requests[at][1], 31))


def test_lines_and_exit_arrive_in_order_with_their_metadata(loki, make_sink):
    done = run(make_sink(), say("first", "ERROR: second", "third", code=3), tags={"cluster": "main"})
    assert done.returncode == 3
    entries = loki.entries(count=5)
    program = os.path.basename(sys.executable)
    assert [line for _, line, _, _ in entries][:4] == [
        f"{program} started",
        "first",
        "ERROR: second",
        "third",
    ]
    assert "exited with code 3" in entries[-1][1]
    stamps = [stamp for stamp, *_ in entries]
    assert stamps == sorted(set(stamps))
    metadata = [each for _, _, each, _ in entries]
    assert len({each["run_id"] for each in metadata}) == len({each["pid"] for each in metadata}) == 1
    assert {each["cluster"] for each in metadata} == {"main"}
    assert [each.get("line") for each in metadata] == [None, "1", "2", "3", None]
    assert [each.get("stream") for each in metadata[1:4]] == ["stderr"] * 3
    assert metadata[2]["level"] != metadata[1]["level"] == "info"
    start, end = metadata[0], metadata[-1]
    assert start["event"] == "start"
    assert start["argv"].startswith(sys.executable)
    assert (end["event"], end["exit_code"], end["reason"], end["failed"], end["level"]) == (
        "exit", "3", "exited", "true", "error",
    )  # fmt: skip
    assert float(end["duration"]) > 0
    assert all(isinstance(value, str) for each in metadata for value in each.values())


def test_few_labels(loki, make_sink):
    run(make_sink(labels={"env": "test"}), say("x"))
    labels = loki.entries(count=3)[0][3]
    assert labels == {"env": "test", "job": "subwatch", "service_name": "subwatch", "test": loki.label}


def test_signal(loki, make_sink):
    run(make_sink(), script("import os; os.kill(os.getpid(), 9)"))
    end = loki.entries(count=2)[-1][2]
    assert (end["signal"], end["exit_code"], end["reason"]) == ("SIGKILL", "-9", "signaled")


def test_a_command_that_cannot_be_started(loki, make_sink):
    with pytest.raises(FileNotFoundError):
        run(make_sink(), ["/nonexistent/program"])
    end = loki.entries(count=1)[-1][2]
    assert (end["reason"], end["error_type"]) == ("spawn_failed", "FileNotFoundError")


def test_every_character_arrives(loki, make_sink):
    text = "".join(map(chr, (*range(1, 10), *range(14, 32), *range(32, 0x250), 0x1F600, 0x2028, 0xFFFD)))
    command = script(f"import sys; sys.stderr.buffer.write({text.encode()!r} + b'\\n\\n\\xff\\xfe bytes\\n')")
    run(make_sink(), command)
    lines = [line for _, line, _, _ in loki.entries(count=5)][1:-1]
    assert lines[1:] == ["", "\\xff\\xfe bytes"]
    expected = text.replace("\x85", lines[0][lines[0].index("\x84") + 1]) if "\x85" not in lines[0] else text
    assert lines[0] == expected


@pytest.mark.usefixtures("default_limits")
def test_many_lines_arrive_exactly_once(loki, make_sink):
    count = 20_000
    sink = make_sink(policy="block", batch_bytes=100_000)
    run(sink, script(f"import sys\nfor n in range({count}): sys.stderr.write('line %d\\n' % n)"))
    entries = loki.entries(count=count + 2, wait=30)
    assert [line for _, line, _, _ in entries][1:-1] == [f"line {n}" for n in range(count)]
    assert [each["line"] for _, _, each, _ in entries[1:-1]] == [str(n + 1) for n in range(count)]


@pytest.mark.usefixtures("default_limits")
def test_equal_lines_of_parallel_runs_are_all_kept(loki, make_sink):
    sink = make_sink()
    command = script("import sys\nfor n in range(500): sys.stderr.write('same\\n')")
    threads = [threading.Thread(target=run, args=(sink, command)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = loki.entries(count=8 * 502)
    by_run = {}
    for _, line, each, _ in entries:
        if line == "same":
            by_run.setdefault(each["run_id"], []).append(int(each["line"]))
    assert list(by_run.values()) == [list(range(1, 501))] * 8


def test_asyncio(loki, make_sink):
    async def main():
        return await subwatch.aio.run(say("from", "asyncio"), sinks=[make_sink()], stderr=subprocess.DEVNULL)

    assert asyncio.run(main()).returncode == 0
    assert [line for _, line, _, _ in loki.entries(count=4)][1:3] == ["from", "asyncio"]


def test_a_line_waits_no_longer_than_its_batch(loki, make_sink):
    sink = make_sink(batch_seconds=0.2)
    with subwatch.Popen(script("import sys; print('now', file=sys.stderr); input()"), sinks=[sink],
                        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert [line for _, line, _, _ in loki.entries(count=2, wait=5)][1:] == ["now"]
        process.stdin.write(b"\n")


@pytest.mark.usefixtures("default_limits")
def test_long_lines_are_cut_and_marked(loki, make_sink):
    sink = make_sink()
    run(sink, script("import sys; sys.stderr.write('x' * 70000 + '\\nshort\\n')"))
    small = make_sink(max_line_bytes=1000)
    run(small, script("import sys; sys.stderr.write('é' * 600 + '\\nshort\\n')"))
    entries = loki.entries(count=8)
    assert sum(len(line) for _, line, each, _ in entries if line.startswith("x")) == 70000
    ((line, each),) = [(line, each) for _, line, each, _ in entries if line.startswith("é")]
    assert (line, each["cut_bytes"]) == ("é" * 500, "200")


def test_an_empty_run_sends_start_and_exit(loki, make_sink):
    run(make_sink(), ["true"])
    assert [each["event"] for _, _, each, _ in loki.entries(count=2)] == ["start", "exit"]


def test_requests_have_one_stream_and_are_plain_gzipped_json(server):
    sink = LokiSink(server.url, batch_bytes=20_000)
    run(sink, script("import sys\nfor n in range(2000): sys.stderr.write('line %d\\n' % n)"))
    assert sink.close(5) == 0
    assert len(server.requests) > 5
    for headers, body in server.requests:
        assert headers["Content-Type"] == "application/json"
        assert headers["Content-Encoding"] == "gzip"
        assert len(json.loads(zlib.decompress(body, 31))["streams"]) == 1
        assert len(zlib.decompress(body, 31)) < 60_000


def test_tenant_credentials_and_headers(server, make_server):
    strict = make_server(auth=True)
    sink = LokiSink(strict.url, tenant="team-a", token="t0ken", headers={"X-Extra": "1"})
    run(sink, say("x"))
    assert sink.close(5) == 0
    headers = strict.requests[0][0]
    assert (headers["X-Scope-OrgID"], headers["Authorization"], headers["X-Extra"]) == (
        "team-a",
        "Bearer t0ken",
        "1",
    )
    assert list(strict.store.tenants) == ["team-a"]
    sink = LokiSink(server.url.replace("//", "//user:p%40ss@"))
    run(sink, say("x"))
    assert sink.close(5) == 0
    assert server.requests[0][0]["Authorization"] == "Basic dXNlcjpwQHNz"


def test_credentials_from_the_environment(server, monkeypatch):
    for name, value in {
        "URL": server.url,
        "USERNAME": "me",
        "PASSWORD": "hunter2",
        "TENANT": "team-b",
    }.items():
        monkeypatch.setenv(f"LOKI_{name}", value)
    sink = LokiSink()
    run(sink, say("x"))
    assert sink.close(5) == 0
    headers = server.requests[0][0]
    assert (headers["X-Scope-OrgID"], headers["Authorization"]) == ("team-b", "Basic bWU6aHVudGVyMg==")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, "Basic ZW52OmVudg=="),
        ({"token": "t0ken"}, "Bearer t0ken"),
        ({"username": "me"}, "Basic bWU6ZW52"),
        ({"userinfo": "me:p@"}, "Basic bWU6cA=="),
        ({"userinfo": "me:p@", "username": 7, "password": 8}, "Basic Nzo4"),
    ],
    ids=repr,
)
def test_credentials_that_are_given_go_before_those_of_the_environment(server, monkeypatch, given, sent):
    monkeypatch.setenv("LOKI_USERNAME", "env")
    monkeypatch.setenv("LOKI_PASSWORD", "env")
    url = server.url.replace("//", "//" + given.pop("userinfo", ""))
    sink = LokiSink(url, tenant=42, **given)  # numbers: so the command line reads digits
    run(sink, say("x"))
    assert sink.close(5) == 0
    headers = server.requests[0][0]
    assert (headers["Authorization"], headers["X-Scope-OrgID"]) == (sent, "42")


def test_a_username_goes_before_a_token_of_the_environment(server, monkeypatch):
    monkeypatch.setenv("LOKI_TOKEN", "other")
    sink = LokiSink(server.url, username="me", password="p")
    run(sink, say("x"))
    assert sink.close(5) == 0
    assert server.requests[0][0]["Authorization"] == "Basic bWU6cA=="


def test_credentials_are_never_shown(monkeypatch, caplog, capfd):
    monkeypatch.setenv("HTTP_PROXY", "http://proxyuser:proxysecret@127.0.0.1:9")
    secrets = ["hunter2", "t0psecret", "proxysecret", "headersecret"]
    sinks = [
        LokiSink("http://user:hunter2@loki.invalid:3100/push", flush_timeout=0.1, retry_min=0.01),
        LokiSink("http://127.0.0.1:9", token="t0psecret", headers={"X-Key": "headersecret"}, retry_min=0.01,
                 proxies={"http": "http://proxyuser:proxysecret@127.0.0.1:9"}),
    ]  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        for sink in sinks:
            run(sink, say("x"))
            time.sleep(0.3)
            sink.close(0.5)
            caplog.records.append(
                logging.makeLogRecord({"msg": repr(sink) + repr(vars(sink)) + repr(vars(sink._shipper))})
            )
            caplog.records.append(logging.makeLogRecord({"msg": repr(sink._shipper.options)}))
    shown = "\n".join(record.getMessage() for record in caplog.records) + "".join(capfd.readouterr())
    assert "cannot deliver to http://loki.invalid:3100/push" in shown
    for secret in secrets:
        assert secret not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set LOKI_URL"),
        ({"url": "loki:3100"}, "must begin with http:// or https://"),
        ({"url": "ftp://user:hunter2@loki"}, "must begin with http:// or https://"),
        ({"url": "http://"}, "name a host"),
        ({"url": "http://host:port"}, "cannot be read"),
        ({"url": "http://x", "policy": "spill"}, "drop_oldest, drop_newest, block, spool"),
        ({"url": "http://x", "username": "a", "token": "b"}, "not both"),
        ({"url": "http://x", "tenant": "a\nb"}, "control character"),
        ({"url": "http://x", "batch_bytes": 0}, "batch_bytes must be a number greater than 0"),
        ({"url": "http://x", "batch_seconds": float("inf")}, "batch_seconds must be a number"),
        ({"url": "http://x", "capacity": "10M"}, "capacity must be a number"),
        ({"url": "http://x", "flush_timeout": -1}, "flush_timeout must be a number"),
        ({"url": "http://x", "timeout": "5 s"}, "timeout must be a number"),
        ({"url": "http://x", "timeout": (1, 2, 3)}, "timeout takes seconds"),
        ({"url": "http://x", "proxies": "http://u:hunter2@p"}, "proxies must be a mapping"),
        ({"url": "http://x", "password": b"hunter2"}, "password must be text, not bytes"),
        ({"url": "http://x", "spool": 5}, "spool must be the path"),
        ({"url": "http://x", "cert": 5}, "cert must be the path"),
        ({"url": 5}, "url must be text"),
        ({"url": "http://u:hunter2@a b:3100?key=hunter2"}, "names a host that cannot be"),
    ],
)
def test_wrong_options_are_explained(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        LokiSink(**options)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://h:3100", "http://h:3100/loki/api/v1/push"),
        ("http://h:3100/", "http://h:3100/loki/api/v1/push"),
        ("https://h/loki/api/v1/push", "https://h/loki/api/v1/push"),
        ("https://h/prefix/", "https://h/prefix/loki/api/v1/push"),
        ("http://[::1]:3100", "http://[::1]:3100/loki/api/v1/push"),
        ("http://u:p@h?x=1", "http://h/loki/api/v1/push?x=1"),
    ],
)
def test_urls_with_path_and_without(url, full):
    assert LokiSink(url).url == full


@pytest.mark.usefixtures("default_limits")
def test_bad_labels_are_made_valid_and_said_once(loki, make_sink, caplog):
    sink = make_sink(labels={"app.name": "x", "1st": 1, "é": "y", "__reserved": True, "empty": ""})
    run(sink, say("a"))
    run(sink, say("b"))
    labels = loki.entries(count=6)[0][3]
    assert labels["app_name"] == "x"
    assert labels["_1st"] == "1"
    assert labels["key_c3a9"] == "y"
    assert labels["_reserved"] == "True"
    assert "empty" not in labels
    said = [record.getMessage() for record in caplog.records if "label" in record.getMessage()]
    assert len(said) == len(set(said)) == 4


@pytest.mark.usefixtures("default_limits")
def test_more_than_15_labels(loki, make_sink, caplog):
    run(make_sink(labels={f"l{n:02}": n for n in range(20)}), say("a"))
    entries = loki.entries(count=3)
    assert len(entries[0][3]) == 15
    for _, _, metadata, labels in entries:
        assert {**labels, **metadata}.items() >= {f"l{n:02}": str(n) for n in range(20)}.items()
    assert "at most 15 labels" in caplog.text


@pytest.mark.usefixtures("default_limits")
def test_odd_tags_become_valid_metadata(loki, make_sink):
    tags = {"a.b": "1", "é": "2", "run_id": "3", "9": "4", "": "5", "long": "x" * 100_000}
    run(make_sink(), say("x"), tags=tags)
    for _, _, metadata, _ in loki.entries(count=3):
        assert (metadata["a_b"], metadata["key_c3a9"], metadata["tag_run_id"], metadata["_9"]) == (
            "1",
            "2",
            "3",
            "4",
        )
        assert metadata["run_id"] != "3"
        assert len(metadata["long"]) < 10_000


def test_correlation_fields_of_other_sinks(loki, make_sink):
    class Tracing:
        def open(self, run):
            run.fields["trace_id"] = "0af7651916cd43dd8448eb211c80319c"
            return self

        def emit(self, records):
            pass

        def close(self, timeout=None):
            return 0

    subwatch.run(say("x"), sinks=[make_sink(), Tracing()], stderr=subprocess.DEVNULL)
    assert {each["trace_id"] for _, _, each, _ in loki.entries(count=3)} == {
        "0af7651916cd43dd8448eb211c80319c"
    }


def test_named_sink(loki):
    assert (
        subwatch.run(
            say("x"), sinks=[subwatch.sink("loki", **loki.options)], stderr=subprocess.DEVNULL
        ).returncode
        == 0
    )
    assert len(loki.entries(count=3)) == 3


def test_root_logger_at_debug_does_not_feed_back(local, server):
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        sink = LokiSink(**local.options)
        run(sink, say("x"))
        assert sink.close(5) == 0
    finally:
        logging.getLogger().setLevel(logging.WARNING)
    assert len(server.requests) == 1


def test_after_a_fork_parent_and_child_both_deliver(local, server):
    code = f"""
import os, subprocess, sys, subwatch
from subwatch_loki import LokiSink
sink = LokiSink({server.url!r}, labels={{"test": {local.label!r}}}, batch_seconds=60)
def go(word):
    subwatch.run(["sh", "-c", f"echo {{word}} >&2"], sinks=[sink], stderr=subprocess.DEVNULL)
names = dict(id="p", argv=(), program="p", cwd="/", host="h", tags={{}}, caller=None, parent_pid=1)
stream = sink.open(subwatch.Run(**names))
stream.emit(subwatch.Start(stream.inner._run, 1, __import__("time").time_ns()))
go("before")
pid = os.fork()
go("child" if pid == 0 else "parent")
if pid == 0:
    left = sink.close(5)
    os._exit(left)
assert os.waitpid(pid, 0)[1] == 0
assert sink.close(5) == 0
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
    lines = [line for _, line, _, _ in local.entries(count=10)]
    assert sorted(line for line in lines if " " not in line) == ["before", "child", "parent"]
    assert len(lines) == 10
    assert server.store.sent_twice == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "app"}, "labels must be a mapping"),
        ({"headers": ["a"]}, "headers must be a mapping"),
        ({"retry_max": "soon"}, "retry_max must be a number"),
        ({"capacity": -1}, "capacity must be a number greater than 0"),
    ],
)
def test_options_of_a_wrong_kind(options, message):
    with pytest.raises(ConfigError, match=message):
        LokiSink("http://127.0.0.1:9", **options)


class TestContract(subwatch.testing.SinkContract):
    """The suite for every sink, with a Loki that takes all."""

    @pytest.fixture(autouse=True)
    def _give_server(self, server):
        self.server = server

    def make_sink(self):
        return LokiSink(self.server.url)


def test_a_flood_is_slowed_down_rather_than_dropped(server, lokiserver):
    server.always = lokiserver.Fault(status=204)  # takes all without a look, which is quicker
    lines = 100_000
    sink = LokiSink(server.url, capacity=1_000_000)
    text = f"import sys\nsys.stderr.write(''.join('some words of line %d\\n' % n for n in range({lines})))"
    kept = subwatch.testing.RecordingSink()
    kept.emit = lambda records: kept.records.append(records) if type(records) is subwatch.Exit else None
    subwatch.run(script(text), sinks=[sink, kept], stderr=subprocess.DEVNULL)
    assert sink.close(20) == 0
    assert kept.exit.dropped == {}
    assert sum(zlib.decompress(body, 31).count(b'["1') for _, body in server.requests) == lines + 2


def test_the_readme_lists_every_option():
    text = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    table = text.split("## Options")[1].split("##")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    options = list(inspect.signature(LokiSink).parameters)
    assert sorted(named) == sorted(options)


def test_on_the_command_line(loki):
    sink = f"loki:url={loki.url},batch_seconds=5,labels={{test='{loki.label}'}}"
    if loki.tenant:
        sink += f",tenant={loki.tenant}"
    command = [
        sys.executable,
        "-m",
        "subwatch",
        "run",
        "--sink",
        sink,
        "--",
        "sh",
        "-c",
        "echo hello >&2; exit 3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (3, "hello\n")
    assert [line for _, line, _, _ in loki.entries(count=3)][1] == "hello"
