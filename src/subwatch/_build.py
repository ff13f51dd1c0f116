"""The one builder: from options and a command to everything that watches the child."""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache

from . import _os
from ._control import OnLine, StopOn
from ._dispatch import Dispatcher
from ._ending import Ending
from ._monitor import Monitor
from ._session import Session
from ._tap import forwarded
from .processors import Pipeline, Redactor
from .processors._wrappers import speaker
from .processors.redact import sensitive_values
from .records import Caller, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import FrameType
    from typing import Any

    from .sinks import Sink

__all__ = ["monitor", "redactor", "run_id"]

_LIBRARY = os.path.dirname(os.__file__)
_INTERNAL = (
    os.path.dirname(__file__) + os.sep,
    os.path.join(_LIBRARY, "asyncio") + os.sep,
    os.path.join(_LIBRARY, "subprocess.py"),
)
_HOST = os.uname().nodename


def redactor(wanted: Iterable[str] | Callable[[str], str]) -> Redactor:
    """Make the redactor of a watch from its option ``redact``."""
    return Redactor(filter=wanted) if callable(wanted) else Redactor(wanted)


def monitor(
    options: Mapping[str, Any],
    redactor: Redactor,
    sinks: tuple[Sink, ...],
    keywords: Mapping[str, Any],
    raises: bool,
    release: Callable[[float], object] | None,
) -> tuple[Monitor, Ending]:
    """Build what watches one child, and open its sinks in the caller's context.

    Args:
        options: All options of the call.
        redactor: That of the watch; the child's own secrets are added here.
        sinks: Where the records go.
        keywords: The arguments of Popen by name, ``args`` included.
        raises: Whether the caller asked for an exception on failure.
        release: Closes sinks that were made for this run alone.
    """
    redactor = redactor.including(_secrets(keywords.get("env")))
    argv = _command(keywords)
    run = _describe(argv, keywords, redactor, options, raises)
    session = _session(run, redactor, options, keywords)
    own_group = options["tree"] or keywords.get("start_new_session") or keywords.get("process_group") == 0
    ending = Ending(options["grace"], options["idle_timeout"], bool(own_group))
    on_line = None
    if options["on_line"] is not None:
        on_line = OnLine(options["on_line"], ending if options["on_error"] == "raise" else None)
        sinks = (*sinks, on_line)
    if options["stop_on"] is not None:
        sinks = (*sinks, StopOn(options["stop_on"], ending))
    dispatcher = Dispatcher(run, sinks, redactor.text)
    made = Monitor(run, session, dispatcher, redactor, options, release, on_line)
    made.secretive = run.argv != tuple(argv)
    made.open()
    return made, ending


def _session(
    run: Run, redactor: Redactor, options: Mapping[str, Any], keywords: Mapping[str, Any]
) -> Session:
    levels = options["levels"]
    pipeline = Pipeline(
        redactor,
        encoding=options["record_encoding"] or keywords.get("encoding") or "utf-8",
        rules=(levels,) if callable(levels) else levels,
        default=options["default_level"],
        ceiling=options["ceiling"],
        program=speaker(run.program, run.argv),
        recognizers=_recognizers(options["recognizers"]),
    )
    delay_ns = int(options["partial_delay"] * 1e9)
    return Session(
        run, pipeline, max_line=options["max_line"], partial_delay_ns=delay_ns, tail=options["tail"]
    )


def _recognizers(wanted: Sequence[Any] | None) -> Sequence[Any] | None:
    if not wanted:
        return None
    from .processors.progress import resolve

    return resolve(wanted)


def _describe(
    argv: list[str], keywords: Mapping[str, Any], redactor: Redactor, options: Mapping[str, Any], raises: bool
) -> Run:
    safe = redactor.argv(argv)
    executable, cwd = keywords.get("executable"), keywords.get("cwd")
    return Run(
        id=run_id(time.time_ns()),
        argv=safe,
        program=(safe[0] if executable is None else redactor.text(_text(executable))).rpartition("/")[2],
        cwd=_place(redactor, _text(_getcwd() if cwd is None else cwd)),
        host=_HOST,
        tags=options["tags"],
        caller=_caller(),
        parent_pid=os.getpid(),
        raises=raises,
        ceiling=options["ceiling"],
        forwarded=forwarded(keywords, options["watch_stdout"]),
    )


def _command(keywords: Mapping[str, Any]) -> list[str]:
    """The command as a list of strings, the shell included; robust, since Popen has yet to check it."""
    args = keywords["args"]
    if type(args) is not list and isinstance(args, (str, bytes, os.PathLike)):  # to ask an ABC is dear
        argv = [_text(args)]
    else:
        try:
            argv = [_text(arg) for arg in args] or [""]
        except TypeError:
            argv = [str(args)]
    return ["/bin/sh", "-c", *argv] if keywords.get("shell") else argv


def _text(value: Any) -> str:
    """A path or argument as text that can be encoded, whatever its bytes."""
    text = value if type(value) is str else os.fsdecode(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


@lru_cache(8)
def _place(redactor: Redactor, path: str) -> str:
    return redactor.text(path)


def _getcwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _caller() -> Caller | None:
    """The first frame outside of this package, asyncio and subprocess, as :meth:`logging.Logger.findCaller` does."""
    frame: FrameType | None = sys._getframe(4)  # those before are _describe, monitor, Watch._prepare
    while frame is not None and frame.f_code.co_filename.startswith(_INTERNAL):
        frame = frame.f_back
    if frame is None:
        return None
    return Caller(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # its two highest bits are 10


def run_id(time_ns: int) -> str:
    """A UUIDv7 with the time to a quarter of a microsecond in front (RFC 9562, 5.7 and 6.2 method 3)."""
    milliseconds, rest = divmod(time_ns, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    time, random = f"{milliseconds:012x}", os.urandom(8).hex()
    return f"{time[:8]}-{time[8:]}-7{fraction:03x}-{_VARIANT[random[0]]}{random[1:4]}-{random[4:]}"


_known: tuple[Mapping[str, str], frozenset[str]] | None = None


def _secrets(env: Mapping[str, str] | None) -> frozenset[str]:
    """Values of sensitive variables of the child's environment; remembered for our own environment."""
    global _known  # noqa: PLW0603 - a cache of one
    ours = _os.environment()[1]
    if _known is None or _known[0] is not ours:
        _known = (ours, sensitive_values(ours))
    if env is None:
        return _known[1]
    return _known[1] | sensitive_values(
        {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    )
