"""Values to push bodies, compressed as they come.

See https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs. A body holds one stream only:
of a request with several, Loki answers 204 and loses entries silently when any but the last stream is
refused.
"""

from __future__ import annotations

import json
import time
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Batch", "Encoder", "Owner"]

try:  # a fifth of zlib's time for a smaller body; a dependency where it has wheels
    deflate: Any = import_module("isal.isal_zlib")
except ImportError:
    deflate = zlib

# Level 1: a quarter of the CPU of level 6 for a fifth more bytes; 31: with gzip header and check sum.
LEVEL, WINDOW = 1, 31
# What a body may hold when it is unpacked, in bytes: one of the spool may not be ours.
MAX_PLAIN = 256 * 1024 * 1024
# What is this much behind the newest does not come from another run at the same moment.
STEP_NS = 1_000_000_000


class Owner(Protocol):
    """Who is told about entries that were lost: the stream of a run."""

    dropped: int


class Batch:
    """A compressed push body, unchanged through all retries.

    Attributes:
        body: What is sent.
        count: Number of entries.
        oldest: Smallest time, in nanoseconds since the epoch.
        newest: Largest time.
        parts: Whose entries these are, in their order: owner and number; shorter than `count` or empty when
            the batch comes from an earlier process.
        row: Its key in the spool, None while it is only in memory.
    """

    __slots__ = ("body", "count", "newest", "oldest", "parts", "row")

    def __init__(
        self, body: bytes, count: int, oldest: int, newest: int, parts: Sequence[tuple[Owner, int]] = ()
    ) -> None:
        self.body: bytes = body
        self.count: int = count
        self.oldest: int = oldest
        self.newest: int = newest
        self.parts: Sequence[tuple[Owner, int]] = parts
        self.row: int | None = None

    def split(self) -> tuple[Batch, Batch]:
        """Two batches with half of the entries each."""
        stream, values = self._read()
        middle = len(values) // 2
        first: list[tuple[Owner, int]] = []
        second: list[tuple[Owner, int]] = []
        room = middle
        for owner, count in self.parts:
            taken = min(room, count)
            room -= taken
            first += [(owner, taken)] * (taken > 0)
            second += [(owner, count - taken)] * (count > taken)
        return _rebuild(stream, values[:middle], first), _rebuild(stream, values[middle:], second)

    def plain(self) -> Batch:
        """The same for a server without structured metadata: it is appended to the lines as logfmt."""
        stream, values = self._read()
        flat = [[value[0], value[1] + _logfmt(value[2])] if len(value) > 2 else value for value in values]
        batch = _rebuild(stream, flat, self.parts)
        batch.row = self.row
        return batch

    def lose(self, count: int) -> None:
        """Tell the owners that `count` of these entries are lost; which ones is not known.

        Args:
            count: How many; minus all of them takes it back.
        """
        for owner, number in self.parts:
            taken = min(count, number) if count >= 0 else -number
            owner.dropped += taken
            count -= taken

    def _read(self) -> tuple[dict[str, str], list[list[Any]]]:
        (stream,) = json.loads(zlib.decompressobj(WINDOW).decompress(self.body, MAX_PLAIN))["streams"]
        return stream["stream"], stream["values"]


def _rebuild(stream: Mapping[str, str], values: list[list[Any]], parts: Sequence[tuple[Owner, int]]) -> Batch:
    text = json.dumps(
        {"streams": [{"stream": stream, "values": values}]}, ensure_ascii=False, separators=(",", ":")
    )
    pack = deflate.compressobj(LEVEL, zlib.DEFLATED, WINDOW)
    times = [int(value[0]) for value in values]
    return Batch(pack.compress(text.encode()) + pack.flush(), len(values), min(times), max(times), parts)


def _logfmt(pairs: Mapping[str, str]) -> str:
    words = []
    for name, value in pairs.items():
        bare = value.isprintable() and not set(' "=').intersection(value)
        words.append(f" {name}={value if bare else json.dumps(value, ensure_ascii=False)}")
    return "".join(words)


class Encoder:
    """Collects entries of one stream into batches.

    Args:
        labels: The stream's labels, valid.
        limit: Size of a full batch, in bytes before compression.
    """

    def __init__(self, labels: Mapping[str, str], limit: int) -> None:
        self._head = (
            f'{{"streams":[{{"stream":{json.dumps(dict(labels), ensure_ascii=False)},"values":['.encode()
        )
        self._limit = limit
        self._last = 0  # newest time given out
        self._clear()

    def _clear(self) -> None:
        self._pack: Any = None
        self._data: list[bytes] = []
        self._size = self._count = 0
        self._oldest = self._newest = 0
        self._parts: list[tuple[Owner, int]] = []
        self.since: float | None = None  # monotonic time of the first entry waiting

    def place(self, first: int, count: int = 1) -> int:
        """Find times for entries that follow each other by 1 ns, so that no two have the same time.

        Loki stores entries of the same time and text once, whatever their metadata, so two children that say
        the same at the same moment must be told apart. What is older keeps its time: a progress update that
        was kept back, and everything after a clock was set back.

        Args:
            first: Time of the first entry.
            count: How many they are.

        Returns:
            The time to give to the first.
        """
        if first <= self._last - STEP_NS:
            return first
        first = max(first, self._last + 1)
        self._last = first + count - 1
        return first

    def add(self, owner: Owner, values: str, count: int, oldest: int, newest: int) -> Batch | None:
        """Take values, with commas between them; returns the batch when it is full."""
        data = values.encode("utf-8", "replace")  # a lone surrogate would cost the whole request
        if self._pack is None:
            self._pack = deflate.compressobj(LEVEL, zlib.DEFLATED, WINDOW)
            self._data.append(self._pack.compress(self._head))
            self._oldest, self._newest = oldest, newest
            self.since = time.monotonic()
        else:
            self._data.append(self._pack.compress(b","))
        self._data.append(self._pack.compress(data))
        self._size += len(data)
        self._count += count
        self._oldest, self._newest = min(self._oldest, oldest), max(self._newest, newest)
        if self._parts and self._parts[-1][0] is owner:
            count += self._parts.pop()[1]
        self._parts.append((owner, count))
        return self.take() if self._size >= self._limit else None

    def take(self) -> Batch | None:
        """The entries collected so far as a batch; None when there are none."""
        if self._pack is None:
            return None
        self._data += (self._pack.compress(b"]}]}"), self._pack.flush())
        batch = Batch(b"".join(self._data), self._count, self._oldest, self._newest, self._parts)
        self._clear()
        return batch
