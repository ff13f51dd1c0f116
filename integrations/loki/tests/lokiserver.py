"""A server that answers the push and query API as a Loki 3.7.6 does, on 127.0.0.1, with faults on request.

The behaviour follows recorded answers of a real one; `test_loki_conformance.py` holds it to them row by row.

As a program, ``python lokiserver.py [LIMIT=NUMBER]...``, it has the default limits but for those given, prints its
address, and at the end of its input what it was sent.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import statistics
import struct
import sys
import threading
import time
import zlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOUR_NS = 3600 * 10**9
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
LABEL_PAIR = re.compile(r'\s*([^=\s,{}"]*)\s*=\s*("(?:[^"\\]|\\.)*")\s*(,|\Z)')


class Refused(Exception):
    """An answer other than 204."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


@dataclass
class Limits:
    """`limits_config` with Loki's defaults."""

    auth: bool = False
    structured_metadata: bool = True
    max_line_size: int = 256 * 1024
    max_label_names: int = 15
    max_label_name: int = 1024
    max_label_value: int = 2048
    max_metadata_pairs: int = 128
    max_metadata_size: int = 64 * 1024
    max_age: float = 7 * 86400.0
    grace: float = 600.0
    rate: float = 4e6
    burst: float = 1e9  # 6e6 by default; the tests of the limit set it
    stream_rate: float = 3e6
    stream_burst: float = 1e9  # 15e6 by default
    max_streams: int = 5000
    max_query_entries: int = 5000
    max_query_series: int = 500
    max_body: int = 100 * 1024 * 1024


DEFAULT_BURSTS = {"burst": 6e6, "stream_burst": 15e6}
#: What Loki calls the limits, for `/config`.
NAMES = {
    "max_line_size": "max_line_size",
    "max_label_names": "max_label_names_per_series",
    "max_metadata_pairs": "max_structured_metadata_entries_count",
    "rate": "ingestion_rate_mb",
    "burst": "ingestion_burst_size_mb",
    "stream_rate": "per_stream_rate_limit",
    "stream_burst": "per_stream_rate_limit_burst",
    "max_streams": "max_global_streams_per_user",
}


def differences(limits):
    """`/config?mode=diff`: what is not the default."""
    usual = Limits(**DEFAULT_BURSTS)
    rows = [
        f"  {NAMES[name]}: {value}\n"
        for name, value in vars(limits).items()
        if name in NAMES and value not in (getattr(usual, name), getattr(Limits, name))
    ]
    return (
        f"auth_enabled: {str(limits.auth).lower()}\n" + ("limits_config:\n" if rows else "") + "".join(rows)
    )


@dataclass
class Fault:
    """What to do with a push instead of answering it properly.

    Attributes:
        status: Answer with this.
        text: And this body.
        headers: And these headers.
        store: Store the entries before.
        hang: ``"before"`` the answer, or in the ``"middle"`` of it, until the server stops.
        reset: Reset the connection ``"before"`` reading the body, or in the ``"middle"`` of the answer.
    """

    status: int = 0
    text: str = ""
    headers: dict = field(default_factory=dict)
    store: bool = False
    hang: str = ""
    reset: str = ""


class Stream:
    def __init__(self, labels):
        self.labels = labels
        self.entries = {}  # (time, line) -> metadata, in the order of arrival
        self.highest = 0
        self.tokens = None


