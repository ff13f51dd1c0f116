"""`SentrySink`: options, and what holds for all runs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.argv import ArgvIntegration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.utils import BadDsn, Dsn

from subwatch.errors import ConfigError

from . import _registry
from ._delivery import Losses
from ._failure import by_the_caller
from ._quiet import RunFilter, filter_logging
from ._stream import SentryStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sentry_sdk.client import BaseClient
    from sentry_sdk.integrations import Integration

    from subwatch.records import Exit, Lines, Run, Start
    from subwatch.sinks import Stream

__all__ = ["NOTHING", "SentrySink"]

_MODES = ("auto", "event", "enrich")
_KEPT = 64 * 1024  # bytes of a child's output that the core keeps


class _Nothing:
    """The stream of runs that are none of Sentry's business."""

    env: Mapping[str, str | None] = {}
    wants_lines = False

    def emit(self, records: Start | Lines | Exit) -> None:
        pass

    def close(self) -> None:
        pass


NOTHING = _Nothing()


class SentrySink:
    """Tells Sentry of children: the error of a failed one, with the lines that say why.

    Uses the SDK as the application has initialised it; while that has not been done, nothing happens.

    Args:
        breadcrumbs: How many last lines of a run become breadcrumbs, at most; 0 for none.
        mode: Who sends the error of a failed child: ``"event"`` the sink, ``"enrich"`` whoever captures the
            exception that the failure raised (it gets context, breadcrumbs, attachment and fingerprint), or
            ``"auto"``: ``enrich`` where the caller asked for an exception (``check=True``), else ``event``.
        fingerprint: What groups failures into issues: strings, or a function of the `Exit` that returns some.
            Default: the program and the way it ended. ``["{{ default }}"]`` for Sentry's own grouping.
        allowed_exit_codes: Exit codes, besides 0, that are no failure.
        attachment: Size in bytes of the end of the output that is attached to the error: at most 65536, which
            is what is kept; 0 for none.
        frame_details: Keep local variables and source lines in the stack frames of exceptions that a failed
            child raised. They hold commands and environments as the application has them, secrets included.
        spans: Make a span ``op=subprocess`` per child under the current transaction.
        propagate: Put ``SENTRY_TRACE`` and ``SENTRY_BAGGAGE`` into the child's environment.
        logs: Send each line as a Sentry log as well.
        monitor: Slug of a cron monitor that each run checks in to.
        monitor_config: What creates or updates that monitor, as the SDK's ``monitor_config``.
        dsn: Initialise the SDK with this DSN, with the first run, unless the application has done so: for
            programs without an ``init()`` of their own.

    Raises:
        ConfigError: An option has a wrong value.
    """

    name = "sentry"

    def __init__(
        self,
        *,
        breadcrumbs: int = 20,
        mode: str = "auto",
        fingerprint: Callable[[Exit], Sequence[str]] | Sequence[str] | None = None,
        allowed_exit_codes: Iterable[int] = (),
        attachment: int = _KEPT,
        frame_details: bool = False,
        spans: bool = True,
        propagate: bool = True,
        logs: bool = False,
        monitor: str | None = None,
        monitor_config: Mapping[str, Any] | None = None,
        dsn: str | None = None,
    ) -> None:
        if mode not in _MODES:
            raise ConfigError(f"mode= of the sentry sink is one of {', '.join(_MODES)}, not {mode!r}")
        if isinstance(fingerprint, str):
            raise ConfigError(
                f"fingerprint= is a list of strings or a function, not one string; write [{fingerprint!r}]"
            )
        self.breadcrumbs: int = _count("breadcrumbs", breadcrumbs)
        self.attachment: int = _count("attachment", attachment, most=_KEPT)
        self.mode = mode
        self.fingerprint = fingerprint
        self.allowed_exit_codes: frozenset[int] = _codes(allowed_exit_codes)
        self.frame_details = frame_details
        self.spans = spans
        self.propagate = propagate
        self.logs = logs
        self.monitor = monitor
        self.monitor_config: Any = monitor_config
        self.dsn = None if dsn is None else _checked("dsn=", dsn)
        self._used: tuple[int, BaseClient] | None = None  # by which process: a forked one inherits it
        self._said: set[str] = set()

    def standalone(self) -> None:
        """Initialise the SDK for a program that has no ``init()`` and closes its sinks: the command line tool.

        The DSN is `dsn`, or else the environment's ``SENTRY_DSN``. Without any that is said once, and nothing
        else happens. The end of the process sends nothing: `close` does.

        Raises:
            ConfigError: ``SENTRY_DSN`` is no DSN.
        """
        dsn = self.dsn or os.environ.get("SENTRY_DSN")
        if dsn:
            self.dsn = _checked("SENTRY_DSN", dsn)
            _initialise(self.dsn, AtexitIntegration)
        elif not sentry_sdk.get_client().is_active():
            self.say("nothing is sent: set SENTRY_DSN, or write --sink sentry:dsn=https://KEY@HOST/PROJECT")

    def open(self, run: Run) -> Stream:
        """Open the stream of a run, in the caller's context."""
        if self.dsn is not None:
            _initialise(self.dsn)
        client = sentry_sdk.get_client()
        if not client.is_active() or _registry.find(run.id) is not None:
            return NOTHING
        filter_logging(client, _events, _crumbs, _logs)
        stream = SentryStream(self, run, client)
        _registry.remember(stream)
        return stream

    def captures(self, exit: Exit) -> bool:
        """Return whether the sink itself sends the error of this failure."""
        if self.mode != "auto":
            return self.mode == "event"
        return not exit.run.raises and not by_the_caller(exit)

    def uses(self, client: BaseClient) -> None:
        """Take note that a client is given something to send."""
        self._used = os.getpid(), client
        losses = Losses.of(client)
        if self.monitor is not None:
            losses.monitors.add(self.monitor)

    def close(self, timeout: float) -> int:
        """Wait until what the sink gave to the SDK is sent.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            How many errors, check-ins and logs of children the SDK has lost, and envelopes that it has not
            sent yet.
        """
        used, self._used = self._used, None
        if used is None or used[0] != os.getpid():
            return 0
        client = used[1]
        deadline = time.monotonic() + timeout
        client.flush(timeout=timeout)
        waiting: list[int] = []
        if time.monotonic() >= deadline:  # only then something may wait still; a callback tells what
            client.flush(timeout=0.001, callback=lambda count, _: waiting.append(count))
        # each flush queues a report of the SDK's own behind the rest
        return max(0, sum(waiting) - 2) + Losses.of(client).take()

    def say(self, message: str, *args: object) -> None:
        """Report something once on the logger ``subwatch``."""
        if message not in self._said:
            self._said.add(message)
            logging.getLogger("subwatch").warning(f"sentry sink: {message}", *args)  # noqa: G004


