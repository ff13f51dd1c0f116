"""Where the ``logging`` sink leads when there is no application that has set up logging."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys

from ..errors import ConfigError
from ..sinks._files import open_private
from ._say import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import TextIOWrapper
    from typing import Any

    from ._settings import Settings

__all__ = ["set_up"]

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_SYSLOG = ("/dev/log", "/var/run/syslog")


def set_up(settings: Settings) -> Callable[[], str | None]:
    """Lead the records of the logging sink to a file, to syslog or to stderr.

    Returns:
        What tells at the end how many could not be written, and why; None when all were.

    Raises:
        ConfigError: That cannot be done.
    """
    target = settings["log"] or "-"
    handler = _handler(target)
    handler.setFormatter(_formatter(settings["log_format"], target))
    handler.addFilter(lambda record: hasattr(record, MARK))
    level = settings["log_level"] or logging.INFO
    handler.setLevel(level)
    failures: list[BaseException | None] = []
    handler.handleError = lambda record: failures.append(sys.exception())  # type: ignore[method-assign] # noqa: ARG005
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)
    return lambda: _account(target, failures)


def _account(target: str, failures: list[BaseException | None]) -> str | None:
    if not failures:
        return None
    error = failures[-1]
    reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return f"{len(failures)} record{'s' * (len(failures) > 1)} could not be logged to {target}: {reason}"


def _handler(target: str) -> logging.Handler:
    if target == "-":
        return logging.StreamHandler(sys.stderr)
    try:
        if target != "syslog":
            return _File(target, encoding="utf-8", errors="backslashreplace")
        for path in filter(os.path.exists, _SYSLOG):
            handler = logging.handlers.SysLogHandler(path)
            handler.ident = "subwatch: "
            return handler
    except OSError as error:
        raise ConfigError(f"cannot log to {target}: {error.strerror}") from None
    raise ConfigError(
        f"cannot log to syslog: there is no {_SYSLOG[0]} here; name a file instead, as in --log run.log"
    )


def _formatter(format: str | None, target: str) -> logging.Formatter:
    try:
        formatter = logging.Formatter(format or ("%(message)s" if target == "syslog" else _FORMAT))
        formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03d"
        formatter.format(logging.makeLogRecord({"msg": "", **dict.fromkeys(_EXTRAS, "")}))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"log_format: {format!r} cannot be used ({type(error).__name__}: {error}); "
            f"write for example {_FORMAT!r}, or with %({_EXTRAS[1]})s"
        ) from None
    return formatter


_EXTRAS = [MARK, "subwatch_program", "subwatch_pid", "subwatch_stream", "subwatch_number"]


class _File(logging.handlers.WatchedFileHandler):
    """A log file that only its owner reads, and that logrotate may move away."""

    def _open(self) -> TextIOWrapper:
        fd = open_private(self.baseFilename)
        file: Any = open(fd, self.mode, encoding=self.encoding, errors=self.errors)  # noqa: SIM115 - logging closes it
        return file  # type: ignore[no-any-return]
