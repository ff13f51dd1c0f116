"""Records to Python logging."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from subwatch.errors import ConfigError
from subwatch.records import ERROR, INFO, Exit, Lines, Start

from ._log_records import LogRecords, moment
from ._plain import all_plain, plain
from ._stages import StageOptions, Stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from subwatch.records import Run

    from ._stages import Entry

__all__ = ["LoggingSink"]

_LINE, _LATE = "%s: %s", "%s: (late) %s"


class LoggingSink:
    """Logs each line, the start (DEBUG) and the exit: INFO, or ERROR for a failure.

    The records look as if the caller had logged them where the child was started: its file, line and
    function, and the time at which the line was read. The message is a constant template with arguments.
    Their extras are ``subwatch_run_id``, ``subwatch_program``, ``subwatch_pid``, ``subwatch_stream``,
    ``subwatch_number``, ``subwatch_fields`` of a JSON or logfmt line and, at the exit,
    ``subwatch_exit_code``, ``subwatch_signal``, ``subwatch_reason``, ``subwatch_duration`` (seconds) and
    ``subwatch_thinned`` (progress updates left out); tags are ``subwatch_tag_NAME``, correlation values
    ``subwatch_NAME``. The exit's message says what was left out.

    Args:
        logger: Name of the logger, or the logger itself; by default ``subwatch.PROGRAM``, with a dot in
            the program's name made an underscore.
        progress: Progress updates, which are lines below WARNING whose progress a recogniser reads or that
            end with a lone carriage return: of each phase the first and the last are logged, and between
            them at most one in so many seconds; True logs all of them, False none.
        throttle: Most records in 10 seconds, and repeated lines as "last message repeated N times", said
            after 10 seconds at the latest; None logs all.
        hold_back: Hold lines of WARNING and above until the outcome is known: after a success they are
            INFO; after a failure they are what they said, and the run's last lines are (again) ERROR.
        group: Log tracebacks, and PostgreSQL's messages with their DETAIL and HINT, as one record. A line
            that may be the beginning of one waits for the next, 2 seconds at most.
        structured: Of JSON and logfmt lines log the message and the time that they tell; otherwise their
            text, with the time at which it was read.
        exit_level: Level of the exit of a child that succeeded.

    Raises:
        ConfigError: An option has a wrong value.
    """

    name = "logging"

    def __init__(
        self,
        logger: str | logging.Logger | logging.LoggerAdapter[Any] | None = None,
        *,
        progress: float | bool = 10.0,
        throttle: int | None = None,
        hold_back: bool = False,
        group: bool = False,
        structured: bool = False,
        exit_level: int = INFO,
    ) -> None:
        if isinstance(logger, logging.LoggerAdapter):
            logger = logger.logger
        if isinstance(logger, str):
            logger = logging.getLogger(logger)
        elif logger is not None and not isinstance(logger, logging.Logger):
            raise ConfigError(f"logger= takes a name or a logging.Logger, not {type(logger).__name__}")
        self._logger = logger
        self._loggers: dict[str, logging.Logger] = {}
        self._options = StageOptions(progress, throttle, hold_back, group)
        self._options.check()
        if not isinstance(structured, bool):
            raise ConfigError(f"structured= takes True or False, not {structured!r}")
        self._structured = structured
        self._exit_level = exit_level

    def open(self, run: Run) -> _Stream:
        """Return the stream of a run."""
        logger = self._logger or self._loggers.get(run.program)
        if logger is None:
            logger = logging.getLogger("subwatch." + (plain(run.program).replace(".", "_") or "child"))
            if not logger.handlers:
                # without this, logging's last resort would print WARNING lines that stderr shows already
                logger.addHandler(logging.NullHandler())
            self._loggers[run.program] = logger
        return _Stream(logger, run, self._options, self._structured, self._exit_level)

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing: handlers belong to the application."""


