"""The way of records from a worker back to the sinks of whoever called `Watch.map`.

Each run has a connection of its own (`multiprocessing.connection`: authenticated by a key that travels with
the task, pickles as the executor's own). The worker asks what the caller's sinks want in the child's
environment, sends batches as they come, and a farewell; a connection that ends without one tells that the
worker has died.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from functools import lru_cache
from multiprocessing.connection import Client, Listener

from ._dispatch import Dispatcher
from ._report import report
from ._tail import Tail
from .processors import Redactor
from .records import Exit, Lines, Start
from .sinks import Background

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection
    from typing import Any

    from .records import Run
    from .sinks import Sink

    Address = tuple[tuple[str, int], bytes]  # host and port, key

__all__ = ["Desk", "sender", "task_number"]

_TAIL = 20  # lines in the exit record of a run whose worker died
_PATIENCE = 5.0  # seconds for what is on its way when a result is there


# -- the worker's side --------------------------------------------------------------------------------

_task: contextvars.ContextVar[int] = contextvars.ContextVar("task")


@contextlib.contextmanager
def task_number(index: int) -> Iterator[None]:
    """Say which of the commands is run."""
    token = _task.set(index)
    try:
        yield
    finally:
        _task.reset(token)


@lru_cache(8)
def sender(address: Address) -> Sink:
    """The sink that sends records to a desk; one for all runs of this process."""
    # a worker writes faster than one desk for all of them reads: the children wait, and nothing is lost
    return Background(_Sender(address), policy="block", flush_timeout=_PATIENCE)


class _Sender:
    name = "caller"

    def __init__(self, address: Address) -> None:
        self._place, self._key = address

    def open(self, run: Run) -> _SenderStream:
        connection = Client(self._place, authkey=self._key)
        connection.send((_task.get(), run))
        env, fields = connection.recv()
        run.fields.update(fields)
        return _SenderStream(connection, env)

    def close(self, timeout: float) -> None:
        pass


class _SenderStream:
    def __init__(self, connection: Connection[Any, Any], env: Mapping[str, str | None]) -> None:
        self.env = env
        self._connection = connection

    def emit(self, records: Start | Lines | Exit) -> None:
        self._connection.send(records)

    def close(self) -> None:
        with self._connection:
            self._connection.send(None)


# -- the caller's side --------------------------------------------------------------------------------


class _Visit:
    """One run at the desk."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.exit: Exit | None = None


class Desk:
    """Takes the records of workers and hands them to sinks, each run in a thread and in the caller's context.

    Args:
        sinks: Where the records go.
        host: Name or address of this machine, as the workers reach it.
    """

    def __init__(self, sinks: tuple[Sink, ...], host: str) -> None:
        key = os.urandom(32)
        self._listener = Listener((host, 0), authkey=key, backlog=128)
        place: Any = self._listener.address
        self.address: Address = (place, key)
        self._sinks = sinks
        self._redact = Redactor().text
        self._context = contextvars.copy_context()
        self._visits: dict[int, _Visit] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="subwatch-desk", daemon=True)
        self._thread.start()

    def ended(self, index: int) -> Exit | None:
        """The exit record of a run whose records have come, once its connection has ended; None without any."""
        visit = self._visits.get(index)
        if visit is None:
            return None
        visit.over.wait(_PATIENCE)
        return visit.exit

    def replay(self, exit: Exit | None) -> None:
        """Tell the sinks at least of the end of a run whose worker could not reach this desk."""
        if exit is not None:
            dispatcher = Dispatcher(exit.run, self._sinks, self._redact)
            dispatcher.open()
            dispatcher.emit(exit)
            dispatcher.close()

    def close(self) -> None:
        """Take no more."""
        self._closed = True
        with contextlib.suppress(OSError), Client(*self.address[:1], authkey=self.address[1]):
            pass  # wakes the thread
        self._thread.join(_PATIENCE)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except Exception as error:  # noqa: BLE001 - a stranger without the key, a scanner of ports
                if self._closed:
                    return
                report("a connection to the desk of Watch.map failed: %s", type(error).__name__)
                continue
            if self._closed:
                connection.close()
                return
            work = self._context.copy().run
            name = "subwatch-desk-run"
            threading.Thread(target=work, args=(self._serve, connection), name=name, daemon=True).start()

    def _serve(self, connection: Connection[Any, Any]) -> None:
        visit = _Visit()
        with connection:
            try:
                index, run = connection.recv()
                self._visits[index] = visit
                dispatcher = Dispatcher(run, self._sinks, self._redact)
                env = dispatcher.open()
                connection.send((env, run.fields))
                self._pass_on(connection, run, dispatcher, visit)
                dispatcher.close()
            except (EOFError, OSError):
                pass
            finally:
                visit.over.set()

    @staticmethod
    def _pass_on(connection: Connection[Any, Any], run: Run, dispatcher: Dispatcher, visit: _Visit) -> None:
        tail, counts, start = Tail(_TAIL), dict[str, int](), None
        run._tail = tail.lines
        try:
            while (batch := connection.recv()) is not None:
                batch.run = run
                if type(batch) is Lines:
                    tail.add(batch, len(batch))
                    counts[batch.stream] = counts.get(batch.stream, 0) + len(batch)
                elif type(batch) is Start:
                    start = batch
                else:
                    visit.exit = batch
                dispatcher.emit(batch)
        except (EOFError, OSError):
            if visit.exit is None:
                visit.exit = _lost(run, start, counts, tail, dispatcher)
                dispatcher.emit(visit.exit)
        run._tail = None


def _lost(run: Run, start: Start | None, counts: dict[str, int], tail: Tail, dispatcher: Dispatcher) -> Exit:
    now = time.time_ns()
    begun = now if start is None else start.time_ns
    return Exit(
        run=run,
        pid=None if start is None else start.pid,
        returncode=None,
        signal=None,
        reason="lost",
        start_ns=begun,
        time_ns=now,
        duration=max(0, now - begun) / 1e9,
        lines=counts,
        dropped=dispatcher.dropped(),
        drained=False,
        tail=tail.lines(),
    )
