"""What the places that start children in existing code tell us, and what we make of it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.context import get_current

from subwatch import Caller, Watch

from ._sink import OpenTelemetrySink, suppressed
from ._stream import observers, spawning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from subwatch import Observation, Run

    from ._stream import Stream

_LOG = logging.getLogger(__name__)

#: Not where a user's code starts a child.
_LIBRARIES = {"asyncio", "ddtrace", "sentry_sdk", "subprocess", "subwatch", "subwatch_opentelemetry", "wrapt"}
#: The children that run and whose end is still to be told. A fork has none of them.
_live: set[Child] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_live.clear)


class Observer:
    """Traces the children of others, until it is stopped.

    Args:
        options: Those of `OpenTelemetrySink`.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._watch = Watch(sinks=[_Sink(**options)])
        observers.add(self)

    def stop(self) -> None:
        """Trace no more of them."""
        observers.discard(self)

    def child(self, given: Mapping[str, Any]) -> Child | None:
        """Open a span for a child that is about to be started.

        Args:
            given: What it is started with, as arguments of :class:`subprocess.Popen` by name.

        Returns:
            What is to be told of it; None when it is not to be traced.
        """
        ours = spawning.get()
        if self not in observers or (ours is not None and ours.spawning) or suppressed(get_current()):
            return None
        try:
            observation, error = self._watch.observe(**given), None
        except Exception as failure:  # noqa: BLE001 - whatever is wrong with us, the program goes on
            observation, error = None, failure
        return Child(observation, error, given.get("env"), alters=given.get("preexec_fn") is not None)


class Child:
    """A child on its way; nothing that goes wrong here is seen by the program.

    Args:
        observation: What tells the sink, or None where that could not be had.
        error: Why it could not.
        env: The environment that was given.
        alters: Whether a function is to run in the child, which may set variables there by itself.

    Attributes:
        env: The environment to start it with.
    """

    def __init__(
        self,
        observation: Observation | None,
        error: Exception | None,
        env: Mapping[str, str] | None,
        *,
        alters: bool,
    ) -> None:
        self._observation = observation
        self._error = error
        self.env = env if observation is None or (env is None and alters) else observation.env

    def started(self, pid: int) -> None:
        """Take note that it runs."""
        if self._observation is not None:
            self._observation.started(pid)
            self._pid = pid
            _live.add(self)
        else:  # not before, since it may be the program's own mistake, which it has been told of now
            _LOG.warning("a child process is not traced", exc_info=self._error)

    def spawn_failed(self, error: BaseException) -> None:
        """Take note that it could not be started."""
        if self._observation is not None:
            self._observation.spawn_failed(error)
            vars(error).pop("subwatch_exit", None)  # the program's exception stays as it was

    def ended(self, returncode: int | None, reason: str | None = None) -> None:
        """Take note of its end, once."""
        if self in _live and self._observation is not None:
            _live.discard(self)
            # Popen says maxsize when somebody else has taken the status
            self._observation.exited(None if returncode == sys.maxsize else returncode, reason=reason)

    def forgotten(self) -> None:
        """Look what has become of it, since nobody has asked; whoever does so later still gets the status."""
        try:
            found = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (AttributeError, OSError):  # another platform; somebody else has taken the status
            self.ended(None)
            return
        if found is None:
            self.ended(None, "left_running")
        else:
            self.ended(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)


def end_all() -> None:
    """End the spans of children whose end nobody has asked for."""
    for child in list(_live):
        child.forgotten()


class _Sink(OpenTelemetrySink):
    """Says where in the user's code the child was started, rather than where in a library."""

    def open(self, run: Run) -> Stream:
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
            frame = frame.f_back
        run.caller = Caller(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        return super().open(run)
