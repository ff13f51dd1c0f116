"""Records to Python logging."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from subwatch.errors import ConfigError
from subwatch.records import ERROR, INFO, Exit, Lines, Start

from ._plain import all_plain, plain
from ._stages import StageOptions, Stages

if TYPE_CHECKING:
    from collections.abc import Iterable
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
    ``subwatch_number`` and, at the exit, ``subwatch_exit_code``, ``subwatch_signal``, ``subwatch_reason``,
    ``subwatch_duration`` (seconds) and ``subwatch_thinned`` (progress updates left out); tags are
    ``subwatch_tag_NAME``, correlation values ``subwatch_NAME``. The exit's message says what was left out.

    Args:
        logger: Name of the logger, or the logger itself; by default ``subwatch.PROGRAM``, with a dot in
            the program's name made an underscore.
        progress: Progress updates, which are lines whose progress a recogniser reads and lines that end
            with a lone carriage return: of each phase the first and the last are logged, and between them
            at most one in so many seconds; True logs all of them, False none.
        throttle: Most records in 10 seconds, and repeated lines as "last message repeated N times", said
            after 10 seconds at the latest; None logs all.
        hold_back: Hold lines of WARNING and above until the outcome is known: after a success they are
            INFO; after a failure they are what they said, and the run's last lines are (again) ERROR.
        group: Log tracebacks, and PostgreSQL's messages with their DETAIL and HINT, as one record. A line
            that may be the beginning of one waits for the next, 2 seconds at most.
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
        return _Stream(logger, run, self._options, self._exit_level)

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing: handlers belong to the application."""


class _Stream:
    def __init__(self, logger: logging.Logger, run: Run, options: StageOptions, exit_level: int) -> None:
        self._logger = logger
        self._run = run
        self._program = plain(run.program)  # whoever names a program must not write lines of the log
        self._options = options
        self._exit_level = exit_level
        self._pid: int | None = None
        self._template: dict[str, Any] | None = None
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
        self._pid = start.pid
        if self._heard(logging.DEBUG):
            extra = {"args": (self._program, start.pid)}
            self._log(self._values(logging.DEBUG, start.time_ns, "%s started with pid %s", extra))

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
        if throttle is not None or hold_back or group:
            return True
        return progress is not True and ("\r" in lines.endings or any(lines.progress))

    def _all(self, lines: Lines, heard: set[int]) -> None:
        """Log all lines of a batch that are heard, as they are."""
        template = _LATE if lines.late else _LINE
        extra = {"subwatch_stream": lines.stream}
        ready = {level: self._values(level, lines.time_ns, template, extra) for level in heard}
        program, log = self._program, self._log
        for text, level, number in zip(all_plain(lines.texts), lines.levels, lines.numbers, strict=True):
            if level in heard:
                values = ready[level]
                values["subwatch_number"], values["args"] = number, (program, text)
                log(values)

    def _write(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if self._heard(entry.level):
                args = (self._program, "\n".join(all_plain(entry.texts)))
                extra = {"subwatch_stream": entry.stream, "subwatch_number": entry.number, "args": args}
                template = _LATE if entry.late else _LINE
                self._log(self._values(entry.level, entry.time_ns, template, extra))

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
        if lost := ", ".join(f"{count} records to {name}" for name, count in exit.dropped.items()):
            template += ", lost %s"
            args.append(lost)
        if stages and (left_out := _left_out(stages)):
            template += ", left out %s"
            args.append(left_out)
        extra["args"] = tuple(args)
        self._log(self._values(level, exit.time_ns, template, extra))

    # -- log records --------------------------------------------------------------------------------

    def _values(self, level: int, time_ns: int, message: str, extra: dict[str, Any]) -> dict[str, Any]:
        """What log records of this level and time have in common that others have not."""
        created = time_ns / 1_000_000_000  # of whole numbers: rounded right
        started = logging._startTime  # type: ignore[attr-defined]
        # nanoseconds since Python 3.13
        relative = (time_ns - started) / 1e6 if isinstance(started, int) else (created - started) * 1000
        if logging.getLogRecordFactory() is not logging.LogRecord:
            self._template = None
        elif self._template is None:
            # making a record costs more than all else here; all of a run are alike but for a few values
            self._template = self._make(level).__dict__
        return {
            **(self._template or {}),
            **extra,
            "msg": message,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "created": created,
            "msecs": time_ns // 1_000_000 % 1000 + 0.0,
            "relativeCreated": relative,
        }

    def _log(self, values: dict[str, Any]) -> None:
        """Log a record with these values."""
        if self._template is None:
            record = self._make(values["levelno"])
            record.__dict__.update(values)
        else:
            record = object.__new__(logging.LogRecord)
            record.__dict__ = values.copy()
        self._logger.handle(record)

    def _make(self, level: int) -> logging.LogRecord:
        """Have a record made by the record factory, for whatever it adds, at the caller's place."""
        run, caller = self._run, self._run.caller
        place = (caller.file, caller.line) if caller else ("(unknown file)", 0)
        function = caller.function if caller else "(unknown function)"
        record = self._logger.makeRecord(self._logger.name, level, *place, "", (), None, function, None)
        record.__dict__.update(
            {
                "subwatch_run_id": run.id,
                "subwatch_program": self._program,
                "subwatch_pid": self._pid,
                **{f"subwatch_tag_{name}": value for name, value in run.tags.items()},
                **{f"subwatch_{name}": value for name, value in run.fields.items()},
            }
        )
        return record


def _left_out(stages: Stages) -> str:
    """What was not logged, in words."""
    said = (
        (stages.thinned, "progress update", "progress updates"),
        (stages.repeated, "repeated line", "repeated lines"),
        (stages.flooded, "line too many", "lines too many"),
    )
    return ", ".join(f"{count} {one if count == 1 else many}" for count, one, many in said if count)
