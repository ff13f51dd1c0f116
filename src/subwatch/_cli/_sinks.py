"""``subwatch sinks``: what is installed, and whether it works."""

from __future__ import annotations

from .. import _plugins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._settings import Settings

__all__ = ["sinks"]


def sinks(settings: Settings, *, check: bool, names: bool) -> int:
    """List the sinks; return the exit status."""
    points = _plugins.installed()
    if names:
        print("\n".join(point.name for point in points))
        return 0
    rows = [("NAME", "DISTRIBUTION", "VERSION", "CLASS")]
    for point in points:
        dist = point.dist
        rows.append((point.name, dist.name if dist else "?", dist.version if dist else "?", point.value))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
