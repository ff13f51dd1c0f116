"""What scrolls: lines, verdicts, and the panel of a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import ROUNDED
from rich.cells import cell_len
from rich.panel import Panel
from rich.segment import Segment
from rich.text import Text

from subwatch.records import ERROR
from subwatch.sinks import plain, readable

from ._figures import duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from subwatch.records import Exit

    from ._stream import RichStream

__all__ = ["Item", "segments"]

_NEWLINE = Segment.line()


class Item:
    """Something of one child to print.

    Args:
        stream: The stream of its run.
        lines: Its lines: text and level.
        exit: Its end.
    """

    __slots__ = ("exit", "lines", "stream")

    def __init__(self, stream: RichStream, lines: list[tuple[str, int]], exit: Exit | None = None) -> None:
        self.stream = stream
        self.lines = lines
        self.exit = exit

    def drop(self, most: int) -> int:
        """Give up so many lines at most, the oldest; return how many."""
        count = min(most, len(self.lines))
        self.stream.dropped += count
        del self.lines[:count]
        return count


def segments(console: Console, items: list[Item], missing: int, width: int) -> list[Segment]:
    """Turn items into what is printed.

    Args:
        console: Where.
        items: What.
        missing: Lines that were dropped before.
        width: Columns that labels are filled up to on a terminal.
    """
    content: list[Segment] = []
    if missing:
        content += [Segment(f"({missing:,} lines not shown)", console.get_style("dim italic")), _NEWLINE]
    for item in items:
        content.extend(_lines(console, item, width))
        if item.exit is not None:
            content.extend(_verdict(console, item, item.exit))
    return content


def _lines(console: Console, item: Item, width: int) -> Iterator[Segment]:
    if not item.lines:
        return
    row, encoding, style = item.stream.row, console.encoding, item.stream.sink.style
    label = plain(row.label, encoding)
    bar = "|" if console.options.ascii_only else "│"
    if console.is_terminal or console.is_jupyter:
        label += " " * (width - cell_len(label))
        start = [Segment(label, console.get_style(row.style)), Segment(f" {bar} ", console.get_style("dim"))]
    else:
        start = [Segment(f"{label}: ")]
    prefix = f"{row.program}: "
    for text, level in item.lines:
        yield from start
        yield Segment(plain(text.removeprefix(prefix), encoding), style(level))
        yield _NEWLINE


def _verdict(console: Console, item: Item, exit: Exit) -> Iterator[Segment]:
    label, sink = plain(item.stream.row.label, console.encoding), item.stream.sink
    outcome = "ok" if exit.returncode == 0 else plain(exit.outcome, console.encoding)
    figures = ", ".join(_figures(exit))
    fancy = console.is_terminal or console.is_jupyter
    tail = _tail(item, exit, console.encoding)
    if not fancy:
        outcome = f"FAILED: {outcome}" if exit.failed else outcome
        yield Segment(f"{label}: {outcome} after {figures}\n")
        if sink.show != "all":
            for text in tail:
                yield Segment(f"{label}: {text.plain}\n")
        return
    mark = ("x", "+") if console.options.ascii_only else ("✗", "✓")
    style = console.get_style("bold red" if exit.failed else "green")
    yield Segment(f"{mark[not exit.failed]} {label} {outcome}", style)
    yield Segment(f"  {figures}", console.get_style("dim"))
    yield _NEWLINE
    if tail:
        yield from _panel(console, label, tail)


def _figures(exit: Exit) -> Iterator[str]:
    yield duration(exit.duration)
    if exit.usage is not None and exit.usage.max_rss:
        yield size(exit.usage.max_rss)
    count = sum(exit.lines.values())
    yield f"{count:,} line{'s' * (count != 1)}"


def _tail(item: Item, exit: Exit, encoding: str) -> list[Text]:
    sink = item.stream.sink
    if not exit.failed or not sink.tail:
        return []
    if exit.error:
        return [Text(plain(exit.error, encoding), sink.style(ERROR))]
    last = list(exit.tail)[-sink.tail :]
    texts = [readable(line.text, line.fields) if sink.structured else line.text for line in last]
    return [
        Text(plain(text, encoding), sink.style(line.level)) for text, line in zip(texts, last, strict=True)
    ]


def _panel(console: Console, label: str, tail: list[Text]) -> Iterator[Segment]:
    title = Text(f"last lines of {label}", "bold red")
    panel = Panel(Text("\n").join(tail), title=title, title_align="left", border_style="red", box=ROUNDED)
    # narrower than the terminal, so that it never wraps; lines that are too long are folded inside
    options = console.options.update(width=max(1, console.width - 1), no_wrap=False, overflow="fold")
    for line in console.render_lines(panel, options, pad=False):
        yield from line
        yield _NEWLINE
