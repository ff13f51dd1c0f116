"""OpenTelemetry for subwatch: a span per child, its lines beside it, the trace through it.

Name the sink ``"opentelemetry"``, or build an `OpenTelemetrySink`; a Python child picks the trace up with
`continue_trace`; `SubwatchInstrumentor` traces what existing code starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._propagation import continue_trace
from ._sink import OpenTelemetrySink

if TYPE_CHECKING:
    from ._instrumentor import SubwatchInstrumentor as SubwatchInstrumentor

__all__ = ["OpenTelemetrySink", "SubwatchInstrumentor", "continue_trace"]


def __getattr__(name: str) -> Any:
    # it needs opentelemetry-instrumentation, which the sink does without
    if name == "SubwatchInstrumentor":
        from ._instrumentor import SubwatchInstrumentor

        return SubwatchInstrumentor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
