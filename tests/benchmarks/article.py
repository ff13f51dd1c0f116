"""The design of the article that subwatch began with: a tee below asyncio's own protocol, and a reading task."""

import asyncio
import functools
import logging


class TeeProtocol(asyncio.subprocess.SubprocessStreamProtocol):
    def __init__(self, reader, limit, loop):
        super().__init__(limit=limit, loop=loop)
        self._reader = reader

    def pipe_data_received(self, fd, data):
        super().pipe_data_received(fd, data)
        if fd == 2:
            self._reader.feed_data(data)

    def pipe_connection_lost(self, fd, exc):
        super().pipe_connection_lost(fd, exc)
        if fd == 2:
            if exc:
                self._reader.set_exception(exc)
            else:
                self._reader.feed_eof()


async def article(cmd, on_line=None):
    """Run a command, capture its output, call a function with each line; returns (stdout, stderr, status)."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    factory = functools.partial(TeeProtocol, reader, limit=2**16, loop=loop)

    async def watch():
        if on_line is None:
            async for line in reader:
                pass
        else:
            async for line in reader:
                on_line(line)

    transport, protocol = await loop.subprocess_exec(
        factory, *cmd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    proc = asyncio.subprocess.Process(transport, protocol, loop)
    (out, err), _ = await asyncio.gather(proc.communicate(), watch())
    return out, err, proc.returncode


class NopHandler(logging.Handler):
    def emit(self, record):
        pass


def nop_logger():
    logger = logging.getLogger("bench")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(NopHandler())
    return logger


def log_line(logger, program):
    def on_line(line):
        logger.debug("%s: %s", program, line.decode().rstrip())

    return on_line
