"""What a child said last, at the price of keeping a reference to the batches that hold it."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from sentry_sdk.attachments import Attachment
from sentry_sdk.utils import capture_internal_exceptions

from ._limits import LEVELS, MESSAGE, clip, when

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from subwatch.records import Line, Lines

__all__ = ["Trail"]


class Trail:
    """A ring of batches; a line is looked at only when an event is sent or the run ends.

    Args:
        count: How many last lines become breadcrumbs.
        size: Bytes of output that an attachment may have.
    """

    __slots__ = ("_batches", "_count", "_crumbs", "_held", "_lines", "_size", "_tail")

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._held = 0  # bytes in the ring
        self._lines = 0  # lines in the ring, without the newest batch
        self._batches: deque[Lines] = deque()
        self._tail: Sequence[Line] = ()
        self._crumbs: dict[int, dict[str, Any] | None] = {}

    def add(self, lines: Lines) -> None:
        """Take the next batch, and let go of those that are not needed any more."""
        batches = self._batches
        if batches:  # lines of the newest are counted later: the core has done it by then
            self._lines += len(batches[-1])
        batches.append(lines)
        self._held += lines.size
        while self._held - batches[0].size >= self._size and self._lines - len(batches[0]) >= self._count:
            first = batches.popleft()
            self._held -= first.size
            self._lines -= len(first)

    def end(self, tail: Sequence[Line]) -> None:
        """Take the last lines that the core has kept: a ring full of progress updates has less."""
        self._tail = tail

    def crumbs(self, pid: int | None, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the last lines as breadcrumbs, oldest first.

        Args:
            pid: Process id of the child.
            options: Options of the SDK's client; its ``before_breadcrumb`` sees each line once.
        """
        if self._batches or self._tail:
            before = options.get("before_breadcrumb")
            lines = list(islice((line for line in self._newest() if line.text.strip()), self._count))
            known, crumbs = self._crumbs, {}
            for line in reversed(lines):
                number = line.number
                crumbs[number] = known[number] if number in known else _crumb(line, pid, before)
            self._crumbs = crumbs
        return [crumb for crumb in self._crumbs.values() if crumb is not None]

    def attachments(self) -> list[Attachment]:
        """Return the end of each watched stream as a text file, within `size` bytes."""
        left = self._size
        streams: dict[str, list[bytes]] = {}
        for line in self._newest() if left else ():
            data = line.text.encode("utf-8", "backslashreplace")[-left:] + b"\n"
            left -= len(data)
            streams.setdefault(line.stream, []).append(data)
            if left <= 0:
                break
        return [
            Attachment(bytes=b"".join(reversed(data)), filename=f"{stream}.log", content_type="text/plain")
            for stream, data in sorted(streams.items())
        ]

    def release(self) -> None:
        """Let go of the output; the breadcrumbs made so far are what stays."""
        self._batches.clear()
        self._tail = ()

    def _newest(self) -> Iterator[Line]:
        """Lines from the newest back; a progress update only if nothing came after it."""
        newest, first = True, 0
        for batch in reversed(list(self._batches)):
            endings, first = batch.endings, batch.first
            for index in range(len(endings) - 1, -1, -1):
                if newest or endings[index] != "\r":
                    newest = False
                    yield batch[index]
        yield from (line for line in reversed(self._tail) if line.number < first)


def _crumb(line: Line, pid: int | None, before: Any) -> dict[str, Any] | None:
    data = {"program": clip(line.run.program, 200), "pid": pid, "line": line.number, "run": line.run.id}
    if line.late:
        data["late"] = True
    crumb: dict[str, Any] | None = {
        "type": "default",
        "category": f"subprocess.{line.stream}",
        "level": LEVELS.get(line.level, "info"),
        "message": clip(line.text, MESSAGE),
        "timestamp": when(line.time_ns),
        "data": data,
    }
    if before is not None:
        with capture_internal_exceptions():  # as Scope.add_breadcrumb: one that raises lets the crumb pass
            crumb = before(crumb, {"subwatch_record": line})
    return crumb
