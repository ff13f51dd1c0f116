"""`Popen`, with a thread that watches."""

from __future__ import annotations

import threading

from ._control import Backlog
from ._default import default_watch
from ._options import split
from ._pump import Pump
from ._spawn import Child, by_name
from ._veil import forgets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, AnyStr, Unpack, overload  # noqa: F401 - AnyStr is named in a base class

    from ._typing import (
        Command,
        PopenAny,
        PopenBytes,
        PopenEncoding,
        PopenErrors,
        PopenNewlines,
        PopenText,
    )
    from .records import Exit, Line, Start

__all__ = ["Popen"]


class Popen(Child["AnyStr"]):
    """A `subprocess.Popen` whose stderr is watched from its start to its end, by a thread.

    Accepts what `subprocess.Popen` accepts, positionally too, and the extra keywords of `run`. The sinks
    get the lines wherever stderr leads, and whether or not the caller reads its pipes. The exit record is
    sent when the child ends, even when nobody waits for it; it then has no usage figures, which only
    reaping gives.

    Raises:
        OSError: The child could not be started, as from `subprocess.Popen`.
        subwatch.errors.SubwatchError: An option or a sink is wrong; nothing was started.
    """

    if TYPE_CHECKING:

        @overload
        def __init__(
            self: Popen[str], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenText]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenEncoding]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenErrors]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[str], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenNewlines]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[bytes], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenBytes]
        ) -> None: ...
        @overload
        def __init__(
            self: Popen[Any], args: Command, bufsize: int = -1, **kwargs: Unpack[PopenAny]
        ) -> None: ...

    @forgets
    def __init__(self, *popenargs: Any, **kwargs: Any) -> None:
        watch = kwargs.pop("watch", None) or default_watch()
        options = split(kwargs)
        keywords = by_name(popenargs, kwargs)
        self._news = threading.Event()
        self._backlog = Backlog(self._news.set)
        monitor, ending = watch._prepare(options, keywords, backlog=self._backlog)
        self._waiting = 0
        self._reaped = threading.Event()
        super().__init__(keywords, monitor, direct=False)
        self._pump = Pump(self, monitor, ending)

    def wait(self, timeout: float | None = None) -> int:
        """As :meth:`subprocess.Popen.wait`; what the child wrote has reached its place when this returns."""
        self._waiting += 1
        try:
            returncode = super().wait(timeout)
        finally:
            self._waiting -= 1
        self._pump.catch_up()
        return returncode

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """As :meth:`subprocess.Popen.communicate`; does not wait for ever for a pipe that another process holds."""
        self._waiting += 1
        try:
            result = super().communicate(input, timeout)
        finally:
            self._waiting -= 1
        self._pump.catch_up()
        return result

    def records(self) -> Iterator[Start | Line | Exit]:
        """Iterate over the child's records, live, from its start to its exit; late lines go to the sinks alone.

        What waits to be taken is bounded (16 MiB): beyond that the oldest lines give way, and the exit
        record counts them under ``records``. To be called once.
        """
        backlog = self._backlog
        backlog.claim()
        while True:
            self._news.clear()
            ended = backlog.ended
            batch = backlog.pop()
            if batch is not None:
                yield from batch
            elif ended:
                return
            else:
                self._news.wait()

    def _handle_exitstatus(self, *args: Any, **kwargs: Any) -> None:
        super()._handle_exitstatus(*args, **kwargs)  # type: ignore[misc]
        self._reaped.set()
