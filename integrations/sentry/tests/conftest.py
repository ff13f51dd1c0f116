"""Fixtures: the SDK with an in-memory transport, hand-made children, real servers."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

HERE = Path(__file__).parent


def _helper(name):
    """Import a helper module that lies beside the tests (importlib mode has no sys.path entry for them)."""
    full = f"subwatch_sentry_tests_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
    return sys.modules[full]


class Box(Transport):
    """Keeps the bytes of every envelope, as they would go over the wire, and what they say."""

    def __init__(self, options=None):
        super().__init__(options)
        self.envelopes = []

    def capture_envelope(self, envelope):
        self.envelopes.append(envelope)

    @property
    def raw(self):
        return b"".join(envelope.serialize() for envelope in self.envelopes)

    def _items(self, kind):
        return [
            item for envelope in self.envelopes for item in envelope.items if item.headers["type"] == kind
        ]

    @property
    def events(self):
        return [item.payload.json for item in self._items("event")]

    @property
    def event(self):
        events = self.events
        assert len(events) == 1, [event.get("exception") for event in events]
        return events[0]

    @property
    def transactions(self):
        return [item.payload.json for item in self._items("transaction")]

    @property
    def spans(self):
        return [span for transaction in self.transactions for span in transaction["spans"]]

    @property
    def attachments(self):
        return {item.headers["filename"]: item.payload.bytes for item in self._items("attachment")}

    @property
    def check_ins(self):
        return [item.payload.json for item in self._items("check_in")]

    @property
    def logs(self):
        return [log for item in self._items("log") for log in item.payload.json["items"]]


@pytest.fixture
def crumbs():
    """The breadcrumbs of an event: (category, message) each."""
    return lambda event: [
        (crumb.get("category"), crumb.get("message"))
        for crumb in (event.get("breadcrumbs") or {}).get("values") or ()
    ]


@pytest.fixture
def own_lines():
    """The breadcrumbs of an event that are lines of children."""
    return lambda event: [
        crumb["message"]
        for crumb in event["breadcrumbs"]["values"]
        if crumb.get("category", "").startswith("subprocess.")
    ]


@pytest.fixture
def clean_sdk():
    """The SDK as it is before any ``init``, before and after the test; the test has scopes of its own."""

    def reset():
        # what it cannot send now it would say late, in the middle of the next test
        sentry_sdk.get_client().close(timeout=20)
        for scope in (
            sentry_sdk.get_global_scope(),
            sentry_sdk.get_isolation_scope(),
            sentry_sdk.get_current_scope(),
        ):
            scope.set_client(None)
            scope.clear()

    reset()
    with sentry_sdk.isolation_scope():
        yield
    reset()


@pytest.fixture
def sentry(clean_sdk):
    """Initialise the SDK: ``box = sentry(traces_sample_rate=1.0)``; all that was sent must be valid."""
    boxes = []

    def init(**options):
        boxes.append(box := Box())
        sentry_sdk.init(dsn="http://key@127.0.0.1:1/1", transport=box, **options)
        return box

    yield init
    for box in boxes:
        for event in [*box.events, *box.transactions]:
            _helper("relay").check(event)


@pytest.fixture
def patient():
    """Code that goes before that of a program: the end of the program gives a busy machine more than 2 s to send."""
    return "import sentry_sdk.consts\nsentry_sdk.consts.DEFAULT_OPTIONS['shutdown_timeout'] = 20\n"


@pytest.fixture
def child():
    """Make children by hand: ``child(sink).start().says("line").exit(1)``."""
    return _helper("handmade").Child


@pytest.fixture(scope="session")
def bugsink():
    """A running bugsink."""
    with _helper("servers").bugsink() as server:
        yield server


@pytest.fixture
def silent_server():
    """DSN of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://key@127.0.0.1:{server.getsockname()[1]}/1"


@pytest.fixture
def answering():
    """A server that answers each request with a status and closes: ``answering(429)`` has ``dsn`` and ``events()``."""
    servers = []

    def start(status):
        servers.append(server := _helper("servers").Answering(status))
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def spotlight():
    """A running Spotlight."""
    with _helper("servers").spotlight() as server:
        yield server
