"""From records to entries: few labels, everything else structured metadata, times that differ."""

from __future__ import annotations

import itertools
import json
import logging
import shlex
import threading
import time
from json.encoder import encode_basestring  # the C function, when there is one
from typing import TYPE_CHECKING, Any

from subwatch.records import Exit, Lines
from subwatch_loki._encode import Encoder, entry
from subwatch_loki._labels import clip, label_set, metadata
from subwatch_loki._outbox import say
from subwatch_loki._sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from subwatch.records import Run, Start
    from subwatch_loki._encode import Batch
    from subwatch_loki._options import Options

__all__ = ["Shipper"]

LEVELS = {50: "critical", 40: "error", 30: "warning", 20: "info"}


class Shipper:
    """The sink behind `LokiSink` and `LokiHandler`: one stream of entries, one sender.

    Args:
        options: Where to, and how.
        labels: The user's labels.
    """

    def __init__(self, options: Options, labels: Mapping[str, object]) -> None:
        self.options = options
        self.surplus: dict[str, str]
        chosen, self.surplus, remarks = label_set(labels)
        for remark in remarks:
            say(logging.WARNING, "%s", remark)
        self.sender: Sender = Sender(options)
        self._encoder = Encoder(chosen, options.batch_bytes)
        self._labels = chosen
        self._lock = threading.Lock()  # of the encoder: lines come on one thread, flushes on others

    @property
    def failing(self) -> bool:
        """Whether nothing gets away, so that waiting for room in memory is no use."""
        return self.sender.outbox.failing and self.options.spool is None

    def open(self, run: Run) -> _Stream:
        """Open the stream of one run."""
        return _Stream(self, run)

    def forked(self) -> None:
        """Start afresh in a forked child."""
        self._lock = threading.Lock()
        self._encoder = Encoder(self._labels, self.options.batch_bytes)
        self.sender.forked()

    def idle(self) -> float | None:
        """Send what has waited long enough."""
        since = self._encoder.since
        if since is None:
            return None
        left = since + self.options.batch_seconds - time.monotonic()
        if left > 0:
            return left
        self.seal()
        return None

    def seal(self, *, wait: bool = True) -> None:
        """Send what is there; wait for room, unless this is the end."""
        with self._lock:
            batch = self._encoder.take()
        if batch is not None:
            self.sender.put(batch, wait=wait)

    def close(self, timeout: float) -> int:
        """Deliver, then stop."""
        self.seal(wait=False)  # a dead server would make room never
        return self.sender.close(timeout)

    def one(self, owner: Any, time_ns: int, text: str, pairs: str) -> None:
        """Take one entry."""
        limit = self.options.max_line_bytes
        if len(text) * 4 > limit:
            text, pairs = _cut(text, pairs, limit)
        self.sender.start()  # now: at the end of the interpreter it may be too late
        self.sender.outbox.expect(owner, 1)
        with self._lock:
            time_ns += self._encoder.shift(time_ns)
            batch = self._encoder.add(owner, [entry(time_ns, text, pairs)], 1, time_ns, time_ns)
        self._pass(batch)

    def many(self, owner: Any, lines: Lines, tails: Mapping[int, str]) -> None:
        """Take lines; `tails` is the end of an entry's JSON by level."""
        count = len(lines)
        extra = 40 + len(tails[20])
        step = self._encoder.step(lines.size, count, extra)
        self.sender.start()
        self.sender.outbox.expect(owner, count)
        texts, numbers = lines.texts, lines.numbers
        ends = map(tails.__getitem__, lines.levels)
        for start in range(0, count, step):
            part = slice(start, start + step)
            with self._lock:
                first = lines.time_ns + start
                first += self._encoder.shift(first)
                entries = [
                    f'["{stamp}",{text},{{"line":"{number}"{end}'
                    for stamp, text, number, end in zip(
                        itertools.count(first),
                        map(encode_basestring, texts[part]),
                        numbers[part],
                        ends,
                        strict=False,
                    )
                ]
                batch = self._encoder.add(owner, entries, len(entries), first, first + len(entries) - 1)
            self._pass(batch)

    def _pass(self, batch: Batch | None) -> None:
        since = self._encoder.since
        if batch is not None:
            self.sender.put(batch)
        elif since is not None and time.monotonic() - since >= self.options.batch_seconds:
            self.seal()


