"""`Watch`: frozen options, and the one builder of everything a run needs from them."""

from __future__ import annotations

import os
import sys
import threading
import time
from functools import partial

from . import _dispatch, _os, _plugins
from ._control import OnLine, StopOn
from ._dispatch import Dispatcher, report
from ._ending import Ending
from ._monitor import Monitor
from ._options import DEFAULTS, check, merge
from .records import Caller, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Unpack

    from ._control import Backlog
    from ._options import Options
    from ._popen import Popen
    from ._session import Session
    from .processors import Redactor
    from .sinks import Sink, SinkLike

__all__ = ["Watch", "configure", "default_watch"]

_INTERNAL = (os.path.dirname(__file__) + os.sep, os.path.join(os.path.dirname(os.__file__), "asyncio") + os.sep)


class Watch:
    """Options for runs, kept together; immutable, and free of global state.

    Takes every extra keyword of `run` as an option. The order of precedence is: the call, its watch,
    `configure`, the built-in default (the ``logging`` sink). Tags and secrets add up instead.

    A watch makes its sinks at its first run and closes them in `close`, at the latest when the
    interpreter ends. Built from names and plain options only, it pickles.

    Raises:
        TypeError: There is no such option.
        ConfigError: An option has a wrong value.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        check(options)
        if "sinks" in options:
            options["sinks"] = tuple(options["sinks"])
        self._options: dict[str, Any] = dict(options)
        self._lock = threading.Lock()
        self._sinks: tuple[Sink, ...] | None = None
        self._finalizer: Any = None
        self._redactor: tuple[Any, Redactor] | None = None

    def __repr__(self) -> str:
        return f"Watch({', '.join(f'{name}=...' for name in self._options)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (self._options,)

    def replace(self, **options: Unpack[Options]) -> Watch:
        """Return a watch with some options changed; tags and secrets add up."""
        check(options)
        return Watch(**merge(self._options, options))

    def run(self, *popenargs: Any, **kwargs: Any) -> Any:
        """As `subwatch.run`, with the options of this watch."""
        from ._popen import run

        return run(*popenargs, watch=self, **kwargs)

    def Popen(self, *popenargs: Any, **kwargs: Any) -> Popen[Any]:  # noqa: N802 - named as what it makes
        """As `subwatch.Popen`, with the options of this watch."""
        from ._popen import Popen

        return Popen(*popenargs, watch=self, **kwargs)

    def close(self, timeout: float = 5.0) -> int:
        """Flush and close the sinks that this watch made.

        Args:
            timeout: Seconds that all of them may take together.

        Returns:
            How many records were not delivered.
        """
        with self._lock:
            finalizer, self._finalizer, self._sinks = self._finalizer, None, None
        detached = finalizer.detach() if finalizer is not None else None
        return close_sinks(detached[2][0], timeout) if detached is not None else 0

    # -- building -----------------------------------------------------------------------------------

    def _options_for(self, call: Mapping[str, Any]) -> dict[str, Any]:
        base = self._options if self is _default else merge(_default._options, self._options)
        return {**DEFAULTS, **merge(base, call)}

    def _own_sinks(self) -> tuple[Sink, ...]:
        """The sinks of this watch, made at first use; without any of its own, those of `configure`."""
        if "sinks" not in self._options and self is not _default:
            return _default._own_sinks()
        with self._lock:
            if self._sinks is None:
                self._sinks, mine = make_sinks(self._options.get("sinks", DEFAULTS["sinks"]))
                if mine:
                    import weakref

                    self._finalizer = weakref.finalize(self, close_sinks, mine, 5.0)  # also at exit
            return self._sinks

    def _redactor_for(self, options: Mapping[str, Any]) -> Redactor:
        from .processors import Redactor

        wanted = options["redact"]
        if self._redactor is None or self._redactor[0] != wanted:
            made = Redactor(filter=wanted) if callable(wanted) else Redactor(wanted)
            self._redactor = (wanted, made)
        return self._redactor[1]

    def monitor(
        self,
        call: Mapping[str, Any],
        keywords: Mapping[str, Any],
        *,
        raises: bool = False,
        backlog: Backlog | None = None,
    ) -> tuple[Monitor, Ending]:
        """Build what watches one child, and open its sinks in the caller's context.

        Args:
            call: The options given to the call.
            keywords: The arguments of Popen by name, ``args`` included.
            raises: Whether the caller asked for an exception on failure.
            backlog: Where records wait for whoever iterates over them.
        """
        options = self._options_for(call)
        redactor = self._redactor_for(options).including(_secrets(keywords.get("env")))
        run = _describe(keywords, redactor, options, raises)
        session = _session(run, redactor, options, keywords)
        ending = Ending(options["grace"], options["idle_timeout"], _leads_group(options, keywords))
        release: Callable[[float], object] | None = None
        if "sinks" in call:
            sinks, mine = make_sinks(call["sinks"])
            if mine:
                release = partial(close_sinks, mine)
        else:
            sinks = self._own_sinks()
        on_line = None
        if options["on_line"] is not None:
            on_line = OnLine(options["on_line"], ending if options["on_error"] == "raise" else None)
            sinks = (*sinks, on_line)
        if options["stop_on"] is not None:
            sinks = (*sinks, StopOn(options["stop_on"], ending))
        if backlog is not None:
            sinks = (*sinks, backlog)
        monitor = Monitor(run, session, Dispatcher(run, sinks, redactor.text), redactor, options, release, on_line)
        monitor.open()
        return monitor, ending


def make_sinks(likes: Iterable[SinkLike]) -> tuple[tuple[Sink, ...], tuple[Sink, ...]]:
    """Make the sinks of a list; return them all, and those that we made and have to close."""
    built = [_plugins.build(like) for like in likes]
    return tuple(sink for sink, _ in built), tuple(sink for sink, mine in built if mine)


def close_sinks(sinks: Sequence[Sink], timeout: float) -> int:
    """Close sinks, within a deadline for all; return how many records they could not deliver."""
    deadline = time.monotonic() + timeout
    lost = 0
    for sink in sinks:
        try:
            lost += sink.close(max(0.0, deadline - time.monotonic())) or 0
        except Exception as error:  # noqa: BLE001 - one sink's trouble is not another's
            report("sink %r failed while closing: %s: %s", _dispatch.sink_name(sink), type(error).__name__, error)
    return lost


# -- describing a run -------------------------------------------------------------------------------


def _leads_group(options: Mapping[str, Any], keywords: Mapping[str, Any]) -> bool:
    return bool(options["tree"] or keywords.get("start_new_session")) or keywords.get("process_group") == 0


def _session(run: Run, redactor: Redactor, options: Mapping[str, Any], keywords: Mapping[str, Any]) -> Session:
    from ._session import Session
    from .processors import Pipeline

    levels = options["levels"]
    pipeline = Pipeline(
        redactor,
        encoding=options["record_encoding"] or keywords.get("encoding") or "utf-8",
        rules=(levels,) if callable(levels) else levels,
        default=options["default_level"],
        ceiling=options["ceiling"],
        program=run.program,
        recognizers=options["recognizers"],
    )
    delay_ns = int(options["partial_delay"] * 1e9)
    return Session(run, pipeline, max_line=options["max_line"], partial_delay_ns=delay_ns, tail=options["tail"])


def _describe(
    keywords: Mapping[str, Any], redactor: Redactor, options: Mapping[str, Any], raises: bool
) -> Run:
    argv = command(keywords)
    program = keywords.get("executable") or argv[0]
    cwd = keywords.get("cwd")
    return Run(
        id=run_id(time.time_ns()),
        argv=redactor.argv(argv),
        program=redactor.text(os.path.basename(os.fsdecode(program))),
        cwd=redactor.text(os.fsdecode(cwd) if cwd is not None else _getcwd()),
        host=os.uname().nodename,
        tags=options["tags"],
        caller=_caller(),
        parent_pid=os.getpid(),
        raises=raises,
        ceiling=options["ceiling"],
    )


def command(keywords: Mapping[str, Any]) -> list[str]:
    """The command as a list of strings, the shell included; robust, since Popen has yet to check it."""
    args = keywords["args"]
    if isinstance(args, (str, bytes, os.PathLike)):
        argv = [os.fsdecode(args)]
    else:
        try:
            argv = [os.fsdecode(arg) for arg in args] or [""]
        except TypeError:
            argv = [str(args)]
    return ["/bin/sh", "-c", *argv] if keywords.get("shell") else argv


def _getcwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _caller() -> Caller | None:
    """The first frame outside of this package and of asyncio, as :meth:`logging.Logger.findCaller` does."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_INTERNAL):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return None
    return Caller(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def run_id(time_ns: int) -> str:
    """A UUIDv7 with the time to a quarter of a microsecond in front (RFC 9562, 5.7 and 6.2 method 3)."""
    milliseconds, rest = divmod(time_ns, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    digits = f"{milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_known: tuple[Mapping[str, str], frozenset[str]] | None = None


def _secrets(env: Mapping[str, str] | None) -> frozenset[str]:
    """Values of sensitive variables of the child's environment; remembered for our own environment."""
    global _known  # noqa: PLW0603 - a cache of one
    from .processors.redact import sensitive_values

    ours = _os.environment()
    if _known is None or _known[0] is not ours:
        _known = (ours, sensitive_values(ours))
    if env is None:
        return _known[1]
    return _known[1] | sensitive_values({os.fsdecode(name): os.fsdecode(value) for name, value in env.items()})


# -- the default --------------------------------------------------------------------------------------

_default = Watch()


def configure(**options: Unpack[Options]) -> None:
    """Set the options of every run that does not set them itself, for this process.

    Replaces what was configured before, and closes the sinks that were made for it. Names of sinks are
    looked up now, so that a typo or a missing distribution shows here and not in the middle of a job.

    Args:
        options: The extra keywords of `run`.

    Raises:
        TypeError: There is no such option.
        ConfigError: An option has a wrong value.
        SinkNotFound: A named sink is not installed.
        SinkLoadError: A named sink is broken.
    """
    global _default  # noqa: PLW0603 - this is the one piece of global state, and it says so
    watch = Watch(**options)
    before, _default = _default, watch
    try:
        watch._own_sinks()
    except BaseException:
        _default = before
        raise
    before.close()


def default_watch() -> Watch:
    """The watch of runs that have none of their own."""
    return _default


def _revive(options: dict[str, Any]) -> Watch:
    return Watch(**options)