class _Stream:
    def __init__(
        self, logger: logging.Logger, run: Run, options: StageOptions, structured: bool, exit_level: int
    ) -> None:
        self._logger = logger
        self._run = run
        self._options = options
        self._structured = structured
        self._exit_level = exit_level
        self._records = LogRecords(logger, run)
        self._program = self._records.program
        self._stages: Stages | None = None
        self._last_ns = 0

    @property
    def wants_lines(self) -> bool:
        """Whether anybody would see a line of the highest level now."""
        return self._heard(self._run.ceiling)

    @property
    def due(self) -> float | None:
        """When something that waits is to be logged, though no line comes, in monotonic seconds."""
        at = None if self._stages is None else self._stages.due
        return None if at is None else time.monotonic() + at - time.time()

    def idle(self) -> None:
        """Log what has waited long enough."""
        if self._stages is not None:
            self._write(self._stages.idle(time.time_ns()))

    def emit(self, records: Start | Lines | Exit) -> None:
        if type(records) is Lines:
            self._lines(records)
        elif isinstance(records, Start):
            self._start(records)
        elif isinstance(records, Exit):
            self._exit(records)

    def close(self) -> None:
        """Log what was kept back of late lines."""
        if self._stages is not None:
            self._write(self._stages.finish(self._last_ns))

    def _heard(self, level: int) -> bool:
        """Whether a record of this level would reach a handler that does something."""
        logger: logging.Logger | None = self._logger
        if not self._logger.isEnabledFor(level):
            return False
        while logger is not None:
            for handler in logger.handlers:
                if type(handler) is not logging.NullHandler:
                    return True
            logger = logger.parent if logger.propagate else None
        return False

    def _start(self, start: Start) -> None:
        self._records.pid = start.pid
        if self._heard(logging.DEBUG):
            extra = {"args": (self._program, start.pid)}
            self._records.log(
                self._records.values(logging.DEBUG, start.time_ns, "%s started with pid %s", extra)
            )

    # -- lines --------------------------------------------------------------------------------------

    def _lines(self, lines: Lines) -> None:
        if not self._heard(self._run.ceiling):
            return
        heard = {level for level in set(lines.levels) if self._heard(level)}
        self._last_ns = lines.time_ns
        if self._staged(lines):
            if self._stages is None:
                self._stages = Stages(self._options)
            self._write(self._stages.feed(lines, heard))
        elif heard:
            self._all(lines, heard)

    def _staged(self, lines: Lines) -> bool:
        """Whether a stage has to look at the lines of a batch."""
        progress, throttle, hold_back, group = self._options
        if throttle is not None or hold_back or group or any(lines.flags):
            return True
        return progress is not True and ("\r" in lines.endings or any(lines.progress))

    def _all(self, lines: Lines, heard: set[int]) -> None:
        """Log all lines of a batch that are heard, as they are."""
        template = _LATE if lines.late else _LINE
        extra = {"subwatch_stream": lines.stream}
        ready = {level: self._records.values(level, lines.time_ns, template, extra) for level in heard}
        program, log = self._program, self._records.log
        texts = all_plain(lines.texts)
        for text, level, number, fields in zip(texts, lines.levels, lines.numbers, lines.fields, strict=True):
            if level in heard:
                values = ready[level]
                values["subwatch_number"], values["args"] = number, (program, text)
                log({**values, **self._told(fields)} if fields else values)

    def _write(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if self._heard(entry.level):
                args = (self._program, "\n".join(all_plain(entry.texts)))
                extra = {"subwatch_stream": entry.stream, "subwatch_number": entry.number, "args": args}
                values = self._records.values(
                    entry.level, entry.time_ns, _LATE if entry.late else _LINE, extra
                )
                self._records.log({**values, **self._told(entry.fields)} if entry.fields else values)

    def _told(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What a structured line tells of its log record."""
        told: dict[str, Any] = {"subwatch_fields": fields}
        if self._structured:
            from subwatch.processors.structured import message_of, time_ns_of

            if (message := message_of(fields)) is not None:
                told["args"] = (self._program, plain(message))
            if (time_ns := time_ns_of(fields)) is not None:
                told.update(moment(time_ns))
        return told

    # -- the exit -----------------------------------------------------------------------------------

    def _exit(self, exit: Exit) -> None:
        options = self._options
        if self._stages is None and options.hold_back:
            self._stages = Stages(options)  # nobody heard a line; the tail may be heard
        stages = self._stages
        if stages is not None:
            self._write(stages.outcome(exit))
        level = ERROR if exit.failed else self._exit_level
        if not self._heard(level):
            return
        extra: dict[str, Any] = {
            "subwatch_exit_code": exit.returncode,
            "subwatch_signal": exit.signal,
            "subwatch_reason": exit.reason,
            "subwatch_duration": exit.duration,
            "subwatch_thinned": stages.thinned if stages else 0,
        }
        template, args = "%s %s after %.3g s", [self._program, exit.outcome, exit.duration]
        if exit.dropped:
            template += ", lost %s"
            lost = (f"{count} record{'s' * (count != 1)} to {name}" for name, count in exit.dropped.items())
            args.append(", ".join(lost))
        if stages and (left_out := _left_out(stages)):
            template += ", left out %s"
            args.append(left_out)
        extra["args"] = tuple(args)
        self._records.log(self._records.values(level, exit.time_ns, template, extra))


def _left_out(stages: Stages) -> str:
    """What was not logged, in words."""
    said = (
        (stages.thinned, "progress update", "progress updates"),
        (stages.repeated, "repeated line", "repeated lines"),
        (stages.flooded, "line too many", "lines too many"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in said if count)
