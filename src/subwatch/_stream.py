"""One stream of a child, as its session knows it."""

from __future__ import annotations

from ._lines import Framer
from ._pieces import Pieces
from ._tail import Unread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .processors import Pipeline

__all__ = ["Stream"]


class Stream:
    """What is counted of a stream, and what waits of it.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        pipeline: Decodes and redacts.
        max_line: Size limit of a record, in bytes.

    Attributes:
        framer: Cuts it into lines.
        pieces: Shows lines that cannot be shown as they come.
        transcode: Turns its bytes into UTF-8, where they are something else.
        bytes: How many were read.
        lines: How many records were made.
        since: When something was read last, in nanoseconds since the epoch.
        held: It is not read at present.
        level: That of the beginning of a line that is shown in pieces.
        skipped: Nobody wants its lines.
        unread: The last of what nobody wanted.
    """

    __slots__ = (
        "bytes",
        "framer",
        "held",
        "level",
        "lines",
        "name",
        "pieces",
        "since",
        "skipped",
        "transcode",
        "unread",
    )

    def __init__(self, name: str, pipeline: Pipeline, max_line: int) -> None:
        self.name = name
        self.framer = Framer()
        self.pieces = Pieces(pipeline, max_line)
        self.transcode = pipeline.transcoder()
        self.bytes: int = 0
        self.lines: int = 0
        self.since: int = 0
        self.held: bool = False
        self.level: int = 0
        self.skipped: bool = False
        self.unread: Unread | None = None

    def take(self, data: bytes, time_ns: int) -> bytes:
        """Count what was read; return it as UTF-8."""
        self.bytes += len(data)
        self.since = time_ns
        return data if self.transcode is None else self.transcode(data)

    def skip(self, data: bytes, time_ns: int) -> None:
        """Keep what nobody wants, as long as it may be among the last."""
        if self.unread is None:
            self.unread = Unread()
            self.skipped = True
            data = self.framer.resume(data)
        self.unread.add(time_ns, data)
