"""`RichSink`: options."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.errors import StyleSyntaxError
from rich.style import Style

from subwatch.errors import ConfigError
from subwatch.records import LEVEL_NAMES

from ._display import default_console, display_of
from ._stream import RichStream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from subwatch.records import Exit, Lines, Run, Start
    from subwatch.sinks import Stream

    from ._display import Display

__all__ = ["RichSink"]

_SHOW = ("all", "warnings", "none")
_LEVELS = {name: level for level, name in LEVEL_NAMES.items()}
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "bold red"}
_LABELS = ("cyan", "magenta", "blue", "bright_cyan", "bright_magenta", "bright_blue")


class _Nothing:
    """The stream of runs that are not shown."""

    wants_lines = False

    def emit(self, records: Start | Lines | Exit) -> None:
        pass

    def close(self) -> None:
        pass


class RichSink:
    """Shows children on the terminal: their lines scroll, below is a row for each that runs.

    A row has the program, the time, a bar and an estimate of the remaining time where the child's progress is
    known, and its last line. At the end there is one line with how it went; a failure has its last lines in a
    panel. Where the output is no terminal (or ``TERM=dumb``) there are lines and ends alone, without colours
    or control codes. All sinks on one console share one display.

    A child's stderr that would go to the same place by itself is shown by the display instead, not twice.

    Args:
        console: Where; by default rich's own console if that is a terminal, otherwise stderr.
        show: Which lines scroll: ``"all"``, ``"warnings"`` and above, or ``"none"``.
        progress: Show bars for progress that lines tell, instead of these lines.
        transient: Leave no line at the end of a child that succeeded.
        refresh_per_second: How often to draw, 0.2 to 60.
        tail: How many last lines the panel of a failure has, at most; 0 for no panel. There are never more
            than the exit record has (`Watch`'s option ``tail``).
        structured: Show of JSON and logfmt lines what they say: the message, and other fields as ``key=value``.
        programs: Show only these: a name or several, with ``*`` and ``?`` as in file names.
        styles: Styles of lines by level name, as in ``{"warning": "bold yellow"}``.

    Raises:
        ConfigError: An option has a wrong value.
    """

    name = "rich"

    def __init__(
        self,
        console: Console | None = None,
        *,
        show: str = "all",
        progress: bool = True,
        transient: bool = False,
        refresh_per_second: float = 10.0,
        tail: int = 10,
        structured: bool = True,
        programs: str | Iterable[str] = (),
        styles: Mapping[str, str] | None = None,
    ) -> None:
        if console is not None and not isinstance(console, Console):
            raise ConfigError(f"console= of the rich sink is a rich.console.Console, not {console!r}")
        if show not in _SHOW:
            raise ConfigError(f"show= of the rich sink is one of {', '.join(_SHOW)}, not {show!r}")
        if not _number(refresh_per_second, (int, float)) or not 0.2 <= refresh_per_second <= 60:
            raise ConfigError(f"refresh_per_second= of the rich sink: 0.2 to 60, not {refresh_per_second!r}")
        if not _number(tail, int) or tail < 0:
            raise ConfigError(f"tail= of the rich sink is a number of lines from 0, not {tail!r}")
        self.show = show
        self.progress = progress
        self.transient = transient
        self.refresh_per_second = refresh_per_second
        self.tail = tail
        self.structured = structured
        self._programs = (programs,) if isinstance(programs, str) else tuple(programs)
        self._styles = _styles(styles or {})
        self._console = console
        self._labels = itertools.cycle(_LABELS)
        self._display: Display | None = None

    def open(self, run: Run) -> Stream:
        """Open the stream of a run."""
        if self._programs and not any(fnmatchcase(run.program, pattern) for pattern in self._programs):
            return _Nothing()
        self._display = display_of(self._console or default_console())
        return RichStream(self, self._display, run)

    @property
    def terminal(self) -> bool:
        """Whether it draws on a terminal."""
        return display_of(self._console or default_console()).live

    def close(self, timeout: float) -> int:
        """Have everything printed; `timeout` is in seconds. Return how much is not."""
        return 0 if self._display is None else self._display.flush(timeout)

    def next_style(self) -> str:
        """Style for the name of the next child."""
        return next(self._labels)

    def style(self, level: int) -> Style:
        """Style of lines of a level."""
        return self._styles[min(max(level // 10 * 10, 10), 50)]


def _number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _styles(given: Any) -> dict[int, Style]:
    if not isinstance(given, Mapping) or not set(given) <= set(_LEVELS):
        raise ConfigError(f"styles= of the rich sink maps {', '.join(_LEVELS)} to styles; {given!r} does not")
    try:
        return {_LEVELS[name]: Style.parse(style) for name, style in {**_STYLES, **given}.items()}
    except StyleSyntaxError as error:
        raise ConfigError(f"styles= of the rich sink: {error}; see rich's documentation of styles") from error
