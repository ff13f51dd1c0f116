"""The asyncio front: `run`, `create_subprocess_exec` and `create_subprocess_shell`, for any event loop.

No child watcher, no thread per child and no StreamReader on the way: pipes and a pidfd are readers of the
loop. A loop without ``add_reader`` and a platform without pidfd are served by timers and a thread.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
import warnings
from asyncio.subprocess import Process as _Process
from asyncio.subprocess import SubprocessStreamProtocol

from ._captured import Captured, feed_or_kill
from ._control import Backlog
from ._default import default_watch
from ._drive import Drive
from ._options import split
from ._outcome import outcome
from ._popen import prelude
from ._spawn import Child, by_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from subprocess import CompletedProcess
    from typing import Any, Unpack, overload

    from ._channel import Channel, Feed
    from ._ending import Ending
    from ._monitor import Monitor
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


class _LoopPoller:
    """Waits on an event loop; the twin of `subwatch._drive.Poller`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._at = 0.0
        self.drive: Drive | None = None
        self.read: Callable[[int, Callable[[], object]], None] = loop.add_reader
        self.write: Callable[[int, Callable[[], object]], None] = loop.add_writer
        self.forget_read: Callable[[int], object] = loop.remove_reader
        self.forget_write: Callable[[int], object] = loop.remove_writer

    def wake(self, at: float) -> None:
        """Ask for a `tick` at this monotonic time at the latest."""
        if self._timer is not None:
            if self._at <= at:
                return
            self._timer.cancel()
        self._at = at
        self._timer = self._loop.call_later(max(0.0, at - time.monotonic()), self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.drive is not None and not self.drive.done:
            self.drive.tick()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Running:
    """One child on an event loop."""

    def __init__(self, child: Child[Any], monitor: Monitor, ending: Ending, feed: Feed | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._poller = _LoopPoller(self._loop)
        self.child = child
        self.monitor = monitor
        self.ending = ending
        self.on_done: Callable[[], object] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.drive = Drive(
            child,
            self._poller,
            child.channels,
            monitor,
            ending,
            drain=child.drain,
            feed=feed,
            finished=self._finished,
        )
        self._poller.drive = self.drive

    def _finished(self) -> None:
        self._poller.stop()
        for channel in self.drive.open_channels:
            self._poller.forget_read(channel.fd)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.on_done is not None:
            self._loop.call_soon(self.on_done)

    def abandon(self) -> None:
        """Let go of a child whose loop was closed before its end: nobody can wait for it any more."""
        for channel in self.drive.open_channels:
            channel.eof = True
            channel.close()
        if not self.drive.settled:
            self.drive.settled = True
            self.monitor.exited(self.drive, drained=False)
        self.monitor.close()

    async def wait(self) -> None:
        """Wait for the end; a cancellation ends this wait alone."""
        while not self.drive.done:
            self._waiter = self._loop.create_future()
            await self._waiter

    async def end(self, reason: str) -> None:
        """End the child and wait until it is over; a second cancellation makes short work of it."""
        self.ending.begin(reason, time.monotonic())
        self.drive.tick()
        while not self.drive.done:
            try:
                await self.wait()
            except asyncio.CancelledError:
                self.ending.hurry(time.monotonic())
                self.drive.tick()

    async def conclude(self) -> None:
        """Let the sinks deliver; one that may block does so in a thread."""
        if not self.monitor.must_wait:
            self._close()
            return
        await self._loop.run_in_executor(None, self.monitor.flush)
        await self._loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        if not self.drive.open_channels:
            self.monitor.close()


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


async def run(
    *popenargs: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    watch: Watch | None = None,
    **kwargs: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a command as `subwatch.run` does, without blocking the event loop.

    Arguments, result and exceptions are those of `subwatch.run`. When the task is cancelled, the child is
    ended (SIGTERM, `grace`, SIGKILL), the sinks get its exit, and the cancellation goes on; a second one
    kills the child at once.

    Raises:
        asyncio.CancelledError: The task was cancelled; the child has ended.
    """
    prelude(kwargs, input, capture_output)
    options = split(kwargs)
    keywords = by_name(popenargs, kwargs)
    deadline = None if timeout is None else time.monotonic() + timeout
    monitor, ending = (watch or default_watch()).monitor(options, keywords, raises=check)
    child = Child(keywords, monitor, direct=True)
    ending.deadline = deadline
    feed, wrong = feed_or_kill(child, input)
    running = _Running(child, monitor, ending, feed)
    captured = Captured(child, running.drive)
    running.drive.start()
    try:
        await running.wait()
        await running.conclude()
    except BaseException:
        await running.end("cancelled")
        captured.close()
        running._close()
        raise
    return outcome(child, monitor, ending, captured, timeout=timeout, check=check, wrong=wrong)


# -- long-lived children ------------------------------------------------------------------------------


class Process(_Process):
    """An :class:`asyncio.subprocess.Process` that is watched."""

    _transport: _Transport

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


class _Pipe(asyncio.ReadTransport):
    """A stream of the child, as its StreamReader sees it."""

    def __init__(self, drive: Drive, channel: Channel) -> None:
        super().__init__()
        self._drive = drive
        self._channel = channel

    def is_closing(self) -> bool:
        return self._channel.eof

    def is_reading(self) -> bool:
        return not (self._channel.eof or self._channel.paused)

    def pause_reading(self) -> None:
        self._drive.pause(self._channel)

    def resume_reading(self) -> None:
        self._drive.resume(self._channel)

    def close(self) -> None:
        self._drive.close_channel(self._channel)


class _StdinProtocol(asyncio.BaseProtocol):
    """Tells the process's protocol how its stdin fares."""

    def __init__(self, protocol: SubprocessStreamProtocol) -> None:
        self._protocol = protocol

    def connection_lost(self, exc: BaseException | None) -> None:
        self._protocol.pipe_connection_lost(0, exc)  # type: ignore[arg-type]

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class _Transport(asyncio.SubprocessTransport):
    """What :class:`asyncio.subprocess.Process` needs of a transport, on our drive."""

    def __init__(
        self, child: Child[Any], monitor: Monitor, ending: Ending, backlog: Backlog, news: asyncio.Event
    ) -> None:
        super().__init__({"subprocess": child})
        self.backlog = backlog
        self.news = news
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._running = _Running(child, monitor, ending)
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._pipes: dict[int, Any] = {}
        self._closed = False

    async def connect(self, protocol: SubprocessStreamProtocol) -> None:
        """Connect the child's pipes with the protocol, and begin to read."""
        drive = self._running.drive
        if self._child.stdin is not None:
            self._pipes[0], _ = await self._loop.connect_write_pipe(
                lambda: _StdinProtocol(protocol), self._child.stdin
            )
        for fd, name in ((1, "stdout"), (2, "stderr")):
            for channel in drive.channels:
                if channel.name == name and channel.capture is not None:
                    channel.capture = None
                    channel.deliver = lambda data, fd=fd: protocol.pipe_data_received(fd, data)
                    channel.on_eof = lambda fd=fd: protocol.pipe_connection_lost(fd, None)
                    self._pipes[fd] = _Pipe(drive, channel)
        protocol.connection_made(self)
        drive.on_exit = lambda: self._on_exit(protocol)
        self._running.on_done = self._on_done
        drive.start()

    def _on_exit(self, protocol: SubprocessStreamProtocol) -> None:
        if not self._exited.done():
            self._exited.set_result(self._child.returncode)
        protocol.process_exited()

    def _on_done(self) -> None:
        for channel in self._running.drive.open_channels:
            if channel.on_eof is not None:
                channel.on_eof()  # whoever reads must not wait for what another process holds
        Captured(self._child, self._running.drive).close()
        if self._running.monitor.must_wait:
            self._loop.run_in_executor(None, self._running._close)
        else:
            self._running._close()

    def get_pid(self) -> int:
        return self._child.pid

    def get_returncode(self) -> int | None:
        return self._child.returncode

    def get_pipe_transport(self, fd: int) -> Any:
        return self._pipes.get(fd)

    async def _wait(self) -> int:
        return await asyncio.shield(self._exited)

    def send_signal(self, signal: int) -> None:
        if self._child.returncode is not None:
            raise ProcessLookupError
        self._child.send_signal(signal)

    def terminate(self) -> None:
        self.send_signal(subprocess.signal.SIGTERM)  # type: ignore[attr-defined]

    def kill(self) -> None:
        self.send_signal(subprocess.signal.SIGKILL)  # type: ignore[attr-defined]

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Give the child up: kill it if it still runs, as asyncio does."""
        if self._closed:
            return
        self._closed = True
        if self._child.poll() is None:
            self._child.kill()

    def __del__(self) -> None:
        if self._child.returncode is None:
            warnings.warn(
                f"unclosed transport of pid {self._child.pid}", ResourceWarning, source=self, stacklevel=2
            )
            self.close()
            if self._loop.is_closed():
                self._running.abandon()


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
    monitor, ending = (watch or default_watch()).monitor(options, keywords, backlog=backlog)
    child = Child(keywords, monitor, direct=True)
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    transport = _Transport(child, monitor, ending, backlog, news)
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
