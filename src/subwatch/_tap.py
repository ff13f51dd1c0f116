"""Between a child's stream and the place where the caller wanted it."""

from __future__ import annotations

import os
import subprocess
from io import BytesIO

from . import _os
from ._channel import Channel, Forward
from .errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_NUMBERS = {"stdout": 1, "stderr": 2}  # descriptors

__all__ = ["channels", "forwarded", "tap"]


def _watched(keywords: Mapping[str, Any], both: bool) -> frozenset[str]:
    """Names of the streams whose lines become records, from Popen's arguments; `both`: stdout too."""
    if keywords.get("stderr") == subprocess.STDOUT:
        return frozenset({"stdout"})
    return frozenset({"stdout", "stderr"} if both else {"stderr"})


def forwarded(keywords: Mapping[str, Any], both: bool) -> frozenset[str]:
    """Those of the watched streams that lead to our own of the same name."""
    return frozenset(name for name in _watched(keywords, both) if _is_ours(name, keywords.get(name)))


def _is_ours(name: str, target: Any) -> bool:
    if target is None or isinstance(target, int):
        return target in (None, _NUMBERS[name])
    try:
        return bool(target.fileno() == _NUMBERS[name])
    except (AttributeError, OSError, ValueError):  # no descriptor: the spawn will say so
        return False


def _writable(target: Any) -> bool:
    """Whether something can be written to what a caller gave for a stream; if not, that is the child's affair."""
    if target is None or target in (subprocess.PIPE, subprocess.DEVNULL):
        return True
    try:
        return _os.is_writable(target if isinstance(target, int) else target.fileno())
    except (OSError, ValueError):  # no descriptor: the spawn will say so
        return False


def tap(keywords: dict[str, Any], options: Mapping[str, Any], *, direct: bool) -> list[_Tap]:
    """Put our pipes where a child's streams are watched, or captured by us.

    Args:
        keywords: The arguments of Popen by name; what the child gets in the place of its streams is put there.
        options: The options of the run.
        direct: Whether what the caller pipes is captured here, rather than handed on.
    """
    taps: list[_Tap] = []
    merged = keywords.get("stderr") == subprocess.STDOUT
    names = _watched(keywords, options["watch_stdout"])
    size = keywords.get("pipesize", -1)
    try:
        for name in ("stderr", "stdout"):
            target = keywords.get(name)
            watched = name in names
            place = 1 if merged and target is None else target  # where stderr goes with it
            if (watched and _writable(place)) or (direct and target == subprocess.PIPE):
                use_pty = options["pty"] if watched else False
                made = _Tap(name, target, use_pty, direct=direct, watched=watched, size=size)
                taps.append(made)
                if not made.piped:
                    keywords[name] = made.child_end
    except BaseException:
        for made in taps:
            made.close()
        raise
    return taps


def channels(taps: Iterable[_Tap], child: subprocess.Popen[Any]) -> list[Channel]:
    """What is to be read of a child that has been started."""
    return [made.behind(getattr(child, made.name)) if made.piped else made.channel() for made in taps]


class _Tap:
    """A stream of the child that leads to us.

    Args:
        name: ``"stdout"`` or ``"stderr"``.
        target: What the caller gave for it.
        use_pty: True, False, or None to decide by the terminal.
        direct: Whether what the caller pipes is captured here, rather than handed on.
        watched: Whether its lines become records.
        size: Capacity that the caller wants of a pipe in bytes, or -1.
    """

    our_end = child_end = -1
    _forward: int | None = None

    def __init__(
        self, name: str, target: Any, use_pty: bool | None, *, direct: bool, watched: bool, size: int
    ) -> None:
        self.name = name
        self._watched = watched
        is_pipe = target == subprocess.PIPE
        self.piped = is_pipe and not direct
        self._captured = is_pipe and direct
        if self.piped and use_pty:
            raise ConfigError(
                f"pty=True with {name}=PIPE works in run() only: Popen's pipe is for you to read"
            )
        if target is None:
            try:
                self._forward = _os.clear(os.dup(_NUMBERS[name]))
            except OSError:  # ours is closed, so the child's would be: what it says goes to the sinks alone
                pass
        elif not is_pipe and target != subprocess.DEVNULL:
            self._forward = _os.clear(os.dup(target if isinstance(target, int) else target.fileno()))
        try:
            if use_pty or (use_pty is None and target is None and os.isatty(_NUMBERS[name])):
                self.our_end, self.child_end = _os.open_pty(_NUMBERS[name])
            else:
                self.our_end, self.child_end = _os.pipe()
                if size > 0 and self._captured:
                    _os.set_pipe_size(self.our_end, size)
        except BaseException:
            self.close()
            raise

    def channel(self) -> Channel:
        """Hand over our end as a channel; the child has its own."""
        os.close(self.child_end)
        channel = Channel(self.name, self.our_end, owned=True, watched=self._watched, awaited=self._captured)
        if self._captured:
            channel.capture = BytesIO()
        if self._forward is not None:
            channel.forward = Forward(self._forward)
        return channel

    def behind(self, file: Any) -> Channel:
        """Step between the child and the file from which the caller reads its pipe.

        The file keeps its descriptor number, buffering and text layer, but reads from a pipe that we
        write to; so everything that can be done with it still can, and the caller's pace still slows
        the child down.
        """
        fd = file.fileno()
        size = _os.pipe_size(fd)
        child = _os.clear(os.dup(fd))
        os.dup2(self.our_end, fd, inheritable=False)
        os.close(self.our_end)
        if size:
            _os.set_pipe_size(fd, size)
        channel = Channel(self.name, child, owned=True, watched=True, awaited=True)
        channel.forward = Forward(self.child_end, ours=True)
        return channel

    def close(self) -> None:
        """Give up: nothing was started."""
        for fd in (self.our_end, self.child_end, self._forward):
            if fd is not None and fd >= 0:
                os.close(fd)
