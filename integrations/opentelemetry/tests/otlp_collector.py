"""A real OTLP collector, ``rotel``, and the server behind it that keeps what it forwards."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# as in pyproject.toml; the one for Python 3.14 is the last that is not made for one Python only
ROTEL = ("rotel==0.0.1a10; python_version >= '3.14'", "rotel==0.0.1a15; python_version < '3.14'")
REQUESTS = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Readback(ThreadingHTTPServer):
    """What arrives behind the collector."""

    daemon_threads = True

    def __init__(self, url) -> None:
        where = urlsplit(url)
        self.requests = []
        self.changed = threading.Condition()
        super().__init__((where.hostname, where.port), _Handler)

    def items(self, kind):
        with self.changed:
            requests = [request for request in self.requests if isinstance(request, REQUESTS[f"/v1/{kind}"])]
        outer, middle, inner = {
            "traces": ("resource_spans", "scope_spans", "spans"),
            "logs": ("resource_logs", "scope_logs", "log_records"),
            "metrics": ("resource_metrics", "scope_metrics", "metrics"),
        }[kind]
        return [
            item
            for request in requests
            for resource in getattr(request, outer)
            for scope in getattr(resource, middle)
            for item in getattr(scope, inner)
        ]

    def services(self):
        """Names of the services whose spans have arrived."""
        with self.changed:
            requests = [request for request in self.requests if isinstance(request, REQUESTS["/v1/traces"])]
        resources = [spans.resource for request in requests for spans in request.resource_spans]
        return {attributes_of(resource)["service.name"] for resource in resources}

    def wait(self, kind, accept, timeout=15.0):
        """Wait for what satisfies `accept` (a list of items to something true) and return that."""
        deadline = time.monotonic() + timeout
        while not (found := accept(self.items(kind))):
            assert time.monotonic() < deadline, f"not arrived within {timeout} s: {kind}"
            with self.changed:
                self.changed.wait(0.2)
        return found


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = REQUESTS[self.path].FromString(body)
        with self.server.changed:
            self.server.requests.append(request)
            self.server.changed.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, *args):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_agent(folder):
    """The collector's program and its environment: it needs the shared library of the Python it is made for.

    Where ours has none (pyenv builds without), the next Python that has one gets the package, too; so where the one
    for Python 3.14 needs a newer C library than there is.
    """
    others = (shutil.which(f"python3{minor}") for minor in (".11", ".12", ".13", ""))
    for python in (sys.executable, *filter(None, others)):
        if python != sys.executable:
            subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
            python = str(folder / "venv" / "bin" / "python")
            subprocess.run([python, "-m", "pip", "install", "-q", *ROTEL], check=True)
        show = "import rotel, sysconfig; print(rotel.__path__[0]); print(sysconfig.get_config_var('LIBDIR'))"
        found = subprocess.run([python, "-c", show], capture_output=True, text=True)
        if found.returncode:
            pytest.fail("the OTLP collector is missing: pip install --group test-opentelemetry")
        package, libraries = found.stdout.splitlines()
        agent = f"{package}/rotel-agent"
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        if subprocess.run([agent, "--version"], env=environment, capture_output=True).returncode == 0:
            return agent, environment
        shutil.rmtree(folder / "venv", ignore_errors=True)
    pytest.fail("the OTLP collector finds no libpython, or too old a libc: apt-get install libpython3-dev")


def wait_for(port, agent, timeout=10.0):
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert agent.poll() is None, "rotel has ended"
            assert time.monotonic() < deadline, "rotel does not listen"
            time.sleep(0.05)


@contextlib.contextmanager
def readback(url="http://127.0.0.1:0"):
    """A `Readback` that listens."""
    server = Readback(url)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def running(folder, server):
    """A collector that forwards to a `Readback`; its endpoints by protocol."""
    agent, environment = find_agent(folder)
    ports = {"grpc": free_port(), "http/protobuf": free_port()}
    command = [
        agent,
        "start",
        *("--otlp-grpc-endpoint", f"127.0.0.1:{ports['grpc']}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{ports['http/protobuf']}"),
        *("--pid-file", str(folder / "pid"), "--log-file", str(folder / "log")),
        *("--exporter", "otlp", "--otlp-exporter-protocol", "http", "--batch-timeout", "100ms"),
        *("--otlp-exporter-endpoint", f"http://127.0.0.1:{server.server_port}"),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **quiet) as popen:
        try:
            for port in ports.values():
                wait_for(port, popen)
            yield {protocol: f"http://127.0.0.1:{port}" for protocol, port in ports.items()}
        finally:
            popen.kill()


def plain(value):
    """An OTLP value as Python's."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes_of(item):
    return {pair.key: plain(pair.value) for pair in item.attributes}


def sorted_logs(items, trace_id, count):
    mine = sorted((item for item in items if item.trace_id == trace_id), key=lambda item: item.time_unix_nano)
    return mine if len(mine) == count else None
