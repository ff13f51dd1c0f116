"""What a worker of the soak test writes down: all that its children have said, and all that sinks say of it.

It is appended to files ``NAME-PID-N.jsonl``, a line per batch of records, at once: they are what is left of a worker
that is killed.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import random
import re
import sys
import threading
import time
from pathlib import Path

ENDING = []  # what is to be done last of all at the end of the interpreter
atexit.register(lambda: [end() for end in ENDING])  # before anybody else: is called after all others

from subwatch.records import Exit, Lines  # noqa: E402

SETTINGS = json.loads(sys.argv[1])
MARK = re.compile(r"#(\w+)\.([a-z])\.(\d+)(!?)#")
FULL = 192 * 1024  # bytes that a file may have while the disk is "full"


class Book:
    """The files; each process and each size has its own, so that forks and a full disk do no harm."""

    def __init__(self):
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forked)
        self._forked()

    def _forked(self):
        self._lock = threading.Lock()
        self._fd, self._size, self._part = None, FULL, 0

    def write(self, **entry):
        data = json.dumps(entry).encode() + b"\n"
        with self._lock:
            if self._size + len(data) > FULL // 2:
                self._part += 1
                name = f"{SETTINGS['name']}-{os.getpid()}-{self._part}.jsonl"
                if self._fd is not None:
                    os.close(self._fd)
                path = Path(SETTINGS["folder"], name)
                self._fd, self._size = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 0
            self._size += os.write(self._fd, data)


BOOK = Book()
PAGES = {}  # run id to page, until all is settled


class Page:
    """The account of one run; as a sink's stream it is the first to see its records."""

    def __init__(self, run):
        self.run = run
        self.closed = self.settled = False
        self.records = 0
        self.lines = 0
        self.streams = {}
        self.handed = 0  # to the moody sink
        self.logged = 0
        self.returned = threading.Event()
        PAGES[run.id] = self
        BOOK.write(run=run.id, key=run.tags["key"])

    def emit(self, records):
        if self.settled:  # the interpreter is about to be gone
            return
        self.records += len(records)
        if type(records) is Lines:
            self.lines += len(records)
            marks = [match.groups() for match in map(MARK.search, records.texts) if match]
            BOOK.write(
                run=self.run.id,
                first=records.first,
                count=len(records),
                late=records.late,
                marks=[f"{writer}{number}{last}" for _, writer, number, last in marks],
                ns=CLOCK.real(),
            )
        else:
            ended = {}
            if type(records) is Exit:
                lines = sum(records.lines.values())
                ended = {
                    "reason": records.reason,
                    "drained": records.drained,
                    "lines": lines,
                    "dropped": dict(records.dropped),
                    "returncode": records.returncode,
                }
            place = {name: self.run.fields.get(name) for name in ("trace_id", "span_id")}
            BOOK.write(run=self.run.id, event=type(records).__name__, ns=CLOCK.real(), **place, **ended)

    def close(self):
        self.closed = True

    @property
    def on_its_way(self):
        """Whether a thread is between two sinks just now."""
        return self.handed + self.streams["moody"].dropped != self.records

    def settle(self, final=False):
        """Write down what the sinks say they have dropped, once this is certain."""
        if not final:
            if not self.closed or not self.returned.is_set():
                return False
            if any(stream.flush(0.0) for stream in self.streams.values() if hasattr(stream, "flush")):
                return False
        self.settled = True
        dropped = {name: getattr(stream, "dropped", 0) for name, stream in self.streams.items()}
        counts = {"records": self.records, "lines": self.lines, "handed": self.handed, "logged": self.logged}
        BOOK.write(run=self.run.id, settled=dropped, closed=self.closed, **counts)
        del PAGES[self.run.id]
        return True


class Ledger:
    name = "ledger"

    def open(self, run):
        return Page(run)


def followed(kind):
    """A sink class that shows its streams to the page."""

    class Followed(kind):
        def open(self, run):
            stream = super().open(run)
            PAGES[run.id].streams[self.name] = stream
            return stream

    return Followed


class Moody:
    """A sink that is slow at times, and at times fails."""

    name = "moody"

    def open(self, run):
        return MoodyStream(PAGES[run.id])

    def close(self, timeout=0.0):
        pass


class MoodyStream:
    def __init__(self, page):
        self._page = page

    def emit(self, records):
        mood = random.random()
        if mood < 0.002:
            raise OSError("in a bad mood")
        if mood < 0.05:
            time.sleep(0.02)
        self._page.handed += len(records)

    def close(self):
        pass


class Counting(logging.Handler):
    """Counts what the logging sink says; keeps what subwatch itself says."""

    def emit(self, record):
        run = getattr(record, "subwatch_run_id", None)
        if run is None:
            BOOK.write(said=record.getMessage())
        elif run in PAGES:
            PAGES[run].logged += 1


class Clock:
    """`time.time_ns` with steps."""

    def __init__(self):
        self.real = time.time_ns
        self.step = 0

    def install(self):
        time.time_ns = lambda: self.real() + self.step
        time.time = lambda: time.time_ns() / 1e9


CLOCK = Clock()
