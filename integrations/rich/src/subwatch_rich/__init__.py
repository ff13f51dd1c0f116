"""A live terminal display for subwatch: lines scroll above, below is a row with progress per running child.

Named as a sink: ``subwatch.configure(sinks=["rich"])``, or ``subwatch.sink("rich", show="warnings")``.
"""

from __future__ import annotations

from ._sink import RichSink

__all__ = ["RichSink"]
