"""The sink: one CLIENT span per child, its lines as log records, its place in the trace handed on to it."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanKind

from subwatch.errors import ConfigError

from . import _attributes as names
from ._logs import enabled
from ._propagation import child_environment, continue_trace, traceparent
from ._rate import RateLimit
from ._stream import NOTHING, ROOM_LATER, Plan, SpanStream, Stream, observers, spawning
from ._telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from subwatch.records import Run

    from ._sdk import Sdk

#: Set by ``suppress_instrumentation()`` and by the SDK's exporters; its name is private, the older one plain.
_SUPPRESS = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


def suppressed(within: Context) -> bool:
    """Whether nothing may be instrumented in this context."""
    return bool(within.get(_SUPPRESS) or within.get("suppress_instrumentation"))


class OpenTelemetrySink:
    """Trace children with OpenTelemetry.

    A span of kind CLIENT per child, by the semantic conventions of command line programs, is a child of the
    caller's current span. Without an SDK set up, all of it costs next to nothing, and trace context that this
    process inherited passes through to the child.

    Args:
        lines: What becomes of the lines: ``"logs"``, a log record each, joined to the span; ``"events"``, the
            last ones as events of the span; ``"none"``.
        progress: Progress updates among the log records, which are lines whose progress a recogniser reads and
            lines that end with a lone carriage return: of each phase the first and the last, and between them at
            most one in so many seconds; True for all of them, False for none. What is left out is counted in
            ``subwatch.lines.thinned``.
        tail: How many of the last lines the span shows when the child failed (``subwatch.tail``; the
            last one is its status description); 0 for none.
        command_args: Whether the span shows the redacted command.
        propagate: Whether the child is told the trace (``TRACEPARENT``); False for long-lived workers, whose
            later work does not belong to the trace that they were started in.
        baggage: Whether the child is told the baggage too.
        metrics: Whether metrics are recorded as well.
        max_lines_per_second: Log records per second, for all children together; the lines held back are
            counted in ``subwatch.lines.dropped`` and in the exit record. 0 for no limit.
        max_value_length: Largest length of an attribute's value, in characters; None for no limit of ours.
        tracer_provider: Default: the global one.
        logger_provider: Default: the global one.
        meter_provider: Default: the global one.

    Raises:
        subwatch.errors.ConfigError: An option has a value that it cannot have.
    """

    name = "opentelemetry"

    def __init__(
        self,
        *,
        lines: Literal["logs", "events", "none"] = "logs",
        progress: float | bool = 10.0,
        tail: int = 20,
        command_args: bool = True,
        propagate: bool = True,
        baggage: bool = True,
        metrics: bool = False,
        max_lines_per_second: int = 1000,
        max_value_length: int | None = 4096,
        tracer_provider: TracerProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        if lines not in ("logs", "events", "none"):
            raise ConfigError(f"opentelemetry: lines={lines!r} is not one of 'logs', 'events', 'none'")
        flags = {"command_args": command_args, "propagate": propagate, "baggage": baggage, "metrics": metrics}
        for option, flag in flags.items():
            if not isinstance(flag, bool):
                raise ConfigError(f"opentelemetry: {option}={flag!r} is neither True nor False")
        _check_seconds("progress", progress)
        _check("tail", tail)
        _check("max_lines_per_second", max_lines_per_second)
        if max_value_length is not None:
            _check("max_value_length", max_value_length)
        self._propagate = propagate
        self._baggage = baggage
        self._connect = partial(Telemetry, measure=metrics, max_length=max_value_length)
        self._measure = metrics
        self._sdk: Sdk | None = None
        self._plan = Plan(
            lines=lines,
            progress=progress,
            tail=tail,
            command_args=command_args,
            rate=RateLimit(max_lines_per_second),
            telemetry=self._connect(tracer_provider, logger_provider, meter_provider),
        )

    def standalone(self) -> None:
        """Prepare for a process that is no application of its own, such as the ``subwatch`` command.

        Continues the trace that the environment tells of. Where no SDK is set up, one is, by the usual ``OTEL_*``
        variables; `close` ends it. Where none is installed, a warning on the logger ``subwatch`` says so.

        Raises:
            subwatch.errors.ConfigError: A variable has a value that it cannot have.
        """
        if not trace.get_current_span().get_span_context().is_valid:
            continue_trace()
        plan = self._plan
        if plan.telemetry.traces:
            return
        try:
            from ._sdk import Sdk

            self._sdk = sdk = Sdk(logs=plan.lines == "logs", metrics=self._measure)
        except ImportError as error:
            logging.getLogger("subwatch").warning(
                "nothing is sent to OpenTelemetry: %s (to send it: pip install 'subwatch-opentelemetry[sdk]')",
                error,
            )
            return
        plan.telemetry = self._connect(sdk.tracer_provider, sdk.logger_provider, sdk.meter_provider)

    def open(self, run: Run) -> Stream:
        """Start the span, a child of the caller's current one.

        Args:
            run: The run; gets the fields ``trace_id`` and ``span_id``.

        Returns:
            Its stream.
        """
        within = context.get_current()
        if suppressed(within):
            return NOTHING
        plan, telemetry = self._plan, self._plan.telemetry
        start_ns = time.time_ns()
        if telemetry.traces:
            span = self._start_span(run, within, start_ns)
            recording = span.is_recording()
            if not recording:  # nobody asks below whether there is a log for one that is
                within = trace.set_span_in_context(span, within)
        else:
            # without an SDK the child is told of the span that we were told of
            span = NonRecordingSpan(trace.get_current_span(within).get_span_context())
            recording = False
        env: Mapping[str, str | None] = {}
        place = span.get_span_context()
        if place.is_valid:
            parent = traceparent(place)
            run.fields["trace_id"], run.fields["span_id"] = parent[3:35], parent[36:52]
            if self._propagate:
                env = child_environment(span, parent, within, self._baggage)
        stream: Stream
        if (
            recording
            or telemetry.metrics is not None
            or (plan.lines == "logs" and enabled(telemetry.logger, within))
        ):
            stream = SpanStream(plan, run, span, recording, within, env, start_ns)
        elif env:
            stream = Stream(env)
        else:
            return NOTHING
        if observers:
            spawning.set(stream)
        return stream

    def _start_span(self, run: Run, parent: Context, start_ns: int) -> Span:
        telemetry, limits = self._plan.telemetry, self._plan.telemetry.limits
        return telemetry.tracer.start_span(
            names.clean(run.program, limits.length),
            parent,
            SpanKind.CLIENT,
            limits.fit(names.tag_attributes(run.tags, limits.length), ROOM_LATER) if run.tags else None,
            start_time=start_ns,
        )

    def close(self, timeout: float) -> int | None:
        """Have the SDK export what it holds.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            How many spans and log records were not delivered; None when that is not known, as with an SDK
            that the application has set up.
        """
        if self._sdk is not None:
            return self._sdk.close(timeout)
        return self._plan.telemetry.flush(timeout)


def _check(option: str, value: object) -> None:
    if not isinstance(value, int) or value < 0:
        raise ConfigError(f"opentelemetry: {option}={value!r} is not a whole number from 0")


def _check_seconds(option: str, value: object) -> None:
    if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ConfigError(f"opentelemetry: {option}={value!r} is neither seconds from 0 nor True or False")
