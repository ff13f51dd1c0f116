"""Metrics of children: how long, how many now, how they ended, what they wrote.

The semantic conventions have no metric for a child's duration, so the names are our own. Attributes are
of low cardinality and have the same values as on the span.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from . import _attributes as names

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from subwatch.records import Exit, Lines, Run

DURATION = "subwatch.process.duration"
ACTIVE = "subwatch.process.active"
EXITS = "subwatch.process.exits"
LINES = "subwatch.process.lines"

# From a trivial child to a base backup of hours; the SDK's default ends at 10.
_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)


def _program(run: Run) -> dict[str, str | int]:
    return {names.PROCESS_EXECUTABLE_NAME: names.clean(run.program, None)}


class ProcessMetrics:
    """The instruments of one sink.

    Args:
        meter: Where to create them.
    """

    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            DURATION, "s", "Duration of child processes", explicit_bucket_boundaries_advisory=_BUCKETS
        )
        self._active = meter.create_up_down_counter(ACTIVE, "{process}", "Child processes that run now")
        self._exits = meter.create_counter(EXITS, "{process}", "Child processes that have ended")
        self._lines = meter.create_counter(LINES, "{line}", "Lines that child processes wrote")

    def started(self, run: Run) -> None:
        """Count a child in."""
        self._active.add(1, _program(run))

    def ended(self, run: Run) -> None:
        """Count a child out that was counted in."""
        self._active.add(-1, _program(run))

    def lines(self, lines: Lines) -> None:
        """Count lines by level."""
        attributes = {**_program(lines.run), names.LOG_IOSTREAM: lines.stream}
        for level, count in Counter(lines.levels).items():
            self._lines.add(count, {**attributes, names.LINE_LEVEL: names.level_name(level)})

    def exited(self, exit: Exit) -> None:
        """Record the duration, and the exit by its code and ``error.type``."""
        attributes: dict[str, str | int] = _program(exit.run)
        error = names.error_type(exit)
        if error is not None:
            attributes[names.ERROR_TYPE] = error
        self._duration.record(exit.duration, attributes)
        code = names.exit_code(exit)
        if code is not None:
            attributes[names.PROCESS_EXIT_CODE] = code
        self._exits.add(1, attributes)
