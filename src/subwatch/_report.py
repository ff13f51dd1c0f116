"""What subwatch has to say about itself, on the logger ``subwatch``."""

from __future__ import annotations

__all__ = ["report", "sink_name"]


def sink_name(sink: object) -> str:
    """Name of a sink for messages and accounts."""
    name = getattr(sink, "name", None)
    if isinstance(name, str) and name:
        return name
    return str(getattr(sink, "__name__", None) or type(sink).__name__)


def report(message: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Say something about subwatch itself on the logger ``subwatch``; on one line, whatever the arguments hold."""
    import logging

    logging.getLogger("subwatch").warning(message, *map(_spelled, args), exc_info=exc_info)


def _spelled(value: object) -> object:
    r"""A text without controls and marks that turn the direction of writing: these as ``\n`` or ``\u202e``."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