class Store:
    """What one server has, which survives its restart."""

    def __init__(self, limits):
        self.limits = limits
        self.lock = threading.Lock()
        self.tenants = defaultdict(dict)
        self.tokens = {}
        self.sent_twice = 0  # entries that were there already

    def push(self, tenant, streams):
        limits = self.limits
        problems = defaultdict(int)
        accepted = []
        for labels, entries in streams:
            labels = {name: value for name, value in labels.items() if value != ""}
            shown = show(labels)
            if len(labels) > limits.max_label_names:
                limit = limits.max_label_names
                message = f"entry for stream '{shown}' has {len(labels)} label names; limit {limit}"
                problems[message] += 1
                continue
            long = [name for name in labels if len(name) > limits.max_label_name]
            wide = [value for value in labels.values() if len(value.encode()) > limits.max_label_value]
            if long:
                problems[f"stream '{shown}' has label name too long: '{long[0]}'"] += 1
                continue
            if wide:
                problems[f"stream '{shown}' has label value too long: '{wide[0]}'"] += 1
                continue
            labels.setdefault("service_name", labels.get("app") or labels.get("job") or "unknown_service")
            good = []
            for stamp, line, metadata in entries:
                problem = self.problem(shown, stamp, line, metadata)
                if problem:
                    problems[problem] += 1
                else:
                    good.append((stamp, line, finish_metadata(labels, metadata, line)))
            if good:
                accepted.append((labels, good))
        size = sum(entry_size(entry) for _, entries in accepted for entry in entries)
        self.take_tokens(tenant, size, sum(len(entries) for _, entries in accepted))
        error = None
        for labels, entries in accepted:
            error = self.ingest(tenant, labels, entries)  # of the last stream only: the others' are forgotten
        if error:
            raise Refused(*error)
        if problems:
            raise Refused(
                400, "; ".join(f"{number} errors like: {text}" for text, number in problems.items())
            )

    def problem(self, shown, stamp, line, metadata):
        limits = self.limits
        now = time.time_ns()
        size = len(line.encode())
        if stamp < now - int(limits.max_age * 1e9):
            return (
                f"entry for stream '{shown}' has timestamp too old: {rfc3339(stamp)}, "
                f"oldest acceptable timestamp is: {rfc3339(now - int(limits.max_age * 1e9))}"
            )
        if stamp > now + int(limits.grace * 1e9):
            return f"entry for stream '{shown}' has timestamp too new: {rfc3339(stamp)}"
        if size > limits.max_line_size:
            return (
                f"max entry size '{limits.max_line_size}' bytes exceeded for stream '{shown}' "
                f"while adding an entry with length '{size}' bytes"
            )
        if metadata and not limits.structured_metadata:
            return (
                f"stream '{shown}' includes structured metadata, but this feature is disallowed. Please see "
                "`limits_config.allow_structured_metadata` or contact your Loki administrator to enable it."
            )
        if len(metadata) > limits.max_metadata_pairs:
            return (
                f"stream '{shown}' has too many structured metadata labels: '{len(metadata)}', limit: '128'."
            )
        total = sum(len(name) + len(value.encode()) for name, value in metadata)
        if total > limits.max_metadata_size:
            return (
                f"stream '{shown}' has structured metadata too large: '{total}' bytes, limit: '65536' bytes."
            )
        return None

    def take_tokens(self, tenant, size, lines):
        now = time.monotonic()
        tokens, last = self.tokens.get(tenant, (self.limits.burst, now))
        tokens = min(self.limits.burst, tokens + (now - last) * self.limits.rate)
        if size > tokens:
            self.tokens[tenant] = tokens, now
            raise Refused(
                429,
                f"ingestion rate limit exceeded for user {tenant} (limit: {self.limits.rate:.0f} bytes/sec) "
                f"while attempting to ingest '{lines}' lines totaling '{size}' bytes, reduce log volume or "
                "contact your Loki administrator to see if the limit can be increased",
            )
        self.tokens[tenant] = tokens - size, now

    def ingest(self, tenant, labels, entries):
        limits = self.limits
        streams = self.tenants[tenant]
        key = show(labels)
        stream = streams.get(key)
        if stream is None:
            if len(streams) >= limits.max_streams:
                return (
                    429,
                    f"maximum active stream limit exceeded when trying to create stream {key}, "
                    f"user: '{tenant}'",
                )
            stream = streams[key] = Stream(labels)
        now = time.monotonic()
        tokens, last = stream.tokens or (limits.stream_burst, now)
        tokens = min(limits.stream_burst, tokens + (now - last) * limits.stream_rate)
        size = sum(map(entry_size, entries))
        stream.tokens = tokens, now
        if size > tokens:
            text = f"per stream rate limit exceeded while attempting to ingest for stream '{key}'"
            return 429, ignored([(entry[0], text) for entry in entries], len(entries), key, tenant)
        stream.tokens = tokens - size, now
        failed = []
        for stamp, line, metadata in entries:
            oldest = stream.highest - HOUR_NS
            if stamp < oldest:
                times = (
                    f"entry timestamp is: {rfc3339(stamp)}, oldest acceptable timestamp is: {rfc3339(oldest)}"
                )
                failed.append((stamp, f"entry too far behind, {times}"))
                continue
            stream.highest = max(stream.highest, stamp)
            if (stamp, line) in stream.entries:
                self.sent_twice += 1
            else:
                stream.entries[stamp, line] = metadata
        return (400, ignored(failed, len(entries), key, tenant)) if failed else None

    def query(self, tenant, query, start, end, limit, direction):
        if limit > self.limits.max_query_entries:
            raise Refused(
                400,
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > 5000)",
            )
        matchers, filters = parse_query(query)
        found = []
        for stream in self.tenants[tenant].values():
            if matches(stream.labels, matchers):
                for (stamp, line), metadata in stream.entries.items():
                    both = {**stream.labels, **metadata}
                    if start <= stamp < end and matches(both, filters):
                        found.append((stamp, stream, line, metadata))
        found.sort(key=lambda each: each[0], reverse=direction == "backward")
        return found[:limit]


