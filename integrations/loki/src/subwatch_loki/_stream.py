"""From the records of a run to entries: what is said of each, as structured metadata."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING, Any

from subwatch.records import CONTINUED, PARTIAL, TRUNCATED, Exit, Lines, level_name
from subwatch_loki._labels import clip, metadata, metadata_name
from subwatch_loki._updates import AMOUNTS, Updates, amounts
from subwatch_loki._values import cut, escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from subwatch.records import Run, Start
    from subwatch_loki._shipper import Shipper

__all__ = ["RunStream"]

FLAGS = {PARTIAL: "partial", TRUNCATED: "truncated", CONTINUED: "continued"}
# Of the fields of one line; what is above is counted in its metadata_cut.
MAX_FIELDS, MAX_FIELDS_TOTAL = 20, 8 * 1024
# What a line may be told of by us: a field of the same name is called field_NAME.
OWN = {"line", "stream", "level", "late", "cut_bytes", "run_id", "pid", "program", *FLAGS.values(), *AMOUNTS}


class _Ends(dict[int, str]):
    """How the JSON of a line's value ends, by level: the same for thousands of lines."""

    def __init__(self, make: Callable[[int], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, level: int) -> str:
        end = self[level] = self._make(level)
        return end


class RunStream:
    """One run on its way to Loki.

    Args:
        shipper: Where its entries go.
        run: The run.
    """

    def __init__(self, shipper: Shipper, run: Run) -> None:
        self._shipper = shipper
        self._options = shipper.options
        self._run = run
        self._pid: int | None = None
        self._updates = Updates(self._options.progress)
        self._ends: dict[tuple[str, bool], _Ends] = {}
        self.dropped = 0

    def emit(self, records: Start | Lines | Exit) -> None:
        """Encode a record or a batch."""
        if isinstance(records, Lines):
            if len(records):
                self._lines(records)
        elif isinstance(records, Exit):
            self._finish()
            self._exit(records)
        else:
            self._start(records)

    def idle(self) -> float | None:
        """Send the progress updates whose time has come; returns seconds until the next one's, or None."""
        now = time.time()
        for update in self._updates.release(now):
            self._shipper.lines(self, *update, 0)
        due = self._updates.due
        return None if due is None else max(0.0, due - now)

    def flush(self, timeout: float) -> int:
        """Wait until this run's entries have arrived or are in the spool; returns how many are neither."""
        return self._shipper.flush(self, timeout)

    def close(self) -> None:
        """Nothing more of this run: what is late is sent with the next batch."""
        self._finish()

    # -- lines -----------------------------------------------------------------------------------------------

    def _lines(self, lines: Lines) -> None:
        """Take a batch, whose times follow each other by 1 ns and whose numbers by 1, as `Lines` says."""
        texts, notes = self._texts(lines)
        ends = list(map(self._ends_of(lines.stream, lines.late).__getitem__, lines.levels))
        for index, note in notes.items():
            ends[index] = f'"{note}{ends[index][1:]}'
        width = lines.size // len(texts)
        begin = 0
        for index, updates in (*self._updates.find(lines, texts, ends), (len(texts), ())):
            part = slice(begin, index)
            self._shipper.lines(
                self, lines.time_ns + begin, lines.first + begin, texts[part], ends[part], width
            )
            for update in updates:
                self._shipper.lines(self, *update, width)
            begin = index + 1
        if self._updates.due is not None:
            self._shipper.waiting.add(self)

    def _texts(self, lines: Lines) -> tuple[list[str], dict[int, str]]:
        """The texts as they are sent, and more metadata of single ones, each with a comma before it."""
        texts, notes = lines.texts, dict[int, str]()
        limit = self._options.max_line_bytes
        if lines.size * 4 > limit and max(map(len, texts)) * 4 > limit:
            pairs = [cut(text, limit) for text in texts]
            texts = [text for text, _ in pairs]
            notes = {index: note for index, (_, note) in enumerate(pairs) if note}
        for index, told in self._told(lines):
            if told:
                notes[index] = f"{notes.get(index, '')},{told}"
        return escape(texts), notes

    def _told(self, lines: Lines) -> Iterator[tuple[int, str]]:
        if any(lines.flags):
            for index, flags in enumerate(lines.flags):
                yield index, metadata((name, "true") for bit, name in FLAGS.items() if flags & bit)
        if any(lines.progress):
            for index, progress in enumerate(lines.progress):
                yield index, metadata(amounts(progress)) if progress else ""
        if self._options.fields and any(lines.fields):
            for index, fields in enumerate(lines.fields):
                yield index, self._chosen(fields) if fields else ""

    def _chosen(self, fields: Mapping[str, Any]) -> str:
        """The fields of a line that are wanted; its own metadata and the run's go first."""
        wanted = self._options.fields
        taken = {*OWN, *map(metadata_name, self._run.fields), *map(metadata_name, self._run.tags)}
        pairs = []
        for name, value in fields.items():
            if value is not None and (isinstance(wanted, bool) or name in wanted):
                valid = metadata_name(name)
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
                pairs.append((f"field_{valid}" if valid in taken else valid, text))
        return metadata(pairs, MAX_FIELDS, MAX_FIELDS_TOTAL)

    def _ends_of(self, stream: str, late: bool) -> _Ends:
        ends = self._ends.get((stream, late))
        if ends is None:
            ends = self._ends[stream, late] = _Ends(lambda level: self._end(stream, late, level))
        return ends

    def _end(self, stream: str, late: bool, level: int) -> str:
        told = ("stream", stream), ("level", level_name(level)), ("late", "true" if late else None)
        pairs = self._metadata(*told)
        return f'",{pairs}}}]'

    def _finish(self) -> None:
        """Send the last progress updates, if they were kept back."""
        for update in self._updates.flush():
            self._shipper.lines(self, *update, 0)

    # -- start and exit --------------------------------------------------------------------------------------

    def _metadata(self, *pairs: tuple[str, object]) -> str:
        run = self._run
        own = {"run_id": run.id, "pid": self._pid, "program": run.program, **run.fields}
        tags = ((f"tag_{name}" if name in own else name, value) for name, value in run.tags.items())
        return metadata((*pairs, *own.items(), *tags, *self._shipper.surplus.items()))

    def _start(self, start: Start) -> None:
        self._pid = start.pid
        self._ends.clear()
        run, caller = self._run, self._run.caller
        pairs = self._metadata(
            ("event", "start"),
            ("level", "info"),
            ("host", run.host),
            ("argv", shlex.join(run.argv)),
            ("cwd", run.cwd),
            ("caller", caller and f"{caller.file}:{caller.line} {caller.function}"),
        )
        self._shipper.entries(self, [(start.time_ns, f"{run.program} started", pairs)])

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
            ("thinned", self._updates.thinned or None),
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
        self._shipper.entries(self, [(end.time_ns, end.message, pairs)])
        self._shipper.seal()
