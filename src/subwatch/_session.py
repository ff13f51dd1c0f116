"""One child's life as a pure state machine: bytes in, records out; no I/O, no clock, no sinks.

The hot path is one `Lines` per chunk, unopened. A line that has to be shown in pieces (too long, or a
prompt that waits for an answer) or that belongs to a private key takes the slow path, where each piece is
redacted in the light of what was shown before it.
"""

from __future__ import annotations

from collections import deque

from ._lines import Framer, has_long_line, split_block
from .records import CONTINUED, PARTIAL, TRUNCATED, Exit, Line, Lines, Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .processors import Pipeline
    from .records import Run, Usage

__all__ = ["Session"]

_NONE: tuple[Lines, ...] = ()


class _Stream:
    """What a session knows of one stream."""

    __slots__ = ("bytes", "context", "framer", "held", "inside_key", "lines", "name", "since", "transcode")

    def __init__(self, name: str, pipeline: Pipeline) -> None:
        self.name = name
        self.framer = Framer()
        self.transcode = pipeline.transcoder()
        self.bytes = 0
        self.lines = 0
        self.since = 0
        self.context: str | None = None  # raw text of the current line that was shown already
        self.held = ""  # raw text of it that must not be shown yet
        self.inside_key = False


class Session:
    """Turns what the drivers read of one child into its records.

    Args:
        run: The run.
        pipeline: Decodes, redacts and interprets.
        max_line: Size limit of a record, in bytes.
        partial_delay_ns: How long an unfinished line may wait before it is shown as it is.
        tail: How many last lines the exit record keeps.
    """

    def __init__(self, run: Run, pipeline: Pipeline, *, max_line: int, partial_delay_ns: int, tail: int) -> None:
        self.run = run
        self.late = False
        self._pipeline = pipeline
        self._max_line = max_line
        self._delay = partial_delay_ns
        self._streams: dict[str, _Stream] = {}
        self._number = 1
        self._last_ns = 0
        self._open: tuple[_Stream, Lines] | None = None  # counted when the next one comes
        self._truncated = 0
        self._tail = _Tail(tail)
        self._start_ns = 0

    def stream(self, name: str) -> None:
        """Announce a stream that will be watched."""
        self._streams[name] = _Stream(name, self._pipeline)

    def started(self, pid: int, time_ns: int) -> Start:
        """Tell that the child runs."""
        self._start_ns = self._last_ns = time_ns
        return Start(self.run, pid, time_ns)

    def feed(self, name: str, data: bytes, time_ns: int) -> Sequence[Lines]:
        """Take bytes that were read from a stream; return the batches of lines that are whole now."""
        stream = self._streams[name]
        stream.bytes += len(data)
        stream.since = time_ns
        if stream.transcode is not None:
            data = stream.transcode(data)
        block = stream.framer.feed(data)
        long = stream.framer.pending > self._max_line
        if not block and not long:
            return _NONE
        if not long and not self._needs_care(stream, block):
            return (self._batch(stream, time_ns, block),)
        rows = list(self._care(stream, block))
        if long:
            rows.append(self._piece(stream, stream.framer.take(), "", TRUNCATED))
        return self._rows(stream, time_ns, rows)

    def idle_at(self) -> int | None:
        """When `idle` has something to do, in nanoseconds since the epoch; None while nothing waits."""
        waiting = [stream.since for stream in self._streams.values() if stream.framer.pending or stream.held]
        return min(waiting) + self._delay if waiting else None

    def idle(self, time_ns: int) -> Sequence[Lines]:
        """Show unfinished lines that have waited long enough, such as prompts."""
        batches: list[Lines] = []
        for stream in self._streams.values():
            # abs(): a clock that was set back must not hold a prompt for hours
            if stream.framer.pending and abs(time_ns - stream.since) >= self._delay:
                raw = stream.framer.release()
                if raw.endswith(b"\r"):
                    rows = list(self._care(stream, raw))
                else:
                    rows = [self._piece(stream, raw, "", PARTIAL)]
                batches += self._rows(stream, time_ns, rows)
            if not stream.framer.pending and stream.held:
                stream.since = time_ns + 3600 * 10**9  # held on purpose: until more comes
        return batches

    def eof(self, name: str, time_ns: int) -> Sequence[Lines]:
        """Tell that a stream has ended; its last line may have no ending."""
        stream = self._streams[name]
        if stream.transcode is not None:
            stream.framer.feed(stream.transcode(b"", True))
        raw = stream.framer.take()
        if not raw and not stream.held:
            return _NONE
        rows = list(self._care(stream, raw)) if raw else [self._piece(stream, b"", "", 0)]
        return self._rows(stream, time_ns, rows)

    def finish(self, time_ns: int) -> Sequence[Lines]:
        """Tell that the child has ended: show what is left of every stream."""
        return [lines for name in self._streams for lines in self.eof(name, time_ns)]

    def exited(
        self,
        *,
        pid: int | None,
        returncode: int | None,
        signal: str | None,
        reason: str,
        time_ns: int,
        duration: float,
        usage: Usage | None,
        drained: bool,
        dropped: dict[str, int],
        error: str | None = None,
        error_type: str | None = None,
    ) -> Exit:
        """Make the exit record; what is fed from now on is late."""
        self._settle()
        self.late = True
        return Exit(
            run=self.run,
            pid=pid,
            returncode=returncode,
            signal=signal,
            reason=reason,
            start_ns=self._start_ns or time_ns,
            time_ns=max(time_ns, self._last_ns + 1),
            duration=duration,
            usage=usage,
            lines={stream.name: stream.lines for stream in self._streams.values()},
            bytes={stream.name: stream.bytes for stream in self._streams.values()},
            dropped=dropped,
            truncated=self._truncated,
            drained=drained,
            tail=self._tail.lines(),
            error=error,
            error_type=error_type,
        )

    def tail(self) -> Sequence[Line]:
        """Return the last lines so far."""
        self._settle()
        return self._tail.lines()

    # -- batches ------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Count the batch before: by now a sink has split it, most likely, which makes that free."""
        if self._open is not None:
            stream, lines = self._open
            self._open = None
            count = len(lines)
            stream.lines += count
            self._number += count
            self._last_ns = lines.time_ns + count - 1
            self._tail.add(lines)

    def _batch(
        self,
        stream: _Stream,
        time_ns: int,
        block: bytes | None,
        texts: list[str] | None = None,
        endings: list[str] | None = None,
        flags: list[int] | None = None,
    ) -> Lines:
        self._settle()
        time_ns = max(time_ns, self._last_ns + 1)
        lines = Lines(
            self.run, stream.name, self._number, time_ns, self.late, self._pipeline, block, texts, endings, flags
        )
        self._open = (stream, lines)
        return lines

    # -- the slow path ------------------------------------------------------------------------------

    def _needs_care(self, stream: _Stream, block: bytes) -> bool:
        return (
            stream.context is not None
            or stream.inside_key
            or bool(stream.held)
            or has_long_line(block, self._max_line)
            # "-----BEGIN ... PRIVATE KEY-----"; two rare letters first, they cost next to nothing
            or (b"V" in block and b"K" in block and b"-----BEGIN" in block)
        )

    def _care(self, stream: _Stream, block: bytes) -> Iterator[tuple[str, str, int]]:
        """Rows (text, ending, flags) of a block, each line cut to the size limit."""
        texts, endings = split_block(block.decode("latin-1"))
        for text, ending in zip(texts, endings, strict=True):
            raw = text.encode("latin-1")
            while len(raw) > self._max_line:
                cut = _character_start(raw, self._max_line)
                yield self._piece(stream, raw[:cut], "", TRUNCATED)
                raw = raw[cut:]
            yield self._piece(stream, raw, ending, 0)

    def _piece(self, stream: _Stream, raw: bytes, ending: str, flags: int) -> tuple[str, str, int]:
        """Redact one piece of a line; flags that cut it tell that more of the line follows."""
        redactor = self._pipeline.redactor
        text = stream.held + self._pipeline.decode(raw)
        context = stream.context
        shown = text[: redactor.release(text)] if flags else text
        stream.held = text[len(shown) :]
        if context is not None:
            flags |= CONTINUED
        if flags & TRUNCATED:
            self._truncated += 1
        inside_key = stream.inside_key
        safe, stream.inside_key = redactor.block(shown, inside_key)
        if context is not None and not (inside_key or stream.inside_key):
            safe = redactor.continuation(context, shown)
        ends = not flags & (PARTIAL | TRUNCATED)
        stream.context = None if ends else redactor.context_after(context or "", shown)
        return safe, ending, flags

    def _rows(self, stream: _Stream, time_ns: int, rows: list[tuple[str, str, int]]) -> Sequence[Lines]:
        rows = [row for row in rows if row[0] or not row[2] & (PARTIAL | TRUNCATED)]
        if not rows:
            return _NONE
        texts, endings, flags = (list(column) for column in zip(*rows, strict=True))
        return (self._batch(stream, time_ns, None, texts, endings, flags),)  # type: ignore[arg-type]