def entry_size(entry):
    return len(entry[1].encode()) + sum(len(name) + len(value.encode()) for name, value in entry[2].items())


def ignored(failed, total, key, tenant):
    lines = [
        f"entry with timestamp {rfc3339(stamp)} ignored, reason: '{text}',\n" for stamp, text in failed[:10]
    ]
    return "".join(lines) + f"user '{tenant}', total ignored: {len(failed)} out of {total} for stream: {key}"


def finish_metadata(labels, metadata, line):
    """Names as Loki stores them; the level that it detects."""
    stored = {}
    for name, value in metadata:
        if value == "":
            continue
        name = normal_name(name)
        stored[f"{name}_extracted" if name in labels else name] = value
    level = stored.get("level") or labels.get("level")
    if level is None:
        word = re.search(r"\b(error|warn|info|debug|critical|fatal|trace)", line, re.IGNORECASE)
        level = word[1].lower() if word else "unknown"
    stored["detected_level"] = {"warning": "warn"}.get(level, level)
    return stored


def normal_name(name):
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    name = re.sub(r"^_+", "_", name)
    return f"key_{name}" if name[0].isdigit() else name


def show(labels):
    return (
        "{"
        + ", ".join(
            f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(labels.items())
        )
        + "}"
    )


def rfc3339(stamp):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp // 10**9))


def parse_labels(text):
    if not (text.startswith("{") and text.endswith("}")):
        raise Refused(400, f"couldn't parse labels: {text}")
    labels, at, inside = {}, 0, text[1:-1]
    while inside[at:].strip():
        pair = LABEL_PAIR.match(inside, at)
        if not pair or not LABEL_NAME.match(pair[1]):
            raise Refused(400, f"couldn't parse labels: 1:{at + 2}: parse error: unexpected character")
        if pair[1] in labels:
            raise Refused(400, f"stream '{text}' has duplicate label name: '{pair[1]}'")
        labels[pair[1]] = json.loads(pair[2], strict=False)
        at = pair.end()
    return labels


def parse_query(query):
    """The matchers and filters of a log query, each (name, operator, value); no other stages."""
    selector, *stages = re.split(r"\}\s*\|?", query.strip(), maxsplit=1)
    pair = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")')
    found = [
        [(name, operator, json.loads(value)) for name, operator, value in pair.findall(part)]
        for part in (selector, stages[0] if stages else "")
    ]
    if not found[0]:
        raise Refused(400, "parse error : queries require at least one regexp or equality matcher")
    return found


def matches(labels, filters):
    """Whether labels pass; one that is not there is empty."""
    for name, operator, value in filters:
        have = labels.get(name, "")
        equal = re.fullmatch(value, have) is not None if "~" in operator else have == value
        if equal == ("!" in operator):
            return False
    return True


METRIC = re.compile(
    r"(?:(?P<outer>sum|max)(?: by \((?P<by>[^)]*)\) ?)?\()?(?P<inner>count|max|quantile)_over_time\("
    r"(?:(?P<quantile>[0-9.]+), )?(?P<log>\{.*?)(?: \| unwrap (?P<unwrap>\w+))? \[(?P<amount>\d+)(?P<unit>[smh])\]\)"
    r"(?: by \((?P<by2>[^)]*)\))?\)?(?P<default> or vector\(0\))?"
)


