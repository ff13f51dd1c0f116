"""`LokiHandler`: the sender of `LokiSink` for plain :mod:`logging`, without a child process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, cast

from logging_loki.emitter import LokiEmitterV1  # type: ignore[import-untyped]

from subwatch_loki._labels import metadata
from subwatch_loki._sender import sending
from subwatch_loki._shipper import Shipper
from subwatch_loki._sink import LokiSink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from subwatch.records import Run

    class Base(logging.Handler):
        """What there is to know of python-logging-loki's handler, which has no types."""

        emitter: Any

        def __init__(self, url: str, *, version: str) -> None: ...
else:
    from logging_loki import LokiHandler as Base

__all__ = ["LokiHandler"]


class _Entry:
    """A formatted log record in the queue; `size` lets the queue bound and drop it like a batch of lines."""

    __slots__ = ("pairs", "size", "text", "time_ns")

    def __init__(self, time_ns: int, text: str, pairs: list[tuple[str, object]]) -> None:
        self.time_ns = time_ns
        self.text = text
        self.pairs = pairs
        self.size = len(text)

    def __len__(self) -> int:
        return 1


class _Stream:
    """Log records on their way to Loki."""

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self.dropped = 0

    def emit(self, entry: _Entry) -> None:
        pairs = metadata((*entry.pairs, *self._shipper.surplus.items()))
        self._shipper.one(self, entry.time_ns, entry.text, pairs)

    def flush(self, timeout: float) -> int:
        self._shipper.seal()
        return self._shipper.sender.outbox.flush(self, timeout)

    def close(self) -> None:
        pass


class _LogShipper(Shipper):
    def open(self, run: Run) -> Any:  # noqa: ARG002 - there is none
        return _Stream(self)


class _LogSink(LokiSink):
    shipper_class = _LogShipper


class _QueueEmitter(LokiEmitterV1):  # type: ignore[misc]
    """The plug of python-logging-loki's handler: hands each record to the queue instead of to the network."""

    stream: Any

    def __call__(self, record: logging.LogRecord, line: str) -> None:
        """Queue a record."""
        pairs: list[tuple[str, object]] = [
            ("level", record.levelname.lower()),
            (self.logger_tag, record.name),
            ("caller", f"{record.pathname}:{record.lineno} {record.funcName}"),
            ("pid", record.process),
            ("thread", record.threadName),
            ("trace_id", getattr(record, "otelTraceID", None)),
            ("span_id", getattr(record, "otelSpanID", None)),
        ]
        tags = getattr(record, "tags", None)
        if isinstance(tags, dict):
            pairs += [(str(name), str(value)) for name, value in tags.items()]
        self.stream.emit(_Entry(int(record.created * 1e9), line, pairs))


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
        flush_timeout: float = 5.0,
        **options: Any,
    ) -> None:
        if auth is not None:
            options["username"], options["password"] = auth
        self._flush_timeout = flush_timeout
        self._sink = _LogSink(url, labels=dict(tags or {}), flush_timeout=flush_timeout, **options)
        super().__init__(self._sink.url, version=version)
        self._stream = self.emitter.stream = self._sink.open(cast("Run", None))

    def __repr__(self) -> str:
        return f"<LokiHandler {self._sink.url} ({logging.getLevelName(self.level)})>"

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
