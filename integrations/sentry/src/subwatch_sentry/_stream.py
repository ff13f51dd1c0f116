"""One child on its way to Sentry."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import logger
from sentry_sdk.crons import capture_checkin
from sentry_sdk.scope import use_isolation_scope, use_scope

from subwatch.records import Exit, Lines, Start

from . import _registry
from ._failure import command, error_event, fingerprint
from ._limits import LEVELS, MESSAGE, clip, clipped_fields, when
from ._quiet import Quiet
from ._tracing import foreign_trace, propagation, start_span
from ._trail import Trail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sentry_sdk.attachments import Attachment
    from sentry_sdk.client import BaseClient
    from sentry_sdk.scope import Scope

    from subwatch.records import Run

    from ._sink import SentrySink

__all__ = ["SentryStream"]

_LOG_BATCH = 100  # what the SDK sends as one envelope


class SentryStream:
    """Stream of one run; made in the caller's context, whose scopes it keeps."""

    def __init__(self, sink: SentrySink, run: Run, client: BaseClient) -> None:
        self.sink = sink
        self.run = run
        self.dropped = 0
        self.running = True  # until its streams are closed
        self.failed = False
        self.sent = False  # the failure is in Sentry: an exception that it raised is not to be sent again
        self.attachments: list[Attachment] = []
        self.isolation: Scope | None = sentry_sdk.get_isolation_scope()
        self._own: Any = (self.isolation, current := sentry_sdk.get_current_scope())
        self._client = client
        self.wants_lines = sink.logs  # the last lines are asked of the core, which costs nothing per line
        self._trail = Trail(run, sink.breadcrumbs)
        self._pid: int | None = None
        self._end: dict[str, Any] = {}  # not the exit record, whose lines may be long
        self._start_ns = 0
        self._check_in: str | None = None
        self._logged = 0
        self._span = start_span(run, client, current) if sink.spans else None
        self.env = dict(propagation(client, current, self._span)) if sink.propagate else {}
        if trace := self.env.get("SENTRY_TRACE"):
            trace_id, span_id = trace.split("-")[:2]
            run.fields.setdefault("trace_id", trace_id)
            run.fields.setdefault("span_id", span_id)
        self._speak = Quiet.begin(current) if client.get_integration("stdlib") is not None else _nothing

    def emit(self, records: Start | Lines | Exit) -> None:
        """Take a batch."""
        if type(records) is Lines:
            if self.sink.logs:
                self._log(records)
        elif type(records) is Start:
            self._started(records)
        elif type(records) is Exit:
            self._exited(records)

    def close(self) -> None:
        """End the run: keep its last breadcrumbs, let go of everything else."""
        self._speak()
        self.crumbs(self._client.options, with_command=False)
        self._trail.close()
        self.running = False
        self._span = self._own = None  # they may hold a transaction with all of its spans
        self._speak = _nothing
        _registry.ended(self)

    # -- records --------------------------------------------------------------------------------------

    def _started(self, start: Start) -> None:
        self._speak()
        self._pid = start.pid
        self._start_ns = start.time_ns
        if self._span is not None:
            self._span.set({"process.pid": start.pid})
        if self.sink.monitor is not None:
            self._check_in = self._checks_in("in_progress")

    def _exited(self, exit: Exit) -> None:
        self._speak()
        self._end = {"exit_code": exit.returncode, "outcome": exit.outcome, "duration": exit.duration}
        self._start_ns = self._start_ns or exit.start_ns
        self.failed = failed = exit.failed and exit.returncode not in self.sink.allowed_exit_codes
        if self._span is not None:
            self._span.finish(exit, failed=failed)
        if self.sink.monitor is not None and exit.reason not in ("left_running", "unknown"):
            self._checks_in("error" if failed else "ok", exit.duration)
        if failed:
            self.attachments = self._trail.attachments(self.sink.attachment) if self.sink.attachment else []
            if self.sink.captures(exit):
                self._capture(exit)

    def _checks_in(self, status: str, duration: float | None = None) -> str | None:
        self.sink.uses(self._client)
        if self._closed:
            self._lose()
            return None
        with self._scopes():
            return capture_checkin(
                self.sink.monitor, self._check_in, status, duration, self.sink.monitor_config
            )

    def _capture(self, exit: Exit) -> None:
        self.sink.uses(self._client)
        event = error_event(exit)
        event["fingerprint"] = self.fingerprint(exit)
        if self._span is not None and not self._span.streamed:
            event["contexts"]["trace"] = self._span.span.get_trace_context()
        elif trace := foreign_trace(self.run, self._client):
            event["contexts"]["trace"] = trace
        hint = {_registry.HINT: exit, "attachments": list(self.attachments)}
        with self._scopes():
            self.sent = sentry_sdk.capture_event(event, hint) is not None  # type: ignore[arg-type]
        if self.sent:
            self.attachments = []
        elif self._closed:
            self._lose()
        elif self._client.transport is not None:  # without a DSN nothing is sent, on purpose
            self.sink.say("an error was not taken (before_send, sampling or an event processor)")

    def _log(self, lines: Lines) -> None:
        """Send lines as Sentry logs; where the transport is full, count them as dropped."""
        base: dict[str, Any] = {
            "subprocess.program": clip(self.run.program, 200),
            "subprocess.run_id": self.run.id,
            "process.pid": self._pid,
        }
        client: Any = self._client
        self.sink.uses(client)
        if self._closed:
            self._lose(len(lines))
            return
        base["log.iostream"] = lines.stream
        columns = zip(lines.texts, lines.levels, lines.numbers, lines.times, lines.fields, strict=True)
        with self._scopes():
            for text, level, number, time_ns, fields in columns:
                if client.transport is not None and not client.transport.is_healthy():
                    self.dropped += 1
                    continue
                log = getattr(logger, LEVELS.get(level, "info"))
                attributes = {**base, "line": number, "read": when(time_ns).isoformat()}
                for name, value in clipped_fields(fields or {}, most=32).items():
                    attributes[f"subprocess.field.{name}"] = value
                log(text, attributes=attributes)
                self._logged += 1
                if self._logged % _LOG_BATCH == 0 and client.log_batcher is not None:
                    client.log_batcher.flush()  # its own thread is late in a flood and drops

    @property
    def _closed(self) -> bool:
        """Whether the SDK has been closed, as the end of the interpreter does: it drops all, and tells nobody."""
        return self._client.transport is None and bool(self._client.options["dsn"])

    def _lose(self, count: int = 1) -> None:
        self.dropped += count
        self.sink.say("the SDK had been closed before a child ended; what came then was not sent")

    # -- for events -----------------------------------------------------------------------------------

    def fingerprint(self, exit: Exit) -> list[str]:
        """Return what groups this failure, as the user has it."""
        wanted = self.sink.fingerprint
        try:
            parts = wanted(exit) if callable(wanted) else wanted
            parts = [parts] if isinstance(parts, str) else parts  # not its letters
            return [clip(str(part), MESSAGE) for part in parts or fingerprint(exit)]
        except Exception as error:  # noqa: BLE001 - it is the user's function
            self.sink.say(
                "fingerprint= raised %s; failures are grouped by program and outcome", type(error).__name__
            )
            return fingerprint(exit)

    def crumbs(self, options: dict[str, Any], *, with_command: bool) -> list[dict[str, Any]]:
        """Return the child's last lines as breadcrumbs; first the command, if wanted."""
        crumbs = self._trail.crumbs(self._pid, options) if self.sink.breadcrumbs else []
        if not with_command or not self._start_ns or not self.sink.breadcrumbs:
            return crumbs
        data = {"program": clip(self.run.program, 200), "pid": self._pid, "run": self.run.id, **self._end}
        first = {
            "type": "subprocess",
            "category": "subprocess",
            "level": "info",
            "message": command(self.run, 2048),
            "timestamp": when(self._start_ns),
            "data": data,
        }
        return [first, *crumbs]

    @contextmanager
    def _scopes(self) -> Iterator[None]:
        """The caller's scopes, whatever thread this is."""
        isolation, current = self._own
        with use_isolation_scope(isolation), use_scope(current):
            yield


def _nothing() -> None:
    pass
