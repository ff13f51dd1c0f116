"""One child's way to the display."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from subwatch.records import INFO, WARNING, Exit, Lines, Start
from subwatch.sinks import readable

from ._print import Item
from ._row import Row

if TYPE_CHECKING:
    from subwatch.records import Progress, Run

    from ._display import Display
    from ._sink import RichSink

__all__ = ["RichStream"]

_NUMBERS = {"stdout": 1, "stderr": 2}  # descriptors
_PLAIN_PROGRESS = 10.0  # seconds between progress updates where they are lines like any other


class RichStream:
    """One child's way to the display.

    Args:
        sink: The options.
        display: Where to show it.
        run: The child.

    Attributes:
        dropped: Lines that were never shown, since too many waited.
    """

    def __init__(self, sink: RichSink, display: Display, run: Run) -> None:
        self.sink = sink
        self.row = Row(run.program, sink.next_style())
        self.dropped = 0
        self._display = display
        self._live = display.live
        self._covered = frozenset(name for name in run.forwarded if display.covers(_NUMBERS[name]))
        self._begun = ""  # of a line whose end is not there yet
        self._printed = 0.0
        display.enter(1 / sink.refresh_per_second)

    @property
    def wants_lines(self) -> bool:
        """Whether there is a row or a scroll for lines to be seen in."""
        return not self._display.gone and (self._live or self.sink.show != "none")

    @property
    def replaces(self) -> frozenset[str]:
        """The streams that would come out on the display raw, beside what it makes of them."""
        return self._covered if self.wants_lines else frozenset()

    def emit(self, records: Start | Lines | Exit) -> None:
        """Keep what is to be shown; the display's thread does the rest."""
        if type(records) is Lines:
            if self.wants_lines:
                self._lines(records)
        elif isinstance(records, Start):
            if self.row.label in self._display.labels():
                self.row.label += f"[{records.pid}]"
            self._display.show(self.row)
        elif isinstance(records, Exit):
            self._exit(records)

    def flush(self, timeout: float) -> int:
        """Have everything shown, within `timeout` seconds; return how much is not."""
        return self._display.flush(timeout)

    def close(self) -> None:
        """End the row; after the last one the display."""
        self._display.hide(self.row)
        self._display.leave()

    def _lines(self, lines: Lines) -> None:
        if self._live and self.sink.progress and lines.updates_only:
            self.row.keep(lines)
            return
        texts, endings = self._said(lines), lines.endings
        progress = self.row.read(lines, texts, self.sink.progress)
        if self.sink.show == "none":
            return
        if "" in endings or self._begun:
            texts, endings = self._whole(lines)
        kept = [
            (ending != "\r" and value is None) or self._scrolls(ending, value)
            for ending, value in zip(endings, progress, strict=True)
        ]
        if not any(kept):
            return
        lowest = WARNING if self.sink.show == "warnings" else 0
        columns = zip(kept, texts, lines.levels, strict=True)
        shown = [(text, level) for keep, text, level in columns if keep and level >= lowest]
        if shown:
            self._display.put(Item(self, shown))

    def _said(self, lines: Lines) -> list[str]:
        """What the lines say to a person."""
        texts = lines.texts
        if not self.sink.structured or not any(lines.fields):
            return texts
        return [readable(text, fields) for text, fields in zip(texts, lines.fields, strict=True)]

    def _whole(self, lines: Lines) -> tuple[list[str], list[str]]:
        """Put lines together that came in pieces, such as a prompt and what followed it."""
        texts, endings = [], []
        for line in lines:
            text = self._begun + line.text if line.continued else line.text
            self._begun = text if line.partial else ""
            texts.append(text)
            endings.append("\r" if line.partial else line.ending)
        self.row.last = texts[-1] or self.row.last
        return texts, endings

    def _scrolls(self, ending: str, progress: Progress | None) -> bool:
        """Whether a progress update is printed: its end is, and where there are no rows one in a while."""
        if ending != "\r" and progress is not None and (progress.fraction or 0) >= 1:
            return True
        now = time.monotonic()
        if self._live or self._begun or now - self._printed < _PLAIN_PROGRESS:
            return False
        self._printed = now
        return True

    def _exit(self, exit: Exit) -> None:
        self._display.hide(self.row)
        lines = [(self._begun, INFO)] if self._begun and self.sink.show == "all" else []
        self._begun = ""
        shown = exit if exit.failed or not self.sink.transient else None
        self._display.put(Item(self, lines, shown))
