"""``subwatch sinks``: what is installed, and whether it works."""

from __future__ import annotations

import contextvars
import os
import time

from .. import _plugins
from .._build import run_id
from ..errors import ConfigError, SubwatchError
from ..processors.redact import Redactor
from ..records import Run
from ..sinks._plain import plain
from ._values import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    from ._settings import Settings

__all__ = ["sinks"]

_PATIENCE = 5.0  # seconds that a sink may take to close


def sinks(settings: Settings, *, check: bool, names: bool) -> int:
    """List the sinks; return the exit status: 1 where a check found something wrong."""
    points = _plugins.installed()
    if names:
        print("\n".join(dict.fromkeys(point.name for point in points)))
        return 0
    if check:
        return _check(settings, points)
    rows = [("NAME", "DISTRIBUTION", "VERSION", "CLASS")]
    for point in points:
        dist = point.dist
        rows.append((point.name, dist.name if dist else "?", dist.version if dist else "?", point.value))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _check(settings: Settings, points: list[EntryPoint]) -> int:
    wanted: dict[str, Spec] = {point.name: Spec(point.name, {}) for point in points}
    wanted.update({spec.name: spec for spec in settings["sinks"] or ()})
    width = max(map(len, wanted))
    wrong = 0
    for name, spec in wanted.items():
        used = (
            bool(spec.options)
            or settings.configured(name)
            or any(name == each.name for each in settings["sinks"] or ())
        )
        # what a sink sets up for its program, such as the trace that it continues, is not for the next one
        well, verdict = contextvars.copy_context().run(_try, settings, spec, used)
        wrong += not well
        print(f"{name.ljust(width)}  {plain(verdict)}", flush=True)
    return 1 if wrong else 0


def _try(settings: Settings, spec: Spec, used: bool) -> tuple[bool, str]:
    """Make, open (or prepare) and close a sink; return whether that is well, and what to say."""
    if spec.name == "callable":
        return not used, "ok: takes a Python function, for use in code only"
    try:
        sink = settings.build(spec)
    except ConfigError as error:
        # nobody has said how to use it: that is no fault
        return not used, f"wrong: {error}" if used else f"ok: installed, not configured ({error})"
    except SubwatchError as error:
        return False, f"wrong: {error}"
    begun = time.monotonic()
    missing: list[str] = []
    try:
        if callable(prepare := getattr(sink, "standalone", None)):
            # as `subwatch run` does; without a stream, which now would tell others of a run that is none
            missing = _warnings(prepare)
        else:
            sink.open(_trial()).close()
        left = sink.close(_PATIENCE) or 0
    except SubwatchError as error:
        return False, f"wrong: {error}"
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is the answer
        return False, f"wrong: {type(error).__name__}: {Redactor().text(str(error))}"
    took = time.monotonic() - begun
    if left:
        what = "record was" if left == 1 else "records were"
        return False, f"wrong: {left} {what} not delivered within {_PATIENCE:g} s"
    if missing:
        said = "; ".join(missing)
        return not used, f"wrong: {said}" if used else f"ok: installed, not configured ({said})"
    return True, "ok" if took < 1 else f"ok, but slow: it took {took:.1f} s to open and close"


def _warnings(prepare: Callable[[], object]) -> list[str]:
    """Call something; return the warnings that it has on the logger ``subwatch``."""
    import logging

    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger, listener = logging.getLogger("subwatch"), Listener(logging.WARNING)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        prepare()
    finally:
        logger.removeHandler(listener)
        logger.propagate = before
    return heard


def _trial() -> Run:
    return Run(
        id=run_id(time.time_ns()),
        argv=("subwatch", "sinks", "--check"),
        program="subwatch",
        cwd="",
        host=os.uname().nodename,
        tags={},
        caller=None,
        parent_pid=os.getppid(),
    )
