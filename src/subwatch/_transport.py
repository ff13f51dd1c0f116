"""What :class:`asyncio.subprocess.Process` sees of a child: transports, on our drive."""

from __future__ import annotations

import asyncio
import subprocess
import warnings

from ._captured import linger
from ._loop import Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio.subprocess import SubprocessStreamProtocol
    from typing import Any

    from ._channel import Channel
    from ._control import Backlog
    from ._drive import Drive
    from ._ending import Ending
    from ._monitor import Monitor
    from ._spawn import Child

__all__ = ["Transport"]


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


class Transport(asyncio.SubprocessTransport):
    """What :class:`asyncio.subprocess.Process` needs of a transport, on our drive."""

    def __init__(
        self, child: Child[Any], monitor: Monitor, ending: Ending, backlog: Backlog, news: asyncio.Event
    ) -> None:
        super().__init__({"subprocess": child})
        self.backlog = backlog
        self.news = news
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._running = Running(child, monitor, ending)
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
        if self._running.drive.open_channels:  # stdin is its own transport's to close
            linger(self._running.drive)
        self._running.aside(self._running.close)

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
