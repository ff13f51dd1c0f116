"""Keeps the SDK's own integrations from telling of our children what the sink tells, or must not tell.

Nothing of the user's configuration is changed: the subprocess patch of ``StdlibIntegration`` is answered
"not enabled" in the thread that spawns, while it spawns; the handlers of ``LoggingIntegration`` get a filter
for the records of runs that this sink reports itself.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, cast

import sentry_sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentry_sdk.client import BaseClient
    from sentry_sdk.scope import Scope

__all__ = ["Quiet", "RunFilter", "filter_logging"]

_lock = threading.Lock()


def _forked() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it at the fork
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Quiet:
    """Stands in for the client of a scope, and denies ``StdlibIntegration`` to threads that are spawning.

    Its wrapper of ``subprocess.Popen.__init__`` would add the raw command as a breadcrumb and as a span.
    The stand-in sits in the scope object, not in a context variable, so that it can be taken away from
    whatever thread or context sees the child start.
    """

    def __init__(self, before: BaseClient) -> None:
        self._before = before
        self._threads: dict[object, int] = {}

    @classmethod
    def begin(cls, scope: Scope) -> Callable[[], None]:
        """Begin in this thread; the returned function ends it, from any thread."""
        ticket = object()
        with _lock:
            before: Any = scope.client
            quiet = before if isinstance(before, Quiet) else cls(before)
            quiet._threads[ticket] = threading.get_ident()
            # not set_client(), which computes global attributes again
            scope.client = cast("BaseClient", quiet)

        def end() -> None:
            with _lock:
                quiet._threads.pop(ticket, None)
                if not quiet._threads and cast("Any", scope.client) is quiet:
                    scope.client = quiet._before

        return end

    def get_integration(self, which: Any) -> Any:
        """Return the integration of the real client, except for the denied one."""
        name = which if isinstance(which, str) else which.identifier
        if name == "stdlib" and threading.get_ident() in tuple(self._threads.values()):
            return None
        return self._client().get_integration(which)

    def _client(self) -> BaseClient:
        if self._before.is_active():
            return self._before
        inherited = sentry_sdk.get_isolation_scope().client
        return inherited if inherited.is_active() else sentry_sdk.get_global_scope().client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)


class RunFilter(logging.Filter):
    """Stops log records of runs that the sink reports itself.

    Args:
        doubles: Tells for a run id whether a record of it would be told twice.
    """

    def __init__(self, doubles: Callable[[str], bool]) -> None:
        super().__init__()
        self._doubles = doubles

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record may pass."""
        run = getattr(record, "subwatch_run_id", None)
        return run is None or not self._doubles(run)


def filter_logging(client: BaseClient, events: RunFilter, crumbs: RunFilter, logs: RunFilter) -> None:
    """Put the filters on the handlers of the client's ``LoggingIntegration``, once."""
    integration: Any = client.get_integration("logging")
    for name, own in (("_handler", events), ("_breadcrumb_handler", crumbs), ("_sentry_logs_handler", logs)):
        handler = getattr(integration, name, None)
        if handler is not None:
            handler.addFilter(own)
