"""Secrets in what the caller gets back: a command that equals the caller's own, but does not show them."""

from __future__ import annotations

import functools
import os
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, TypeVar

    from ._monitor import Monitor

    F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["forgets", "forgets_async", "veil", "veil_error"]

_OURS = (os.path.dirname(__file__) + os.sep, subprocess.__file__)


class Veiled:
    """Mixin: equal to the command it holds in every way, but shown with its secrets masked."""

    shown: str

    def __repr__(self) -> str:
        return self.shown


class _VeiledList(Veiled, list["Any"]):
    pass


class _VeiledTuple(Veiled, tuple["Any", ...]):  # noqa: SLOT001 - it has an attribute
    pass


class _VeiledStr(Veiled, str):
    __slots__ = ("shown",)

    def __str__(self) -> str:
        return self.shown

    def __format__(self, spec: str) -> str:
        return format(self.shown, spec)


def veil(args: Any, monitor: Monitor) -> Any:
    """Return a command as it is; or, where it holds secrets, an equal one that does not show them."""
    if not monitor.secretive:
        return args
    if isinstance(args, str):
        veiled = _VeiledStr(args)
        veiled.shown = monitor.run.argv[-1]
        return veiled
    if isinstance(args, (list, tuple)):
        hidden = _VeiledList(args) if isinstance(args, list) else _VeiledTuple(args)
        shown = monitor.run.argv[-len(args) :]
        hidden.shown = repr(shown if isinstance(args, tuple) else list(shown))
        return hidden
    return args


def veil_error(error: BaseException, monitor: Monitor) -> None:
    """Mask secrets in the file name of an OSError."""
    if isinstance(error, OSError) and isinstance(error.filename, str):
        safe = monitor.redactor.text(error.filename)
        if safe != error.filename:
            error.filename = safe


def forgets(function: F) -> F:
    """Empty, of what a public function raises, our frames and all that we have called.

    Error trackers send along the local variables of all frames, and these hold the command and the environment:
    ours, those of :mod:`subprocess`, and of whoever has wrapped that (Sentry's SDK does).
    """

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            args = kwargs = None  # type: ignore[assignment]
            _empty(error)
            raise

    return called  # type: ignore[return-value]


def forgets_async(function: F) -> F:
    """As `forgets`, of a coroutine function."""

    @functools.wraps(function)
    async def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except BaseException as error:
            args = kwargs = None  # type: ignore[assignment]
            _empty(error)
            raise

    return called  # type: ignore[return-value]


def _empty(error: BaseException | None) -> None:
    """Clear the local variables of finished frames, of an error and of what it is chained to."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        step: TracebackType | None = error.__traceback__
        called = False
        while step is not None:
            called = called or step.tb_frame.f_code.co_filename.startswith(_OURS)
            if called:
                try:
                    step.tb_frame.clear()
                except RuntimeError:  # it is still running
                    pass
            step = step.tb_next
        error = error.__cause__ or error.__context__