def parse_metric(query):
    """The parts of a metric query: one aggregation over time, and one over labels around it."""
    found = METRIC.fullmatch(query.strip())
    if found is None:
        raise Refused(400, f"parse error : {query}")
    parts = found.groupdict()
    # Of vector aggregations, only a sum of counts is pushed down: any other gets a series for each set of labels.
    parts["inner_by"] = parts["by"] if parts["outer"] == "sum" and parts["inner"] == "count" else parts["by2"]
    parts["whole"] = parts["outer"] != "sum" and parts["by2"] is None
    parts["by"] = parts["by"] if parts["outer"] else parts["by2"]
    for name in ("by", "inner_by"):
        parts[name] = [label.strip() for label in (parts[name] or "").split(",") if label.strip()]
    parts["ns"] = int(parts["amount"]) * {"s": 10**9, "m": 60 * 10**9, "h": HOUR_NS}[parts["unit"]]
    return parts


def aggregate(parts, entries, most):
    """The vector of a metric query: (labels, value)."""
    groups = defaultdict(list)
    series = set()
    for _, stream, _, metadata in entries:
        both = {**stream.labels, **metadata}
        key = tuple((name, both[name]) for name in parts["by"] if both.get(name))
        groups[key].append(float(both[parts["unwrap"]]) if parts["unwrap"] else 1.0)
        series.add(tuple(both.get(name) for name in (sorted(both) if parts["whole"] else parts["inner_by"])))
    if len(series) > most:
        raise Refused(400, f"maximum of series ({most}) reached for a single query")
    work = {"count": sum, "max": max, "quantile": lambda all: statistics.quantiles([*all, *all], n=20)[18]}
    vector = [(dict(key), work[parts["inner"]](values)) for key, values in groups.items()]
    return vector or ([({}, 0.0)] if parts["default"] else [])


# -- what comes in -------------------------------------------------------------------------------------------


def decode_push(headers, body, limit):
    """The streams of a request: labels, and entries of (time, line, [(name, value)])."""
    kind = (headers.get("Content-Type") or "").split(";")[0].strip()
    encoding = headers.get("Content-Encoding") or ""
    if not kind:
        raise Refused(400, "mime: no media type")
    if encoding == "gzip":
        try:
            body = gzip.decompress(body)
        except (OSError, EOFError, zlib.error):
            raise Refused(400, "gzip: invalid header") from None
    elif encoding == "deflate":
        try:
            body = zlib.decompress(body, -15)
        except zlib.error:
            raise Refused(400, "flate: corrupt input before offset 1") from None
    elif encoding not in ("", "snappy"):
        raise Refused(400, f'Content-Encoding "{encoding}" not supported')
    body = body[:limit]
    streams = decode_json(body) if kind == "application/json" else decode_protobuf(unsnappy(body))
    if not streams:
        raise Refused(422, "error at least one valid stream is required for ingestion")
    for _, entries in streams:
        for _, _, metadata in entries:
            for name, _ in metadata:
                if not re.search(r"[a-zA-Z0-9]", name):
                    raise Refused(
                        500, f"normalization for label name {json.dumps(name)} resulted in invalid name"
                    )
    return streams


def decode_json(body):
    try:
        document, _ = json.JSONDecoder(strict=False).raw_decode(body.decode("utf-8", "replace").lstrip())
    except ValueError as error:
        raise Refused(400, f"loghttp.PushRequest: {error}") from None
    streams = []
    for stream in document.get("streams") or []:
        labels = {}
        for name, value in (stream.get("stream") or {}).items():
            labels[name] = value if isinstance(value, str) else json.dumps(value)
            if not LABEL_NAME.match(name):
                raise Refused(
                    400, f"couldn't parse labels: 1:2: parse error: unexpected character in {name!r}"
                )
        entries = [decode_value(value) for value in stream.get("values") or []]
        text = "".join((*labels.values(), *(line for _, line, _ in entries)))
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise Refused(400, "couldn't parse push request: invalid surrogate pair")
        streams.append((labels, entries))
    return streams


