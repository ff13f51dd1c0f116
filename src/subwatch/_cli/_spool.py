"""Output that is held back until it is known whether the command fails (``--quiet``)."""

from __future__ import annotations

import os
import struct
from tempfile import SpooledTemporaryFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

__all__ = ["Spool"]

_MEMORY = 1024 * 1024
_HEAD = struct.Struct("<BI")
_FD = {"stdout": 1, "stderr": 2}


class Spool:
    """Keeps the beginning and the end of what a command writes, in order, stdout and stderr apart.

    Up to 1 MiB is in memory, more in a temporary file without a name that only its owner can read.

    Args:
        limit: Bytes to keep; when there are more, some in the middle are left out, and counted.
    """

    def __init__(self, limit: int = 256 * _MEMORY) -> None:
        self._part = limit // 4
        self._first = _new()
        self._before, self._last = _new(), _new()
        self._left_out = 0
        self._in_first = True

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes of a stream."""
        piece = _HEAD.pack(_FD[name], len(data)) + data
        if self._in_first and self._first.tell() + len(piece) <= 2 * self._part:
            self._put(self._first, piece)
            return
        self._in_first = False
        if self._last.tell() + len(piece) > self._part:
            self._left_out += sum(len(data) for _, data in _pieces(self._before))
            self._before.close()
            self._before, self._last = self._last, _new()
        self._put(self._last, piece)

    def _put(self, file: IO[bytes], piece: bytes) -> None:
        end = file.tell()
        try:
            if file.write(piece) == len(piece):
                return
        except OSError:
            pass
        # no room on the disk: that is not the command's business
        self._left_out += len(piece) - _HEAD.size
        file.seek(end)
        file.truncate()

    def replay(self) -> None:
        """Write it all to where it would have gone; who does not read it does not want it."""
        for fd, data in self._all():
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(fd, view) :]
            except OSError:
                continue

    def close(self) -> None:
        """Forget it."""
        for file in (self._first, self._before, self._last):
            file.close()

    def _all(self) -> Iterator[tuple[int, bytes]]:
        yield from _pieces(self._first)
        if self._left_out:
            yield 2, f"\nsubwatch: {self._left_out} bytes of output are left out here\n".encode()
        yield from _pieces(self._before)
        yield from _pieces(self._last)


def _new() -> IO[bytes]:
    return SpooledTemporaryFile(_MEMORY, buffering=0)


def _pieces(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    file.seek(0)
    while len(head := file.read(_HEAD.size)) == _HEAD.size:
        fd, length = _HEAD.unpack(head)
        yield fd, file.read(length)
    file.seek(0, os.SEEK_END)
