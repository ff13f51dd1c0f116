"""What shipping to Loki costs: from a child's stderr to a server that counts, against peers and a bare loop.

    pip install . ./integrations/loki loki-logger-handler
    python tests/benchmarks/loki.py [--rounds N] [--lines N] [--only TEXT]

Every contender runs in a fresh process, those of a round one right after the other; the median of the ratios of
all rounds counts. CPU is user plus system time of the shipping process. The server is a process of its own that
unpacks each push and counts its entries: a contender that loses or repeats one fails. ``python-logging-loki`` and
``loki-logger-handler`` are as slow with many lines as with few, so they get few.
"""

import argparse
import contextlib
import http.client
import json
import logging
import os
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from json.encoder import encode_basestring

SERVER = r"""
import http.server, sys, threading, zlib
count = wire = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        global count, wire
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wire += len(body)
        if self.headers.get("Content-Encoding") == "gzip": body = zlib.decompress(body, 31)
        count += body.count(b'["1')
        self.send_response(204)
        self.end_headers()
    def do_GET(self):
        data = b"%d %d" % (count, wire)
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_address[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
"""
CHILD = r"""
import os, sys
count, shape = int(sys.argv[1]), sys.argv[2]
if shape == "plain":
    text = "worker-%d processed item %08d of batch %06d in %3d microseconds, queue %4d, ok\n"
    lines = [text % (n % 7, n * 7919 % 10**8, n, n % 997, n % 1013) for n in range(5000)]
else:
    text = "2026-11-22 10:00:00.%06d INFO worker-%d processed item %08d in %3d us ok\n"
    lines = [text % (n * 997 % 10**6, n % 7, n * 7919 % 10**8, n % 997) for n in range(5000)]
full, rest = divmod(count, 5000)
for block in ["".join(lines)] * full + ["".join(lines[:rest])]:
    view = memoryview(block.encode())
    while view:
        view = view[os.write(2, view[:65536]):]
"""
FEW = {"python_logging_loki": 3_000, "loki_logger_handler": 30_000, "handler": 30_000, "formats": 30_000}
# what, figure, ours, theirs, must, aim; a ratio of "lines/s" must be at least, one of "cpu" at most
RATIOS = [
    ("throughput / python-logging-loki", "lines/s", "sink", "python_logging_loki", 200, 500),
    ("throughput / loki-logger-handler", "lines/s", "sink", "loki_logger_handler", 15, 30),
    ("CPU per line / bare pipe, join, gzip", "cpu", "sink", "bare", 2.5, 2.5),
    ("LokiHandler: throughput / loki-logger-handler", "lines/s", "handler", "loki_logger_handler", 1, 1),
    ("LokiHandler: CPU per record / a handler that only formats", "cpu", "handler", "formats", 2.5, 2),
]


def child(lines, shape):
    return [sys.executable, "-I", "-c", CHILD, str(lines), shape]


@contextlib.contextmanager
def counting_server():
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    port = int(process.stdout.readline())

    def count():
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        entries, wire = map(int, connection.getresponse().read().split())
        connection.close()
        return entries, wire

    try:
        yield port, count
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@contextlib.contextmanager
def measured(figures, lines):
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    yield
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures |= {"lines/s": lines / wall, "cpu": cpu / lines * 1e6}


def shipped(lines, work):
    """Run `work(port)`, which returns how many entries there are to be."""
    figures = {}
    with counting_server() as (port, count):
        with measured(figures, lines):
            expected = work(port)
        entries, wire = count()
    assert entries == expected, f"{entries} entries at the server instead of {expected}"
    return figures | {"wire": wire / lines}


class LastRecord:
    """A sink that keeps the exit record: lines that were cut in two by a pause count twice."""

    def open(self, run):
        return self

    wants_lines = False
    dropped = 0

    def emit(self, records):
        self.exit = records

    def close(self, timeout=None):
        pass

    def entries(self):
        return sum(self.exit.lines.values()) + 2


def sink(lines, shape, **options):
    import subwatch
    from subwatch_loki import LokiSink

    def work(port):
        loki, last = (
            LokiSink(f"http://127.0.0.1:{port}", policy="block", flush_timeout=60, **options),
            LastRecord(),
        )
        subwatch.run(child(lines, shape), sinks=[loki, last], stderr=subprocess.DEVNULL)
        assert loki.close(60) == 0
        return last.entries()

    return shipped(lines, work)


def sink_without_isal(lines, shape):
    sys.modules["isal"] = None
    return sink(lines, shape)


def bare(lines, shape):
    """What anybody would write who wants nothing but speed: no times of reading, metadata, retries or bounds."""

    def work(port):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        process = subprocess.Popen(child(lines, shape), stderr=subprocess.PIPE, bufsize=0)
        rest, values, size = b"", [], 0

        def send():
            pack = zlib.compressobj(1, zlib.DEFLATED, 31)
            body = f'{{"streams":[{{"stream":{{"job":"x"}},"values":[{",".join(values)}]}}]}}'
            body = pack.compress(body.encode()) + pack.flush()
            connection.request(
                "POST", "/", body, {"Content-Type": "application/json", "Content-Encoding": "gzip"}
            )
            connection.getresponse().read()

        while chunk := process.stderr.read(65536):
            now = time.time_ns()
            block, newline, rest = (rest + chunk).rpartition(b"\n")
            texts = block.decode("utf-8", "replace").split("\n") if newline else []
            values += [f'["{now + i}",{text}]' for i, text in enumerate(map(encode_basestring, texts))]
            size += len(block)
            if size > 1_000_000:
                send()
                values, size = [], 0
        send()
        process.wait()
        process.stderr.close()
        connection.close()
        return lines

    return shipped(lines, work)