def decode_value(value):
    if not isinstance(value, list) or not value:
        raise Refused(400, "loghttp.PushRequest.Streams: Unknown value type")
    stamp = value[0]
    line = value[1] if len(value) > 1 else ""
    metadata = value[2] if len(value) > 2 else {}
    if not isinstance(stamp, str) or not re.fullmatch(r"-?[0-9]+", stamp):
        raise Refused(400, f'strconv.ParseInt: parsing "{stamp}": invalid syntax')
    if not isinstance(line, str):
        raise Refused(400, "Value looks like Number/Boolean/None, but can't find its end")
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        raise Refused(400, "MalformedStringError")
    return int(stamp), line, list(metadata.items())


def fields(data):
    """The fields of a protobuf message: number and value."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise Refused(400, "proto: wrong wireType")
        yield key >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def decode_protobuf(data):
    """`logproto.PushRequest`."""
    streams = []
    for number, value in fields(data):
        if number == 1:
            labels, entries = {}, []
            for inner, part in fields(value):
                if inner == 1:
                    labels = parse_labels(part.decode())
                elif inner == 2:
                    entries.append(decode_entry(part))
            streams.append((labels, entries))
    return streams


def decode_entry(data):
    stamp, line, metadata = 0, "", []
    for number, value in fields(data):
        if number == 1:
            for inner, part in fields(value):
                stamp += part * (10**9 if inner == 1 else 1)
        elif number == 2:
            line = value.decode("utf-8", "replace")
        elif number == 3:
            pair = dict(fields(value))
            metadata.append((pair.get(1, b"").decode(), pair.get(2, b"").decode()))
    return stamp, line, metadata


def unsnappy(data):
    """Snappy's block format (https://github.com/google/snappy/blob/main/format_description.txt)."""
    try:
        size, at = varint(data, 0)
        out = bytearray()
        while at < len(data):
            tag = data[at]
            at += 1
            if tag & 3 == 0:
                length = tag >> 2
                if length >= 60:
                    extra = length - 59
                    length = int.from_bytes(data[at : at + extra], "little")
                    at += extra
                out += data[at : at + length + 1]
                at += length + 1
                continue
            if tag & 3 == 1:
                length, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
                at += 1
            else:
                width = 2 if tag & 3 == 2 else 4
                length, offset = (tag >> 2) + 1, int.from_bytes(data[at : at + width], "little")
                at += width
            if not 0 < offset <= len(out):
                raise IndexError
            for _ in range(length):
                out.append(out[-offset])
    except IndexError:
        raise Refused(400, "snappy: corrupt input") from None
    if len(out) != size or not size:
        raise Refused(400, "snappy: corrupt input")
    return bytes(out)


# -- HTTP ----------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Loki/3.7.6"

    def setup(self):
        super().setup()
        self.server.owner.connections.add(self.connection)

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass
        finally:
            self.server.owner.connections.discard(self.connection)

    def do_POST(self):
        owner = self.server.owner
        if urlsplit(self.path).path != "/loki/api/v1/push":
            self.answer(404, "404 page not found")
            return
        fault = owner.next_fault()
        if fault and fault.reset == "before":
            self.reset()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with owner.lock:
            owner.requests.append((dict(self.headers), body))
        if fault is None or fault.store:
            status, text = owner.push(self.headers, body)
        if fault is None:
            self.answer(status, text)
            return
        if fault.hang == "before":
            owner.released.wait(30)
        elif fault.hang or fault.reset:
            self.wfile.write(b"HTTP/1.1 204 No Con")
            self.wfile.flush()
            if fault.hang:
                owner.released.wait(30)
            else:
                self.reset()
                return
        if fault.status:
            self.answer(fault.status, fault.text, fault.headers)
        else:
            self.close_connection = True

    def do_GET(self):
        owner = self.server.owner
        url = urlsplit(self.path)
        if url.path == "/ready":
            self.answer(200, "ready")
        elif url.path == "/config":
            self.answer(200, differences(owner.store.limits))
        elif (
            url.path == "/loki/api/v1/labels"
            and owner.store.limits.auth
            and "X-Scope-OrgID" not in self.headers
        ):
            self.answer(401, "no org id")
        elif url.path in ("/loki/api/v1/query_range", "/loki/api/v1/query"):
            try:
                arguments = {name: values[0] for name, values in parse_qs(url.query).items()}
                work = owner.query if url.path.endswith("range") else owner.instant
                document = work(self.headers, arguments)
            except Refused as refused:
                self.answer(refused.status, refused.text)
            else:
                self.answer(200, json.dumps(document), {"Content-Type": "application/json"})
        else:
            self.answer(405 if url.path == "/loki/api/v1/push" else 404, "")

    do_PUT = do_OPTIONS = do_GET

    def answer(self, status, text="", headers=None):
        data = text.encode()
        self.send_response_only(status)
        common = {"Date": self.date_time_string(), "Content-Type": "text/plain; charset=utf-8"}
        for name, value in {**common, **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data if status != 204 else b"")

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def shutdown_request(self, request):
        # Without shutdown(2), so that SO_LINGER 0 sends a reset.
        request.close()

    def handle_error(self, request, client_address):
        pass


