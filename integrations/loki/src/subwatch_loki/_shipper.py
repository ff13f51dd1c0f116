"""From entries to batches: what runs and log records have in common."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from subwatch_loki._encode import Encoder
from subwatch_loki._labels import label_set
from subwatch_loki._outbox import say
from subwatch_loki._sender import Sender
from subwatch_loki._values import consecutive, cut, escape, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from subwatch.records import Run
    from subwatch.sinks import Stream
    from subwatch_loki._encode import Batch, Owner
    from subwatch_loki._options import Options
    from subwatch_loki._stream import RunStream

__all__ = ["Shipper"]


class Shipper:
    """One Loki stream: an encoder and a sender, behind the queue of a `subwatch.sinks.Background`.

    Args:
        options: Where to, and how.
        labels: The user's labels.
        make_stream: Makes what turns the records of a run into entries.
    """

    def __init__(
        self,
        options: Options,
        labels: Mapping[str, object],
        make_stream: Callable[[Shipper, Run], Stream],
    ) -> None:
        self.options = options
        self._make_stream = make_stream
        self._labels, self.surplus, remarks = label_set(labels)
        for remark in remarks:
            say(logging.WARNING, "%s", remark)
        self._sender = Sender(options)
        self._outbox = self._sender.outbox
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()  # entries come on one thread, flushes on others
        self._encoder = Encoder(self._labels, self.options.batch_bytes)
        #: Streams that keep something back for a while.
        self.waiting: set[RunStream] = set()

    @property
    def failing(self) -> bool:
        """Whether nothing gets away, so that waiting for room in memory is no use."""
        return self._outbox.failing and self.options.spool is None

    def open(self, run: Run) -> Stream:
        """Open the stream of one run."""
        return self._make_stream(self, run)

    def forked(self) -> None:
        """Start afresh in a forked child."""
        self._reset()
        self._sender.forked()

    def lines(
        self, owner: Owner, time_ns: int, number: int, texts: Sequence[str], ends: Sequence[str], width: int
    ) -> None:
        """Take consecutive lines of a run.

        Args:
            owner: Whose they are.
            time_ns: Time of the first; the others follow by 1 ns.
            number: Number of the first.
            texts: The lines, escaped.
            ends: As for `consecutive`.
            width: About how many characters a text has.
        """
        if not texts:
            return
        most = max(1, self.options.batch_bytes // (width + len(ends[0]) + 40))
        self._expect(owner, len(texts))
        with self._lock:
            time_ns = self._encoder.place(time_ns, len(texts))
        for values, count in consecutive(time_ns, number, texts, ends, most):
            with self._lock:
                batch = self._encoder.add(owner, values, count, time_ns, time_ns + count - 1)
            time_ns += count
            self._pass(batch)

    def entries(self, owner: Owner, entries: Sequence[tuple[int, str, str]]) -> None:
        """Take entries: time, text, and metadata as the inside of a JSON object."""
        self._expect(owner, len(entries))
        pairs = [cut(text, self.options.max_line_bytes) for _, text, _ in entries]
        texts = escape([text for text, _ in pairs])
        with self._lock:
            times = [self._encoder.place(time_ns) for time_ns, _, _ in entries]
            values = [
                value(time_ns, text, metadata + note)
                for time_ns, text, (_, _, metadata), (_, note) in zip(
                    times, texts, entries, pairs, strict=True
                )
            ]
            batch = self._encoder.add(owner, ",".join(values), len(values), min(times), max(times))
        self._pass(batch)

    def start(self) -> None:
        """Start the sending thread now: at the end of the interpreter it may be too late."""
        self._sender.start()

    def _expect(self, owner: Owner, count: int) -> None:
        self.start()
        self._outbox.expect(owner, count)

    def _pass(self, batch: Batch | None) -> None:
        since = self._encoder.since
        if batch is not None:
            self._sender.put(batch)
        elif since is not None and time.monotonic() - since >= self.options.batch_seconds:
            self.seal()

    def seal(self, *, wait: bool = True) -> None:
        """Send what is there; wait for room, unless this is the end."""
        with self._lock:
            batch = self._encoder.take()
        if batch is not None:
            self._sender.put(batch, wait=wait)

    def idle(self) -> float | None:
        """Send what has waited long enough; returns seconds until there is more to do, None for never."""
        pauses = {stream: stream.idle() for stream in self.waiting}
        self.waiting = {stream for stream, pause in pauses.items() if pause is not None}
        since = self._encoder.since
        left = None if since is None else since + self.options.batch_seconds - time.monotonic()
        if left is not None and left <= 0:
            self.seal()
            left = None
        return min((pause for pause in (*pauses.values(), left) if pause is not None), default=None)

    def flush(self, owner: Owner, timeout: float) -> int:
        """Wait until an owner's entries have arrived or are in the spool; returns how many are neither."""
        deadline = time.monotonic() + timeout
        if not self._outbox.room(timeout):
            timeout = 0.0  # a dead server makes room never
        else:
            self.seal(wait=False)
            timeout = max(0.0, deadline - time.monotonic())
        return self._outbox.flush(owner, timeout)

    def close(self, timeout: float) -> int:
        """Deliver, then stop."""
        self.seal(wait=False)  # a dead server would make room never
        return self._sender.close(timeout)
