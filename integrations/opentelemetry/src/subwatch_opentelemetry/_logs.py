"""Lines as log records beside the span, at a rate that the SDK's queue can take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from . import _attributes as names
from ._limits import limits_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import Logger
    from opentelemetry.context import Context

    from subwatch.records import Exit, Lines, Run

#: Level to severity number and text (logs data model, "Mapping of SeverityNumber").
_SEVERITIES = {
    DEBUG: (SeverityNumber.DEBUG, "DEBUG"),
    INFO: (SeverityNumber.INFO, "INFO"),
    WARNING: (SeverityNumber.WARN, "WARNING"),
    ERROR: (SeverityNumber.ERROR, "ERROR"),
    CRITICAL: (SeverityNumber.FATAL, "CRITICAL"),
}


def severity(level: int) -> tuple[SeverityNumber, str]:
    """Return severity number and text of a level of :mod:`logging`; one between two counts as the lower."""
    found = _SEVERITIES.get(level)
    return found or _SEVERITIES[min(max(level // 10 * 10, DEBUG), CRITICAL)]


class RateLimit:
    """Token bucket for all children of a sink, since they share the SDK's one queue.

    That queue holds 2048 records and drops the oldest, ours or the application's, when it is full;
    it is emptied every second. A quarter of the bucket is kept for warnings and worse.

    There is no lock, which a fork could inherit held: two threads at the same instant may let a batch too
    many through, for which that queue has room.

    Args:
        per_second: Lines per second in the long run, and at once after a second of silence; 0 for no limit.
    """

    def __init__(self, per_second: int) -> None:
        self._rate = per_second
        self._tokens = float(per_second)
        self._time = time.monotonic()

    def choose(self, levels: Sequence[int]) -> Sequence[int]:
        """Return the indexes of the lines that may pass, in order: the most severe, then the earliest."""
        count = len(levels)
        if not self._rate:
            return range(count)
        now = time.monotonic()
        tokens = min(self._rate, self._tokens + (now - self._time) * self._rate)
        granted = min(count, max(int(tokens) - self._rate // 4, 0))
        if granted < count:
            severe = sum(level >= WARNING for level in levels)
            granted = max(granted, min(severe, int(tokens)))
        self._time, self._tokens = now, tokens - granted
        if granted == count:
            return range(count)
        return sorted(sorted(range(count), key=lambda index: -levels[index])[:granted])


def enabled(logger: Logger, context: Context) -> bool:
    """Whether log records would go anywhere; API versions before 1.45 cannot say."""
    ask = getattr(logger, "enabled", None)
    return ask is None or bool(ask(context=context))


class LineLog:
    """The log records of one child.

    Args:
        logger: Where they go.
        context: Context with the child's span, which correlates them.
        rate: Rate limit of the sink.
        run: The run.
        max_length: Largest length of an attribute's value, in characters.
    """

    def __init__(
        self, logger: Logger, context: Context, rate: RateLimit, run: Run, max_length: int | None
    ) -> None:
        self._logger = logger
        self._context = context
        self._rate = rate
        self._run = run
        self._max_length = max_length
        self._pid: int | None = None

    def enabled(self) -> bool:
        """Whether records would go anywhere now."""
        return enabled(self._logger, self._context)

    def started(self, pid: int) -> None:
        """Take the process id that all records carry."""
        self._pid = pid

    def _attributes(self, length: int | None) -> dict[str, Any]:
        attributes: dict[str, Any] = {
            names.PROCESS_EXECUTABLE_NAME: names.clean(self._run.program, length),
            names.RUN_ID: self._run.id[:length],
        }
        if self._pid is not None:
            attributes[names.PROCESS_PID] = self._pid
        return attributes

    def emit(self, lines: Lines) -> int:
        """Emit a batch; return how many of its lines the rate limit held back."""
        if not self.enabled():
            return 0
        limits = limits_of(self._logger, "log_record", self._max_length)
        texts, levels, times, numbers = lines.texts, lines.levels, lines.times, lines.numbers
        attributes = {names.LOG_IOSTREAM: lines.stream[: limits.length], **self._attributes(limits.length)}
        if lines.late:
            attributes[names.LINE_LATE] = True
        attributes = limits.fit(attributes, others=1)
        fields = lines.fields
        chosen = self._rate.choose(levels)
        emit = self._logger.emit
        for index in chosen:
            number, text = severity(levels[index])
            details = {**attributes, names.LINE_NUMBER: numbers[index]}
            said = fields[index]
            if said:
                details = limits.fit({**details, **names.field_attributes(said, limits.length)})
            emit(
                timestamp=times[index],
                observed_timestamp=times[index],
                context=self._context,
                severity_number=number,
                severity_text=text,
                body=texts[index],
                attributes=details,
            )
        return len(texts) - len(chosen)

    def exited(self, exit: Exit, attributes: Mapping[str, Any]) -> None:
        """Emit the exit as an event, for where no span tells it, and for alerts on logs."""
        limits = limits_of(self._logger, "log_record", self._max_length)
        number, text = severity(ERROR if exit.failed else INFO)
        self._logger.emit(
            timestamp=exit.time_ns,
            observed_timestamp=exit.time_ns,
            context=self._context,
            severity_number=number,
            severity_text=text,
            body=names.clean(exit.message, None),
            attributes=limits.fit({**attributes, **self._attributes(limits.length)}),
            event_name=names.EXIT_EVENT,
        )
