"""Fixtures for the tests of subwatch-loki."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid

import pytest


def _load(name):
    """Import a helper module that lies beside the tests, once."""
    full = f"subwatch_loki_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, pathlib.Path(__file__).with_name(f"{name}.py"))
        sys.modules[full] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[full]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("LOKI_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def lokiserver():
    """The module of the conformance server."""
    return _load("lokiserver")


@pytest.fixture
def make_server(lokiserver):
    """Start conformance servers, for tests that need faults or limits."""
    servers = []

    def make(*args, **options):
        servers.append(lokiserver.LokiServer(*args, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def parse_logql():
    """Grafana's parser of LogQL."""
    return _load("logql").parse


@pytest.fixture
def make_proxy():
    """Start forward proxies."""
    proxies = []

    def make(*args):
        proxies.append(_load("forwardproxy").ForwardProxy(*args))
        return proxies[-1]

    yield make
    for proxy in proxies:
        proxy.stop()


@pytest.fixture
def server(make_server):
    """A conformance server of the test's own."""
    return make_server()


class Loki:
    """A Loki to send to and read back from: a real one, or the conformance server."""

    def __init__(self, url, tenant=None):
        self.url = url
        self.tenant = tenant
        self.label = f"t{uuid.uuid4().hex[:12]}"  # tests share a server, not a stream

    @property
    def options(self):
        return {"url": self.url, "tenant": self.tenant, "labels": {"test": self.label}}

    def request(self, path, data=None, headers=(), method=None):
        headers = dict(headers)
        if self.tenant:
            headers.setdefault("X-Scope-OrgID", self.tenant)
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def entries(self, label=None, count=None, wait=20):
        """Entries of a test's stream, oldest first: (time, line, metadata, labels); waits for `count`.

        Args:
            label: Another test's label, or a whole query.
            count: How many are expected.
            wait: Seconds to wait for them.
        """
        deadline = time.monotonic() + wait
        while True:
            found = self._entries(label or self.label, time.time_ns() - 3 * 3600 * 10**9)
            if count is None or len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.1)

    def vector(self, query):
        """The answer to a metric query: (labels, value), for now."""
        arguments = urllib.parse.urlencode({"query": query, "time": time.time_ns()})
        status, body = self.request(f"/loki/api/v1/query?{arguments}")
        assert status == 200, body
        return [(each["metric"], float(each["value"][1])) for each in json.loads(body)["data"]["result"]]

    def _entries(self, label, start):
        found = {}
        while True:
            query = urllib.parse.urlencode(
                {
                    "query": label if "{" in label else f'{{test="{label}"}}',
                    "start": start,
                    "end": time.time_ns() + 3600 * 10**9,
                    "limit": 1000,
                    "direction": "forward",
                }
            )
            flags = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
            status, body = self.request(f"/loki/api/v1/query_range?{query}", headers=flags)
            assert status == 200, body
            fresh = 0
            for stream in json.loads(body)["data"]["result"]:
                for stamp, line, *rest in stream["values"]:
                    metadata = (rest[0] if rest else {}).get("structuredMetadata", {})
                    key = int(stamp), line
                    fresh += key not in found
                    found[key] = (int(stamp), line, metadata, stream["stream"])
            if not fresh:
                return sorted(found.values(), key=lambda entry: entry[0])
            start = max(stamp for stamp, _ in found)


@pytest.fixture(scope="session")
def shared():
    """The server for tests without faults: the one given, or one of ours for the session."""
    url = os.environ.get("SUBWATCH_TEST_LOKI_URL")
    if url:
        yield Loki(url.rstrip("/"), os.environ.get("SUBWATCH_TEST_LOKI_TENANT"))
        return
    server = _load("lokiserver").LokiServer()
    yield Loki(server.url)
    server.stop()


@pytest.fixture(scope="session")
def has_tenants(shared):
    """Whether the server wants a tenant and none is given: then each test is one, with limits of its own."""
    return not shared.tenant and shared.request("/loki/api/v1/labels")[0] == 401


@pytest.fixture(scope="session")
def has_tight_limits(shared):
    """Whether the server's limits are not the default ones, which `/config?mode=diff` of a Loki tells."""
    told = os.environ.get("SUBWATCH_TEST_LOKI_LIMITS")
    if told or "SUBWATCH_TEST_LOKI_URL" not in os.environ:
        return told == "tight"
    status, text = shared.request("/config?mode=diff")
    names = (
        "ingestion|per_stream|max_line|max_label|max_structured|max_global|max_streams|reject_old|creation"
    )
    return status == 200 and re.search(rf"^ +({names})\w*:", text.decode(), re.MULTILINE) is not None


@pytest.fixture
def default_limits():
    """For tests that hold with default limits only: elsewhere `loki` is a conformance server."""


@pytest.fixture
def loki(request, shared, has_tenants):
    """The server for tests without faults, and a label of the test's own."""
    if "default_limits" in request.fixturenames and request.getfixturevalue("has_tight_limits"):
        return Loki(request.getfixturevalue("make_server")().url)
    return Loki(shared.url, f"subwatch-{uuid.uuid4().hex[:12]}" if has_tenants else shared.tenant)


@pytest.fixture
def local(server):
    """Read back from the test's own server."""
    return Loki(server.url)


@pytest.fixture
def loki_at():
    return Loki


@pytest.fixture(autouse=True)
def no_threads_left():
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 15
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("subwatch-"):
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} was left behind"