def _character_start(raw: bytes, index: int) -> int:
    """Largest cut up to `index` that does not split a UTF-8 sequence."""
    for back in range(4):
        if raw[index - back] & 0xC0 != 0x80:
            return index - back
    return index


class _Tail:
    """The last lines, kept as the batches that hold them; of progress updates only the last counts."""

    __slots__ = ("_batches", "_limit", "_total")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._batches: deque[tuple[Lines, int]] = deque()
        self._total = 0

    def add(self, lines: Lines) -> None:
        weight = len(lines)
        if lines._endings is not None or (lines._block is not None and b"\r" in lines._block):
            weight -= lines.endings.count("\r")
        batches = self._batches
        if not weight and batches and not batches[-1][1]:
            batches.pop()
        batches.append((lines, weight))
        self._total += weight
        while batches and self._total - batches[0][1] >= self._limit:
            self._total -= batches.popleft()[1]

    def lines(self) -> tuple[Line, ...]:
        """Detached lines, which do not keep their large batches alive."""
        lines = [line for batch, _ in self._batches for line in batch]
        kept = [line for line in lines[:-1] if line.ending != "\r"] + lines[-1:]
        return tuple(_detach(line) for line in kept[-self._limit :] if self._limit)


def _detach(line: Line) -> Line:
    lines, index = line._lines, line._index
    alone = Lines(
        lines.run,
        lines.stream,
        line.number,
        line.time_ns,
        lines.late,
        lines._reader,
        None,
        [line.text],
        [line.ending],
        None if lines._flags is None else [lines._flags[index]],
    )
    alone._levels = [line.level]
    return Line(alone, 0, line.text)
