"""Where a sink's spans, log records and figures go: the application's SDK, whichever part of it there is."""

from __future__ import annotations

import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace

from ._attributes import SCHEMA_URL
from ._limits import Limits, limits_of
from ._metrics import ProcessMetrics

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

SCOPE = "subwatch.opentelemetry"


class Telemetry:
    """What a sink asks of OpenTelemetry.

    Args:
        tracer_provider: For spans; None for the global one, which may be set later.
        logger_provider: For log records.
        meter_provider: For metrics.
        measure: Whether metrics are recorded.
        max_length: Our own limit on the length of an attribute's value, in characters.

    Attributes:
        limits: Those of a span's attributes.
        max_length: Our own limit.
        tracer: Makes the spans.
        logger: Takes the log records.
        metrics: Takes the figures, or None.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        logger_provider: LoggerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        measure: bool,
        max_length: int | None,
    ) -> None:
        release = version("subwatch-opentelemetry")
        self.max_length = max_length
        self.limits = Limits(max_length, None)
        self._providers = tracer_provider, logger_provider, meter_provider
        self.tracer = trace.get_tracer(SCOPE, release, tracer_provider, SCHEMA_URL)
        self.logger = _logs.get_logger(SCOPE, release, logger_provider, SCHEMA_URL)
        self.metrics = None
        if measure:
            self.metrics = ProcessMetrics(metrics.get_meter(SCOPE, release, meter_provider, SCHEMA_URL))
        self._traces = False

    @property
    def traces(self) -> bool:
        """Whether there is an SDK that makes spans."""
        if not self._traces:
            provider = self._providers[0] or trace.get_tracer_provider()
            nothing = trace.ProxyTracerProvider, trace.NoOpTracerProvider
            if not isinstance(provider, nothing):
                self._traces = True  # and from now on: the global one is set once
                self.limits = limits_of(self.tracer, "span", self.max_length)
        return self._traces

    def flush(self, timeout: float) -> int | None:
        """Have the SDK export what it holds.

        Args:
            timeout: Seconds to wait at most. The SDK's own flush may take longer; it then goes on by itself.

        Returns:
            0 when all was exported, None when that is not known.
        """
        tracer_provider, logger_provider, meter_provider = self._providers
        providers: list[Any] = [
            tracer_provider or trace.get_tracer_provider(),
            logger_provider or _logs.get_logger_provider(),
        ]
        if self.metrics is not None:
            providers.append(meter_provider or metrics.get_meter_provider())
        # the API's have none
        flushes = [each.force_flush for each in providers if hasattr(each, "force_flush")]
        done: list[bool] = []
        worker = threading.Thread(target=lambda: done.extend(flush() for flush in flushes), daemon=True)
        try:
            worker.start()
        except RuntimeError:  # too late in the interpreter's shutdown; the SDK has its own handler there
            return None
        worker.join(timeout)
        return 0 if len(done) == len(flushes) and all(done) else None
