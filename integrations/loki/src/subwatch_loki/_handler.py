"""`LokiHandler`: the sender of `LokiSink` for plain :mod:`logging`, without a child process."""

from __future__ import annotations

import functools
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar, cast

from logging_loki.emitter import LokiEmitterV1  # type: ignore[import-untyped]

from subwatch_loki._labels import metadata
from subwatch_loki._sender import sending
from subwatch_loki._sink import LokiSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from subwatch.records import Run
    from subwatch_loki._shipper import Shipper

    Origin: TypeAlias = "tuple[str, str, str, int, str | None, int | None, str | None]"
    Entry: TypeAlias = "tuple[int, str, Origin, dict[Any, Any] | None]"  # time, text, origin, tags

    class Base(logging.Handler):
        """What there is to know of python-logging-loki's handler, which has no types."""

        emitter: Any

        def __init__(self, url: str, *, version: str) -> None: ...
else:
    from logging_loki import LokiHandler as Base

__all__ = ["LokiHandler"]

# Bytes of records that the queue takes as one, and what a record costs besides its text.
FULL, OVERHEAD = 64 * 1024, 200


class _Records:
    """Formatted log records that are one batch to the queue; it grows until it is full, or taken, or counted.

    Args:
        size: Bytes that it may hold.
    """

    def __init__(self, size: int) -> None:
        self.pid = os.getpid()
        self.size = size
        self._left = size
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def add(self, entry: Entry) -> bool:
        """Take a record; False when no more may come."""
        with self._lock:
            if self._left > 0:
                self._left -= len(entry[1]) + OVERHEAD
                self._entries.append(entry)
                return True
            return False

    def take(self) -> list[Entry]:
        """The records; no more may come."""
        with self._lock:
            self._left = 0
        return self._entries

    def __len__(self) -> int:
        return len(self.take())


class _LogStream:
    """Log records on their way to Loki."""

    def __init__(self, shipper: Shipper, run: Run) -> None:  # noqa: ARG002 - there is none
        self._shipper = shipper
        self._known = functools.lru_cache(1024)(self._metadata)
        self.dropped = 0

    def emit(self, records: _Records) -> None:
        entries = [
            (time_ns, text, self._metadata(origin, tags) if tags else self._known(origin))
            for time_ns, text, origin, tags in records.take()
        ]
        self._shipper.entries(self, entries)

    def _metadata(self, origin: Origin, tags: Mapping[Any, Any] | None = None) -> str:
        level, name, path, line, function, process, thread = origin
        pairs: dict[str, object] = {
            "level": level.lower(),
            LokiEmitterV1.logger_tag: name,
            "caller": f"{path}:{line} {function}",
            "pid": process,
            "thread": thread,
        }
        return metadata((*pairs.items(), *(tags or {}).items(), *self._shipper.surplus.items()))

    def flush(self, timeout: float) -> int:
        return self._shipper.flush(self, timeout)

    def close(self) -> None:
        pass


class _LogSink(LokiSink):
    make_stream = _LogStream  # type: ignore[assignment]


class _QueueEmitter(LokiEmitterV1):  # type: ignore[misc]
    """The plug of python-logging-loki's handler: hands each record to the queue instead of to the network."""

    stream: Any
    start: Callable[[], None]
    size = FULL
    _records = _Records(0)

    def __call__(self, record: logging.LogRecord, line: str) -> None:
        """Queue a record; called with the handler's lock."""
        origin = (
            record.levelname,
            record.name,
            record.pathname,
            record.lineno,
            record.funcName,
            record.process,
            record.threadName,
        )
        values = record.__dict__
        tags = values.get("tags")
        tags = dict(tags) if isinstance(tags, dict) else None
        if "otelTraceID" in values:  # of OpenTelemetry's instrumentation of logging
            tags = {"trace_id": values["otelTraceID"], "span_id": values.get("otelSpanID"), **(tags or {})}
        entry = (int(record.created * 1e9), line, origin, tags)
        # In a forked process the batch is the parent's, and nobody has it queued.
        if self._records.pid != os.getpid() or not self._records.add(entry):
            self._records = _Records(self.size)
            self._records.add(entry)
            self.start()
            self.stream.emit(self._records)


class LokiHandler(Base):
    """A drop-in for the handler of python-logging-loki that does not block, recurse or lose silently.

    Records are formatted in the caller's thread, and batched, compressed and sent by threads of the handler.
    Level, logger, caller, process, thread and ``extra={"tags": {...}}`` become structured metadata. Use it in
    code or in :func:`logging.config.dictConfig` with ``"class": "subwatch_loki.LokiHandler"``.

    Args:
        url: As for `LokiSink`.
        tags: Labels of the stream, as `labels` of `LokiSink`.
        auth: User name and password, as a pair.
        version: Of the push API, as for python-logging-loki; only ``"1"`` is left.
        capacity: As for `LokiSink`.
        flush_timeout: Seconds that `flush` and `close` may take.
        **options: All other options of `LokiSink`.

    Raises:
        subwatch.errors.ConfigError: An option cannot work.
    """

    emitters: ClassVar[dict[str, type]] = {"1": _QueueEmitter}

    def __init__(
        self,
        url: str | None = None,
        tags: Mapping[str, object] | None = None,
        auth: tuple[str, str] | None = None,
        version: str = "1",
        *,
        capacity: int = 10 * 1024 * 1024,
        flush_timeout: float = 5.0,
        **options: Any,
    ) -> None:
        if auth is not None:
            options["username"], options["password"] = auth
        self._flush_timeout = flush_timeout
        options |= {"capacity": capacity, "flush_timeout": flush_timeout}
        self._sink = _LogSink(url, labels=dict(tags or {}), **options)
        super().__init__(self._sink.url, version=version)
        self._stream = self.emitter.stream = self._sink.open(cast("Run", None))
        self.emitter.start = self._sink._shipper.start
        self.emitter.size = min(FULL, capacity // 32)

    def __repr__(self) -> str:
        return f"<LokiHandler {self._sink._shipper.options.shown} ({logging.getLevelName(self.level)})>"

    @property
    def dropped(self) -> int:
        """Records that were lost so far."""
        return self._stream.dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record; what the sending thread itself logs is left out, or it would never end."""
        if not getattr(sending, "active", False):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name in logging
        """Say what is wrong with a record, as other handlers do; the base class would end the session."""
        logging.Handler.handleError(self, record)

    def flush(self) -> None:
        """Wait for delivery, at most `flush_timeout` seconds."""
        self._stream.flush(self._flush_timeout)

    def close(self) -> None:
        """Deliver what is queued, at most `flush_timeout` seconds long, and stop."""
        self._sink.close(self._flush_timeout)
        super().close()
