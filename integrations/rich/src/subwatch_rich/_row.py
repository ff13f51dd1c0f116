"""One live row: what a running child is at."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment

from subwatch.sinks import plain

from ._figures import duration

if TYPE_CHECKING:
    from rich.console import Console

    from subwatch.records import Lines, Progress

__all__ = ["LABEL", "Row", "render"]

_SPINNER, _SPINNER_ASCII = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
_SPAN = 30.0  # seconds that the estimate of the remaining time looks back, as rich's own does
_BAR = 24  # columns of a bar, at most
LABEL = 24  # columns of a label, at most


class Row:
    """A running child as the display shows it. Written by the child's thread, read by the display's.

    Args:
        program: Its name.
        style: The style of its name.

    Attributes:
        label: Its name among the rows.
        last: The last line, as the child wrote it.
        fraction: How far it is, 0 to 1; None when unknown.
    """

    __slots__ = ("_latest", "_lock", "_samples", "begin", "fraction", "label", "last", "program", "style")

    def __init__(self, program: str, style: str) -> None:
        self.program = self.label = program
        self.style = style
        self.begin = time.monotonic()
        self.last = ""
        self.fraction: float | None = None
        self._samples: deque[tuple[float, float]] = deque(maxlen=128)
        self._lock = threading.Lock()
        self._latest: Lines | None = None

    def keep(self, updates: Lines) -> None:
        """Keep progress updates; only the latest are read, and only when the row is drawn."""
        with self._lock:
            self._latest = updates

    def catch_up(self) -> None:
        """Read the progress of the latest updates."""
        with self._lock:
            lines, self._latest = self._latest, None
            if lines is not None:
                self._read(lines, lines.texts, True)

    def read(self, lines: Lines, texts: list[str], progress: bool) -> list[Progress | None]:
        """Read lines now.

        Args:
            lines: The lines.
            texts: What they say to a person.
            progress: Whether to read their progress.

        Returns:
            Their progress.
        """
        with self._lock:
            self._latest = None
            return self._read(lines, texts, progress)

    def _read(self, lines: Lines, texts: list[str], wanted: bool) -> list[Progress | None]:
        progress: list[Progress | None] = lines.progress if wanted else [None] * len(texts)
        for value in progress:
            if value is not None:
                self._advance(value)
        for text, value in zip(reversed(texts), reversed(progress), strict=True):
            if text:
                figures = value is not None and text[0] == "{"  # of JSON without a message the row has them
                self.last = (value and value.label) or "" if figures else text
                break
        return progress

    def _advance(self, progress: Progress) -> None:
        """Take note of progress; what cannot be, such as 120 % or less than before, does no harm."""
        fraction = progress.fraction
        if fraction is None or not math.isfinite(fraction):
            return
        fraction = min(max(fraction, 0.0), 1.0)
        now, samples = time.monotonic(), self._samples
        if samples and fraction < samples[-1][1]:  # the next phase, or another total
            samples.clear()
        if not samples or now - samples[-1][0] > _SPAN / 120:
            while samples and now - samples[0][0] > _SPAN:
                samples.popleft()
            samples.append((now, fraction))
        self.fraction = fraction

    def remaining(self, now: float) -> float | None:
        """Estimate how many seconds are left, or None."""
        samples, fraction = self._samples, self.fraction
        if fraction is None or fraction >= 1 or not samples:
            return None
        begin, first = samples[0]
        if now - begin < 1 or fraction <= first:
            return None
        left = (1 - fraction) * (now - begin) / (fraction - first)
        return left if left < 360_000 else None


def render(rows: tuple[Row, ...], console: Console) -> list[list[Segment]]:
    """Draw rows as lines of segments, each narrower than the terminal."""
    options = console.options
    (width, height), ascii_only = options.size, options.ascii_only
    now = time.monotonic()
    shown = rows[: max(1, height - 3)] if len(rows) > max(1, height - 2) else rows
    labels = [plain(row.label, console.encoding) for row in shown]
    label_width = min(max(map(cell_len, labels), default=0), LABEL, max(6, width // 3))
    clocks = [duration(now - row.begin, clock=True) for row in shown]
    clock_width = max(map(len, clocks), default=0)
    lines = []
    for row, label, clock in zip(shown, labels, clocks, strict=True):
        line = _Line(console, width - 1)  # the last column stays free: terminals differ in when they wrap
        spinner = _SPINNER_ASCII if ascii_only else _SPINNER
        line.add(spinner[int(now * 10) % len(spinner)] + " ", "progress.spinner")
        line.add(_fit(label, label_width, ascii_only) + " ", row.style)
        line.add(clock.rjust(clock_width) + " ", "progress.elapsed")
        if row.fraction is not None:
            _progress(line, row, now, ascii_only)
        text = plain(row.last, console.encoding).replace("\t", " ")
        if line.room >= min(8, cell_len(text)):
            line.add(_fit(text, min(line.room, cell_len(text)), ascii_only), "dim")
        lines.append(line.segments)
    if len(shown) < len(rows):
        line = _Line(console, width - 1)
        line.add(f"  and {len(rows) - len(shown)} more", "dim")
        lines.append(line.segments)
    return lines


def _progress(line: _Line, row: Row, now: float, ascii_only: bool) -> None:
    fraction = row.fraction or 0.0
    size = min(_BAR, line.room - 6, max(line.room // 3, 8))
    if size >= 4:
        whole, half = divmod(int(fraction * size * 2), 2)
        full, tip, rest = ("=", "-", " ") if ascii_only else ("━", "╸", "━")
        done = full * whole + tip * half
        line.add(done, "bar.finished" if fraction == 1 else "bar.complete")
        line.add(rest * (size - len(done)) + " ", "bar.back")
    if line.room >= 5:
        line.add(f"{int(fraction * 100):3}% ", "progress.percentage")
    left = row.remaining(now)
    if left is not None and line.room >= 12:
        line.add(f"eta {duration(left, clock=True)} ", "progress.remaining")


class _Line:
    """A line of segments that grows up to a width."""

    def __init__(self, console: Console, width: int) -> None:
        self.segments: list[Segment] = []
        self.room = width
        self._style = console.get_style

    def add(self, text: str, style: str) -> None:
        width = cell_len(text)
        if width > self.room:
            text, width = set_cell_size(text, max(self.room, 0)), max(self.room, 0)
        if text:
            self.segments.append(Segment(text, self._style(style)))
            self.room -= width


def _fit(text: str, width: int, ascii_only: bool) -> str:
    """Make text fill so many columns exactly."""
    if cell_len(text) <= width or width < 2:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + ("~" if ascii_only else "…")
