"""One child's life on its span: pid at the start, lines beside it, the end by the conventions."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Status, StatusCode, set_span_in_context

from subwatch.records import Exit, Lines, Start

from . import _attributes as names
from ._logs import LineLog, enabled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from subwatch.records import Line, Run

    from ._rate import RateLimit
    from ._telemetry import Telemetry

#: Those who trace the children of others now. They must not trace ours a second time.
observers: set[object] = set()
#: The stream whose child is about to be spawned here, while there are such.
spawning: ContextVar[Stream | None] = ContextVar("subwatch_opentelemetry_spawning", default=None)

#: So many attributes a span gets at most for what was started, and for how it ended.
_ROOM_FOR_START, _ROOM_FOR_EXIT = 10, 10
ROOM_LATER = _ROOM_FOR_START + _ROOM_FOR_EXIT

_MAX_DESCRIPTION = 256


class Stream:
    """What becomes of the records of one child.

    Args:
        env: Variables for the child.

    Attributes:
        env: The same.
        spawning: Whether the child is still to be started.
    """

    def __init__(self, env: Mapping[str, str | None]) -> None:
        self.env = env
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


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a sink does with all of its children.

    Attributes:
        lines: ``"logs"``, ``"events"`` or ``"none"``.
        progress: Seconds between progress updates in the log; True for all, False for none.
        tail: How many of the last lines the span shows.
        command_args: Whether the span shows the command.
        rate: Limits the log records.
        telemetry: Where everything goes.
    """

    lines: str
    progress: float | bool
    tail: int
    command_args: bool
    rate: RateLimit
    telemetry: Telemetry


class SpanStream(Stream):
    """The records of one child on its span, in the log and in the metrics.

    Args:
        plan: What to do.
        run: The run.
        span: Its span, started.
        recording: Whether it takes attributes.
        within: Context in which it was started.
        env: Variables for the child.
        start_ns: When the span starts.
    """

    def __init__(
        self,
        plan: Plan,
        run: Run,
        span: Span,
        recording: bool,
        within: Context,
        env: Mapping[str, str | None],
        start_ns: int,
    ) -> None:
        self.env = env
        self.spawning = True
        self._plan = plan
        self._telemetry = plan.telemetry
        self._run = run
        self._span = span
        self._recording = recording
        self._outside = within
        self._start_ns = start_ns
        self._pid: int | None = None
        self._log: LineLog | None = None
        self._ended = False

    @cached_property
    def _within(self) -> Context:
        """Context with the span, for what is to be joined to it."""
        return set_span_in_context(self._span, self._outside)

    @property
    def wants_lines(self) -> bool:
        """Whether lines would be looked at now: the SDK may be shut down, or set up, meanwhile."""
        if self._telemetry.metrics is not None:
            return True
        # there are none before the start, and what the SDK says is not worth the child's waiting for it
        return self._plan.lines == "logs" and (self.spawning or enabled(self._telemetry.logger, self._within))

    @property
    def dropped(self) -> int:
        """Lines that the rate limit held back."""
        return 0 if self._log is None else self._log.dropped

    def emit(self, records: Start | Lines | Exit) -> None:
        """Take a Start, a batch of lines, or an Exit."""
        if isinstance(records, Lines):
            if self._plan.lines == "logs":
                self._logged().emit(records)
            if self._telemetry.metrics is not None:
                self._telemetry.metrics.lines(records)
        elif isinstance(records, Start):
            self._started(records)
        else:
            self._exited(records)

    def close(self) -> None:
        """End the span if no exit record has."""
        if self._log is not None:
            self._log.finish()
        if not self._ended:
            self._end(None, {})

    def _logged(self) -> LineLog:
        if self._log is None:
            plan = self._plan
            self._log = LineLog(
                self._telemetry.logger,
                self._within,
                plan.rate,
                progress=plan.progress,
                run=self._run,
                pid=self._pid,
                alone=not self._recording,
                max_length=self._telemetry.max_length,
            )
        return self._log

    def _started(self, start: Start) -> None:
        self.spawning = False
        self._pid = start.pid
        if self._telemetry.metrics is not None:
            self._telemetry.metrics.started(self._run)

    def _exited(self, exit: Exit) -> None:
        attributes = names.exit_attributes(exit, self._telemetry.limits.length)
        failed = names.ERROR_TYPE in attributes
        if self._log is not None:
            self._log.finish()
        # The span says it all; the log says it too where somebody is to be alarmed, or no span tells it.
        if self._plan.lines == "logs" and (failed or not self._recording):
            self._logged().exited(exit, attributes)
        if self._recording and not self._ended:
            if failed or self._plan.lines == "events":
                self._tell_tail(exit, attributes)
            if self._log is not None:
                attributes |= self._log.losses()
        self._end(exit, attributes)
        if self._telemetry.metrics is not None:
            self._telemetry.metrics.exited(exit)

    def _tell_tail(self, exit: Exit, attributes: dict[str, Any]) -> None:
        span, length = self._span, self._telemetry.limits.length
        tail = self._tail(exit)
        if exit.failed:
            texts = [names.clean(line.text, length) for line in tail]
            if texts:
                attributes[names.TAIL] = texts
            cause = exit.error if exit.error is not None else texts[-1] if texts else None
            span.set_status(Status(StatusCode.ERROR, cause and names.clean(cause, _MAX_DESCRIPTION)))
        if self._plan.lines == "events":
            for line in tail:
                span.add_event(names.LINE_EVENT, names.line_attributes(line, length), line.time_ns)

    def _tail(self, exit: Exit) -> Sequence[Line]:
        """As many last lines as the sink shows, which the exit record may have less of."""
        wanted = self._plan.tail
        if not wanted or len(exit.tail) >= wanted:
            return list(exit.tail)[len(exit.tail) - wanted :]
        return self._run.tail(wanted) or exit.tail

    def _end(self, exit: Exit | None, attributes: dict[str, Any]) -> None:
        self.spawning = False
        if self._ended:
            return
        self._ended = True
        if self._recording:
            # all at once: each call has its price, and nobody is sent a span before its end
            limits = self._telemetry.limits
            pid = self._pid if exit is None else exit.pid
            started = names.process_attributes(self._run, limits.length, pid, self._plan.command_args)
            everything = {**started, **attributes}
            if limits.attributes is not None and len(everything) > limits.attributes:
                everything = limits.fit({**limits.fit(started, _ROOM_FOR_EXIT), **attributes})
            self._span.set_attributes(everything)
        # Not before its start, even when the clock was set back meanwhile.
        self._span.end(None if exit is None else max(exit.time_ns, self._start_ns))
        if self._pid is not None and self._telemetry.metrics is not None:
            self._telemetry.metrics.ended(self._run)
