"""Servers that are well half of the time: those of the integrations' own tests, and what goes wrong before them.

Each has weather of its own: it is down, answers 429, 500 and 503, hangs, drops connections, or stores what it was sent
and breaks off before its answer; then it is well again.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import socket
import struct
import sys
import threading
from collections import Counter
from pathlib import Path

INTEGRATIONS = Path(__file__).parents[2] / "integrations"
TROUBLES = ("down", "429", "500", "503", "hangs", "drops", "stores and breaks off")
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: no farewell


def load(path):
    """Import a helper module of an integration's tests."""
    name = f"soak_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, INTEGRATIONS / path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Troubled:
    """Goes before a handler of `http.server`, as a base class, and has it answer in good weather only."""

    def setup(self):
        super().setup()
        self.server.weather.connections.add(self.connection)

    def finish(self):
        self.server.weather.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:  # was cut
            pass

    def do_POST(self):
        weather = self.server.weather
        what, passed = weather.now, weather.passed
        if what == "drops":
            return self.cut()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if what in (None, "down"):  # what has come before it went down
            return self.pass_on(body)
        if what == "stores and breaks off":
            answer, self.wfile = self.wfile, io.BytesIO()
            self.pass_on(body)
            self.wfile = answer
            weather.unanswered.add(hashlib.sha256(body).digest())
            return self.cut()
        if what == "hangs":
            passed.wait(30)
            return self.cut()
        if what == "429":
            weather.refused.append(body)
        return self.answer_with(int(what))

    def pass_on(self, body):
        """Have it handled properly; what was stored before, and not answered, is there already."""
        weather = self.server.weather
        if weather.once and hashlib.sha256(body).digest() in weather.unanswered:
            weather.again += 1
            return self.answer_with(200)
        connection, self.rfile = self.rfile, io.BytesIO(body)
        super().do_POST()
        self.rfile = connection
        return None

    def answer_with(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Retry-After", "1")
        self.end_headers()

    def cut(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close_connection = True


class Weather(threading.Thread):
    """The weather of one server.

    Args:
        server: A `http.server.ThreadingHTTPServer` that serves.
        rng: Decides what comes when.
        once: Take the same request no second time when it had no answer: the client sends it again, and the server
            could not know it. (Loki's does.)

    Attributes:
        refused: The bodies of requests that it has answered with 429.
        again: How often a request has come again.
    """

    def __init__(self, server, rng, *, once=False):
        super().__init__(daemon=True)
        self._random = rng
        self._server = server
        self._over = threading.Event()
        self.once = once
        self.now = None
        self.passed = threading.Event()
        self.connections = set()
        self.unanswered = set()
        self.refused = []
        self.again = 0
        self.seen = Counter()
        server.weather = self
        server.handle_error = lambda request, address: None
        server.RequestHandlerClass = type("Handler", (Troubled, server.RequestHandlerClass), {})

    def run(self):
        while not self._over.wait(self._random.uniform(0.5, 2.0)):
            what = self._random.choice(TROUBLES)
            self.seen[what] += 1
            self.passed = threading.Event()
            self.now = what
            if what == "down":
                self.down()
            self._over.wait(self._random.uniform(0.5, 3.0))
            if what == "down":
                self.up()
            self.now = None
            self.passed.set()

    def down(self):
        server = self._server
        server.shutdown()
        server.socket.close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def up(self):
        server = self._server
        server.socket = socket.create_server(server.server_address, backlog=64)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def end(self):
        """Let it be fine from now on."""
        self._over.set()
        self.join()


class Loki:
    def __init__(self, rng):
        self._loki = load("loki/tests/lokiserver.py").LokiServer(max_query_entries=10**9)
        self.weather = Weather(self._loki._server, rng)
        self._loki.requests = Nothing()
        self.url = self._loki.url

    def entries(self):
        """The metadata of all entries."""
        streams = self._loki.store.tenants["fake"].values()
        return [metadata for stream in streams for metadata in stream.entries.values()]

    def stop(self):
        self._loki.stop()


class Nothing(list):
    """A list of requests that would be long."""

    def append(self, request):
        pass


class Sentry:
    def __init__(self, rng):
        self._sentry = load("sentry/tests/servers.py").Answering(200)
        self.weather = Weather(self._sentry._server, rng)
        self.url = self._sentry.dsn

    def events(self):
        """The events that it has taken."""
        return self._sentry.events()

    def refused(self):
        """The events that it has counted as lost itself: an SDK does not, after 429."""
        return self._sentry.events_of(map(gzip.decompress, self.weather.refused))

    def stop(self):
        self._sentry.close()


class OpenTelemetry:
    def __init__(self, rng):
        module = load("opentelemetry/tests/otlp_collector.py")
        self.plain, self.attributes_of = module.plain, module.attributes_of
        self._context = module.readback()
        self._readback = self._context.__enter__()
        self.weather = Weather(self._readback, rng, once=True)
        self.url = f"http://127.0.0.1:{self._readback.server_port}"

    def items(self, kind):
        """Spans or log records."""
        return self._readback.items(kind)

    def stop(self):
        self._context.__exit__(None, None, None)
