"""One child's life as a pure state machine: bytes in, records out; no I/O, no clock, no sinks.

The hot path is one `Lines` per chunk, unopened; a line that has to be shown in pieces takes a slow one.
"""

from __future__ import annotations

from ._stream import Stream
from ._tail import Tail
from .records import CONTINUED, PARTIAL, TRUNCATED, Exit, Lines, Start
from .records._line import count_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._pieces import Row
    from .processors import Pipeline
    from .records import Line, Run, Usage


__all__ = ["Session"]

_NONE: tuple[Lines, ...] = ()


class Session:
    """Turns what the drivers read of one child into its records.

    Args:
        run: The run.
        pipeline: Decodes, redacts and interprets.
        max_line: Size limit of a record, in bytes.
        partial_delay_ns: How long an unfinished line may wait before it is shown as it is.
        tail: How many last lines the exit record keeps.
    """

    def __init__(
        self, run: Run, pipeline: Pipeline, *, max_line: int, partial_delay_ns: int, tail: int
    ) -> None:
        self.run = run
        self.late: bool = False
        self._pipeline = pipeline
        self._max_line = max_line
        self._delay = partial_delay_ns
        self._streams: dict[str, Stream] = {}
        self._number = 1
        self._last_ns = 0
        self._open: tuple[Stream, Lines] | None = None  # counted when the next one comes
        self._truncated = 0
        self._tail = Tail(tail)
        self._start_ns = 0

    def stream(self, name: str) -> None:
        """Announce a stream that will be watched."""
        self._streams[name] = Stream(name, self._pipeline, self._max_line)

    def started(self, pid: int, time_ns: int) -> Start:
        """Tell that the child runs."""
        self._start_ns = self._last_ns = time_ns
        return Start(self.run, pid, time_ns)

    def feed(self, name: str, data: bytes, time_ns: int) -> Sequence[Lines]:
        """Take bytes that were read from a stream; return the batches of lines that are whole now."""
        stream = self._streams[name]
        data = stream.take(data, time_ns)
        if stream.skipped:
            self._remember(stream)
            self._settle()
            stream.skipped = False
        block = stream.framer.feed(data)
        # one more, because the last byte may be half of an ending
        long = stream.framer.pending > self._max_line + 1
        if not block and not long:
            return _NONE
        if not long and not stream.pieces.needed(block):
            return (self._batch(stream, time_ns, block),)
        rows = stream.pieces.rows(block)
        if long:
            stream.framer.feed(stream.pieces.cut(stream.framer.take(), rows))
        return self._rows(stream, time_ns, rows)

    def delayed(self, nanoseconds: int) -> None:
        """Take note that sinks took so long: no unfinished line has waited for its rest meanwhile."""
        for stream in self._streams.values():
            stream.since += nanoseconds

    def hold(self, name: str, time_ns: int, held: bool) -> None:
        """Take note that a stream is not read for a while, or is again: what is unfinished there is no prompt."""
        stream = self._streams[name]
        stream.since, stream.held = time_ns, held

    def skip(self, name: str, data: bytes, time_ns: int) -> Sequence[Lines]:
        """As `feed`, where nobody wants lines: bytes are counted, the last are kept for the tail."""
        stream = self._streams[name]
        if stream.unread is None:
            self._settle()
        stream.skip(stream.take(data, time_ns), time_ns)
        return _NONE

    def _remember(self, stream: Stream) -> None:
        """Put the last of what nobody wanted into the tail; the unfinished line waits for its rest."""
        unread, stream.unread = stream.unread, None
        if unread is None:
            return
        blocks, rest = unread.split()
        if unread.cut:
            stream.pieces.lost(midway=not blocks)
        whole = b"".join([block for _, block in blocks])
        if stream.pieces.needed(whole):
            for time_ns, block in blocks:
                self._rows(stream, time_ns, stream.pieces.rows(block))
        elif whole:
            self._settle()
            last_ns, times = self._last_ns, list[int]()
            for time_ns, block in blocks:
                first_ns = max(time_ns, last_ns + 1)
                last_ns = first_ns + count_lines(block) - 1
                times += range(first_ns, last_ns + 1)
            self._batch(stream, times[0], whole)._times = times
        if rest and (updates := stream.framer.feed(rest)):
            self._rows(stream, stream.since, stream.pieces.rows(updates))

    def idle_at(self) -> int | None:
        """When `idle` has something to do, in nanoseconds since the epoch; None while nothing waits."""
        first: int | None = None
        for stream in self._streams.values():
            if stream.framer.pending and not stream.held and (first is None or stream.since < first):
                first = stream.since
        return None if first is None else first + self._delay

    def idle(self, time_ns: int) -> Sequence[Lines]:
        """Show unfinished lines that have waited long enough, such as prompts."""
        # abs(): a clock that was set back must not hold a prompt for hours
        waiting = [s for s in self._streams.values() if not s.held and abs(time_ns - s.since) >= self._delay]
        return self._release(time_ns, waiting)

    def finish(self, time_ns: int) -> Sequence[Lines]:
        """Tell that the child has ended: show what is there of lines that another process may go on with."""
        return self._release(time_ns, self._streams.values())

    def _release(self, time_ns: int, streams: Iterable[Stream]) -> Sequence[Lines]:
        batches: list[Lines] = []
        for stream in streams:
            self._remember(stream)
            if stream.framer.pending:
                raw = stream.framer.release()
                rows: list[Row] = []
                if raw.endswith(b"\r"):
                    rows = stream.pieces.rows(raw)
                else:
                    rows.append(stream.pieces.piece(stream.pieces.cut(raw, rows), "", PARTIAL))
                batches += self._rows(stream, time_ns, rows)
        return batches

    def eof(self, name: str, time_ns: int) -> Sequence[Lines]:
        """Tell that a stream has ended; its last line may have no ending."""
        stream = self._streams[name]
        raw = b""
        self._remember(stream)
        if stream.transcode is not None:
            raw = stream.framer.feed(stream.transcode(b"", True))
        if stream.framer.pending:
            raw += stream.framer.take()
        if not raw and not stream.pieces.midway:
            return _NONE
        rows = stream.pieces.rows(raw)
        if stream.pieces.midway:
            rows.append(stream.pieces.piece(b"", "", 0))
        return self._rows(stream, time_ns, rows)

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
        self._last_ns = time_ns = max(time_ns, self._last_ns + 1)
        return Exit(
            run=self.run,
            pid=pid,
            returncode=returncode,
            signal=signal,
            reason=reason,
            start_ns=self._start_ns or time_ns,
            time_ns=time_ns,
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

    def failures(self) -> dict[str, BaseException]:
        """What raised among the user's rules and recognisers, by name; they were left out."""
        return self._pipeline.failures()

    def tail(self, limit: int | None = None) -> Sequence[Line]:
        """Return the last lines so far, see `Run.tail`."""
        for stream in self._streams.values():
            self._remember(stream)
        self._settle()
        return self._tail.lines(limit)

    # -- batches ------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Count the batch before: by now a sink has split it, most likely, which makes that free."""
        if self._open is not None:
            stream, lines = self._open
            self._open = None
            count = len(lines)
            if not stream.skipped:  # otherwise these are but the last of those that nobody has counted
                stream.lines += count
            self._number += count
            times = lines._times
            self._last_ns = times[-1] if times else lines.time_ns + count - 1
            self._tail.add(lines, count)

    def _batch(
        self,
        stream: Stream,
        time_ns: int,
        block: bytes | None,
        texts: list[str] | None = None,
        endings: list[str] | None = None,
        flags: list[int] | None = None,
    ) -> Lines:
        self._settle()
        time_ns = max(time_ns, self._last_ns + 1)
        lines = Lines(
            self.run,
            stream.name,
            self._number,
            time_ns,
            self.late,
            self._pipeline,
            block,
            texts,
            endings,
            flags,
        )
        self._open = (stream, lines)
        return lines

    def _rows(self, stream: Stream, time_ns: int, rows: list[Row]) -> Sequence[Lines]:
        """A batch of rows; the pieces of a line share the level of its beginning."""
        rows = [row for row in rows if row[0] or row[1]]
        if not rows:
            return _NONE
        texts, endings, flags = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
        self._truncated += sum(1 for flag in flags if flag & TRUNCATED)
        heads, levels = self._pipeline.interpret(["" if row[2] & CONTINUED else row[0] for row in rows])
        for index, flag in enumerate(flags):
            if flag & CONTINUED:
                levels[index] = stream.level
            else:
                texts[index] = heads[index]
                stream.level = levels[index]
        batch = self._batch(stream, time_ns, None, texts, endings, flags)
        batch._levels = levels
        return (batch,)
