"""Loki: credentials go nowhere else, nothing is believed that another has made, no header is forged."""

from __future__ import annotations

import gzip
import http.server
import os
import stat
import threading

import pytest

import subwatch
from subwatch.errors import ConfigError
from subwatch_loki import LokiHandler, LokiSink
from subwatch_loki.__main__ import main
from subwatch_loki._encode import Batch
from subwatch_loki._options import Options
from subwatch_loki._push import Emitter
from subwatch_loki._spool import Spool

SECRET = "correct-horse-battery"
BOMB = gzip.compress(bytes(64 * 1024 * 1024))


@pytest.fixture
def server():
    """A server that does what its path says; `asked` has the headers of all requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked.append(self.headers)
            what = self.path.strip("/").partition("/")[0]
            if what == "redirect":
                self.send_response(307)
                self.send_header("Location", f"http://localhost:{self.server.server_port}/stolen/push")
                body = b""
            elif what == "bomb":
                self.send_response(500)
                self.send_header("Content-Encoding", "gzip")
                body = BOMB
            else:
                self.send_response(400)
                body = f"you sent {self.headers}".encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def push(server, path, **options):
    emitter = Emitter(Options.build(url=f"{server.url}/{path}/push", **options))
    try:
        return emitter.push(b"x")
    finally:
        emitter.session.close()


@pytest.mark.parametrize("verify", ["", None, 0, 1, (), [], b"x"], ids=repr)
def test_tls_is_not_turned_off_by_accident(verify):
    """To requests whatever is false means not to verify: only False itself may."""
    with pytest.raises(ConfigError, match="verify"):
        Options.build(url="https://host", verify=verify)


def test_credentials_of_a_netrc_are_masked_too(server, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    answer = push(server, "echo")
    sent = server.asked[0]["Authorization"]
    assert sent.startswith("Basic ")
    assert "Authorization: Basic ***" in answer.text
    assert sent.split()[1] not in answer.text


def test_redirects_take_no_credentials_along(server):
    answer = push(server, "redirect", username="me", password=SECRET)
    assert answer.status == 307
    assert len(server.asked) == 1, "nobody else was asked"


def test_answers_are_not_unpacked(server):
    """64 KiB may become 64 MiB in memory, and more."""
    answer = push(server, "bomb")
    assert server.asked[0]["Accept-Encoding"] == "identity"
    assert answer.status == 500
    assert len(answer.text) <= 64 * 1024


@pytest.mark.parametrize(
    "options",
    [
        {"username": "me", "password": SECRET},
        {"username": "mé☃", "password": SECRET + "☃"},
        {"token": SECRET},
        {"headers": {"X-Key": SECRET}},
    ],
    ids=["basic", "utf-8", "token", "header"],
)
def test_a_server_that_repeats_what_it_got_tells_nothing(server, options):
    answer = push(server, "echo", **options)
    sent = str(server.asked[0])
    assert "you sent" in answer.text
    for value in server.asked[0].get_all("Authorization", []) + server.asked[0].get_all("X-Key", []):
        assert value in sent
        assert value.rpartition(" ")[2] not in answer.text
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X\r\nEvil": "v"}},
        {"headers": {"X: y": "v"}},
        {"headers": {"": "v"}},
        {"headers": {"X": "v\r\nEvil: w"}},
        {"headers": {"X": "☃"}},
        {"headers": {"X": " v"}},
        {"token": "a\nb"},
        {"token": "☃"},
        {"tenant": "a\r\nEvil: b"},
        {"tenant": "☃"},
    ],
    ids=repr,
)
def test_headers_that_cannot_be_sent_are_refused_at_once(options):
    with pytest.raises(ConfigError):
        Options.build(url="http://127.0.0.1:9", **options)


def test_reprs_hold_no_credential():
    sink = LokiSink(f"http://me:{SECRET}@127.0.0.1:9", headers={"X": SECRET})
    handler = LokiHandler("http://127.0.0.1:9", auth=("me", SECRET))
    try:
        for thing in (
            sink,
            handler,
            sink._shipper.options,
            vars(sink._shipper.options)["url"],
        ):
            assert SECRET not in repr(thing)
    finally:
        handler.close()
        sink.close(1)


def test_the_query_of_a_url_is_a_credential(server):
    """Gateways take keys there: https://host/push?token=..."""
    handler = LokiHandler(f"{server.url}/echo/push?token={SECRET}&tenant=a")
    options = handler._sink._shipper.options
    emitter = Emitter(options)
    try:
        for text in (repr(handler), repr(handler._sink), repr(options), repr(emitter), options.target):
            assert SECRET not in text
        assert repr(emitter) == f"Emitter('{server.url}/echo/push?...')"
        assert options.scrub(f"POST /push?token={SECRET}&tenant=a: {SECRET}") == "POST /push?***: ***"
        assert emitter.push(b"x").status == 400
        emitter.session.close()
    finally:
        handler.close()


