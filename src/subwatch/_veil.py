"""Secrets in what the caller gets back: a command that equals the caller's own, but does not show them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._monitor import Monitor

__all__ = ["veil", "veil_error"]


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