def log_lines(lines, shape, handler):
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(handler)
    process = subprocess.Popen(child(lines, shape), stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        logger.info("%s", line.rstrip("\n"))
    process.wait()
    process.stderr.close()
    return lines


def formats(lines, shape):
    class Formats(logging.Handler):
        def emit(self, record):
            self.format(record)

    figures = {}
    with measured(figures, lines):
        log_lines(lines, shape, Formats())
    return figures


def handler(lines, shape):
    from subwatch_loki import LokiHandler

    def work(port):
        ours = LokiHandler(f"http://127.0.0.1:{port}", tags={"job": "x"}, policy="block", flush_timeout=60)
        log_lines(lines, shape, ours)
        ours.close()
        return lines

    return shipped(lines, work)


def python_logging_loki(lines, shape):
    import logging_loki

    def work(port):
        url = f"http://127.0.0.1:{port}/loki/api/v1/push"
        return log_lines(lines, shape, logging_loki.LokiHandler(url, tags={"job": "x"}, version="1"))

    return shipped(lines, work)


def loki_logger_handler(lines, shape):
    from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

    def work(port):
        url = f"http://127.0.0.1:{port}/loki/api/v1/push"
        theirs = LokiLoggerHandler(url, {"job": "x"}, timeout=3600)
        log_lines(lines, shape, theirs)
        theirs._send()  # by itself it would wait for its hour
        return lines

    return shipped(lines, work)


def spool(lines, shape):
    """To disk, with no server there."""
    import subwatch
    from subwatch_loki import LokiSink

    logging.getLogger("subwatch").setLevel(logging.CRITICAL)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "spool")
        loki, last = (
            LokiSink("http://127.0.0.1:9", spool=path, flush_timeout=60, spool_bytes=2**30),
            LastRecord(),
        )
        with measured(figures, lines):
            subwatch.run(child(lines, shape), sinks=[loki, last], stderr=subprocess.DEVNULL)
            assert loki.close(60) == 0
        with contextlib.closing(sqlite3.connect(path)) as db:
            ((entries,),) = db.execute("SELECT sum(entries) FROM batch")
    assert entries == last.entries(), f"{entries} entries in the spool instead of {last.entries()}"
    return figures


def down(lines, shape):
    """Growth of memory with no server there, in MiB; all that is written is counted."""
    import subwatch
    from subwatch_loki import LokiSink

    logging.getLogger("subwatch").setLevel(logging.CRITICAL)
    loki, last = LokiSink("http://127.0.0.1:9", flush_timeout=0.5), LastRecord()
    subwatch.run(child(5_000, shape), sinks=[loki, last], stderr=subprocess.DEVNULL)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {}
    with measured(figures, lines):
        subwatch.run(child(lines, shape), sinks=[loki, last], stderr=subprocess.DEVNULL)
    figures["mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    loki.close(0.5)
    return figures


CASES = [
    sink,
    sink_without_isal,
    bare,
    formats,
    handler,
    python_logging_loki,
    loki_logger_handler,
    spool,
    down,
]


def run(case, shape, lines):
    command = [sys.executable, __file__, "--case", case, "--shape", shape, "--lines", str(lines)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="contenders whose name holds this")
    parser.add_argument("--shape", choices=["plain", "stamped"])
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    cases = {case.__name__: case for case in CASES}
    if options.case:
        print(json.dumps(cases[options.case](options.lines, options.shape)))
        return
    for shape in [options.shape] if options.shape else ["plain", "stamped"]:
        report(shape, options, [name for name in cases if options.only in name])


def report(shape, options, names):
    rounds = []
    for _ in range(options.rounds):
        rounds.append({name: run(name, shape, FEW.get(name, options.lines)) for name in names})
    print(f"\n{shape} lines, medians of {options.rounds} rounds\n")
    for name in names:
        figures = {key: statistics.median(each[name][key] for each in rounds) for key in rounds[0][name]}
        more = "".join(f"  {key} {figures[key]:.1f}" for key in ("wire", "mb") if key in figures)
        print(
            f"  {name:22} {figures['lines/s']:>12,.0f} lines/s  {figures['cpu']:8.2f} us of CPU a line{more}"
        )
    print()
    for what, figure, ours, theirs, must, aim in RATIOS:
        if ours in names and theirs in names:
            ratio = statistics.median(each[ours][figure] / each[theirs][figure] for each in rounds)
            print(f"  {what:60} {ratio:8.1f}   must be {must}, aim {aim}")


if __name__ == "__main__":
    main()
