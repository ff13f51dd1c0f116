r"""Rows below whatever a console prints, whoever prints it.

The rows lie below the cursor, one line further down: each time they are drawn the cursor is put back to where
it was. So nothing has to be known about the screen: what others write to the same terminal, past rich, lands
above the rows; a terminal that changes its size or a display of the application that comes or goes does no
lasting harm; and after a kill there is no cursor to show again. `rich.live.Live` cannot do that: it
counts lines, and before rich 14.1 a console has one at a time (later ones have to end in the opposite order).

While the application has a Live or Progress of its own on the console, the rows are part of its picture.

This module is the only one that touches what rich keeps to itself (`_render_hooks`, `_buffer_index`, and of a Live
`_live_render`, `_lock`, `_alt_screen`): the same from 13.0 to 15.0, hence the upper bound of the dependency.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rich.console import RenderHook
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType, Segment, Segments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult

__all__ = ["Hook"]


def _control(codes: str) -> Segment:
    return Segment(codes, None, [(ControlType.ERASE_IN_LINE, 0)])


_CLEAR = _control("\x1b[J")  # from the cursor to the end of the screen
_NEXT, _REST = _control("\r"), _control("\x1b[K")


class Hook(RenderHook):
    """Adds rows to everything that a console prints.

    Args:
        console: The console.

    Attributes:
        rows: The lines to show, each as segments without line end. Replaced as a whole: read by any thread.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.rows: list[list[Segment]] = []

    def attach(self) -> None:
        """Begin. The hook is the first in the list: rich takes hooks off its end, whosever they are."""
        if self not in self._console._render_hooks:
            self._console._render_hooks.insert(0, self)

    def detach(self) -> None:
        """End; the last frame has been without rows."""
        if self in self._console._render_hooks:
            self._console._render_hooks.remove(self)

    def alone(self) -> ExitStack:
        """Keep the application's Lives from being drawn or ended while we print: rich does so in several steps."""
        stack = ExitStack()
        for live in self._lives():
            stack.enter_context(live._lock)
        return stack

    def _lives(self) -> list[Live]:
        return [hook for hook in self._console._render_hooks if isinstance(hook, Live)]

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Put the rows below what is printed."""
        lives = self._lives()
        for live in lives:
            self._join(live)
        if self._console._buffer_index > 1:  # the application captures it, or makes one of several prints
            return renderables
        rows = [] if lives else self.rows
        # rows that stay in place are written over, without an instant in which they are not there
        stays = rows and all(isinstance(renderable, Control) for renderable in renderables)
        return [Segments([] if stays else [_CLEAR]), *renderables, Segments(_below(rows))]

    def _join(self, live: Live) -> None:
        picture = live._live_render
        if live.is_started and not live._alt_screen and not isinstance(picture.renderable, _Joined):
            picture.set_renderable(_Joined(picture.renderable, self))


def _below(rows: list[list[Segment]]) -> Iterable[Segment]:
    if not rows:
        return
    # clear where others' lines have moved the cursor to; index (which scrolls at the bottom and keeps the
    # column) and up again, so that there is room; save the cursor
    yield _control("\x1b[K" + "\x1bD" * len(rows) + f"\x1b[{len(rows)}A\x1b7")
    for row in rows:
        yield _NEXT
        yield Segment.line()
        yield from row
        yield _REST
    yield _control("\x1b[J\x1b8")


class _Joined:
    """The picture of an application's Live with our rows below."""

    def __init__(self, theirs: Any, hook: Hook) -> None:
        self._theirs = theirs
        self._hook = hook

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in (*console.render_lines(self._theirs, options, pad=False), *self._hook.rows):
            yield from line
            yield Segment.line()
