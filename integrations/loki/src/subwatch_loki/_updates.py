"""Progress on its way to Loki: what is told of an update, and which ones go."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from subwatch.records import WARNING
from subwatch.sinks import ProgressThinner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from subwatch.records import Lines, Progress

__all__ = ["AMOUNTS", "Updates", "amounts"]

#: Names of the metadata of an update: fraction, two figures, two words.
AMOUNTS = ("progress", "progress_completed", "progress_total", "progress_unit", "progress_label")
#: Name of the recogniser that reads a percentage in any program's lines.
GENERIC = "percent"


class Update(NamedTuple):
    """A line that is a progress update, by itself, as `Shipper.lines` takes it."""

    time_ns: int
    number: int
    texts: list[str]
    ends: list[str]


class Updates(ProgressThinner[Update]):
    """Finds and thins the progress updates of one run.

    Updates are lines that end with a lone carriage return, and those whose progress is read by the recogniser
    of a program; a percentage alone may stand in any line (``[ 50%] Building x.o``), and only counts where it
    ends a row of updates. No updates are lines from WARNING on, and those after the exit, whose record has the
    count.
    """

    def find(self, lines: Lines, texts: list[str], ends: list[str]) -> Iterator[tuple[int, list[Update]]]:
        """Find the updates in a batch.

        Args:
            lines: The batch.
            texts: Its lines as they are to be sent.
            ends: The ends of their values.

        Yields:
            Where an update was, and which go in its place: none, it or an earlier one, or both.
        """
        if lines.late or not self.concerns(lines):
            return
        columns = zip(lines.progress, lines.endings, lines.levels, strict=True)
        for index, (progress, ending, level) in enumerate(columns):
            if level >= WARNING or not (ending == "\r" or self._goes_on(progress)):
                continue
            update = Update(lines.time_ns + index, lines.first + index, [texts[index]], [ends[index]])
            yield index, self.feed(update, progress, lines.time_ns / 1e9)

    def _goes_on(self, progress: Progress | None) -> bool:
        """Whether a whole line is an update: by its program, or since it ends a row of others."""
        if progress is None or progress.recognizer != GENERIC:
            return progress is not None
        return self.holds(progress)


def amounts(progress: Progress) -> Iterator[tuple[str, object]]:
    """What a recogniser has read, as structured metadata: numbers for `unwrap` and graphs."""
    figures = progress.fraction, progress.completed, progress.total
    for name, figure, digits in zip(AMOUNTS, figures, (4, 15, 15), strict=False):
        yield name, None if figure is None else f"{figure:.{digits}g}"
    yield from zip(AMOUNTS[3:], (progress.unit, progress.label), strict=True)