def test_messages_hold_no_query(caplog):
    sink = LokiSink(f"http://127.0.0.1:9/push?token={SECRET}", retry_min=0.01, retry_max=0.01)
    subwatch.run(["sh", "-c", "echo hello >&2"], sinks=[sink], capture_output=True, flush_timeout=0.5)
    sink.close(0.1)
    assert "cannot deliver to http://127.0.0.1:9/push?..., will go on trying" in caplog.text
    assert SECRET not in caplog.text


def test_urls_that_differ_in_their_query_are_different_targets():
    urls = ["http://h/push", "http://h/push?k=1", "http://h/push?k=2"]
    targets = [Options.build(url=url).target for url in (*urls, *urls)]
    assert len(set(targets)) == 3
    assert targets[0] == "http://h/push"
    assert all(target.startswith("http://h/push?...") for target in targets[1:3])


# -- the spool ----------------------------------------------------------------------------------------------


def test_all_files_of_the_spool_are_private(tmp_path):
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "new" / "spool", "target", 10**6)
        spool.add(Batch(b"x", 1, 1, 1))
        spool.take_turn()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
        assert len(modes) >= 4  # the file, its log and index, and whose turn it is
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        spool.close()
    finally:
        os.umask(before)


@pytest.fixture
def strangers(monkeypatch):
    def give_away(path):
        if os.geteuid() == 0:
            os.chown(path, 12345, -1, follow_symlinks=False)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 54321)

    return give_away


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_strangers_spool_is_not_used(tmp_path, strangers, kind):
    """He would read our lines; and what he has put in would be sent with our credentials."""
    path = tmp_path / "spool"
    if kind == "file":
        spool = Spool(path, "target", 10**6)
        spool.add(Batch(b"evil", 1, 1, 1))
        spool.close()
        path.chmod(0o666)
    else:
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    strangers(path)
    spool = Spool(path, "target", 10**6)
    for use in (spool.oldest, lambda: spool.add(Batch(b"ours", 1, 1, 1)), spool.status):
        with pytest.raises(PermissionError, match="another user"):
            use()
    if kind == "link":
        assert (tmp_path / "target").read_bytes() == b""


def test_a_spooled_body_is_unpacked_up_to_a_limit(monkeypatch):
    monkeypatch.setattr("subwatch_loki._encode.MAX_PLAIN", 1024 * 1024)
    with pytest.raises(ValueError, match="Expecting value"):
        Batch(BOMB, 2, 1, 1).split()


def test_the_spool_holds_no_query(tmp_path, capsys):
    """The user says the URL again to drain it by hand."""
    path = tmp_path / "spool"
    url = f"http://127.0.0.1:9/push?token={SECRET}"
    sink = LokiSink(url, spool=path, batch_seconds=0.1)
    subwatch.run(["sh", "-c", "echo hello >&2"], sinks=[sink], capture_output=True, flush_timeout=1)
    sink.close(1)
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in file.read_bytes()
    assert main(["spool", "status", "--spool", str(path)]) == 1
    assert main(["spool", "drain", "--spool", str(path)]) == 2
    assert main(["spool", "drain", "--spool", str(path), "--url", url, "--timeout", "0.1"]) == 1
    out, err = capsys.readouterr()
    assert "http://127.0.0.1:9/push?..." in out
    assert "say the whole URL with --url" in err
    assert SECRET not in out + err


def test_lines_are_spooled_without_secrets(tmp_path):
    path = tmp_path / "spool"
    sink = LokiSink("http://127.0.0.1:9", spool=path, batch_seconds=0.1)
    command = ["sh", "-c", f"echo {SECRET} password=hunter2hunter2 >&2", SECRET]
    subwatch.run(command, sinks=[sink], redact=[SECRET], capture_output=True, flush_timeout=1)
    sink.close(1)
    spool = Spool(path, sink._shipper.options.target, 10**6)
    batch = spool.oldest()
    _, values = batch._read()
    spool.close()
    assert len(values) >= 1
    assert "***" in str(values)
    assert SECRET not in str(values)
    assert "hunter2" not in str(values)
