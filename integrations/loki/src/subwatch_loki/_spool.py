"""Batches on disk until they are delivered: a SQLite file that several processes share.

Every batch is written before it is sent, so a killed process leaves at most its last second behind. Rows are
sent oldest first by one process at a time for each destination. What had to be given up is
counted in the file as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

from subwatch_loki._encode import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Spool"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS batch (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT
    NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batch_order ON batch (target, oldest, id, bytes);
CREATE TABLE IF NOT EXISTS lost (
    target TEXT NOT NULL, reason TEXT NOT NULL, entries INTEGER NOT NULL, PRIMARY KEY (target, reason));
CREATE TABLE IF NOT EXISTS sending (id INTEGER PRIMARY KEY);
"""

# Bytes of the disk that are left free: without some, what is delivered could not be deleted.
RESERVE = 1024 * 1024

# Connections of a parent process: closing one in a forked child could touch the parent's files.
_orphans: list[object] = []


class Spool:
    """The store of one destination in a spool file.

    Args:
        path: The file; made with mode 0600 if need be, its directory with 0700.
        target: The destination: batches of others are left alone.
        limit: Most bytes of batches in the file, of all destinations together; then the oldest give way.

    Raises:
        sqlite3.Error, OSError: From all methods, when the file cannot be used.
    """

    def __init__(self, path: Path, target: str, limit: int) -> None:
        self.path = path
        self._target = target
        self._limit = limit
        self.forked()

    def forked(self) -> None:
        """Start without a connection, also in a forked child."""
        _orphans.extend((self.__dict__.get("_open"), self.__dict__.get("_turn")))
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._turn: sqlite3.Connection | None = None
        self._marked = 0  # the row last marked

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._open is None:
                self._open = _connect(self.path)
            self._open.execute("BEGIN IMMEDIATE")
            try:
                yield self._open
                self._open.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._open.execute("ROLLBACK")
                    # Room in the log, which deleting needs as well when the disk is full.
                    self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                raise

    def add(self, batch: Batch) -> list[tuple[int, int]]:
        """Store a batch, and give it a row.

        Returns:
            Row and number of entries of the batches that had to give way.
        """
        needed = RESERVE + 2 * len(batch.body)  # in the log, then in the file
        if shutil.disk_usage(_folder(self.path)).free < needed:
            raise OSError(errno.ENOSPC, "database or disk is full")
        with self._transaction() as db:
            (used,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM batch").fetchone()
            gone = self._make_room(db, used + len(batch.body) - self._limit)
            values = (self._target, batch.oldest, batch.newest, batch.count, len(batch.body), batch.body)
            insert = (
                "INSERT INTO batch (target, oldest, newest, entries, bytes, body) VALUES (?, ?, ?, ?, ?, ?)"
            )
            row = db.execute(insert, values).lastrowid
        batch.row = row  # now that it is certain
        return gone

    def _make_room(self, db: sqlite3.Connection, excess: int) -> list[tuple[int, int]]:
        if excess <= 0:
            return []
        gone = []
        for row, target, size, entries in db.execute(
            "SELECT id, target, bytes, entries FROM batch "
            "WHERE id NOT IN (SELECT id FROM sending) ORDER BY oldest, id"
        ).fetchall():
            gone.append((row, entries))
            _count(db, target, "spool_full", entries)
            excess -= size
            if excess <= 0:
                break
        db.executemany("DELETE FROM batch WHERE id = ?", [(row,) for row, _ in gone])
        return gone

    def oldest(self, besides: Iterable[int] = ()) -> Batch | None:
        """The batch to send next, leaving out the rows `besides`.

        It is marked, and gives way to no other: it may be delivered, and would be counted as lost.
        """
        skip = list(besides)
        try:
            row = self._next(skip, mark=True)
        except sqlite3.Error:  # the disk is full: no other can be stored either
            row = self._next(skip, mark=False)
        if row is None:
            return None
        batch = Batch(*row[1:])
        batch.row = row[0]
        return batch

    def _next(self, skip: list[int], *, mark: bool) -> tuple[Any, ...] | None:
        marks = ",".join("?" * len(skip))
        query = (
            "SELECT id, body, entries, oldest, newest FROM batch "  # noqa: S608 - question marks only
            f"WHERE target = ? AND id NOT IN ({marks}) ORDER BY oldest, id LIMIT 1"
        )
        with self._transaction() as db:
            row: tuple[Any, ...] | None = db.execute(query, (self._target, *skip)).fetchone()
            if mark and row is not None and row[0] != self._marked:
                db.execute("INSERT OR IGNORE INTO sending VALUES (?)", row[:1])
        if mark and row is not None:
            self._marked = row[0]
        return row

    def remove(self, row: int, lost: int = 0, reason: str = "") -> bool:
        """Delete a batch of which all but `lost` entries are delivered; tells whether it was there."""
        with self._transaction() as db:
            there = db.execute("DELETE FROM batch WHERE id = ?", (row,)).rowcount > 0
            db.execute("DELETE FROM sending WHERE id = ?", (row,))
            if there and lost:
                _count(db, self._target, reason, lost)
        return there

    def missing(self, rows: Iterable[int]) -> set[int]:
        """Those of the rows that another process has done with."""
        with self._transaction() as db:
            there = {row for (row,) in db.execute("SELECT id FROM batch WHERE target = ?", (self._target,))}
        return set(rows) - there

    def take_turn(self) -> bool:
        """Become the one process that sends this destination's batches; False when another one is.

        The turn ends with `end_turn`, or with the process, however that ends.
        """
        if self._turn is None:
            digest = hashlib.sha256(self._target.encode()).hexdigest()[:12]
            db = _open(self.path.with_name(f"{self.path.name}.{digest}.turn"), 0.0)
            try:
                db.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                db.close()
                if "locked" in str(error):
                    return False
                raise
            self._turn = db
        return True

    def end_turn(self) -> None:
        """Let another process send."""
        if self._turn is not None:
            self._turn.close()
            self._turn = None

    def status(self) -> dict[str, dict[str, Any]]:
        """What is stored and what was lost, by destination."""
        found: dict[str, dict[str, Any]] = {}
        with self._transaction() as db:
            totals = (
                "SELECT target, count(*), sum(entries), sum(bytes), min(oldest) FROM batch GROUP BY target"
            )
            for target, *stored in db.execute(totals):
                found[target] = _figures(*stored)
            for target, reason, entries in db.execute("SELECT target, reason, entries FROM lost"):
                found.setdefault(target, _figures(0, 0, 0, None))["lost"][reason] = entries
        return found

    def close(self) -> None:
        """Close the file."""
        self.end_turn()
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None


def _figures(batches: int, entries: int, size: int, oldest_ns: int | None) -> dict[str, Any]:
    return {"batches": batches, "entries": entries, "bytes": size, "oldest_ns": oldest_ns, "lost": {}}


def _folder(path: Path) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path.parent


def _open(path: Path, wait: float) -> sqlite3.Connection:
    _folder(path)
    try:
        # Never an existing one: closing it would end the locks that this process has on it (POSIX).
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        # another user's, or behind his link: he would read our lines, and send his own with our credentials
        for found in (path.lstat(), path.stat()):
            if found.st_uid != os.geteuid():
                raise PermissionError(errno.EACCES, "it belongs to another user", str(path)) from None
        path.chmod(0o600)
    return sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)


def _connect(path: Path) -> sqlite3.Connection:
    db = _open(path, 5.0)
    try:
        db.execute("PRAGMA auto_vacuum = FULL")  # give space back to the file system when rows are done
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # survives the process, not a power cut
        db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _count(db: sqlite3.Connection, target: str, reason: str, entries: int) -> None:
    db.execute(
        "INSERT INTO lost VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        (target, reason, entries),
    )
