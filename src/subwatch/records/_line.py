"""What a child says: batches of lines, opened only when somebody looks."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Protocol

    from ._progress import Progress
    from ._run import Run

    class Reader(Protocol):
        """Turns the bytes of whole lines into redacted columns (`subwatch.processors.Pipeline`)."""

        def texts(self, block: bytes) -> tuple[list[str], list[str] | None, list[int] | None]: ...
        def levels(self, texts: list[str]) -> list[int]: ...
        def progress(self, lines: Lines) -> list[Progress | None] | None: ...
        def fields(self, lines: Lines) -> list[Mapping[str, Any] | None] | None: ...


__all__ = ["CONTINUED", "PARTIAL", "TRUNCATED", "Line", "Lines"]

#: Why a record does not hold one whole line: bits of `Lines.flags`.
PARTIAL, TRUNCATED, CONTINUED = 1, 2, 4


class Lines:
    """Consecutive lines of one run, read at once: a sequence of `Line`, made only when somebody looks.

    A sink that needs columns takes `texts`, `levels`, `times` and so on, each as long as the batch, decoded,
    redacted and split once for all sinks. A sink that needs none of it costs nothing.

    Attributes:
        run: The run that the lines belong to.
        stream: ``"stderr"``, or ``"stdout"`` when that is watched.
        time_ns: When the first line was read, in nanoseconds since the epoch; the others follow by 1 ns,
            so that times strictly increase within a run.
        first: Number of the first line; lines are numbered from 1 within the run.
        late: Written by another process after the child itself had exited.
        size: Bytes that the batch holds, to bound queues with.
    """

    __slots__ = (
        "_block",
        "_count",
        "_endings",
        "_fields",
        "_flags",
        "_levels",
        "_progress",
        "_reader",
        "_texts",
        "_times",
        "first",
        "late",
        "run",
        "size",
        "stream",
        "time_ns",
    )

    def __init__(
        self,
        run: Run,
        stream: str,
        first: int,
        time_ns: int,
        late: bool,
        reader: Reader,
        block: bytes | None,
        texts: list[str] | None = None,
        endings: list[str] | None = None,
        flags: list[int] | None = None,
    ) -> None:
        self.run: Run = run
        self.stream: str = stream
        self.first: int = first
        self.time_ns: int = time_ns
        self.late: bool = late
        self._reader = reader
        self._block = block
        self._texts = texts
        self._endings = endings
        self._flags = flags
        self._levels: list[int] | None = None
        self._progress: list[Progress | None] | None = None
        self._fields: list[Mapping[str, Any] | None] | None = None
        self._times: list[int] | None = None
        if block is not None:
            self._count = -1
            self.size: int = len(block)
        else:
            self._count = len(texts or ())
            self.size = sum(map(len, texts or ()))

    def _open(self) -> list[str]:
        block = self._block
        if block is None:  # another thread has opened it meanwhile
            assert self._texts is not None
            return self._texts
        texts, self._endings, self._levels = self._reader.texts(block)
        self._texts = texts
        self._count = len(texts)
        self._block = None
        return texts

    @property
    def texts(self) -> list[str]:
        """The lines' texts, redacted, without their endings."""
        texts = self._texts
        return self._open() if texts is None else texts

    @property
    def endings(self) -> list[str]:
        r"""The lines' endings: ``\n``, ``\r\n``, ``\r`` (a progress update), or empty."""
        texts = self.texts
        if self._endings is None:
            self._endings = ["\n"] * len(texts)
        return self._endings

    @property
    def updates_only(self) -> bool:
        r"""Whether every line ends with a lone ``\r``, as progress does; told without opening the batch."""
        block = self._block
        if block is not None:  # of whole lines
            return b"\n" not in block
        return all(ending == "\r" for ending in self.endings)

    @property
    def flags(self) -> list[int]:
        """Why a record does not hold one whole line: bits `PARTIAL`, `TRUNCATED`, `CONTINUED`; 0 where it does."""
        if self._flags is None:
            self._flags = [0] * len(self)
        return self._flags

    @property
    def levels(self) -> list[int]:
        """The lines' levels, in the numbers of :mod:`logging`."""
        texts = self.texts
        if self._levels is None:
            self._levels = self._reader.levels(texts)
        return self._levels

    @property
    def times(self) -> list[int]:
        """When the lines were read, in nanoseconds since the epoch, strictly increasing."""
        if self._times is None:
            self._times = list(range(self.time_ns, self.time_ns + len(self)))
        return self._times

    @property
    def numbers(self) -> Sequence[int]:
        """The lines' numbers within the run."""
        return range(self.first, self.first + len(self))

    @property
    def progress(self) -> list[Progress | None]:
        """The lines' progress where a recogniser read one."""
        if self._progress is None:
            nothing: list[Progress | None] = [None] * len(self)
            self._progress = self._reader.progress(self) or nothing
        return self._progress

    @property
    def fields(self) -> list[Mapping[str, Any] | None]:
        """The lines' structured fields where the line was JSON or logfmt."""
        if self._fields is None:
            nothing: list[Mapping[str, Any] | None] = [None] * len(self)
            self._fields = self._reader.fields(self) or nothing
        return self._fields

    def __len__(self) -> int:
        count = self._count
        if count < 0:
            block = self._block
            if block is None:  # another thread has opened it meanwhile
                return self._count
            self._count = count = count_lines(block)
        return count

    def __iter__(self) -> Iterator[Line]:
        for index, text in enumerate(self.texts):
            yield Line(self, index, text)

    def __getitem__(self, index: int) -> Line:
        texts = self.texts
        if index < 0:
            index += len(texts)
        return Line(self, index, texts[index])

    def __reduce__(self) -> tuple[Any, ...]:
        place = (self.run, self.stream, self.first, self.time_ns, self.late)
        read = self.levels, self.progress, self.fields, self._times
        columns = self.texts, self.endings, self._flags, *read
        return _revive, (place, *columns)

    def __repr__(self) -> str:
        return f"Lines(run={self.run.id}, stream={self.stream!r}, first={self.first}, count={len(self)})"


