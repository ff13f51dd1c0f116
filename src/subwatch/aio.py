"""The asyncio front: `run`, `create_subprocess_exec` and `create_subprocess_shell`, for any event loop.

No child watcher, no thread per child and no StreamReader on the way: pipes and a pidfd are readers of the
loop. A loop without ``add_reader`` and a platform without pidfd are served by timers and a thread.
"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process as _Process
from asyncio.subprocess import SubprocessStreamProtocol

from ._captured import Captured
from ._control import Backlog
from ._default import default_watch
from ._loop import Running
from ._options import split
from ._outcome import outcome
from ._run import begin
from ._spawn import Child, by_name
from ._transport import Transport
from ._veil import forgets_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from subprocess import CompletedProcess
    from typing import Any, Unpack, overload

    from ._typing import (
        Command,
        ExecOptions,
        Path,
        RunAny,
        RunBytes,
        RunEncoding,
        RunErrors,
        RunNewlines,
        RunText,
        ShellOptions,
        Target,
    )
    from ._watch import Watch
    from .records import Exit, Line, Start

__all__ = ["Process", "create_subprocess_exec", "create_subprocess_shell", "run"]

_LIMIT = 2**16  # as asyncio.streams


if TYPE_CHECKING:

    @overload
    async def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunText]) -> CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, bufsize: int = -1, **kwargs: Unpack[RunEncoding]
    ) -> CompletedProcess[str]: ...
    @overload
    async def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunErrors]) -> CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, bufsize: int = -1, **kwargs: Unpack[RunNewlines]
    ) -> CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, bufsize: int = -1, **kwargs: Unpack[RunBytes]
    ) -> CompletedProcess[bytes]: ...
    @overload
    async def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunAny]) -> CompletedProcess[Any]: ...


@forgets_async
async def run(
    *popenargs: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,  # noqa: ASYNC109 - as subprocess.run
    check: bool = False,
    watch: Watch | None = None,
    **kwargs: Any,
) -> CompletedProcess[Any]:
    """Run a command as `subwatch.run` does, without blocking the event loop.

    Arguments, result and exceptions are those of `subwatch.run`. When the task is cancelled, the child is
    ended (SIGTERM, `grace`, SIGKILL), the sinks get its exit, and the cancellation goes on; a second one
    kills the child at once.

    Raises:
        asyncio.CancelledError: The task was cancelled; the child has ended.
    """
    begun = begin(popenargs, kwargs, input, capture_output, timeout, check, watch)
    child, monitor, ending, feed, wrong = begun
    running = Running(child, monitor, ending, feed)
    captured = Captured(child, running.drive)
    running.drive.start()
    try:
        await running.wait()
        await running.conclude()
    except BaseException as error:
        await running.end("cancelled")
        captured.close()
        running.close()
        monitor.mark(error)
        raise
    return outcome(child, monitor, ending, captured, timeout=timeout, check=check, wrong=wrong)


# -- long-lived children ------------------------------------------------------------------------------


class Process(_Process):
    """An :class:`asyncio.subprocess.Process` that is watched."""

    _transport: Transport

    async def records(self) -> AsyncIterator[Start | Line | Exit]:
        """Iterate over the child's records, live, from its start to its exit; late lines go to the sinks alone.

        What waits to be taken is bounded (16 MiB): beyond that the oldest lines give way, and the exit
        record counts them under ``records``. To be called once.
        """
        backlog, news = self._transport.backlog, self._transport.news
        backlog.claim()
        while True:
            news.clear()
            ended = backlog.ended
            batch = backlog.pop()
            if batch is not None:
                for record in batch:
                    yield record
            elif ended:
                return
            else:
                await news.wait()


@forgets_async
async def create_subprocess_shell(
    cmd: str | bytes,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
    limit: int = _LIMIT,
    *,
    watch: Watch | None = None,
    **kwds: Unpack[ShellOptions],
) -> Process:
    """Start a shell command as :func:`asyncio.create_subprocess_shell` does, and watch it.

    Takes the extra keywords of `subwatch.run` too. Arguments, result and errors are those of asyncio.
    """
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")
    if not kwds.setdefault("shell", True):
        raise ValueError("shell must be True")
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    return await _create(cmd, limit, watch, {**kwds, **streams})


@forgets_async
async def create_subprocess_exec(
    program: Path,
    *args: Path,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
    limit: int = _LIMIT,
    watch: Watch | None = None,
    **kwds: Unpack[ExecOptions],
) -> Process:
    """Start a program as :func:`asyncio.create_subprocess_exec` does, and watch it.

    Takes the extra keywords of `subwatch.run` too. Arguments, result and errors are those of asyncio.
    """
    if kwds.get("shell"):
        raise ValueError("shell must be False")
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    return await _create((program, *args), limit, watch, {**kwds, **streams})


async def _create(args: Any, limit: int, watch: Watch | None, kwargs: dict[str, Any]) -> Process:
    for name, only in (
        ("universal_newlines", False),
        ("text", False),
        ("bufsize", 0),
        ("encoding", None),
        ("errors", None),
    ):
        if kwargs.get(name) not in (None, only):
            raise ValueError(f"{name} must be {only}")
    loop = asyncio.get_running_loop()
    news = asyncio.Event()
    backlog = Backlog(lambda: _notify(loop, news))
    options = split(kwargs)
    keywords = by_name((args,), {**kwargs, "bufsize": 0})
    monitor, ending = (watch or default_watch())._prepare(options, keywords, backlog=backlog)
    child = Child(keywords, monitor, direct=True)
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    transport = Transport(child, monitor, ending, backlog, news)
    try:
        await transport.connect(protocol)
    except BaseException:
        transport.close()
        child.wait()
        raise
    return Process(transport, protocol, loop)


def _notify(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    """Wake whoever iterates; late lines come from a thread, and maybe after the loop."""
    try:
        if asyncio._get_running_loop() is loop:
            news.set()
        else:
            loop.call_soon_threadsafe(news.set)
    except RuntimeError:
        pass
