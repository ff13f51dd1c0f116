"""The span of a child, and the trace in its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import scope as _scope

from ._limits import clip, when

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentry_sdk.client import BaseClient
    from sentry_sdk.scope import Scope

    from subwatch.records import Exit, Run

__all__ = ["foreign_trace", "propagation", "start_span"]

_ORIGIN = "auto.subprocess.subwatch"
_STATUS = {
    "timed_out": "deadline_exceeded",
    "idle": "deadline_exceeded",
    "interrupted": "cancelled",
    "cancelled": "cancelled",
}


def _elsewhere(client: BaseClient) -> bool:
    """Whether OpenTelemetry owns spans and propagation."""
    if client.options.get("instrumenter", "sentry") != "sentry":
        return True
    external = getattr(_scope, "has_external_propagation_context", None)  # the SDK's OTLPIntegration
    return external is not None and external()


def _streams(client: BaseClient) -> bool:
    options = client.options
    lifecycle = options.get("trace_lifecycle") or (options.get("_experiments") or {}).get("trace_lifecycle")
    return lifecycle == "stream"


class ChildSpan:
    """A span of either kind that the SDK has: part of a transaction, or streamed (``trace_lifecycle``)."""

    __slots__ = ("span", "streamed")

    def __init__(self, span: Any, streamed: bool) -> None:
        self.span = span
        self.streamed = streamed

    def set(self, values: dict[str, Any]) -> None:
        """Set attributes; None is left out."""
        put = self.span.set_attribute if self.streamed else self.span.set_data
        for name, value in values.items():
            if value is not None:
                put(name, value)

    def finish(self, exit: Exit, *, failed: bool) -> None:
        """End the span as the child has ended."""
        self.set(
            {
                "process.exit.code": exit.returncode,
                "error.type": exit.error_type,
                "subprocess.signal": exit.signal,
                "subprocess.reason": None if exit.reason == "exited" else exit.reason,
                "subprocess.duration": exit.duration,
            }
        )
        end = when(exit.time_ns)
        if self.streamed:
            self.span.status = "error" if failed else "ok"
            self.span.end(end)
            return
        self.span.set_status(_STATUS.get(exit.reason, "internal_error") if failed else "ok")
        self.span.finish(end_timestamp=end)


def start_span(run: Run, client: BaseClient, scope: Scope) -> ChildSpan | None:
    """Start the child's span under the current one; there is none without a current one."""
    if _elsewhere(client):
        return None
    name, streamed = clip(run.program, 200), _streams(client)
    if streamed:
        if scope.streamed_span is None:
            return None
        attributes = {"sentry.op": "subprocess", "sentry.origin": _ORIGIN}
        span: Any = sentry_sdk.traces.start_span(name=name, attributes=attributes, active=False)  # type: ignore[arg-type]
    else:
        parent = scope.span or sentry_sdk.get_isolation_scope().span
        if parent is None:
            return None
        span = parent.start_child(op="subprocess", name=name, origin=_ORIGIN)
    child = ChildSpan(span, streamed)
    child.set({"subprocess.run_id": run.id})
    return child


def foreign_trace(run: Run, client: BaseClient) -> dict[str, str]:
    """Trace and span of a child where OpenTelemetry owns them; empty where it does not, or has none."""
    if not _elsewhere(client):
        return {}
    return {name: str(run.fields[name]) for name in ("trace_id", "span_id") if name in run.fields}


def propagation(client: BaseClient, scope: Scope, span: ChildSpan | None) -> Iterator[tuple[str, str | None]]:
    """Environment variables by which a child continues the trace.

    ``SENTRY_TRACE`` and ``SENTRY_BAGGAGE`` are read by every Sentry SDK
    (https://github.com/getsentry/rfcs/blob/main/text/0071-continue-trace-over-process-boundaries.md);
    ``SUBPROCESS_...`` are those that the SDK's ``StdlibIntegration`` would have set.
    """
    if _elsewhere(client):
        return
    headers = dict(scope.iter_trace_propagation_headers(span=None if span is None else span.span))
    if not headers.get("sentry-trace"):
        return
    yield "SENTRY_TRACE", headers["sentry-trace"]
    yield "SENTRY_BAGGAGE", headers.get("baggage")  # None removes an inherited one of another trace
    if client.get_integration("stdlib") is not None:
        yield "SUBPROCESS_SENTRY_TRACE", headers["sentry-trace"]
        yield "SUBPROCESS_BAGGAGE", headers.get("baggage")
