"""Lines as log records beside the span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from subwatch.records import CONTINUED, CRITICAL, DEBUG, ERROR, INFO, PARTIAL, TRUNCATED, WARNING

from . import _attributes as names
from ._limits import limits_of
from ._rate import Updates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry._logs import Logger
    from opentelemetry.context import Context

    from subwatch.records import Exit, Lines, Run

    from ._rate import RateLimit

#: Level to severity number and text (logs data model, "Mapping of SeverityNumber").
_SEVERITIES = {
    DEBUG: (SeverityNumber.DEBUG, "DEBUG"),
    INFO: (SeverityNumber.INFO, "INFO"),
    WARNING: (SeverityNumber.WARN, "WARNING"),
    ERROR: (SeverityNumber.ERROR, "ERROR"),
    CRITICAL: (SeverityNumber.FATAL, "CRITICAL"),
}

_FLAGS = {PARTIAL: names.LINE_PARTIAL, TRUNCATED: names.LINE_TRUNCATED, CONTINUED: names.LINE_CONTINUED}


def severity(level: int) -> tuple[SeverityNumber, str]:
    """Return severity number and text of a level of :mod:`logging`; one between two counts as the lower."""
    found = _SEVERITIES.get(level)
    return found or _SEVERITIES[min(max(level // 10 * 10, DEBUG), CRITICAL)]


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
        progress: Seconds between progress updates; True for all of them, False for none.
        run: The run.
        pid: Its process id.
        alone: Whether no recorded span says whose the records are, so that each has to.
        max_length: Largest length of an attribute's value, in characters.

    Attributes:
        dropped: Lines that the rate limit held back.
    """

    def __init__(
        self,
        logger: Logger,
        context: Context,
        rate: RateLimit,
        *,
        progress: float | bool,
        run: Run,
        pid: int | None,
        alone: bool,
        max_length: int | None,
    ) -> None:
        self.dropped = 0
        self._logger = logger
        self._context = context
        self._rate = rate
        self._updates = Updates(progress)
        self._limits = limits_of(logger, "log_record", max_length)
        self._child = names.child_attributes(run, self._limits.length, pid, alone)
        self._common: dict[tuple[str, bool], dict[str, Any]] = {}

    def losses(self) -> dict[str, int]:
        """Return how many lines the log has not, as attributes of the span."""
        found = {names.LINES_DROPPED: self.dropped, names.LINES_THINNED: self._updates.thinned}
        return {name: count for name, count in found.items() if count}

    def emit(self, lines: Lines) -> None:
        """Emit a batch."""
        if enabled(self._logger, self._context):
            for batch, indexes in self._updates.pick(lines):
                self._emit(batch, indexes)

    def finish(self) -> None:
        """Emit the last progress updates, where they were kept back."""
        if enabled(self._logger, self._context):
            for batch, index in self._updates.flush():
                self._emit(batch, [index])

    def _emit(self, lines: Lines, indexes: Sequence[int]) -> None:
        emit, context = self._logger.emit, self._context
        texts, levels, times, flags, fields = (
            lines.texts,
            lines.levels,
            lines.times,
            lines.flags,
            lines.fields,
        )
        chosen = self._rate.choose([levels[index] for index in indexes])
        self.dropped += len(indexes) - len(chosen)
        common = self._attributes(lines)
        for choice in chosen:
            index = indexes[choice]
            number, text = severity(levels[index])
            attributes = common
            if flags[index] or fields[index]:
                attributes = self._particular(common, flags[index], fields[index] or {})
            emit(
                timestamp=times[index],
                observed_timestamp=times[index],
                context=context,
                severity_number=number,
                severity_text=text,
                body=texts[index],
                attributes=attributes,
            )

    def _attributes(self, lines: Lines) -> dict[str, Any]:
        """What the lines of a stream have in common: one object for all of them, which the SDK copies."""
        common = self._common.get((lines.stream, lines.late))
        if common is None:
            common = {names.LOG_IOSTREAM: lines.stream[: self._limits.length], **self._child}
            if lines.late:
                common[names.LINE_LATE] = True
            common = self._common[lines.stream, lines.late] = self._limits.fit(common)
        return common

    def _particular(self, common: dict[str, Any], flags: int, fields: Mapping[str, Any]) -> dict[str, Any]:
        marks = {name: True for bit, name in _FLAGS.items() if flags & bit}
        return self._limits.fit({**common, **marks, **names.field_attributes(fields, self._limits.length)})

    def exited(self, exit: Exit, attributes: Mapping[str, Any]) -> None:
        """Emit the exit as an event, for where no span tells it, and for alerts on logs."""
        if not enabled(self._logger, self._context):
            return
        number, text = severity(ERROR if exit.failed else INFO)
        self._logger.emit(
            timestamp=exit.time_ns,
            observed_timestamp=exit.time_ns,
            context=self._context,
            severity_number=number,
            severity_text=text,
            body=names.clean(exit.message, None),
            attributes=self._limits.fit({**attributes, **self._child}),
            event_name=names.EXIT_EVENT,
        )