class Line:
    """One line of the child, or a piece of one (see `partial`, `truncated`, `continued`).

    Attributes:
        text: The line, redacted, without its ending.
    """

    __slots__ = ("_index", "_lines", "text")

    def __init__(self, lines: Lines, index: int, text: str) -> None:
        self._lines = lines
        self._index = index
        self.text: str = text

    @property
    def run(self) -> Run:
        """The run that this record belongs to."""
        return self._lines.run

    @property
    def stream(self) -> str:
        """``"stderr"``, or ``"stdout"`` when that is watched."""
        return self._lines.stream

    @property
    def number(self) -> int:
        """Number of this record among the lines of the run, from 1."""
        return self._lines.numbers[self._index]

    @property
    def time_ns(self) -> int:
        """When it was read, in nanoseconds since the epoch; strictly increasing within a run."""
        lines = self._lines
        return lines.time_ns + self._index if lines._times is None else lines._times[self._index]

    @property
    def ending(self) -> str:
        r"""``\n``, ``\r\n``, ``\r`` (a progress update), or empty for a last or partial line."""
        return self._lines.endings[self._index]

    @property
    def level(self) -> int:
        """Level in the numbers of :mod:`logging`."""
        return self._lines.levels[self._index]

    @property
    def late(self) -> bool:
        """Written by another process after the child itself had exited."""
        return self._lines.late

    @property
    def partial(self) -> bool:
        """Shown before its end was there, such as a prompt; the rest follows as a `continued` line."""
        return bool(self._lines.flags[self._index] & PARTIAL)

    @property
    def truncated(self) -> bool:
        """Cut at the size limit of a record; the rest follows as a `continued` line."""
        return bool(self._lines.flags[self._index] & TRUNCATED)

    @property
    def continued(self) -> bool:
        """Goes on where the line before stopped."""
        return bool(self._lines.flags[self._index] & CONTINUED)

    @property
    def progress(self) -> Progress | None:
        """Progress, where a recogniser read one."""
        return self._lines.progress[self._index]

    @property
    def fields(self) -> Mapping[str, Any] | None:
        """Structured fields, where the line was JSON or logfmt."""
        return self._lines.fields[self._index]

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return (
            f"Line(number={self.number}, stream={self.stream!r}, text={self.text!r}, ending={self.ending!r})"
        )


def count_lines(block: bytes) -> int:
    """Return how many lines a block of whole lines has."""
    count = block.count(b"\n")
    if b"\r" in block:
        count += block.count(b"\r") - block.count(b"\r\n")
    return count


def _revive(
    place: tuple[Run, str, int, int, bool], texts: Any, endings: Any, flags: Any, *read: Any
) -> Lines:
    reader: Any = None  # it has been read
    lines = Lines(*place, reader, None, texts, endings, flags)
    lines._levels, lines._progress, lines._fields, lines._times = read
    return lines
