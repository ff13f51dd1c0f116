"""The sink: one CLIENT span per child, its lines as log records, its place in the trace handed on to it."""

from __future__ import annotations

import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from opentelemetry import _logs, context, trace
from opentelemetry.metrics import get_meter, get_meter_provider
from opentelemetry.trace import NonRecordingSpan, SpanKind

from subwatch.errors import ConfigError

from . import _attributes as names
from ._limits import Limits, limits_of
from ._logs import LineLog, RateLimit, enabled
from ._metrics import ProcessMetrics
from ._propagation import child_environment
from ._stream import NOTHING, ROOM_LATER, SpanStream, Stream, spawning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry._logs import LoggerProvider
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from subwatch.records import Run

SCOPE = "subwatch.opentelemetry"

#: Set by ``suppress_instrumentation()`` and by the SDK's exporters; its name is private, the older one plain.
_SUPPRESS = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


def suppressed(within: Context) -> bool:
    """Whether nothing may be instrumented in this context."""
    return bool(within.get(_SUPPRESS) or within.get("suppress_instrumentation"))


def _check(option: str, value: object) -> None:
    if not isinstance(value, int) or value < 0:
        raise ConfigError(f"opentelemetry: {option}={value!r} is not a whole number from 0")


class OpenTelemetrySink:
    """Trace children with OpenTelemetry.

    A span of kind CLIENT per child, by the semantic conventions of command line programs, is a child of the
    caller's current span. Without an SDK set up, all of it costs next to nothing, and trace context that this
    process inherited passes through to the child.

    Args:
        lines: What becomes of the lines: ``"logs"``, a log record each, joined to the span; ``"events"``, the
            last ones as events of the span; ``"none"``.
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
        _check("tail", tail)
        _check("max_lines_per_second", max_lines_per_second)
        if max_value_length is not None:
            _check("max_value_length", max_value_length)
        self._logs = lines == "logs"
        self._events = lines == "events"
        self._tail = tail
        self._command_args = command_args
        self._propagate = propagate
        self._baggage = baggage
        self._max_value_length = max_value_length
        self._limits = Limits(max_value_length, None)
        self._traces = False
        self._rate = RateLimit(max_lines_per_second)
        self._tracer_provider = tracer_provider
        self._logger_provider = logger_provider
        self._meter_provider = meter_provider
        release = version("subwatch-opentelemetry")
        self._tracer = trace.get_tracer(SCOPE, release, tracer_provider, names.SCHEMA_URL)
        self._logger = _logs.get_logger(SCOPE, release, logger_provider, names.SCHEMA_URL)
        self._metrics = None
        if metrics:
            self._metrics = ProcessMetrics(get_meter(SCOPE, release, meter_provider, names.SCHEMA_URL))

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
        start_ns = time.time_ns()
        if self._has_sdk():
            span = self._start_span(run, within, start_ns)
            within = trace.set_span_in_context(span, within)
        else:
            # without an SDK the child is told of the span that we were told of
            span = NonRecordingSpan(trace.get_current_span(within).get_span_context())
        env: Mapping[str, str | None] = {}
        place = span.get_span_context()
        if place.is_valid:
            run.fields["trace_id"] = trace.format_trace_id(place.trace_id)
            run.fields["span_id"] = trace.format_span_id(place.span_id)
            if self._propagate:
                env = child_environment(within, self._baggage)
        stream: Stream
        log = None
        if self._logs and (span.is_recording() or enabled(self._logger, within)):
            log = LineLog(self._logger, within, self._rate, run, self._max_value_length)
        if span.is_recording() or log is not None or self._metrics is not None:
            stream = SpanStream(
                run,
                span,
                self._limits,
                env,
                start_ns=start_ns,
                log=log,
                metrics=self._metrics,
                tail=self._tail,
                events=self._events,
            )
        elif env:
            stream = Stream(env)
        else:
            return NOTHING
        spawning.set(stream)
        return stream

    def _has_sdk(self) -> bool:
        if not self._traces:
            provider = self._tracer_provider or trace.get_tracer_provider()
            if not isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
                self._traces = True  # and from now on: the global one is set once
                self._limits = limits_of(self._tracer, "span", self._limits.length)
        return self._traces

    def _start_span(self, run: Run, parent: Context, start_ns: int) -> Span:
        limits = self._limits
        attributes = names.command_attributes(run, limits.length, self._command_args)
        return self._tracer.start_span(
            attributes[names.PROCESS_EXECUTABLE_NAME],
            parent,
            SpanKind.CLIENT,
            limits.fit(attributes, ROOM_LATER),
            start_time=start_ns,
        )

    def close(self, timeout: float) -> int | None:
        """Have the SDK export what it holds.

        Args:
            timeout: Seconds to wait at most. The SDK's own flush may take longer; it then goes on by itself.

        Returns:
            0 when all was exported, None when that is not known.
        """
        providers: list[object] = [
            self._tracer_provider or trace.get_tracer_provider(),
            self._logger_provider or _logs.get_logger_provider(),
        ]
        if self._metrics is not None:
            providers.append(self._meter_provider or get_meter_provider())
        found = (getattr(provider, "force_flush", None) for provider in providers)  # the API's have none
        flushes = [flush for flush in found if flush is not None]
        done: list[bool] = []
        worker = threading.Thread(target=lambda: done.extend(flush() for flush in flushes), daemon=True)
        try:
            worker.start()
        except RuntimeError:  # too late in the interpreter's shutdown; the SDK has its own handler there
            return None
        worker.join(timeout)
        return 0 if len(done) == len(flushes) and all(done) else None
