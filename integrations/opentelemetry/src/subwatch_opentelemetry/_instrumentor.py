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
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

from . import _uvloop
from ._observer import Observer, end_all

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    class BaseInstrumentor:
        """What the type checker sees: the module is exempt from its checks, and so has no types."""

        def instrument(self, **options: Any) -> None: ...
        def uninstrument(self, **options: Any) -> None: ...

    def register_post_import_hook(hook: Callable[[Any], None], name: str) -> None: ...
else:
    from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
    from wrapt import register_post_import_hook

_popen: Any = subprocess.Popen
_LOG = logging.getLogger(__name__)

#: The start of ``_execute_child``'s parameters, from Python 3.11 to 3.14.
_PARAMETERS = [
    *("self", "args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env"),
    *("startupinfo", "creationflags", "shell"),
]
_ENV = _PARAMETERS.index("env") - 1
_CHILD = "_subwatch_child"  # where an object of Popen keeps what is to be told of its end


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
        self._observer = observer = Observer(options)
        self._before = vars(_popen).get("_execute_child", original)  # which `getattr` may have bound
        self._hook = _popen._execute_child = _hook(original, observer)
        _popen.returncode = _Returncode()
        register_post_import_hook(self._uvloop_imported, "uvloop")
        atexit.register(end_all)

    def _uvloop_imported(self, uvloop: Any) -> None:
        observer = self.__dict__.get("_observer")
        if observer is not None:  # the hook stays, even when we do not
            _uvloop.instrument(uvloop.Loop, observer)

    def _uninstrument(self, **_: Any) -> None:
        observer = self.__dict__.pop("_observer", None)
        if observer is None:
            return
        observer.stop()  # for the case that somebody has wrapped a hook meanwhile
        if _popen._execute_child is self._hook:
            _popen._execute_child = self._before
        del _popen.returncode
        if "uvloop" in sys.modules:
            _uvloop.uninstrument(sys.modules["uvloop"].Loop)
        atexit.unregister(end_all)
        end_all()


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
        if value is not None and (child := popen.__dict__.pop(_CHILD, None)):
            child.ended(value)

    def __delete__(self, popen: Any) -> None:
        del popen.__dict__["returncode"]


def _hook(original: Any, observer: Observer) -> Any:
    @functools.wraps(original)
    def execute_child(popen: Any, *arguments: Any, **more: Any) -> None:
        child = observer.child(dict(zip(_PARAMETERS[1:], arguments, strict=False)))
        if child is None:
            original(popen, *arguments, **more)
            return
        try:
            original(popen, *arguments[:_ENV], child.env, *arguments[_ENV + 1 :], **more)
        except BaseException as error:
            child.spawn_failed(error)
            raise
        child.started(popen.pid)
        popen.__dict__[_CHILD] = child

    return cast("Any", execute_child)
