"""Spans for the children of code that knows nothing of subwatch.

Two places of `subprocess.Popen` are enough, and no other instrumentation uses them (these wrap ``__init__``,
``wait`` and ``communicate``), so that any order of installing and removing works:

- ``_execute_child``, where every start on every platform ends up, after Popen has checked its arguments:
  nothing is seen twice, warnings point where they did, and only the environment is changed.
- ``returncode``, which everything that learns of the end has to set: Popen's own methods, asyncio's
  transports, garbage collection. A data descriptor sees that; the value stays where it was.

The class stays itself, so that subclasses and ``isinstance`` know no difference. The streams of
the child are not touched.
"""

from __future__ import annotations

import atexit
import functools
import inspect
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.context import get_current

from subwatch import Caller, Watch

from ._sink import OpenTelemetrySink, suppressed
from ._stream import spawning

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from subwatch import Observation, Run

    from ._stream import Stream

    Ended = Callable[[int | None], None]

    class BaseInstrumentor:
        """What the type checker sees: the module is exempt from its checks, and so has no types."""

        def instrument(self, **options: Any) -> None: ...
        def uninstrument(self, **options: Any) -> None: ...
else:
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

_popen: Any = subprocess.Popen
_LOG = logging.getLogger(__name__)

#: The start of ``_execute_child``'s parameters, from Python 3.11 to 3.14.
_PARAMETERS = [
    *("self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env"),
    *("startupinfo", "creationflags", "shell"),
]
_ENV = _PARAMETERS.index("env") - 1
_ENDED = "_subwatch_ended"  # where an object of Popen keeps what is to be told of its end
#: What is to be told of the ends of the children that run. A fork has none of them.
_live: set[Ended] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_live.clear)

#: Not where a user's code starts a child.
_LIBRARIES = {"asyncio", "ddtrace", "sentry_sdk", "subprocess", "subwatch", "subwatch_opentelemetry", "wrapt"}


class SubwatchInstrumentor(BaseInstrumentor):
    """Trace what existing code starts with :mod:`subprocess` or asyncio's subprocesses, unchanged.

    Found by ``opentelemetry-instrument``, or used by hand: ``SubwatchInstrumentor().instrument()``, which
    takes the arguments of `OpenTelemetrySink`. Tags and secrets to mask are those of `subwatch.configure`.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: the standard library is always there."""
        return ()

    def _instrument(self, **options: Any) -> None:
        original = getattr(_popen, "_execute_child", None)
        found = [] if original is None else list(inspect.signature(original).parameters)
        if found[: len(_PARAMETERS)] != _PARAMETERS:
            _LOG.warning("subprocess.Popen is not as the standard library has it: children are not traced")
            return
        self._hook = _popen._execute_child = _hook(original, Watch(sinks=[_Sink(**options)]))
        _popen.returncode = _Returncode()
        atexit.register(_end_all)

    def _uninstrument(self, **_: Any) -> None:
        hook = self.__dict__.pop("_hook", None)
        if hook is None:
            return
        hook.active = False  # for the case that somebody has wrapped it meanwhile
        if _popen._execute_child is hook:
            _popen._execute_child = hook.__wrapped__
        del _popen.returncode
        atexit.unregister(_end_all)
        _end_all()


def _end_all() -> None:
    """End the spans of children whose end nobody has asked for."""
    for ended in list(_live):
        ended(None)


class _Sink(OpenTelemetrySink):
    """Says where in the user's code the child was started, rather than where in a library."""

    def open(self, run: Run) -> Stream:
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES:
            frame = frame.f_back
        run.caller = Caller(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        return super().open(run)


class _Returncode:
    """`Popen.returncode`, telling when it is set; the value is where it always was."""

    def __get__(self, popen: Any, owner: type) -> Any:
        try:
            return popen.__dict__["returncode"]
        except (AttributeError, KeyError):
            whose = f"type object {owner.__name__!r}" if popen is None else f"{owner.__name__!r} object"
            raise AttributeError(f"{whose} has no attribute 'returncode'") from None

    def __set__(self, popen: Any, value: int | None) -> None:
        popen.__dict__["returncode"] = value
        if value is not None and (ended := popen.__dict__.pop(_ENDED, None)):
            ended(value)

    def __delete__(self, popen: Any) -> None:
        del popen.__dict__["returncode"]


def _hook(original: Any, watch: Watch) -> Any:
    @functools.wraps(original)
    def execute_child(popen: Any, *arguments: Any, **more: Any) -> None:
        ours = spawning.get()
        if not hook.active or (ours is not None and ours.spawning) or suppressed(get_current()):
            original(popen, *arguments, **more)
            return
        given = dict(zip(_PARAMETERS[1:], arguments, strict=False))
        try:
            child = watch.observe(**given)
            if given["env"] is not None or given["preexec_fn"] is None:  # which may set variables itself
                arguments = (*arguments[:_ENV], child.env, *arguments[_ENV + 1 :])
        except Exception:  # noqa: BLE001 - whatever is wrong with us, the program goes on
            original(popen, *arguments, **more)  # or says what is wrong with the arguments
            _LOG.warning("a child process is not traced", exc_info=True)
            return
        try:
            original(popen, *arguments, **more)
        except BaseException as error:
            child.spawn_failed(error)
            raise
        child.started(popen.pid)
        popen.__dict__[_ENDED] = _ending(child)

    hook = cast("Any", execute_child)
    hook.active = True
    return hook


def _ending(child: Observation) -> Ended:
    """Return what is to be told of the child's end, once; until then it is among the live."""

    def ended(returncode: int | None) -> None:
        if ended not in _live:
            return
        _live.discard(ended)
        # Popen says maxsize when somebody else has taken the status
        child.exited(None if returncode == sys.maxsize else returncode)

    _live.add(ended)
    return ended
