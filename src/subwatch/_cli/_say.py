"""What subwatch itself says: ``subwatch: ...`` on stderr, and only when there is something to say."""

from __future__ import annotations

import os
import sys

from .. import _report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import LogRecord
    from typing import Any

__all__ = ["MARK", "Messages", "say"]

#: Attribute of every log record that the logging sink makes.
MARK = "subwatch_run_id"


def say(message: str, before: str = "") -> None:
    """Write a line to stderr, if there is one; what is to come before it ends a line that is not ours."""
    from ..sinks._plain import plain

    try:
        os.write(2, f"{before}subwatch: {plain(message)}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


class Messages:
    """Says what subwatch reports, such as a sink that fails.

    While the command draws on the terminal a message waits, so as not to spoil the screen.

    Args:
        everything: Also say what libraries behind sinks log (warnings and errors).
    """

    def __init__(self, *, everything: bool) -> None:
        self._everything = everything
        self._waiting: list[str] | None = None
        self._said: set[str] = set()
        self._listening = False

    def install(self) -> None:
        """Take what subwatch reports from now on."""
        _report.listener = self.take

    def listen(self) -> None:
        """Take what is logged, too, in place of logging's last resort; nothing to do while nobody has imported it."""
        logging: Any = sys.modules.get("logging")  # to import it is a tenth of our start
        if logging is not None and not self._listening:
            self._listening = True
            handler = logging.Handler(logging.WARNING)
            handler.emit = self._logged
            logging.getLogger().addHandler(handler)

    def _logged(self, record: LogRecord) -> None:
        ours = record.name == "subwatch"
        if not hasattr(record, MARK) and (ours or self._everything):
            self.take(record.getMessage() if ours else f"{record.name}: {record.getMessage()}")

    def take(self, message: str) -> None:
        """Say a message, once."""
        if message in self._said:
            return
        self._said.add(message)
        if self._waiting is None:
            say(message)
        else:
            self._waiting.append(message)

    def defer(self) -> None:
        """Keep messages from now on."""
        self._waiting = []

    def tell(self) -> None:
        """Say what was kept."""
        waiting, self._waiting = self._waiting or [], None
        for message in waiting:
            say(message)
