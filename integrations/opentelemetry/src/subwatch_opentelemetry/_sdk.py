"""An SDK of our own, for the command line, where no application sets one up.

Built from the SDK's public classes by its own variables (``OTEL_TRACES_EXPORTER``, ``OTEL_SERVICE_NAME``,
``OTEL_EXPORTER_OTLP_ENDPOINT`` and so on), of which the default exporter is OTLP, as specified
(``specification/configuration/sdk-environment-variables.md``). It is not made the global one, and nothing is set in
the environment, which the child inherits.
"""

from __future__ import annotations

import os
import threading
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from subwatch.errors import ConfigError

if TYPE_CHECKING:
    # the SDK is no dependency of this package: a type checker may not find it
    BatchLogRecordProcessor: Any
    BatchSpanProcessor: Any
    LoggerProvider: Any
    MeterProvider: Any
    MetricReader: Any
    OTELResourceDetector: Any
    PeriodicExportingMetricReader: Any
    Resource: Any
    TracerProvider: Any
else:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}


class Sdk:
    """Providers that export what they get.

    Args:
        logs: Whether log records are to be exported.
        metrics: Whether metrics are.

    Attributes:
        tracer_provider: For spans.
        logger_provider: For log records.
        meter_provider: For metrics.

    Raises:
        ModuleNotFoundError: The exporter for OTLP is not installed.
        ConfigError: A variable has a value that it cannot have.
    """

    def __init__(self, *, logs: bool, metrics: bool) -> None:
        wanted = {"traces": True, "logs": logs, "metrics": metrics}
        makers = {signal: _exporters(signal) if want else [] for signal, want in wanted.items()}
        self._account = account = _Account()
        options = {"resource": _resource(), "shutdown_on_exit": False}
        try:
            self.tracer_provider = TracerProvider(**options)
            for make in makers["traces"]:
                self.tracer_provider.add_span_processor(account.spans(make()))
            self.logger_provider = LoggerProvider(**options)
            for make in makers["logs"]:
                self.logger_provider.add_log_record_processor(account.logs(make()))
            self.meter_provider = MeterProvider([_reader(make()) for make in makers["metrics"]], **options)
        except ValueError as error:
            raise ConfigError(f"opentelemetry: the SDK cannot be set up: {error}") from error

    def close(self, timeout: float) -> int:
        """Export what is there, and end.

        Args:
            timeout: Seconds to wait at most; the exporters' own limits are longer.

        Returns:
            How many spans and log records have not arrived.
        """
        deadline = time.monotonic() + timeout
        providers = (self.tracer_provider, self.logger_provider, self.meter_provider)
        workers = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        return self._account.given - self._account.delivered


class _Account:
    """Makes processors that count what they are given, and what of it their exporters deliver."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.given = 0
        self.delivered = 0

    def spans(self, exporter: Any) -> Any:
        processor = BatchSpanProcessor(self._watched(exporter))
        on_end = processor.on_end

        def counted(span: Any) -> None:
            with self._lock:
                self.given += span.context.trace_flags.sampled
            on_end(span)

        processor.on_end = counted
        return processor

    def logs(self, exporter: Any) -> Any:
        processor = BatchLogRecordProcessor(self._watched(exporter))
        on_emit = processor.on_emit

        def counted(record: Any) -> None:
            with self._lock:
                self.given += 1
            on_emit(record)

        processor.on_emit = counted
        return processor

    def _watched(self, exporter: Any) -> Any:
        export = exporter.export

        def counted(batch: Any) -> Any:
            result = export(batch)
            if result.name == "SUCCESS":
                with self._lock:
                    self.delivered += len(batch)
            return result

        exporter.export = counted
        return exporter


def _reader(made: Any) -> Any:
    return made if isinstance(made, MetricReader) else PeriodicExportingMetricReader(made)


def _resource() -> Any:
    # what the variables say goes before
    return Resource.create({"service.name": "subwatch", **OTELResourceDetector().detect().attributes})


def _exporters(signal: str) -> list[Any]:
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    found = []
    for name in (os.environ.get(variable) or "otlp").split(","):
        exporter = _otlp(signal) if name.strip() == "otlp" else name.strip()
        if exporter == "none":
            continue
        points = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=exporter))
        if not points and exporter in _PROTOCOLS.values():
            raise ModuleNotFoundError(f"no OTLP exporter for {signal} is installed")
        if not points:
            raise ConfigError(f"opentelemetry: {variable}={name!r} is no exporter that is installed")
        found.append(points[0].load())
    return found


def _otlp(signal: str) -> str:
    """Name the exporter for the protocol that is wanted; unless one is, gRPC as in the SDK, or else HTTP."""
    wanted = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL"
    )
    if wanted and wanted not in _PROTOCOLS:
        known = " or ".join(_PROTOCOLS)
        raise ConfigError(f"opentelemetry: the protocol for OTLP is {known}, not {wanted!r}")
    if wanted:
        return _PROTOCOLS[wanted]
    grpc, http = _PROTOCOLS.values()
    return grpc if entry_points(group=f"opentelemetry_{signal}_exporter", name=grpc) else http
