"""The records of one child's life: `Start`, batches of `Line` called `Lines`, and `Exit`.

Every record is plain data, immutable by contract and never subclassed. All of them are sequences of
records, so that a sink has one loop for everything: ``for record in records``.

Text in a record is redacted before it gets here; the raw bytes stay private to the core.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any, Protocol

    class Reader(Protocol):
        """Turns the bytes of whole lines into redacted columns (`subwatch.processors.Pipeline`)."""

        def texts(self, block: bytes) -> tuple[list[str], list[str] | None, list[int] | None]: ...
        def levels(self, texts: list[str]) -> list[int]: ...
        def progress(self, lines: Lines) -> list[Progress | None] | None: ...
        def fields(self, lines: Lines) -> list[Mapping[str, Any] | None] | None: ...


__all__ = [
    "CRITICAL",
    "DEBUG",
    "ERROR",
    "INFO",
    "WARNING",
    "Caller",
    "Exit",
    "Line",
    "Lines",
    "Progress",
    "Record",
    "Run",
    "Start",
    "Usage",
]

#: Levels are the numbers of :mod:`logging`.
DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50
LEVEL_NAMES = {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", CRITICAL: "critical"}

# Why a record does not hold one whole line (bits of Lines flags).
PARTIAL, TRUNCATED, CONTINUED = 1, 2, 4


class _Data:
    """Slots with a repr and a dictionary view; subclasses list their slots."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__ if name[0] != "_")
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return object.__hash__(self)


class Caller(_Data):
    """Where the child was started from.

    Attributes:
        file: Path of the source file.
        line: Line number in it.
        function: Name of the function.
    """

    __slots__ = ("file", "function", "line")

    def __init__(self, file: str, line: int, function: str) -> None:
        self.file: str = file
        self.line: int = line
        self.function: str = function


class Usage(_Data):
    """What the child (and those of its children that it waited for) used, see :manpage:`getrusage(2)`.

    Attributes:
        user: CPU time in user mode, in seconds.
        system: CPU time in the kernel, in seconds.
        max_rss: Largest resident set, in bytes.
    """

    __slots__ = ("max_rss", "system", "user")

    def __init__(self, user: float, system: float, max_rss: int) -> None:
        self.user: float = user
        self.system: float = system
        self.max_rss: int = max_rss


class Progress(_Data):
    """How far a program says it has come.

    Attributes:
        completed: Amount done, in `unit`; None when the program gives only a fraction.
        total: Amount to do, in `unit`; None when unknown.
        fraction: 0.0 to 1.0, or None when unknown.
        unit: For example ``"kB"``, ``"%"``, ``"files"``; empty when there is none.
        label: What it is about, for example ``"0/1 tablespace"``; may be empty.
        recognizer: Name of the recogniser that read it.
    """

    __slots__ = ("completed", "fraction", "label", "recognizer", "total", "unit")

    def __init__(
        self,
        completed: float | None = None,
        total: float | None = None,
        fraction: float | None = None,
        unit: str = "",
        label: str = "",
        recognizer: str = "",
    ) -> None:
        self.completed: float | None = completed
        self.total: float | None = total
        self.fraction: float | None = fraction
        self.unit: str = unit
        self.label: str = label
        self.recognizer: str = recognizer


class Run(_Data):
    """One child, from before its start to after its end: what all of its records share.

    Attributes:
        id: UUIDv7 (RFC 9562) in its usual text form; sorts by start time.
        argv: The command, redacted.
        program: Basename of the executable, without directories.
        cwd: Working directory of the child, redacted.
        host: Name of this machine.
        tags: The user's labels.
        caller: Where in the user's code the child was started, or None.
        parent_pid: Process id of this Python process.
        fields: Correlation values that sinks contribute in `open`, such as ``trace_id`` and ``span_id``;
            complete before the first record is emitted.
        raises: Whether the caller asked for an exception on failure (``check=True``).
        ceiling: The highest level that a line may have, in the numbers of :mod:`logging`.
    """

    __slots__ = (
        "argv",
        "caller",
        "ceiling",
        "cwd",
        "fields",
        "host",
        "id",
        "parent_pid",
        "program",
        "raises",
        "tags",
    )

    def __init__(
        self,
        *,
        id: str,
        argv: tuple[str, ...],
        program: str,
        cwd: str,
        host: str,
        tags: Mapping[str, str],
        caller: Caller | None,
        parent_pid: int,
        raises: bool = False,
        ceiling: int = WARNING,
    ) -> None:
        self.id: str = id
        self.argv: tuple[str, ...] = argv
        self.program: str = program
        self.cwd: str = cwd
        self.host: str = host
        self.tags: Mapping[str, str] = tags
        self.caller: Caller | None = caller
        self.parent_pid: int = parent_pid
        self.fields: dict[str, str] = {}
        self.raises: bool = raises
        self.ceiling: int = ceiling


class _Single(_Data):
    """A record that is also a sequence of one record: itself."""

    __slots__ = ()

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield self

    def __getitem__(self, index: int) -> Any:
        return (self,)[index]


class Start(_Single):
    """The child runs.

    Attributes:
        run: The run that this record belongs to.
        pid: Process id of the child.
        time_ns: When, in nanoseconds since the epoch.
    """

    __slots__ = ("pid", "run", "time_ns")

    def __init__(self, run: Run, pid: int, time_ns: int) -> None:
        self.run: Run = run
        self.pid: int = pid
        self.time_ns: int = time_ns


