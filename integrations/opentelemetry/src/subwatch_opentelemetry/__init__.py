"""OpenTelemetry for subwatch: a span per child, its lines beside it, the trace through it.

Name the sink ``"opentelemetry"``, or build an `OpenTelemetrySink`; a Python child picks the trace up with
`continue_trace`.
"""

from __future__ import annotations

from ._propagation import continue_trace
from ._sink import OpenTelemetrySink

__all__ = ["OpenTelemetrySink", "continue_trace"]
