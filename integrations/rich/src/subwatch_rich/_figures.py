"""Figures made readable."""

from __future__ import annotations

__all__ = ["duration", "size"]


def duration(seconds: float, *, clock: bool = False) -> str:
    """Spell a duration: ``0.42 s``, ``12.3 s``, ``3:25``, ``1:03:25``.

    Args:
        seconds: The duration.
        clock: ``0:12`` for short ones too: as long as it goes on, its width should not change.
    """
    if seconds < 60 and not clock:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float) -> str:
    """Spell a number of bytes: ``812 KiB``, ``28.4 MiB``."""
    units = ["TiB", "GiB", "MiB", "KiB"]
    count /= 1024
    while count >= 1000 and len(units) > 1:
        units.pop()
        count /= 1024
    return f"{count:.0f} {units[-1]}" if count >= 100 else f"{count:.1f} {units[-1]}"