class _Tails(dict[int, str]):
    """How the JSON of a line's entry ends, by level: the same for thousands of lines."""

    def __init__(self, make: Callable[[int], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, level: int) -> str:
        tail = self[level] = self._make(level)
        return tail


class _Stream:
    """One run on its way to Loki."""

    def __init__(self, shipper: Shipper, run: Run) -> None:
        self._shipper = shipper
        self._run = run
        self._pid: int | None = None
        self._tails: dict[tuple[str, bool], _Tails] = {}
        self.dropped = 0

    def _metadata(self, *pairs: tuple[str, object]) -> str:
        run = self._run
        own = {"run_id": run.id, "pid": self._pid, "program": run.program, **run.fields}
        tags = ((f"tag_{name}" if name in own else name, value) for name, value in run.tags.items())
        return metadata((*pairs, *own.items(), *tags, *self._shipper.surplus.items()))

    def emit(self, records: Any) -> None:
        """Encode a record or a batch."""
        if type(records) is Lines:
            self._lines(records)
        elif type(records) is Exit:
            self._exit(records)
        else:
            self._start(records)

    def _start(self, start: Start) -> None:
        self._pid = start.pid
        self._tails.clear()
        run, caller = self._run, self._run.caller
        pairs = self._metadata(
            ("event", "start"),
            ("level", "info"),
            ("host", run.host),
            ("argv", shlex.join(run.argv)),
            ("cwd", run.cwd),
            ("caller", caller and f"{caller.file}:{caller.line} {caller.function}"),
        )
        self._shipper.one(self, start.time_ns, f"{run.program} started", pairs)

    def _lines(self, lines: Lines) -> None:
        if not len(lines):
            return
        options = self._shipper.options
        texts = lines.texts
        if lines.size * 4 > options.max_line_bytes and len(max(texts, key=len)) * 4 > options.max_line_bytes:
            self._long(lines)
            return
        key = lines.stream, lines.late
        tails = self._tails.get(key)
        if tails is None:
            tails = self._tails[key] = _Tails(lambda level: f",{self._common(*key, level)}}}]")
        self._shipper.many(self, lines, tails)

    def _common(self, stream: str, late: bool, level: int) -> str:
        name = next((name for least, name in LEVELS.items() if level >= least), "debug")
        return self._metadata(("stream", stream), ("level", name), ("late", "true" if late else None))

    def _long(self, lines: Lines) -> None:
        """Take lines of which some may be longer than the server allows, one by one."""
        for text, level, stamp, number in zip(
            lines.texts, lines.levels, lines.times, lines.numbers, strict=True
        ):
            common = self._common(lines.stream, lines.late, level)
            self._shipper.one(self, stamp, text, f'"line":"{number}",{common}')

    def _exit(self, end: Exit) -> None:
        usage = end.usage
        pairs = self._metadata(
            ("event", "exit"),
            ("level", "error" if end.failed else "info"),
            ("exit_code", end.returncode),
            ("signal", end.signal),
            ("reason", end.reason),
            ("failed", "true" if end.failed else "false"),
            ("duration", f"{end.duration:.6f}"),
            ("lines", sum(end.lines.values())),
            ("dropped", json.dumps(dict(end.dropped)) if end.dropped else None),
            ("truncated", end.truncated or None),
            ("drained", None if end.drained else "false"),
            ("error_type", end.error_type),
            ("error", end.error and clip(end.error, 4096)),
            ("user_seconds", usage and f"{usage.user:.6f}"),
            ("system_seconds", usage and f"{usage.system:.6f}"),
            ("max_rss_bytes", usage and usage.max_rss),
            ("host", self._run.host),
            ("argv", shlex.join(self._run.argv)),
        )
        self._shipper.one(self, end.time_ns, end.message, pairs)
        self._shipper.seal()

    def flush(self, timeout: float) -> int:
        """Wait until this run's entries have arrived or are in the spool; returns how many are neither."""
        self._shipper.seal()
        return self._shipper.sender.outbox.flush(self, timeout)

    def close(self) -> None:
        """Nothing more of this run: what is late is sent with the next batch."""


def _cut(text: str, pairs: str, limit: int) -> tuple[str, str]:
    """Cut a line to what the server takes, and mark it."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text, pairs
    kept = data[:limit].decode("utf-8", "ignore")
    return kept, f'{pairs},"cut_bytes":"{len(data) - len(kept.encode())}"'