class Lines:
    """Consecutive lines of one run, read at once: a sequence of `Line`, made only when somebody looks.

    A sink that needs columns takes `texts`, `levels` and `times`, each a list as long as the batch,
    decoded, redacted and split once for all sinks. A sink that needs none of it costs nothing.

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
        "_numbers",
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
        self._numbers: list[int] | None = None
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
        return self._numbers or range(self.first, self.first + len(self))

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
            count = block.count(b"\n")
            if b"\r" in block:
                count += block.count(b"\r") - block.count(b"\r\n")
            self._count = count
        return count

    def __iter__(self) -> Iterator[Line]:
        for index, text in enumerate(self.texts):
            yield Line(self, index, text)

    def __getitem__(self, index: int) -> Line:
        texts = self.texts
        if index < 0:
            index += len(texts)
        return Line(self, index, texts[index])

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

    def _flag(self, bit: int) -> bool:
        flags = self._lines._flags
        return flags is not None and bool(flags[self._index] & bit)

    @property
    def partial(self) -> bool:
        """Shown before its end was there, such as a prompt; the rest follows as a `continued` line."""
        return self._flag(PARTIAL)

    @property
    def truncated(self) -> bool:
        """Cut at the size limit of a record; the rest follows as a `continued` line."""
        return self._flag(TRUNCATED)

    @property
    def continued(self) -> bool:
        """Goes on where the line before stopped."""
        return self._flag(CONTINUED)

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


class Exit(_Single):
    """The child has ended, or could not be started.

    Attributes:
        run: The run that this record belongs to.
        pid: Process id, or None after a spawn failure.
        returncode: As :attr:`subprocess.Popen.returncode`: negative for a signal; None after a spawn
            failure, or when somebody else has taken the status.
        signal: Name of the ending signal, such as ``"SIGKILL"``, or None.
        reason: ``exited``, ``signaled``, ``timed_out``, ``idle``, ``stopped``, ``interrupted``,
            ``cancelled``, ``spawn_failed``, or ``unknown`` when the status was taken by somebody else.
        start_ns: When it was started, in nanoseconds since the epoch.
        time_ns: When its end was seen, in nanoseconds since the epoch.
        duration: Seconds between the two by the monotonic clock.
        usage: CPU time and memory, where the platform gives it and nobody else reaped the child.
        lines: Number of line records per stream; none are made while no sink wants lines.
        bytes: Number of bytes read per stream.
        dropped: Records that a sink did not take, by sink name.
        truncated: How many records were cut at the size limit.
        drained: False when another process still held the pipe at the end; its lines follow as `late`.
        tail: The last lines, a batch; of progress updates only the last.
        error: What kept it from starting, redacted; None otherwise.
        error_type: Name of that exception's class; None otherwise.
        failed: Whether this counts as a failure: not for exit status 0 (but for a time limit), nor when
            `stop_on` stopped it.
    """

    __slots__ = (
        "bytes",
        "drained",
        "dropped",
        "duration",
        "error",
        "error_type",
        "lines",
        "pid",
        "reason",
        "returncode",
        "run",
        "signal",
        "start_ns",
        "tail",
        "time_ns",
        "truncated",
        "usage",
    )

    def __init__(
        self,
        *,
        run: Run,
        pid: int | None,
        returncode: int | None,
        signal: str | None,
        reason: str,
        start_ns: int,
        time_ns: int,
        duration: float,
        usage: Usage | None = None,
        lines: Mapping[str, int] | None = None,
        bytes: Mapping[str, int] | None = None,
        dropped: Mapping[str, int] | None = None,
        truncated: int = 0,
        drained: bool = True,
        tail: Sequence[Line] = (),
        error: str | None = None,
        error_type: str | None = None,
    ) -> None:
        self.run: Run = run
        self.pid: int | None = pid
        self.returncode: int | None = returncode
        self.signal: str | None = signal
        self.reason: str = reason
        self.start_ns: int = start_ns
        self.time_ns: int = time_ns
        self.duration: float = duration
        self.usage: Usage | None = usage
        self.lines: Mapping[str, int] = lines or {}
        self.bytes: Mapping[str, int] = bytes or {}
        self.dropped: Mapping[str, int] = dropped or {}
        self.truncated: int = truncated
        self.drained: bool = drained
        self.tail: Sequence[Line] = tail
        self.error: str | None = error
        self.error_type: str | None = error_type

    @property
    def failed(self) -> bool:
        """Whether this end counts as a failure."""
        if self.reason in ("stopped", "unknown"):
            return False
        return self.returncode != 0 or self.reason in ("timed_out", "idle")

    @property
    def message(self) -> str:
        """One sentence for people, such as ``"pg_basebackup exited with code 1 after 3.2 s"``."""
        return f"{self.run.program} {self.outcome} after {self.duration:.3g} s"

    @property
    def outcome(self) -> str:
        """What happened in a few words without names or figures of this run, such as ``"timed out"``."""
        if self.reason == "spawn_failed":
            return f"could not be started ({self.error_type})"
        how = {
            "timed_out": "timed out",
            "idle": "was silent for too long",
            "stopped": "was stopped on request",
            "interrupted": "was interrupted",
            "cancelled": "was cancelled",
            "unknown": "ended with unknown status",
        }.get(self.reason)
        what = f"was killed by {self.signal}" if self.signal else f"exited with code {self.returncode}"
        return what if how is None else how if self.returncode is None else f"{how} and {what}"


#: What a sink is given, one batch at a time.
Record = "Start | Line | Exit"
