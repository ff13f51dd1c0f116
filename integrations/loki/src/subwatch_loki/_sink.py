"""`LokiSink`: the options, and a queue in front of the shipper."""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import TYPE_CHECKING

from subwatch.errors import ConfigError
from subwatch.sinks import Background
from subwatch_loki._options import Options, positive
from subwatch_loki._shipper import Shipper
from subwatch_loki._stream import RunStream

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal

    from subwatch.records import Run
    from subwatch.sinks import Stream

__all__ = ["LokiSink"]

POLICIES = ("drop_oldest", "drop_newest", "block", "spool")


class LokiSink(Background):
    """Ships every line and the exit status to Grafana Loki, in batches, from a thread of its own.

    Labels are few: ``service_name``, ``job``, and those given. Everything else (run id, pid, program, stream,
    level, line number, exit code, signal, duration, trace and span id, redacted argv, the run's tags) is
    structured metadata.

    What cannot be delivered is retried with exponential backoff, and meanwhile held in memory up to
    `capacity`, or with ``policy="spool"`` on disk, where the next run, or ``subwatch-loki spool drain``,
    finds it. Every entry that is lost is counted in `Exit.dropped` or said on the logger ``subwatch``.

    Args:
        url: Server, such as ``http://127.0.0.1:3100``; the path of the push API is added unless it is there.
            Default: environment variable ``LOKI_URL``.
        labels: Labels of the stream, besides the default ones or instead of them. At most 15 in all; names
            are made valid, surplus ones become structured metadata; either is said once.
        tenant: Tenant (header ``X-Scope-OrgID``). Default: ``LOKI_TENANT``.
        username: For basic authentication. Default: ``LOKI_USERNAME``, or the URL's.
        password: The same. Default: ``LOKI_PASSWORD``, or the URL's.
        token: Bearer token, instead of a username. Default: ``LOKI_TOKEN``.
        headers: More request headers.
        verify: Whether to verify the server's certificate, or the path of a CA bundle.
        cert: Path of a client certificate with its key, or the paths of both.
        proxies: Proxy URLs by scheme. Default: the usual environment variables.
        timeout: Seconds to wait for a connection, and between two pieces of an answer; one number for both.
        batch_bytes: Size of a push before compression, in bytes.
        batch_seconds: Longest time that a line waits for its batch to fill; an exit record is sent at once.
        capacity: Bytes of lines to hold in memory while the server cannot take them.
        policy: What to do when these are full: ``"drop_oldest"``, ``"drop_newest"``, ``"block"`` (see
            `subwatch.sinks.Background`), or ``"spool"``: keep every batch on disk until it is delivered.
            While all is well, a child that writes faster than lines can be sent is slowed down before any is
            dropped.
        spool: File of the spool, which implies ``policy="spool"``. Default with that policy:
            ``$XDG_STATE_HOME/subwatch/loki.spool``. Several processes may share it.
        spool_bytes: Size of the spool; above it the oldest batches are dropped and counted.
        retry_min: First pause after a failure, in seconds; it doubles, with full jitter.
        retry_max: Longest pause.
        max_age: Age in seconds above which the server refuses entries (``reject_old_samples_max_age``).
        progress: Progress updates, which are lines below WARNING that end with a lone carriage return or whose
            progress the recogniser of a program reads: of each phase the first and the last are sent, and
            between them at most one in so many seconds; True sends all of them, False none. The exit's
            metadata ``thinned`` counts what was left out.
        fields: Names of fields of JSON and logfmt lines to send as structured metadata too, or True for all,
            at most 20 a line. Without it, a query gets at them with ``| json`` or ``| logfmt``.
        max_line_bytes: Longest line that the server takes (``max_line_size``); longer ones are cut and marked
            with the metadata ``cut_bytes``.
        flush_timeout: Seconds to wait for delivery at the end of the process.
        name: Name in messages and in `Exit.dropped`.

    Raises:
        subwatch.errors.ConfigError: An option cannot work.
    """

    make_stream: Callable[[Shipper, Run], Stream] = RunStream

    def __init__(
        self,
        url: str | None = None,
        *,
        labels: Mapping[str, object] | None = None,
        tenant: str | None = None,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: bool | str = True,
        cert: str | tuple[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        timeout: float | tuple[float, float] = (3.05, 10.0),
        batch_bytes: int = 1024 * 1024,
        batch_seconds: float = 1.0,
        capacity: int = 10 * 1024 * 1024,
        policy: Literal["drop_oldest", "drop_newest", "block", "spool"] = "drop_oldest",
        spool: bool | str | os.PathLike[str] | None = None,
        spool_bytes: int = 256 * 1024 * 1024,
        retry_min: float = 0.5,
        retry_max: float = 30.0,
        max_age: float = 7 * 86400.0,
        max_line_bytes: int = 256 * 1024,
        progress: float | bool = 10.0,
        fields: bool | str | Sequence[str] = False,
        flush_timeout: float = 5.0,
        name: str = "loki",
    ) -> None:
        given: dict[str, Any] = {**locals(), "spool": spool or policy == "spool"}
        if policy not in POLICIES:
            raise ConfigError(f"loki: policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        positive("capacity", capacity)
        if flush_timeout != 0:
            positive("flush_timeout", flush_timeout)
        options = Options.build(**{each.name: given[each.name] for each in fields_of(Options)})
        self.url: str = options.url
        self._shipper = Shipper(options, labels or {}, type(self).make_stream)
        super().__init__(
            self._shipper,
            capacity=capacity,
            # The disk is quick: the caller waits for it rather than to lose what the spool is there to keep.
            policy="block" if options.spool else policy,  # type: ignore[arg-type]
            patience=1.0,
            flush_timeout=flush_timeout,
            name=name,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shipper.options.shown!r})"
