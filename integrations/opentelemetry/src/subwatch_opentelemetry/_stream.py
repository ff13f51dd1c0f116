"""One child's life on its span: pid at the start, lines beside it, the end by the conventions."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode

from subwatch.records import Exit, Lines, Start

from . import _attributes as names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

    from subwatch.records import Run

    from ._limits import Limits
    from ._logs import LineLog
    from ._metrics import ProcessMetrics

#: The stream whose child is about to be spawned here: the instrumentor must not trace it a second time.
spawning: ContextVar[Stream | None] = ContextVar("subwatch_opentelemetry_spawning", default=None)

#: So many attributes a span gets at most when the child is started, and when it has ended.
_ROOM_AT_START, _ROOM_AT_EXIT = 8, 9
ROOM_LATER = _ROOM_AT_START + _ROOM_AT_EXIT

_MAX_DESCRIPTION = 256


class Stream:
    """What becomes of the records of one child.

    Args:
        env: Variables for the child.

    Attributes:
        env: The same.
        dropped: Lines that the rate limit held back.
        spawning: Whether the child is still to be started.
    """

    def __init__(self, env: Mapping[str, str | None]) -> None:
        self.env = env
        self.dropped = 0
        self.spawning: bool = True

    @property
    def wants_lines(self) -> bool:
        """Whether lines would be looked at now."""
        return False

    def emit(self, records: Start | Lines | Exit) -> None:  # noqa: ARG002 - nobody listens
        """Take note that the child is started."""
        self.spawning = False

    def close(self) -> None:
        """Take note that there is no child to be started."""
        self.spawning = False


#: The stream of children that nobody is told about.
NOTHING = Stream({})


class SpanStream(Stream):
    """The records of one child on its span, in the log and in the metrics.

    Args:
        run: The run.
        span: Its span, started.
        limits: The span's limits.
        env: Variables for the child.
        log: Where lines go, or None.
        metrics: Where figures go, or None.
        tail: How many of the last lines the span shows on failure.
        events: Whether the last lines become events.
    """

    def __init__(
        self,
        run: Run,
        span: Span,
        limits: Limits,
        env: Mapping[str, str | None],
        *,
        start_ns: int,
        log: LineLog | None,
        metrics: ProcessMetrics | None,
        tail: int,
        events: bool,
    ) -> None:
        super().__init__(env)
        self._run = run
        self._span = span
        self._limits = limits
        self._start_ns = start_ns
        self._log = log
        self._metrics = metrics
        self._tail = tail
        self._events = events
        self._described = False
        self._active = False
        self._ended = False

    @property
    def wants_lines(self) -> bool:
        """Whether lines would be looked at now: the SDK may be shut down, or set up, meanwhile."""
        return self._metrics is not None or (self._log is not None and self._log.enabled())

    def emit(self, records: Start | Lines | Exit) -> None:
        """Take a Start, a batch of lines, or an Exit."""
        if isinstance(records, Lines):
            if self._log is not None:
                self.dropped += self._log.emit(records)
            if self._metrics is not None:
                self._metrics.lines(records)
        elif isinstance(records, Start):
            self._started(records)
        else:
            self._exited(records)

    def close(self) -> None:
        """End the span if no exit record has."""
        self._end(None)

    def _started(self, start: Start) -> None:
        self.spawning = False
        self._describe(start.pid)
        if self._log is not None:
            self._log.started(start.pid)
        if self._metrics is not None:
            self._metrics.started(self._run)
            self._active = True

    def _describe(self, pid: int | None) -> None:
        """Say how it was started; not before the start, so that the child need not wait for it."""
        if not self._described and self._span.is_recording():
            attributes = names.process_attributes(self._run, self._limits.length, pid)
            self._span.set_attributes(self._limits.fit(attributes, _ROOM_AT_EXIT))
        self._described = True

    def _exited(self, exit: Exit) -> None:
        self._describe(exit.pid)
        recording = self._span.is_recording()
        attributes = names.exit_attributes(exit, self._limits.length)
        # The span says it all; the log says it too where somebody is to be alarmed, or no span tells it.
        if self._log is not None and (exit.failed or not recording):
            self._log.exited(exit, attributes)
        if recording:
            self._tell(exit, attributes)
        self._end(exit.time_ns)
        if self._metrics is not None:
            self._metrics.exited(exit)

    def _tell(self, exit: Exit, attributes: dict[str, Any]) -> None:
        span, length = self._span, self._limits.length
        tail = list(exit.tail)[-self._tail :] if self._tail and (exit.failed or self._events) else []
        if exit.failed:
            texts = [names.clean(line.text, length) for line in tail]
            if texts:
                attributes[names.TAIL] = texts
            cause = exit.error if exit.error is not None else texts[-1] if texts else None
            span.set_status(Status(StatusCode.ERROR, cause and names.clean(cause, _MAX_DESCRIPTION)))
        if self.dropped:
            attributes[names.LINES_DROPPED] = self.dropped
        span.set_attributes(self._limits.fit(attributes))
        if self._events:
            for line in tail:
                span.add_event(names.LINE_EVENT, names.line_attributes(line, length), line.time_ns)

    def _end(self, time_ns: int | None) -> None:
        self.spawning = False
        if self._ended:
            return
        self._ended = True
        # Not before its start, even when the clock was set back meanwhile.
        self._span.end(None if time_ns is None else max(time_ns, self._start_ns))
        if self._active and self._metrics is not None:
            self._metrics.ended(self._run)
