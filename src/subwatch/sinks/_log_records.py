"""Log records of one run, made for less than logging itself takes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ._plain import plain

if TYPE_CHECKING:
    from typing import Any

    from subwatch.records import Run

__all__ = ["LogRecords", "moment"]


class LogRecords:
    """Makes the log records of one run, and logs them.

    Args:
        logger: Where.
        run: The run.

    Attributes:
        pid: Process id of the child, once it is known.
        program: Its name, harmless.
    """

    def __init__(self, logger: logging.Logger, run: Run) -> None:
        self.pid: int | None = None
        self.program: str = plain(run.program)  # whoever names a program must not write lines of the log
        self._logger = logger
        self._run = run
        self._template: dict[str, Any] | None = None

    def values(self, level: int, time_ns: int, message: str, extra: dict[str, Any]) -> dict[str, Any]:
        """What log records of this level and time have in common that others have not."""
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
            **moment(time_ns),
        }

    def log(self, values: dict[str, Any]) -> None:
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
                "subwatch_program": self.program,
                "subwatch_pid": self.pid,
                **{f"subwatch_tag_{name}": value for name, value in run.tags.items()},
                **{f"subwatch_{name}": value for name, value in run.fields.items()},
            }
        )
        return record


def moment(time_ns: int) -> dict[str, float]:
    """The time of a log record."""
    created = time_ns / 1_000_000_000  # of whole numbers: rounded right
    started = logging._startTime  # type: ignore[attr-defined]
    # nanoseconds since Python 3.13
    relative = (time_ns - started) / 1e6 if isinstance(started, int) else (created - started) * 1000
    return {"created": created, "msecs": time_ns // 1_000_000 % 1000 + 0.0, "relativeCreated": relative}
