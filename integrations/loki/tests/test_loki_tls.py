"""Certificates and proxies: verified by default, refused with a reason, and everything that may be set."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest

try:
    import trustme
except ImportError as error:
    raise AssertionError("these tests make certificates: pip install trustme") from error

import subwatch
from subwatch.errors import ConfigError
from subwatch_loki import LokiSink

FAST = {"retry_min": 0.02, "retry_max": 0.2, "timeout": 5}


class Authority:
    """A certificate authority, with its certificate in a file."""

    def __init__(self, folder):
        self.ca = trustme.CA()
        self.path = str(folder / "ca.pem")
        self.ca.cert_pem.write_to_path(self.path)

    def server(self, name="127.0.0.1", clients=None):
        """Settings of a server with a certificate for `name`, which lets in the clients of an authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(name).configure_cert(context)
        if clients is not None:
            clients.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, folder):
        """The files of a client's certificate and key."""
        made = self.ca.issue_cert("client@example.org")
        made.cert_chain_pems[0].write_to_path(folder / "client.pem")
        made.private_key_pem.write_to_path(folder / "client.key")
        made.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
        return (str(folder / "client.pem"), str(folder / "client.key")), str(folder / "both.pem")


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def ship(url, **options):
    """Run a child with one line; returns how many entries were delivered."""
    sink = LokiSink(url, **{**FAST, **options})
    subwatch.run([sys.executable, "-c", "import sys; print('x', file=sys.stderr)"], sinks=[sink],
                 stderr=subprocess.DEVNULL)  # fmt: skip
    return 3 - sink.close(0.5 if "verify" not in options else 5)


def said(caplog):
    return "\n".join(record.getMessage() for record in caplog.records)


# -- the server's certificate --------------------------------------------------------------------------------


def test_an_unknown_authority_is_refused_and_the_cure_named(make_server, authority, caplog):
    server = make_server(tls=authority.server())
    assert ship(server.url) == 0
    assert server.requests == []
    assert "CERTIFICATE_VERIFY_FAILED" in said(caplog)
    assert "pass verify= with the path of the CA's" in said(caplog)


def test_an_own_authority(make_server, authority):
    server = make_server(tls=authority.server())
    assert ship(server.url, verify=authority.path) == 3
    assert len(server.requests) > 0


def test_the_option_goes_before_the_environment(make_server, authority, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    server = make_server(tls=authority.server())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.path)
    assert ship(server.url, verify=authority.path) == 3
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.path)
    assert ship(server.url, verify=True) == 3


def test_another_hosts_certificate_is_refused(make_server, authority, caplog):
    server = make_server(tls=authority.server("loki.example.org"))
    sink = LokiSink(server.url, verify=authority.path, **FAST)
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(0.5) == 2
    assert server.requests == []
    assert "IP address mismatch" in said(caplog)


def test_without_verification(make_server, authority):
    """Asked for, it is silent: a warning would be an error here."""
    server = make_server(tls=authority.server("loki.example.org"))
    assert ship(server.url, verify=False) == 3


def test_plain_http_to_a_tls_server_and_tls_to_a_plain_one(make_server, authority, caplog):
    encrypted, plain = make_server(tls=authority.server()), make_server()
    assert ship(encrypted.url.replace("https", "http")) == 0
    assert ship(plain.url.replace("http", "https")) == 0
    assert "WRONG_VERSION_NUMBER" in said(caplog).upper().replace(" ", "_")
    assert encrypted.requests == plain.requests == []


# -- the client's certificate --------------------------------------------------------------------------------


def test_client_certificates(make_server, authority, tmp_path, caplog):
    server = make_server(tls=authority.server(clients=authority))
    pair, both = authority.client(tmp_path)
    assert ship(server.url, verify=authority.path, cert=pair) == 3
    assert ship(server.url, verify=authority.path, cert=both) == 3
    count = len(server.requests)
    sink = LokiSink(server.url, verify=authority.path, **FAST)
    subwatch.run(["true"], sinks=[sink])
    assert sink.close(0.5) == 2
    assert len(server.requests) == count
    assert "cannot deliver to https://" in said(caplog)


@pytest.mark.parametrize("options", [{"verify": "/nowhere/ca.pem"}, {"cert": "/nowhere/client.pem"},
                                     {"cert": ("/nowhere/client.pem", "/nowhere/client.key")}])  # fmt: skip
def test_files_that_do_not_exist(options):
    with pytest.raises(
        ConfigError, match=f"{next(iter(options))} names a file that does not exist: /nowhere"
    ):
        LokiSink("https://loki.example.org", **options)


# -- proxies -------------------------------------------------------------------------------------------------


def test_a_proxy_by_option(make_server, make_proxy):
    server, proxy = make_server(), make_proxy()
    assert ship(server.url, verify=True, proxies={"http": proxy.url}) == 3
    assert set(proxy.asked) == {f"POST {server.url}/loki/api/v1/push"}
    assert len(server.requests) == len(proxy.asked)


def test_a_proxy_by_environment_and_exceptions_to_it(make_server, make_proxy, monkeypatch):
    server, proxy = make_server(), make_proxy()
    monkeypatch.setenv("http_proxy", proxy.url)
    assert ship(server.url, verify=True) == 3
    asked = len(proxy.asked)
    assert asked > 0
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ship(server.url, verify=True) == 3
    assert len(proxy.asked) == asked


def test_tls_through_a_proxy_is_verified(make_server, make_proxy, authority, caplog):
    server, proxy = make_server(tls=authority.server()), make_proxy()
    assert ship(server.url, verify=authority.path, proxies={"https": proxy.url}) == 3
    assert set(proxy.asked) == {f"CONNECT 127.0.0.1:{server.port}"}
    count = len(server.requests)
    assert ship(server.url, proxies={"https": proxy.url}) == 0
    assert len(server.requests) == count
    assert "CERTIFICATE_VERIFY_FAILED" in said(caplog)


def test_a_proxy_that_wants_credentials(make_server, make_proxy, caplog):
    server, proxy = make_server(), make_proxy("me:hunter2")
    assert ship(server.url, verify=True, proxies={"http": proxy.url.replace("//", "//me:hunter2@")}) == 3
    sink = LokiSink(server.url, proxies={"http": proxy.url.replace("//", "//me:wr0ng@")}, **FAST)
    subwatch.run(["true"], sinks=[sink])
    sink.close(1)
    assert "the proxy wants credentials" in said(caplog)
    assert "hunter2" not in caplog.text + repr(sink)
    assert "wr0ng" not in caplog.text + repr(vars(sink))


def test_a_proxy_that_is_not_there(make_server, caplog):
    server = make_server()
    assert ship(server.url, proxies={"http": "http://127.0.0.1:9"}) == 0
    assert "ProxyError" in said(caplog)
