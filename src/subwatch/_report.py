"""What subwatch has to say about itself, on the logger ``subwatch``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["listener", "report", "report_undelivered", "sink_name"]

#: Takes what is reported, in place of the logger: for the command line tool, which starts sooner without.
listener: Callable[[str], object] | None = None


def sink_name(sink: object) -> str:
    """Name of a sink for messages and accounts."""
    name = getattr(sink, "name", None)
    if isinstance(name, str) and name:
        return name
    return str(getattr(sink, "__name__", None) or type(sink).__name__)


def report(
    message: str,
    *args: object,
    error: BaseException | None = None,
    redact: Callable[[str], str] = lambda text: f"({len(text)} characters are withheld)",
) -> None:
    """Say something about subwatch itself on the logger ``subwatch``; on one line, whatever the arguments hold.

    Args:
        message: A template, %-style.
        args: For the template.
        error: Its traceback follows as text. Not as ``exc_info``: libraries put the URL that they were given, with its
            password, into exceptions, and error trackers send along what local variables hold.
        redact: Masks secrets in the traceback.
    """
    values = tuple(map(_spelled, args))
    if listener is not None:
        listener(message % values)
        return
    import logging

    logger = logging.getLogger("subwatch")
    if not logger.isEnabledFor(logging.WARNING):
        return
    record = logger.makeRecord(logger.name, logging.WARNING, __file__, 0, message, values, None, "report")
    if error is not None:
        import traceback

        record.exc_text = redact("".join(traceback.format_exception(error)).rstrip())
    logger.handle(record)


def report_undelivered(sink: object, count: int) -> None:
    """Say how many records a sink could not deliver, where nobody else is told."""
    if count:
        report(
            "sink %s: %d record%s not delivered", sink_name(sink), count, " was" if count == 1 else "s were"
        )


def _spelled(value: object) -> object:
    r"""A text without controls and marks that turn the direction of writing: these as ``\n`` or ``\u202e``."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
