"""Where records go: the sink protocol, and the sinks that need no third party.

A sink is anything with ``open(run)`` that returns a stream; a plain callable that takes one record is one
too. Distributions offer sinks by entry points of the group ``subwatch.sinks``; the class is the factory, and
every argument has a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from .._plugins import SinkSpec
    from ..processors.throttle import ProgressThinner
    from ..records import Exit, Line, Lines, Run, Start
    from ._background import Background
    from ._callable import CallableSink
    from ._jsonlines import JsonLinesSink
    from ._logging import LoggingSink
    from ._plain import plain
    from ._readable import readable

    #: What ``sinks=`` takes: a name, `subwatch.sink(...)`, a sink object, or a function of one record.
    SinkLike: TypeAlias = str | SinkSpec | "Sink" | Callable[[Start | Line | Exit], Any]

__all__ = [
    "Background",
    "CallableSink",
    "JsonLinesSink",
    "LoggingSink",
    "ProgressThinner",
    "Sink",
    "Stream",
    "plain",
    "readable",
]


class Stream(Protocol):
    """One run's way into a sink.

    Besides these methods a stream may have

    - ``env``, a mapping of variables to add to the child's environment (None removes one),
    - ``flush(timeout) -> int``, which blocks until what was emitted is delivered, at most `timeout`
      seconds, and returns how many records are not delivered yet,
    - ``dropped``, how many records it has dropped so far,
    - ``wants_lines``, False while it would not look at lines: where no stream does, none are made, and
      `Run.tail` still has the last,
    - ``replaces``, names of streams among `Run.forwarded` that it shows itself in the place where they lead:
      while they are named, their bytes are not passed on there as well,
    - ``idle()`` and ``due``: about the time ``due`` (`time.monotonic`; None for never) ``idle()`` is called,
      so that something can be said without a next line.
    """

    def emit(self, records: Start | Lines | Exit, /) -> None:
        """Take a batch: a `Start`, a `Lines`, or an `Exit`; each is a sequence of records.

        Called in order, by one thread at a time. Quick: the child waits. May raise: the sink is then
        reported once, left out of this run, and what it missed is counted.
        """

    def close(self) -> None:
        """Take note that no more records of this run will come. Quick."""


@runtime_checkable
class Sink(Protocol):
    """Something that takes the records of runs.

    Besides these methods a sink may have

    - ``name``, for messages and accounts,
    - ``flush_timeout``, the seconds that `close` gets at the end of the process (default 5),
    - ``standalone()``, which the command line tool calls first: it sets up what an application would have
      (``subwatch sinks --check`` calls it instead of `open`, so as to tell nobody of a run that is none),
    - ``terminal``, whether it draws on the terminal: the command line tool then has it show stdout as well.
    """

    def open(self, run: Run, /) -> Stream:
        """Return a stream for a child that is about to be started, in the caller's thread and context."""
        ...

    def close(self, timeout: float, /) -> int | None:
        """End the sink: deliver within `timeout` seconds; return how many records were not delivered.

        Some may come even later, from daemon threads at the end of the interpreter: they count as dropped.
        """


_HOME = {
    "Background": "._background",
    "CallableSink": "._callable",
    "JsonLinesSink": "._jsonlines",
    "LoggingSink": "._logging",
    "ProgressThinner": "..processors.throttle",
    "plain": "._plain",
    "readable": "._readable",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        from .._forks import importing

        with importing:
            return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
