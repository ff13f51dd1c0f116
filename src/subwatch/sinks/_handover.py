"""The stream of one run on its way to a sink that works on a thread of its own."""

from __future__ import annotations

import os
import time

from subwatch._report import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from subwatch.sinks import Stream

    from ._background import Background

__all__ = ["BackgroundStream", "tell"]

CLOSE: tuple[()] = ()  #: Queued in place of records: the stream is to be closed.


class BackgroundStream:
    """The stream of one run; counts what did not reach the wrapped stream."""

    def __init__(self, background: Background, inner: Stream) -> None:
        self._background = background
        self.inner = inner
        self.env: Mapping[str, str | None] = getattr(inner, "env", None) or {}
        self.lost: int = 0
        self.failed: bool = False
        self.ticket = 0

    @property
    def wants_lines(self) -> bool:
        """Whether the wrapped stream would look at lines now."""
        return getattr(self.inner, "wants_lines", True)

    @property
    def dropped(self) -> int:
        """Records of this run that were dropped so far, here or by the wrapped stream."""
        return self.lost + getattr(self.inner, "dropped", 0)

    def emit(self, records: Any) -> None:
        """Queue a record or a batch."""
        self._background._put(self, records)

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for delivery; returns how many records are not delivered yet."""
        deadline = time.monotonic() + timeout
        left = self._background._flush(self, timeout)
        flush: Callable[[float], int] | None = getattr(self.inner, "flush", None)
        if flush is not None and not self.failed:
            left += flush(max(0.0, deadline - time.monotonic()))
        return left

    def close(self) -> None:
        """Have the wrapped stream closed after the records that are queued."""
        self._background._put(self, CLOSE)

    def hand_over(self, records: Any) -> None:
        """Give the wrapped stream what is its own, on the worker."""
        try:
            if records is CLOSE:
                self.inner.close()
            elif self.failed:
                self.lost += len(records)
            else:
                self.inner.emit(records)
        except Exception as error:  # noqa: BLE001 - a sink's failure ends here
            self.failed = True
            self.lost += len(records)
            tell("sink %s failed and is left out: %s", self._background.name, error)


def tell(message: str, name: str, error: Exception) -> None:
    """Report what a sink has raised, without secrets: libraries tell the URL with the password in it."""
    from subwatch.processors.redact import Redactor, sensitive_values

    redact = Redactor(sensitive_values(os.environ)).text
    report(message, name, redact(repr(error)), error=error, redact=redact)
