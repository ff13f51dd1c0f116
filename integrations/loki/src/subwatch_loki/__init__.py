"""Ships the output and the exit status of monitored subprocesses to Grafana Loki.

Named as a sink, ``sinks=[subwatch.sink("loki", url="http://127.0.0.1:3100")]``, or as a handler of plain
:mod:`logging`, `LokiHandler`.
"""

from __future__ import annotations

from subwatch_loki._handler import LokiHandler
from subwatch_loki._sink import LokiSink

__all__ = ["LokiHandler", "LokiSink"]
