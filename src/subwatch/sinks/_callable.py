"""A function as a sink."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..records import Exit, Line, Lines, Run, Start

__all__ = ["CallableSink"]


class CallableSink:
    """Calls a function with each record: one `Start`, each `Line`, one `Exit`.

    Args:
        function: Takes a record; what it returns is ignored.
    """

    def __init__(self, function: Callable[[Start | Line | Exit], object]) -> None:
        given: Any = function
        if not callable(given):
            from ..errors import ConfigError

            raise ConfigError(f"CallableSink takes a function, not {type(function).__name__}")
        self.name: str = str(getattr(function, "__qualname__", type(function).__name__))
        self._function = function

    def open(self, run: Run, /) -> CallableSink:  # noqa: ARG002
        """Return the stream of a run: the sink itself, for it keeps nothing."""
        return self

    def emit(self, records: Start | Lines | Exit) -> None:
        """Call the function with each record."""
        function = self._function
        for record in records:
            function(record)

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing: a function has nothing to close."""