class LokiServer:
    """The server; `url` is its address.

    Args:
        store: Of an earlier server, for a restart.
        port: Of an earlier server.
        tls: An `ssl.SSLContext`, for https.
        limits: Fields of `Limits`.
    """

    def __init__(self, store=None, port=0, tls=None, **limits):
        self.store = store or Store(Limits(**limits))
        self.requests = []
        self.faults = deque()
        self.always = None
        self.lock = threading.Lock()
        self.connections = set()
        self.released = threading.Event()
        self._server = Server(("127.0.0.1", port), Handler)
        self._server.owner = self
        if tls is not None:  # the handshake in the connection's own thread
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def next_fault(self):
        with self.lock:
            return self.faults.popleft() if self.faults else self.always

    def tenant(self, headers):
        given = headers.get("X-Scope-OrgID")
        if not self.store.limits.auth:
            return "fake"
        if not given:
            raise Refused(401, "no org id")
        if "|" in given:
            raise Refused(400, "multiple org IDs present")
        if len(given) > 150 or not re.fullmatch(r"[A-Za-z0-9!_.*'()-]+", given):
            raise Refused(400, "tenant ID contains unsupported characters or is too long")
        return given

    def push(self, headers, body):
        try:
            tenant = self.tenant(headers)
            streams = decode_push(headers, body, self.store.limits.max_body)
            with self.store.lock:
                self.store.push(tenant, streams)
        except Refused as refused:
            return refused.status, refused.text
        return 204, ""

    def query(self, headers, arguments):
        now = time.time_ns()
        with self.store.lock:
            found = self.store.query(
                self.tenant(headers),
                arguments["query"],
                int(arguments.get("start", now - HOUR_NS)),
                int(arguments.get("end", now + HOUR_NS)),
                int(arguments.get("limit", 100)),
                arguments.get("direction", "backward"),
            )
        categorize = "categorize-labels" in headers.get("X-Loki-Response-Encoding-Flags", "")
        streams = {}
        for stamp, stream, line, metadata in found:
            labels = stream.labels if categorize else {**stream.labels, **metadata}
            value = [str(stamp), line, {"structuredMetadata": metadata}] if categorize else [str(stamp), line]
            streams.setdefault(show(labels), {"stream": labels, "values": []})["values"].append(value)
        data = {"resultType": "streams", "result": list(streams.values()), "stats": {}}
        if categorize:
            data["encodingFlags"] = ["categorize-labels"]
        return {"status": "success", "data": data}

    def instant(self, headers, arguments):
        parts = parse_metric(arguments["query"])
        now = int(arguments.get("time", time.time_ns()))
        with self.store.lock:
            entries = self.store.query(
                self.tenant(headers), parts["log"], now - parts["ns"], now + 1, 5000, "forward"
            )
        result = [
            {"metric": labels, "value": [now / 1e9, f"{value:g}"]}
            for labels, value in aggregate(parts, entries, self.store.limits.max_query_series)
        ]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}

    def stop(self):
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join(5)


def main():
    given = {name: float(value) for name, _, value in (word.partition("=") for word in sys.argv[1:])}
    server = LokiServer(**{**DEFAULT_BURSTS, **given})
    print(server.url, flush=True)
    sys.stdin.read()
    server.stop()
    pushes = len(server.requests)
    print(json.dumps({"pushes": pushes, "tenants": len(server.store.tenants)}), flush=True)


if __name__ == "__main__":
    main()
