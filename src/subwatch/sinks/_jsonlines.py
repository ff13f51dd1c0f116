"""Records as JSON, one object per line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .._forks import new_lock
from ..errors import ConfigError
from ..records import Exit, Lines, Start, level_name
from ._files import open_private

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from typing import Any, TextIO

    from ..records import Line, Run

__all__ = ["JsonLinesSink", "as_dict"]

# What JSON may hold as it is, though a terminal acts on it: controls beyond ASCII, line separators, marks that
# turn the direction of writing. Written as escapes it is the same JSON.
_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class JsonLinesSink:
    """Writes each record as one JSON object on a line of its own, flushed per batch.

    Args:
        path: File to append to, created with mode 0600; ``"-"`` is stderr. What another user has put into a
            folder where everybody may write, such as /tmp, is refused.
        file: An open text file instead; it stays open.

    Raises:
        ConfigError: Neither or both are given.
        OSError: The file cannot be opened.
    """

    name = "jsonlines"

    def __init__(self, path: str | Path = "", *, file: TextIO | None = None) -> None:
        if bool(path) == (file is not None):
            raise ConfigError("JsonLinesSink takes a path or a file: sink('jsonlines', path='run.jsonl')")
        self._file: TextIO | None = None
        self._raw: FileIO | None = None  # not buffered: what failed once is counted, and not tried again
        if file is not None:
            self._file = file
        elif path == "-":
            import sys

            self._file = sys.stderr
        else:
            self._raw = open(open_private(path), "ab", buffering=0)  # noqa: SIM115 - closed in close
        self._torn = False  # the file ends with half a record: the disk was full
        self._lock = new_lock()

    def open(self, run: Run, /) -> _Stream:  # noqa: ARG002
        """Return the stream of a run."""
        return _Stream(self)

    def _write(self, data: bytes) -> bool:
        """Write in one piece; tell whether there still is a file."""
        with self._lock:
            if self._file is not None:
                self._file.write(data.decode())
                self._file.flush()
            elif self._raw is not None:
                self._append(self._raw, data)
            else:
                return False
        return True

    def _append(self, raw: FileIO, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data  # what comes now is a line of its own
        while data:
            data = data[raw.write(data) :]
            self._torn = bool(data)
        if self._raw is None:  # the sink was closed meanwhile
            raw.close()

    def close(self, timeout: float = 0.0) -> None:
        """Close the file, if it was opened here; later records count as dropped.

        There are some where the interpreter ends while runs go on in daemon threads.

        Args:
            timeout: Seconds to wait at most for a thread that is writing.
        """
        idle = self._lock.acquire(timeout=timeout)
        raw, self._raw = self._raw, None
        if idle:
            self._lock.release()
            if raw is not None:
                raw.close()


class _Stream:
    def __init__(self, sink: JsonLinesSink) -> None:
        self._sink = sink
        self.dropped: int = 0

    def emit(self, records: Start | Lines | Exit) -> None:
        """Write the records of a batch, in one piece."""
        text = "".join(json.dumps(as_dict(record), ensure_ascii=False) + "\n" for record in records)
        if not text.isascii() or "\x7f" in text:
            text = _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        data = text.encode("utf-8", "backslashreplace")  # of a lone surrogate this makes its JSON escape
        if not self._sink._write(data):
            self.dropped += len(records)

    def close(self) -> None:
        """Do nothing: the file is the sink's."""


def as_dict(record: Start | Line | Exit) -> dict[str, Any]:
    """Return a record as a dictionary of plain JSON values, without what is empty."""
    run = record.run
    common: dict[str, Any] = {
        "event": "line",
        "time_ns": record.time_ns,
        "run": run.id,
        "program": run.program,
    }
    common.update(run.fields)
    if isinstance(record, Start):
        return common | {"event": "start", "pid": record.pid} | _description(run)
    if isinstance(record, Exit):
        # what could not be started had no start record to say what it was
        unknown = _description(run) if record.reason == "spawn_failed" else {}
        return common | _exit(record) | unknown
    common.update(
        number=record.number, stream=record.stream, level=level_name(record.level), text=record.text
    )
    if record.ending != "\n":
        common["ending"] = record.ending
    for flag in ("partial", "truncated", "continued", "late"):
        if getattr(record, flag):
            common[flag] = True
    if record.progress is not None:
        progress = record.progress
        names = ("completed", "total", "fraction", "unit", "label")
        values = {name: getattr(progress, name) for name in names}
        common["progress"] = {name: value for name, value in values.items() if value not in (None, "")}
    if record.fields:
        common["fields"] = dict(record.fields)
    return common


def _description(run: Run) -> dict[str, Any]:
    values: dict[str, Any] = {"argv": list(run.argv), "cwd": run.cwd, "host": run.host}
    if run.tags:
        values["tags"] = dict(run.tags)
    if run.caller is not None:
        values["caller"] = f"{run.caller.file}:{run.caller.line} {run.caller.function}"
    return values


def _exit(record: Exit) -> dict[str, Any]:
    values: dict[str, Any] = {
        "event": "exit",
        "pid": record.pid,
        "returncode": record.returncode,
        "signal": record.signal,
        "reason": record.reason,
        "message": record.message,
        "failed": record.failed,
        "duration": round(record.duration, 6),
        "lines": dict(record.lines),
        "bytes": dict(record.bytes),
        "dropped": dict(record.dropped),
        "truncated": record.truncated,
        "error": record.error,
        "error_type": record.error_type,
        "tail": [line.text for line in record.tail] if record.failed else [],
    }
    if record.usage is not None:
        usage = record.usage
        values["usage"] = {"user": usage.user, "system": usage.system, "max_rss": usage.max_rss}
    if not record.drained:
        values["drained"] = False
    return {
        name: value for name, value in values.items() if value not in (None, [], {}) or name == "returncode"
    }
