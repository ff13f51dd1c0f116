"""Sinks that belong to the call: `on_line`, `stop_on` and live records."""

from __future__ import annotations

import threading
import time
from collections import deque

from .records import Exit, Lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable
    from typing import Any

    from ._ending import Ending
    from .records import Line, Run, Start

__all__ = ["Backlog", "OnLine", "StopOn"]


# A user's pattern may backtrack, and the child waits: it is given the beginning of a line only.
_LONGEST = 4096  # characters


class _Control:
    """A sink that is its own stream."""

    name = ""

    def open(self, run: Run) -> Any:  # noqa: ARG002
        return self

    def close(self, timeout: float = 0.0) -> None:
        pass


class OnLine(_Control):
    """Calls the user's function with each line.

    Args:
        function: Takes a `Line`.
        ending: Told to stop the child when the function raises under ``on_error="raise"``; otherwise
            None, and the dispatcher reports the error and leaves the function out.
    """

    name = "on_line"

    def __init__(self, function: Callable[[Line], object], ending: Ending | None) -> None:
        self.error: Exception | None = None
        self._function = function
        self._ending = ending

    def emit(self, records: Start | Lines | Exit) -> None:
        if type(records) is not Lines or self.error is not None:
            return
        function = self._function
        try:
            for line in records:
                function(line)
        except Exception as error:
            if self._ending is None:
                raise
            self.error = error
            self._ending.begin("stopped", time.monotonic())


class StopOn(_Control):
    """Ends the child when a line matches; draining goes on."""

    name = "stop_on"

    def __init__(self, what: str | re.Pattern[str] | Callable[[Line], object], ending: Ending) -> None:
        self._ending = ending
        if callable(what):
            self._matches = what
        else:
            import re

            search = re.compile(what).search
            self._matches = lambda line: search(line.text[:_LONGEST])

    def emit(self, records: Start | Lines | Exit) -> None:
        if type(records) is Lines and self._ending.reason is None:
            for line in records:
                if self._matches(line):
                    self._ending.begin("stopped", time.monotonic())
                    return


class Backlog(_Control):
    """Batches that wait for whoever iterates ``records()``, bounded by bytes; the oldest lines give way.

    Args:
        notify: Called when something new is there.
    """

    name = "records"
    _UNCLAIMED, _CLAIMED = 256 * 1024, 16 * 1024 * 1024

    def __init__(self, notify: Callable[[], object]) -> None:
        self.ended: bool = False
        self._batches: deque[Start | Lines | Exit] = deque()
        self._capacity = self._UNCLAIMED
        self._dropped = 0
        self._size = 0
        self._notify = notify
        self._lock = threading.Lock()

    def claim(self) -> None:
        """Somebody wants them: keep more, and count what is lost."""
        self._capacity = self._CLAIMED

    @property
    def dropped(self) -> int:
        """Lines lost to whoever claimed them."""
        return self._dropped if self._capacity == self._CLAIMED else 0

    def emit(self, records: Start | Lines | Exit) -> None:
        if self.ended:
            return
        with self._lock:
            self._batches.append(records)
            if isinstance(records, Exit):
                self.ended = True  # whoever iterates must not wait for what another process may say
            elif type(records) is Lines:
                self._size += records.size
                while self._size > self._capacity and self._drop():
                    pass
        self._notify()

    def _drop(self) -> bool:
        for index, batch in enumerate(self._batches):
            if type(batch) is Lines:
                del self._batches[index]
                self._size -= batch.size
                self._dropped += len(batch)
                return True
        return False

    def pop(self) -> Start | Lines | Exit | None:
        """Take the oldest batch, if there is one."""
        with self._lock:
            if not self._batches:
                return None
            batch = self._batches.popleft()
            if type(batch) is Lines:
                self._size -= batch.size
            return batch

    def close(self, timeout: float = 0.0) -> None:  # noqa: ARG002
        self.ended = True
        self._notify()
