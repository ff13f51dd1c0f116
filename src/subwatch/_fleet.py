"""`Watch.map`: many commands on any `concurrent.futures` executor, one result for each of them.

The executor decides where and when; what is added here is that a worker process keeps its sinks from one
command to the next, that records may come back to the caller's sinks (`_desk`), and that a run whose worker
died is told of nevertheless.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import os
import uuid
from typing import cast

from ._desk import Desk, sender, task_number
from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from subprocess import CompletedProcess
    from typing import Any

    from ._desk import Address
    from ._watch import Watch
    from .records import Exit

    Answer = tuple["CompletedProcess[Any] | None", "BaseException | None"]
    Pending = dict[concurrent.futures.Future[Answer], int]

__all__ = ["MapResult", "run_all"]

_MOST = 8  # watches that a worker keeps

#: What this process has given out itself, by token: an executor of threads runs it as it is.
_here: dict[str, tuple[Watch, contextvars.Context]] = {}
#: What this process works with as a worker, by token.
_watches: dict[str, Watch] = {}
os.register_at_fork(after_in_child=_here.clear)


class MapResult:
    """What became of one command of `Watch.map`.

    Attributes:
        index: Its place among the commands, from 0.
        command: The command as it was given.
        exit: Its exit record; None when it was not even tried, because an argument is wrong.
        error: What `result` raises, or None.
    """

    __slots__ = ("_done", "command", "error", "exit", "index")

    def __init__(self, index: int, command: Any, done: CompletedProcess[Any] | None, error: Any) -> None:
        self.index: int = index
        self.command: Any = command
        self.exit: Exit | None = getattr(done or error, "subwatch_exit", None)
        self.error: BaseException | None = error
        self._done = done

    @property
    def returncode(self) -> int | None:
        """As :attr:`subprocess.Popen.returncode`; None when there is none."""
        if self._done is not None:
            return self._done.returncode
        return None if self.exit is None else self.exit.returncode

    def result(self) -> CompletedProcess[Any]:
        """Return what `run` has returned.

        Raises:
            BaseException: What `run` has raised, or the executor, when the worker died.
        """
        if self.error is not None:
            raise self.error
        assert self._done is not None
        return self._done

    def __repr__(self) -> str:
        what = "not started" if self.exit is None else self.exit.message
        return f"MapResult({self.index}, {what!r})"


def run_all(
    watch: Watch,
    commands: Iterable[Any],
    executor: concurrent.futures.Executor | None,
    ordered: bool,
    records: str,
    host: str,
    keywords: Mapping[str, Any],
) -> Iterator[MapResult]:
    """See `Watch.map`; everything is submitted when this returns."""
    if records not in ("worker", "caller"):
        raise ConfigError(f'records= is "worker" or "caller", not {records!r}')
    # new in Python 3.14: threads, but what we have is not theirs, and they may not have one that sends
    apart = getattr(concurrent.futures, "InterpreterPoolExecutor", ())
    if records == "caller" and isinstance(executor, apart):
        raise ConfigError('records="caller": interpreters cannot send them; use threads or processes')
    calls = [_call(command, keywords) for command in commands]
    own = concurrent.futures.ThreadPoolExecutor(os.cpu_count()) if executor is None else None
    engine = executor or own
    assert engine is not None
    threads = isinstance(engine, concurrent.futures.ThreadPoolExecutor)
    desk = Desk(watch._own_sinks(), host) if records == "caller" and not threads else None
    token = uuid.uuid4().hex
    _here[token] = watch, contextvars.copy_context()
    options = watch._portable()
    task: tuple[str, Watch, Address | None] = token, options, None
    if desk is not None:
        task = token, options.replace(sinks=()), desk.address
    pending: Pending = {}
    try:
        for index, call in enumerate(calls):
            try:
                future = engine.submit(_work, *task, index, call)
            except concurrent.futures.BrokenExecutor as broken:
                if not pending:
                    raise
                # a worker died meanwhile: what it had is told of as well
                future = concurrent.futures.Future()
                future.set_exception(broken)
            pending[future] = index
    except BaseException:
        _finish(token, pending, own, desk)
        raise
    results = _results(watch, calls, pending, ordered, token, own, desk)
    next(results)  # so that closing it cleans up, even where nobody has asked for a result yet
    return cast("Iterator[MapResult]", results)


def _call(command: Any, keywords: Mapping[str, Any]) -> dict[str, Any]:
    from collections.abc import Mapping as Pairs

    if not isinstance(command, Pairs):
        return {**keywords, "args": command}
    if "args" not in command:
        raise ConfigError(f"a command that is a mapping names its args=, but this has {', '.join(command)}")
    return {**keywords, **command}


def _results(
    watch: Watch,
    calls: list[dict[str, Any]],
    pending: Pending,
    ordered: bool,
    token: str,
    own: concurrent.futures.Executor | None,
    desk: Desk | None,
) -> Iterator[MapResult | None]:
    try:
        yield None
        for future in list(pending) if ordered else concurrent.futures.as_completed(pending):
            index = pending[future]
            yield MapResult(index, calls[index]["args"], *_answer(watch, calls[index], index, future, desk))
    finally:
        _finish(token, pending, own, desk)


def _finish(token: str, pending: Pending, own: concurrent.futures.Executor | None, desk: Desk | None) -> None:
    for future in pending:
        future.cancel()
    if own is not None:
        own.shutdown(wait=True, cancel_futures=True)
    if desk is not None:
        desk.close()
    _here.pop(token, None)


def _answer(
    watch: Watch,
    call: dict[str, Any],
    index: int,
    future: concurrent.futures.Future[Answer],
    desk: Desk | None,
) -> Answer:
    """What the worker returned; or, when it cannot any more, what the executor says of that."""
    try:
        done, error = future.result()
    except Exception as lost:  # noqa: BLE001 - each kind of executor has its own
        lost = _own(lost)
        exit = None if desk is None else desk.ended(index)
        if exit is None:
            child = watch.observe(**call)
            child.exited(None, reason="lost")
            exit = child.exit
        lost.subwatch_exit = exit  # type: ignore[attr-defined]
        return None, lost
    if desk is not None and desk.ended(index) is None:
        desk.replay(getattr(done or error, "subwatch_exit", None))
    return done, error


def _own(error: Exception) -> Exception:
    """A pool that broke raises one exception for all that it lost: each run gets one that tells of itself."""
    if not hasattr(error, "subwatch_exit"):
        return error
    try:
        own = type(error)(*error.args)
    except Exception:  # noqa: BLE001 - it cannot be made from its arguments
        return error
    own.__cause__ = error.__cause__
    return own


# -- in the worker ------------------------------------------------------------------------------------


def _work(token: str, watch: Watch, address: Address | None, index: int, call: dict[str, Any]) -> Answer:
    """Run one command; whatever it raises is returned, so that it is not taken for the executor's trouble."""
    here = _here.get(token)
    try:
        if here is not None:
            own, context = here
            return context.copy().run(lambda: own.run(**call)), None
        ours = _watch(token, watch, address)
        with task_number(index):
            return ours.run(**call), None
    except BaseException as error:  # noqa: BLE001
        return None, error


def _watch(token: str, watch: Watch, address: Address | None) -> Watch:
    """The watch of one `map` in this process: its sinks live on from one command to the next."""
    ours = _watches.get(token)
    if ours is None:
        while len(_watches) >= _MOST:
            _watches.pop(next(iter(_watches))).close()
        ours = _watches[token] = watch if address is None else watch.replace(sinks=(sender(address),))
    return ours
