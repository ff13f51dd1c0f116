"""From one run to its sinks: in order, each on its own, every loss counted.

A sink that raises is reported once on the logger ``subwatch`` and then left out of the run; the child
and the other sinks never notice.
"""

from __future__ import annotations

import os
import time

from ._report import report, sink_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .records import Exit, Lines, Run, Start
    from .sinks import Sink, Stream

__all__ = ["Dispatcher"]


class _Entry:
    __slots__ = ("dropped", "name", "stream")

    def __init__(self, name: str, stream: Stream | None) -> None:
        self.name = name
        self.stream = stream
        self.dropped = 0


class Dispatcher:
    """Fans the records of one run out to the streams of its sinks.

    Args:
        run: The run.
        sinks: Where its records go.
        redact: Masks secrets in what a failing sink says.
    """

    def __init__(self, run: Run, sinks: Iterable[Sink], redact: Any = None) -> None:
        self._run = run
        self._redact = redact
        self._sinks = tuple(sinks)
        self._entries: list[_Entry] = []
        self._wanted = False  # some stream takes lines whatever they are
        self._timed: list[_Entry] = []  # those that may act without a record
        self._slow: list[_Entry] = []  # those that deliver in their own time

    def open(self) -> dict[str, str | None]:
        """Open a stream of every sink, in the caller's context.

        Returns:
            Environment variables for the child that the streams ask for; None removes one.
        """
        env: dict[str, str | None] = {}
        for sink in self._sinks:
            entry = _Entry(sink_name(sink), None)
            self._entries.append(entry)
            try:
                stream = entry.stream = sink.open(self._run)
                if more := getattr(stream, "env", None):
                    env.update(_variables(more))
                if not (hasattr(type(stream), "wants_lines") or hasattr(stream, "wants_lines")):
                    self._wanted = True
                if hasattr(stream, "idle"):
                    self._timed.append(entry)
                if hasattr(stream, "flush"):
                    self._slow.append(entry)
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises must not reach the child
                self._leave_out(entry, error)
        return env

    @property
    def wants_lines(self) -> bool:
        """Whether some stream would look at lines now; one that was left out has its losses counted."""
        if self._wanted:
            return True
        for entry in self._entries:  # noqa: SIM110 - asked for each chunk; any() takes twice as long
            if entry.stream is None or self._ask(entry, "wants_lines", True):
                return True
        return False

    def replaces(self, name: str) -> bool:
        """Whether some stream shows what the child writes to its stream `name` in the place where that leads."""
        return any(name in (self._ask(entry, "replaces") or ()) for entry in self._entries)

    def emit(self, records: Start | Lines | Exit) -> None:
        """Hand a batch to every stream."""
        for entry in self._entries:
            stream = entry.stream
            if stream is None:
                entry.dropped += len(records)
                continue
            try:
                stream.emit(records)
            except Exception as error:  # noqa: BLE001 - isolation is the point
                entry.dropped += len(records)
                self._leave_out(entry, error)

    def due(self) -> float | None:
        """When some stream has something to do, in monotonic seconds, or None."""
        first: float | None = None
        for entry in self._timed:
            at = self._ask(entry, "due")
            if at is not None and (first is None or at < first):
                first = at
        return first

    def idle(self) -> None:
        """Let the streams do what is due."""
        for entry in self._timed:
            due = self._ask(entry, "due")
            if due is None or due > time.monotonic():
                continue
            try:
                entry.stream.idle()  # type: ignore[union-attr]
            except Exception as error:  # noqa: BLE001 - isolation is the point
                self._leave_out(entry, error)

    def dropped(self) -> dict[str, int]:
        """Records that did not get through so far, by sink name."""
        counts: dict[str, int] = {}
        for entry in self._entries:
            count = entry.dropped + int(self._ask(entry, "dropped") or 0)
            if count:
                counts[entry.name] = counts.get(entry.name, 0) + count
        return counts

    @property
    def must_wait(self) -> bool:
        """Whether some stream delivers in its own time, so that `flush` may block."""
        return bool(self._slow) and any(entry.stream is not None for entry in self._slow)

    def flush(self, timeout: float) -> int:
        """Wait until everything is delivered, at most `timeout` seconds for all streams together.

        Returns:
            How many records are not delivered yet.
        """
        deadline = time.monotonic() + timeout
        left = 0
        for entry in self._slow:
            flush = self._ask(entry, "flush")
            if flush is None:
                continue
            try:
                left += flush(max(0.0, deadline - time.monotonic())) or 0
            except Exception as error:  # noqa: BLE001
                self._leave_out(entry, error)
        return left

    def close(self) -> None:
        """Close every stream."""
        for entry in self._entries:
            stream, entry.stream = entry.stream, None
            if stream is None:
                continue
            try:
                stream.close()
            except Exception as error:  # noqa: BLE001
                self._leave_out(entry, error)

    def _ask(self, entry: _Entry, name: str, default: Any = None) -> Any:
        """What a stream says of itself, if it does; a property may raise like any method."""
        try:
            return getattr(entry.stream, name, default)
        except Exception as error:  # noqa: BLE001 - isolation is the point
            self._leave_out(entry, error)
            return default

    def _leave_out(self, entry: _Entry, error: Exception) -> None:
        stream, entry.stream = entry.stream, None
        text = f"{type(error).__name__}: {error}"
        report(
            "sink %r failed and is left out of run %s of %s: %s",
            entry.name,
            self._run.id,
            self._run.program,
            text if self._redact is None else self._redact(text),
        )
        if stream is not None:
            try:
                stream.close()
            except Exception:  # noqa: BLE001 - it was reported already
                pass


def _variables(env: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """The variables of a stream; what no environment can hold is the sink's mistake, and not the child's.

    Raises:
        ValueError: A name or value cannot be one.
    """
    for name, value in env.items():
        try:
            text = name if value is None else name + value
            wrong = not name or "=" in name or "\0" in text
            if not text.isascii():
                os.fsencode(text)
        except (TypeError, UnicodeEncodeError):
            wrong = True
        if wrong:
            raise ValueError(f"its env has a variable {name!r} that no environment can hold")
    return env
