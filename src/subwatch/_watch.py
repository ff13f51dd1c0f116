"""`Watch`: frozen options, and the one builder of everything a run needs from them."""

from __future__ import annotations

from functools import partial

from . import _default, _plugins
from ._forks import importing, new_lock
from ._options import DEFAULTS, check, merge, split
from ._veil import forgets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Executor
    from types import ModuleType
    from typing import Any, Literal, Unpack

    from ._control import Backlog
    from ._ending import Ending
    from ._fleet import MapResult
    from ._monitor import Monitor
    from ._observe import Observation
    from ._options import Options
    from ._typing import Command, PopenFunction, RunFunction
    from .processors import Redactor
    from .sinks import Sink

__all__ = ["Watch", "add_sink", "configure"]


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
        self._lock = new_lock()
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

    if TYPE_CHECKING:
        run: RunFunction
        Popen: PopenFunction
    else:

        @forgets
        def run(self, *popenargs: Any, **kwargs: Any) -> Any:
            """As `subwatch.run`, with the options of this watch."""
            from ._run import run

            return run(*popenargs, watch=self, **kwargs)

        @forgets
        def Popen(self, *popenargs: Any, **kwargs: Any) -> Popen[Any]:  # noqa: N802 - named as what it makes
            """As `subwatch.Popen`, with the options of this watch."""
            from ._popen import Popen

            return Popen(*popenargs, watch=self, **kwargs)

    def observe(self, args: Command, *, streams: Iterable[str] = (), **keywords: Any) -> Observation:
        """Prepare to watch a process that other code starts, feeds and waits for; open the sinks.

        Args:
            args: The command.
            streams: Which of ``"stdout"`` and ``"stderr"`` will be handed to `Observation.data`.
            keywords: What else the process is started with, as arguments of :class:`subprocess.Popen`
                (``env``, ``cwd``, ``shell``, ``executable``), and the extra keywords of `run`.

        Returns:
            What is to be told of the process.

        Raises:
            subwatch.errors.SubwatchError: An option or a sink is wrong.
        """
        from ._observe import Observation

        options = split(keywords)
        monitor, _ = self._prepare(options, {"args": args, **keywords})
        return Observation(monitor, keywords.get("env"), frozenset(streams))

    def map(
        self,
        commands: Iterable[Command | Mapping[str, Any]],
        *,
        executor: Executor | None = None,
        ordered: bool = True,
        records: Literal["worker", "caller"] = "worker",
        host: str = "127.0.0.1",
        **keywords: Any,
    ) -> Iterator[MapResult]:
        """Run many commands on an executor: threads, processes, or an engine of many machines.

        All are submitted at once. An executor of processes must be able to import subwatch, and to pickle the
        options of this watch. A run whose worker dies is reported with the reason ``lost``; an engine that
        repeats its task (as Dask does) repeats the command.

        Args:
            commands: Commands as `run` takes them, or mappings of its arguments with ``args`` among them.
            executor: Any :class:`concurrent.futures.Executor`; by default threads, one for each CPU.
            ordered: Give the results in the order of the commands, or as they come.
            records: Whose sinks get the records: those of the ``"worker"``, where this watch is made again from
                its options, or live those of the ``"caller"`` (not with an `InterpreterPoolExecutor`).
            host: Name or address of this machine as workers reach it, for ``records="caller"``; what listens
                there takes only who knows a key that travels with the tasks.
            keywords: Further arguments of `run` for every command; those of a mapping come before them.

        Returns:
            An iterator over a `MapResult` for each command. Closing it cancels what has not begun.

        Raises:
            subwatch.errors.ConfigError: An argument is wrong; nothing was started.
        """
        from ._fleet import run_all

        check({name: keywords[name] for name in DEFAULTS.keys() & keywords.keys()})
        return run_all(self, commands, executor, ordered, records, host, keywords)

    def close(self, timeout: float = 5.0) -> int:
        """Flush and close the sinks that this watch made.

        Args:
            timeout: Seconds that all of them may take together.

        Returns:
            How many records were not delivered.
        """
        return self._close(timeout, tell=False)

    def _close(self, timeout: float | None = None, *, tell: bool) -> int:
        with self._lock:
            finalizer, self._finalizer, self._sinks = self._finalizer, None, None
        detached = finalizer.detach() if finalizer is not None else None
        return _plugins.close_all(detached[2][0], timeout, tell=tell) if detached is not None else 0

    # -- building -----------------------------------------------------------------------------------

    def _options_for(self, call: Mapping[str, Any]) -> dict[str, Any]:
        base = self._options if self is _default.current else merge(_default.current._options, self._options)
        return {**DEFAULTS, **merge(base, call)}

    def _portable(self) -> Watch:
        """A watch with the same options that does not depend on those of this process."""
        options: Any = merge(_default.current._options, self._options)
        return Watch(**options)

    def _own_sinks(self) -> tuple[Sink, ...]:
        """The sinks of this watch, made at first use; without any of its own, those of `configure`."""
        if "sinks" not in self._options and self is not _default.current:
            return _default.current._own_sinks()
        with self._lock:
            if self._sinks is None:
                self._sinks, mine = _plugins.build_all(self._options.get("sinks", DEFAULTS["sinks"]))
                if mine:
                    import weakref

                    self._finalizer = weakref.finalize(self, _plugins.close_all, mine, None)  # also at exit
            return self._sinks

    def _prepare(
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
        global _build  # noqa: PLW0603 - imported at the first run: it is not needed to import subwatch
        if _build is None:
            with importing:
                from . import _build as build

            _build = build
        options = self._options_for(call)
        wanted = options["redact"]
        if self._redactor is None or self._redactor[0] != wanted:
            self._redactor = (wanted, _build.redactor(wanted))
        release: Callable[[float], object] | None = None
        if "sinks" in call:
            sinks, mine = _plugins.build_all(call["sinks"])
            if mine:
                release = partial(_plugins.close_all, mine)
        else:
            sinks = self._own_sinks()
        sinks += _added
        if backlog is not None:
            sinks = (*sinks, backlog)
        built: tuple[Monitor, Ending] = _build.monitor(
            options, self._redactor[1], sinks, keywords, raises, release
        )
        return built


# -- the default --------------------------------------------------------------------------------------

_default.current = Watch()
_build: ModuleType | None = None


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
    watch = Watch(**options)
    before, _default.current = _default.current, watch
    try:
        watch._own_sinks()
    except BaseException:
        _default.current = before
        raise
    before._close(tell=True)


_added: tuple[Sink, ...] = ()


def add_sink(sink: Sink) -> None:
    """Add a sink to every run of this process, besides those that the run has anyway.

    For frameworks that switch watching on for their users; the user goes on to choose sinks by ``sinks=``,
    a `Watch` and `configure`, which this leaves alone. Whoever adds a sink closes it.

    Args:
        sink: A sink object; adding it again does nothing.
    """
    global _added  # noqa: PLW0603 - for the whole process, as `configure`
    if sink not in _added:
        _added = (*_added, sink)


def _revive(options: dict[str, Any]) -> Watch:
    return Watch(**options)