def _doubles(applies: Callable[[SentrySink], bool]) -> RunFilter:
    def test(run_id: str) -> bool:
        child = _registry.find(run_id)
        return child is not None and applies(child.sink)

    return RunFilter(test)


_events = _doubles(lambda _: True)
_crumbs = _doubles(lambda sink: sink.breadcrumbs > 0)
_logs = _doubles(lambda sink: sink.logs)


def _checked(name: str, dsn: str) -> str:
    try:
        Dsn(dsn)
    except BadDsn as error:
        raise ConfigError(
            f"{name} of the sentry sink is no DSN ({error}); it looks like https://KEY@HOST/PROJECT"
        ) from error
    return dsn


def _initialise(dsn: str, *without: type[Integration]) -> None:
    """Initialise the SDK unless that has been done; nothing tells of the command line or of variables."""
    if not sentry_sdk.get_client().is_active():
        disabled: list[type[Integration]] = [ArgvIntegration, *without]
        sentry_sdk.init(dsn=dsn, include_local_variables=False, disabled_integrations=disabled)


def _count(name: str, value: Any, most: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= (most or value):
        limits = "from 0" if most is None else f"from 0 to {most}"
        raise ConfigError(f"{name}= of the sentry sink is a number {limits}, not {value!r}")
    return value


def _codes(codes: Any) -> frozenset[int]:
    given = list(codes) if isinstance(codes, Iterable) else [codes]
    if not all(isinstance(code, int) and not isinstance(code, bool) for code in given):
        raise ConfigError(
            f"allowed_exit_codes= of the sentry sink are numbers such as [3, 24], not {codes!r}"
        )
    return frozenset(given)
