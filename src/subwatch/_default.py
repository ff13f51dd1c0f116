"""The watch of runs that have none of their own: the one piece of global state, set by `subwatch.configure`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._watch import Watch

__all__ = ["current", "default_watch"]

#: Set by `subwatch._watch`, which is imported with subwatch.
current: Watch = None  # type: ignore[assignment]


def default_watch() -> Watch:
    """The watch of runs that have none of their own."""
    return current
