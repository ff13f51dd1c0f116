"""Batches on their way, in memory or in the spool, and the account of whose entries have not arrived."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from subwatch_loki._encode import Batch, Owner
    from subwatch_loki._spool import Spool

    T = TypeVar("T")

__all__ = ["Outbox", "logger", "say"]

# Batches in memory besides the one being sent: enough to compress one while another one travels.
ROOM = 2
# Seconds until a spool that could not be written is written again.
SPOOL_PAUSE = 2.0
# Seconds between messages about the same thing.
SILENCE = 60.0

logger = logging.getLogger("subwatch")


def say(level: int, message: str, *values: object) -> None:
    """Tell something about the sink itself on the logger ``subwatch``."""
    logger.log(level, "loki: %s", message % values)


class Outbox:
    """Between the thread that encodes and the thread that sends.

    Args:
        spool: Where batches wait; None to keep a few in memory, and to hold up the encoding thread beyond
            that.
        max_age: Seconds after which the server would refuse an entry.
    """

    def __init__(self, spool: Spool | None, max_age: float) -> None:
        self.spool = spool
        self._max_age_ns = int(max_age * 1e9)
        self._spool_reported = False
        self._spool_rests_until = 0.0
        self.closed: bool = False
        self.lost: int = 0  # entries, known to be
        self._said: dict[str, float] = {}
        self._reset()

    def _reset(self) -> None:
        self.changed: threading.Condition = threading.Condition(threading.Lock())
        self.failing: bool = False  # the server cannot be reached, or is being left alone
        self._attempts = 0  # that have failed
        self._signal = False
        self._storing = threading.Lock()  # until a batch in the spool is known as ours
        self._memory: deque[Batch] = deque()
        self._pending: dict[Owner, int] = {}
        self._ours: dict[int, Batch] = {}  # in the spool, without their bodies
        self._stuck: set[int] = set()  # done with, but still in the spool: it could not be written

    def forked(self) -> None:
        """Start afresh in a forked child: everything here is the parent's."""
        self._reset()
        if self.spool is not None:
            self.spool.forked()

    def expect(self, owner: Owner, count: int) -> None:
        """Take over entries of an owner into the account."""
        with self.changed:
            if self.closed:
                owner.dropped += count
            else:
                self._pending[owner] = self._pending.get(owner, 0) + count

    def put(self, batch: Batch, *, wait: bool = True) -> None:
        """Queue a batch; without a spool, wait until there is room, unless this is the end."""
        if self.closed:
            return  # it has been counted
        if self.spool is None or not self._store(self.spool, batch):
            with self.changed:
                if wait:
                    self.changed.wait_for(lambda: self.closed or len(self._memory) < ROOM)
                if not self.closed:
                    self._memory.append(batch)
        with self.changed:
            self._signal = self._signal or not self.failing
            self.changed.notify_all()

    def _store(self, spool: Spool, batch: Batch) -> bool:
        with self._storing:
            gone = self._attempt(lambda: spool.add(batch), writes=True)
            if gone is None or batch.row is None:
                return False
            with self.changed:
                if self.closed:
                    batch.lose(-batch.count)  # it was counted, and yet is safe
                self._ours[batch.row] = batch
                batch.body = b""
                for row, _ in gone:
                    old = self._ours.pop(row, None)
                    if old is not None:
                        old.lose(old.count)
                        self._account(old, old.count)
        if gone:
            number = sum(count for _, count in gone)
            self.warn("the spool is full, its oldest %d entries are dropped", number)
        return True

    def warn(self, message: str, *values: object) -> None:
        """Say something that may happen for every batch, once a minute."""
        now = time.monotonic()
        if now - self._said.get(message, -SILENCE) >= SILENCE:
            self._said[message] = now
            say(logging.WARNING, message, *values)

    def _attempt(self, work: Callable[[], T], *, writes: bool = False) -> T | None:
        """Use the spool; None when it does not work, which is said once. Writing is then left for a while."""
        if writes and time.monotonic() < self._spool_rests_until:
            return None
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            self._spool_rests_until = time.monotonic() + SPOOL_PAUSE
            if not self._spool_reported:
                path = self.spool and self.spool.path
                say(logging.ERROR, "the spool %s cannot be used, memory is: %s", path, error)
            self._spool_reported = True
            return None

    def oldest(self, besides: Batch | None = None) -> Batch | None:
        """The batch to send next; None when there is none, or when another process sends the spool's."""
        while True:
            batch = self._from_spool(besides) or self._from_memory(besides)
            if batch is None or batch.newest >= time.time_ns() - self._max_age_ns:
                return batch
            batch.lose(batch.count)
            self.done(batch, batch.count, "too_old")
            self.warn("%d entries are dropped, they are older than the server takes", batch.count)

    def _from_memory(self, besides: Batch | None) -> Batch | None:
        with self.changed:
            return next((batch for batch in self._memory if batch is not besides), None)

    def _from_spool(self, besides: Batch | None) -> Batch | None:
        spool = self.spool
        if spool is None or not self._attempt(spool.take_turn):
            return None
        for row in list(self._stuck):
            self._remove(spool, row, 0, "")
        skip = self._stuck if besides is None or besides.row is None else {*self._stuck, besides.row}
        batch = self._attempt(lambda: spool.oldest(skip))
        if batch is None:
            if besides is None:
                spool.end_turn()
        else:
            with self._storing:
                ours = self._ours.get(batch.row or 0)
            batch.parts = ours.parts if ours else ()
        return batch

    def done(self, batch: Batch, lost: int = 0, reason: str = "") -> None:
        """Take a batch off the account: delivered, but for `lost` entries."""
        if batch.row is not None and self.spool is not None:
            self._remove(self.spool, batch.row, lost, reason)
        with self.changed:
            if batch.row is None and batch in self._memory:
                self._memory.remove(batch)
            elif batch.row is not None:
                self._ours.pop(batch.row, None)
            self._account(batch, lost)
            self.changed.notify_all()

    def _remove(self, spool: Spool, row: int, lost: int, reason: str) -> None:
        removed = self._attempt(lambda: spool.remove(row, lost, reason))
        (self._stuck.add if removed is None else self._stuck.discard)(row)

    def _account(self, batch: Batch, lost: int) -> None:
        self.lost += lost
        for owner, count in batch.parts:
            left = self._pending.get(owner, 0) - count
            if left > 0:
                self._pending[owner] = left
            else:
                self._pending.pop(owner, None)

    def look_around(self) -> bool:
        """Find out what another process has sent of ours; tells whether some of it is still in the spool."""
        spool = self.spool
        if spool is None or not self._ours:
            return False
        gone = self._attempt(lambda: spool.missing(self._ours)) or set()
        with self.changed:
            for row in gone:
                batch = self._ours.pop(row, None)
                if batch is not None:
                    self._account(batch, 0)
            self.changed.notify_all()
            return bool(self._ours)

    def rest(self, seconds: float | None, *, failing: bool = False, patient: bool = False) -> None:
        """Let the sending thread wait: for a batch when all is well, else for the time to try again.

        Args:
            seconds: How long at most.
            failing: The server cannot be reached, or does not want us.
            patient: The whole time, even if somebody is waiting for delivery.
        """
        with self.changed:
            self.failing = failing
            self._attempts += failing
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closed or (self._signal and not patient), seconds)
            self._signal = False

    def flush(self, owner: Owner, timeout: float) -> int:
        """Wait until an owner's entries have arrived or are safe in the spool.

        When the server is known to be away, that is until the next attempt: a program that runs many children
        need not wait for it each time.

        Returns:
            How many are neither.
        """
        with self.changed:
            self._await(lambda: not self._left(owner), timeout)
            return self._left(owner)

    def room(self, timeout: float) -> bool:
        """Wait for room in memory, as `flush` waits; returns whether there is some."""
        with self.changed:
            if len(self._memory) >= ROOM:
                self._await(lambda: self.closed or len(self._memory) < ROOM, timeout)
            return len(self._memory) < ROOM

    def _await(self, condition: Callable[[], bool], timeout: float) -> None:
        known, attempts = self.failing, self._attempts
        self._signal = True
        self.changed.notify_all()
        self.changed.wait_for(lambda: condition() or (known and self._attempts > attempts), timeout)

    def _left(self, owner: Owner | None = None) -> int:
        if self.spool is not None and self.failing and not self._memory:
            return 0  # all is on disk, and waiting would not help
        return sum(self._pending.values()) if owner is None else self._pending.get(owner, 0)

    def close(self, timeout: float) -> int:
        """Wait for delivery, then stop; what is only in memory is lost."""
        with self.changed:
            self._signal = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self._left(), timeout)
            self.closed = True
            self._memory.clear()
            for batch in self._ours.values():
                self._account(batch, 0)
            left = sum(self._pending.values())
            for owner, count in self._pending.items():
                owner.dropped += count
            self._pending.clear()
            self.changed.notify_all()
        kept = sum(batch.count for batch in self._ours.values())
        if kept and self.spool is not None:
            message = "%d records stay in the spool %s for the next run or `subwatch-loki spool drain`"
            say(logging.WARNING, message, kept, self.spool.path)
        return left
