"""The records of one child's life: `Start`, batches of `Line` called `Lines`, and `Exit`.

Every record is plain data, immutable by contract and never subclassed. All of them are sequences of
records, so that a sink has one loop for everything: ``for record in records``.

Text in a record is redacted before it gets here; the raw bytes stay private to the core.
"""

from __future__ import annotations

from ._base import CRITICAL, DEBUG, ERROR, INFO, LEVEL_NAMES, WARNING, level_name
from ._exit import Exit, Usage
from ._line import CONTINUED, PARTIAL, TRUNCATED, Line, Lines
from ._progress import Progress
from ._run import Caller, Run, Start

__all__ = [
    "CONTINUED",
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "LEVEL_NAMES",
    "PARTIAL",
    "TRUNCATED",
    "WARNING",
    "Caller",
    "Exit",
    "Line",
    "Lines",
    "Progress",
    "Run",
    "Start",
    "Usage",
    "level_name",
]
