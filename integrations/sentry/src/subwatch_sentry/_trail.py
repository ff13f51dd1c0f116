"""What a child said last. The core keeps it; it is asked for when an event is captured and when the run ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sentry_sdk.attachments import Attachment
from sentry_sdk.utils import capture_internal_exceptions

from ._limits import LEVELS, MESSAGE, clip, clipped_fields, when

if TYPE_CHECKING:
    from subwatch.records import Line, Run

__all__ = ["Trail"]

_FIGURES = re.compile(r"\d+")
_BACK = 8  # times as many lines are looked at as are wanted, for those that are progress do not count
_USUAL = 64  # bytes of a line: asking for more than is needed costs
_MARKS = ("late", "partial", "truncated", "continued")


class Trail:
    """The last lines of a run as breadcrumbs and as files, which cost nothing while nobody looks.

    Args:
        run: The run.
        count: How many lines become breadcrumbs.
    """

    def __init__(self, run: Run, count: int) -> None:
        self._run = run
        self._count = count
        self._closed = False
        self._crumbs: dict[int, dict[str, Any] | None] = {}  # by time, which is different for each line

    def crumbs(self, pid: int | None, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the last lines as breadcrumbs, oldest first.

        Args:
            pid: Process id of the child.
            options: Options of the SDK's client; its ``before_breadcrumb`` sees each line once.
        """
        if not self._closed and (lines := self._last()):
            before = options.get("before_breadcrumb")
            known, crumbs = self._crumbs, {}
            for line in lines:
                time = line.time_ns
                crumbs[time] = known[time] if time in known else _crumb(line, pid, before)
            self._crumbs = crumbs
        return [crumb for crumb in self._crumbs.values() if crumb is not None]

    def attachments(self, size: int) -> list[Attachment]:
        """Return the end of each watched stream as a text file, within `size` bytes in all."""
        lines = self._run.tail(usual := size // _USUAL)
        if len(lines) == usual and sum(len(line.text) + 1 for line in lines) < size:
            lines = self._run.tail(size)  # a line has a byte at least
        left = size
        streams: dict[str, list[bytes]] = {}
        for line in reversed(lines):
            data = line.text.encode("utf-8", "backslashreplace") + b"\n"
            streams.setdefault(line.stream, []).append(data[-left:])
            left -= len(data)
            if left <= 0:
                break
        return [
            Attachment(bytes=b"".join(reversed(data)), filename=f"{stream}.log", content_type="text/plain")
            for stream, data in sorted(streams.items())
        ]

    def close(self) -> None:
        """The core lets go of the output; the breadcrumbs made so far are what stays."""
        self._closed = True

    def _last(self) -> list[Line]:
        """The last lines that say something; of a program's progress only the newest."""
        kept: list[Line] = []
        # asking is dear: once for texts that differ in figures only
        readers: dict[tuple[str, str], str | None] = {}
        told: set[tuple[str, str]] = set()
        for line in reversed(self._run.tail(self._count * _BACK)):
            shape = (_FIGURES.sub("0", line.text), line.ending)
            if shape not in readers:
                readers[shape] = _progress_reader(line)
            if (reader := readers[shape]) is not None:
                if (line.stream, reader) in told:
                    continue
                told.add((line.stream, reader))
            if line.text.strip():
                kept.append(line)
                if len(kept) == self._count:
                    break
        return kept[::-1]


def _progress_reader(line: Line) -> str | None:
    """What reads a line as progress; what the child itself overwrites is progress, too."""
    progress = line.progress
    return progress.recognizer if progress is not None else "" if line.ending == "\r" else None


def _crumb(line: Line, pid: int | None, before: Any) -> dict[str, Any] | None:
    data: dict[str, Any] = {"program": clip(line.run.program, 200), "pid": pid, "run": line.run.id}
    data |= {mark: True for mark in _MARKS if getattr(line, mark)}
    if line.fields:
        data["fields"] = clipped_fields(line.fields)
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
