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
    """Say something about subwatch itself on the logger ``subwatch``."""
    import logging

    logging.getLogger("subwatch").warning(message, *args, exc_info=exc_info)
