"""Hand records to a sink on a thread of its own, so that a slow sink cannot hold the child."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import sys
import threading
import time
import weakref
from collections import deque

from subwatch._report import report_undelivered, sink_name
from subwatch.errors import ConfigError

from ._handover import BackgroundStream, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    from subwatch.records import Run
    from subwatch.sinks import Sink

    Policy: TypeAlias = Literal["drop_oldest", "drop_newest", "block"]
    Entry: TypeAlias = "tuple[int, BackgroundStream, Any, int]"  # ticket, stream, records, bytes

__all__ = ["Background"]

POLICIES = ("drop_oldest", "drop_newest", "block")
OVERHEAD = 1024  # bytes that a queued batch costs besides its text: the objects around it
_live: weakref.WeakSet[Background] = weakref.WeakSet()  # for the end of the process and for forks


class Background:
    """A sink that hands the records of another sink to it on one worker thread.

    The caller (and with it the child) is held for a queue operation only. The worker is a daemon thread,
    started with the first record, in an empty :class:`contextvars.Context`: tracing and error libraries make
    no spans or breadcrumbs of the wrapped sink's requests.

    `open` of the wrapped sink is called in the caller's thread, `emit` and `close` of its streams on the
    worker. A stream that raises in `emit` is reported once on the logger ``subwatch`` and left out; its
    records count as dropped. The wrapped sink may have, besides the protocol:

    - ``idle() -> float | None``, called on the worker when nothing is queued: do what is due, such as sending
      a batch that has waited long enough. Returns seconds until the next call, None for "after a record".
    - ``stream.flush(timeout) -> int``, called in the caller's thread once the stream's records are handed
      over: waits for delivery, returns how many are left. The worker may serve other streams meanwhile.
    - ``forked()``, called in a forked child: forget locks, threads, connections and what was not sent.
    - ``failing``, true while waiting for room in the queue would not help.

    Args:
        sink: The sink to hand the records to.
        capacity: Most bytes to hold in the queue: the text of the batches plus 1 KiB for each.
        policy: What gives way when the queue is full: the ``"drop_oldest"`` or ``"drop_newest"`` batch of
            lines, or with ``"block"`` the caller, at most `flush_timeout` seconds per standstill, then the
            newest batch. Start and exit records give way only when the queue holds twice its capacity.
        patience: Seconds that the caller may be held per overload before something is dropped, so that a
            child that writes faster than a healthy sink takes is slowed down instead. Not in an event loop.
        flush_timeout: Seconds to wait for delivery at the end of the process, and for room with ``"block"``.
        name: Name in messages and in `Exit.dropped`; default the wrapped sink's.

    Raises:
        subwatch.errors.ConfigError: An option has a wrong value.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = 16 * 1024 * 1024,
        policy: Policy = "drop_oldest",
        patience: float = 0.0,
        flush_timeout: float = 5.0,
        name: str | None = None,
    ) -> None:
        if policy not in POLICIES:
            raise ConfigError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        if capacity <= 0:
            raise ConfigError(f"capacity must be a positive number of bytes, not {capacity!r}")
        self.name: str = name or sink_name(sink)
        self._sink = sink
        self._capacity = capacity
        self._policy = policy
        self._patience = flush_timeout if policy == "block" else patience
        self.flush_timeout: float = flush_timeout
        self._closed = False
        self._ticket = 0  # of the newest entry
        self._reset()
        _live.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._lines: deque[Entry] = deque()  # may be dropped
        self._others: deque[Entry] = deque()
        self._current: Entry | None = None  # being handed over by the worker
        self._size = 0
        self._done = self._ticket  # up to here all is handed over or dropped
        self._stalled = False  # a caller has waited for room in vain
        self._thread: threading.Thread | None = None

    def open(self, run: Run) -> BackgroundStream:
        """Open the wrapped sink's stream for one run, in the caller's thread and context."""
        return BackgroundStream(self, self._sink.open(run))

    def close(self, timeout: float) -> int:
        """Deliver what is queued, then close the wrapped sink; later records count as dropped.

        Args:
            timeout: Seconds that this may take in all.

        Returns:
            How many records could not be delivered.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            if self._closed:
                return 0
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, timeout))
        left = 0
        with self._changed:
            for _, stream, records, _ in (*self._lines, *self._others):
                left += len(records)
                stream.lost += len(records)
            self._lines.clear()
            self._others.clear()
        left += self._sink.close(max(0.0, deadline - time.monotonic())) or 0
        with self._changed:  # closing the sink ends an `emit` that is waiting inside it
            if not self._changed.wait_for(lambda: self._current is None, 0.1) and self._current is not None:
                left += len(self._current[2])
        return left

    def _put(self, stream: BackgroundStream, records: Any) -> None:
        droppable = hasattr(records, "size")
        cost = OVERHEAD + (records.size if droppable else 0)
        with self._changed:
            if self._closed or (stream.failed and records) or not self._make_room(cost, droppable):
                stream.lost += len(records)
                return
            self._ticket += 1
            stream.ticket = self._ticket
            (self._lines if droppable else self._others).append((self._ticket, stream, records, cost))
            self._size += cost
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def _make_room(self, cost: int, droppable: bool) -> bool:
        """Tell whether an entry may be queued, after the policy has made room for it if need be."""
        if not self._fits(cost) and self._may_wait():
            room = self._changed.wait_for(lambda: self._closed or self._fits(cost), self._patience)
            self._stalled = not room
        if self._policy == "drop_oldest":
            while self._lines and self._size + cost > self._capacity:
                _, stream, records, size = self._lines.popleft()
                stream.lost += len(records)
                self._size -= size
        if self._closed:
            return False
        return self._fits(cost) or (not droppable and self._size + cost <= 2 * self._capacity)

    def _may_wait(self) -> bool:
        if self._stalled or not self._patience or threading.current_thread() is self._thread:
            return False
        if self._policy == "block":
            return True
        asyncio = sys.modules.get("asyncio")
        looping = asyncio and asyncio._get_running_loop()
        return not looping and not getattr(self._sink, "failing", False)

    def _fits(self, cost: int) -> bool:
        # A batch larger than the whole queue is taken when it is alone.
        return self._size + cost <= self._capacity or not self._size

    def _start(self) -> None:
        work = contextvars.Context().run
        thread = threading.Thread(target=work, args=(self._work,), name=f"subwatch-{self.name}", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter ends; `close` counts what is queued
            thread.start()
            self._thread = thread

    def _work(self) -> None:
        wait: float | None = None
        while True:
            with self._changed:
                self._finished()
                self._changed.wait_for(lambda: self._lines or self._others or self._closed, wait)
                queues = [queue for queue in (self._lines, self._others) if queue]
                entry = min(queues, key=lambda queue: queue[0][0]).popleft() if queues else None
                self._current = entry
                if entry is None and self._closed:
                    return
            if entry is None:
                wait = self._idle()
            else:
                entry[1].hand_over(entry[2])
                del entry  # a batch must not live until the next one comes
                wait = 0.0

    def _finished(self) -> None:
        """Put away the entry that has just been handed over."""
        if self._current is not None:
            self._done, _, _, cost = self._current
            self._current = None
            self._size -= cost
            if self._policy == "block" or 2 * self._size <= self._capacity:
                self._stalled = False
            self._changed.notify_all()

    def _idle(self) -> float | None:
        try:
            idle: Callable[[], float | None] | None = getattr(self._sink, "idle", None)
            return None if idle is None else idle()
        except Exception as error:  # noqa: BLE001 - a sink's failure ends here
            tell("sink %s failed while idle: %s", self.name, error)
            return 60.0

    def _flush(self, stream: BackgroundStream, timeout: float) -> int:
        """Wait until the stream's records are handed over; returns how many are not."""
        with self._changed:
            useless = getattr(self._sink, "failing", False)
            if self._changed.wait_for(
                lambda: self._done >= stream.ticket or self._closed, 0 if useless else timeout
            ):
                return 0
            entries = (*self._lines, *self._others, *filter(None, (self._current,)))
            return sum(len(records) for _, owner, records, _ in entries if owner is stream)


def _close_all() -> None:
    """Deliver what is queued at the end of the process."""
    for background in list(_live):
        try:
            left = background.close(background.flush_timeout)
        except Exception as error:  # noqa: BLE001 - the others are to be closed as well
            tell("sink %s failed at the end: %s", background.name, error)
        else:
            report_undelivered(background, left)


def _forked() -> None:
    """Start afresh in a forked child: what was queued is the parent's to deliver."""
    for background in list(_live):
        background._reset()
        forked: Callable[[], object] | None = getattr(background._sink, "forked", None)
        if forked is not None:
            forked()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
