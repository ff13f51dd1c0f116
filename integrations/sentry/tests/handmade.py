"""Children made of records alone: what a driver would tell a sink, without a process."""

from __future__ import annotations

import itertools
import time

from subwatch.records import INFO, WARNING, Caller, Exit, Lines, Run, Start, Usage

_ids = itertools.count(1)


class _Reader:
    def __init__(self, fields):
        self._fields = fields

    def levels(self, texts):
        return [WARNING if "warn" in text else INFO for text in texts]

    def progress(self, lines):
        return None

    def fields(self, lines):
        return self._fields and [self._fields] * len(lines)


class Child:
    def __init__(self, sink, *argv, raises=False, tags=None, tail=10):
        argv = argv or ("backup", "--all")
        number = next(_ids)
        self.run = Run(
            id=f"01930000-0000-7000-8000-{number:012x}",
            argv=argv,
            program=argv[0],
            cwd="/srv",
            host="here",
            tags=tags or {},
            caller=Caller("/srv/app/jobs.py", 12, "nightly"),
            parent_pid=77,
            raises=raises,
        )
        self.run._tail = self.last
        self.tail_size = tail
        self.lines = []
        self.number = 1
        self.pid = 4000 + number
        self.start_ns = time.time_ns()
        self.stream = sink.open(self.run)

    def start(self):
        self.start_ns = time.time_ns()
        self.stream.emit(Start(self.run, self.pid, self.start_ns))
        return self

    def says(self, *texts, stream="stderr", ending="\n", late=False, flags=0, fields=None):
        lines = Lines(
            self.run,
            stream,
            self.number,
            time.time_ns(),
            late,
            _Reader(fields),
            None,
            list(texts),
            [ending] * len(texts),
            [flags] * len(texts),
        )
        self.number += len(texts)
        for line in lines:  # as the core keeps them
            if self.lines and line.ending == self.lines[-1].ending == "\r":
                self.lines.pop()
            self.lines.append(line)
        if getattr(self.stream, "wants_lines", True):
            self.stream.emit(lines)
        return self

    def last(self, limit=None):
        return self.lines[-(self.tail_size if limit is None else limit) :]

    def exit(self, returncode=0, *, close=True, reason=None, signal=None, error=None, error_type=None):
        reason = reason or ("spawn_failed" if error else "signaled" if signal else "exited")
        self.record = Exit(
            run=self.run,
            pid=None if error else self.pid,
            returncode=returncode,
            signal=signal,
            reason=reason,
            start_ns=self.start_ns,
            time_ns=time.time_ns(),
            duration=1.25,
            usage=None if error else Usage(0.5, 0.25, 1 << 20),
            lines={"stderr": self.number - 1},
            bytes={"stderr": 1000},
            tail=tuple(self.last()),
            error=error,
            error_type=error_type,
        )
        self.stream.emit(self.record)
        if close:
            self.close()
        return self

    def close(self):
        self.stream.close()
        self.run._tail = None
