"""Records to Python logging."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..records import ERROR, INFO, Exit, Lines, Start

if TYPE_CHECKING:
    from typing import Any

    from ..records import Run

__all__ = ["LoggingSink"]

_LINE, _LATE = "%s: %s", "%s: (late) %s"
# Escape sequences (ECMA-48: CSI, OSC and the like, two-character ones) and what is left of controls.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]{0,8}[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_MARKS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def plain(text: str) -> str:
    """Make text harmless in a log or on a terminal: no escape sequences, controls as ``\\xNN``."""
    if _MARKS.search(text) is None:
        return text
    return _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", _ESCAPES.sub("", text))


class LoggingSink:
    """Logs each line, the start (DEBUG) and the exit: INFO, or ERROR for a failure.

    The records look as if the caller had logged them where the child was started: its file, line and
    function, and the time at which the line was read. The message is a constant template with arguments.
    Their extras are ``subwatch_run_id``, ``subwatch_program``, ``subwatch_pid``, ``subwatch_stream``,
    ``subwatch_number`` and, at the exit, ``subwatch_exit_code``, ``subwatch_signal``, ``subwatch_reason``
    and ``subwatch_duration`` (seconds); tags are ``subwatch_tag_NAME``, correlation values ``subwatch_NAME``.

    Args:
        logger: Name of the logger, or the logger itself; by default ``subwatch.PROGRAM``, with a dot in
            the program's name made an underscore.
        progress: Also log progress updates (lines that end with a lone carriage return).
        exit_level: Level of the exit of a child that succeeded.

    Raises:
        ConfigError: `logger` is neither.
    """

    name = "logging"

    def __init__(
        self,
        logger: str | logging.Logger | logging.LoggerAdapter[Any] | None = None,
        *,
        progress: bool = False,
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
        self._progress = progress
        self._exit_level = exit_level

    def open(self, run: Run) -> _Stream:
        """Return the stream of a run."""
        logger = self._logger or self._loggers.get(run.program)
        if logger is None:
            logger = logging.getLogger("subwatch." + (run.program.replace(".", "_") or "child"))
            if not logger.handlers:
                # without this, logging's last resort would print WARNING lines that stderr shows already
                logger.addHandler(logging.NullHandler())
            self._loggers[run.program] = logger
        return _Stream(logger, run, self._progress, self._exit_level)

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing: handlers belong to the application."""


class _Stream:
    def __init__(self, logger: logging.Logger, run: Run, progress: bool, exit_level: int) -> None:
        self._logger = logger
        self._run = run
        self._progress = progress
        self._exit_level = exit_level
        self._extra: dict[str, Any] = {}
        self._template: logging.LogRecord | None = None

    @property
    def wants_lines(self) -> bool:
        """Whether anybody would see a line of the highest level now."""
        return self._heard(self._run.ceiling)

    def emit(self, records: Start | Lines | Exit) -> None:
        if type(records) is Lines:
            self._lines(records)
        elif isinstance(records, Start):
            self._start(records)
        elif isinstance(records, Exit):
            self._exit(records)

    def close(self) -> None:
        pass

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
        run = self._run
        self._extra = {
            "subwatch_run_id": run.id,
            "subwatch_program": run.program,
            "subwatch_pid": start.pid,
            **{f"subwatch_tag_{name}": value for name, value in run.tags.items()},
            **{f"subwatch_{name}": value for name, value in run.fields.items()},
        }
        if self._heard(logging.DEBUG):
            self._log(logging.DEBUG, start.time_ns, "%s started with pid %s", (run.program, start.pid), {})

    def _lines(self, lines: Lines) -> None:
        if not self._heard(self._run.ceiling):
            return
        levels = lines.levels
        on = {level: self._heard(level) for level in set(levels)}
        if not any(on.values()):
            return
        program, progress, log = self._run.program, self._progress, self._log
        template = _LATE if lines.late else _LINE
        stream = lines.stream
        columns = zip(lines.texts, levels, lines.times, lines.numbers, lines.endings, strict=True)
        for text, level, time_ns, number, ending in columns:
            if on[level] and (progress or ending != "\r"):
                extra = {"subwatch_stream": stream, "subwatch_number": number}
                log(level, time_ns, template, (program, plain(text)), extra)

    def _exit(self, exit: Exit) -> None:
        level = ERROR if exit.failed else self._exit_level
        if not self._heard(level):
            return
        extra = {
            "subwatch_exit_code": exit.returncode,
            "subwatch_signal": exit.signal,
            "subwatch_reason": exit.reason,
            "subwatch_duration": exit.duration,
        }
        template, args = "%s %s after %.3g s", (self._run.program, exit.outcome, exit.duration)
        if lost := ", ".join(f"{count} records to {name}" for name, count in exit.dropped.items()):
            template, args = template + ", lost %s", (*args, lost)  # type: ignore[assignment]
        self._log(level, exit.time_ns, template, args, extra)

    def _log(self, level: int, time_ns: int, message: str, args: tuple[Any, ...], extra: dict[str, Any]) -> None:
        if logging.getLogRecordFactory() is not logging.LogRecord:
            record = self._make(level)
            values = record.__dict__
        else:
            # making a record costs more than all else here; all of a run are alike but for a few values
            if self._template is None:
                self._template = self._make(level)
            record = object.__new__(logging.LogRecord)
            values = record.__dict__
            values.update(self._template.__dict__)
        values.update(extra)
        values["msg"], values["args"] = message, args
        values["levelno"], values["levelname"] = level, logging.getLevelName(level)
        created = values["created"] = time_ns / 1e9
        values["msecs"] = time_ns // 1_000_000 % 1000 + 0.0
        started = logging._startTime  # type: ignore[attr-defined]
        if isinstance(started, int):  # nanoseconds since Python 3.13
            values["relativeCreated"] = (time_ns - started) / 1e6
        else:
            values["relativeCreated"] = (created - started) * 1000
        self._logger.handle(record)

    def _make(self, level: int) -> logging.LogRecord:
        """Have a record made by the record factory, for whatever it adds, at the caller's place."""
        caller = self._run.caller
        place = (caller.file, caller.line) if caller else ("(unknown file)", 0)
        function = caller.function if caller else "(unknown function)"
        record = self._logger.makeRecord(self._logger.name, level, *place, "", (), None, function, None)
        record.__dict__.update(self._extra)
        return record
