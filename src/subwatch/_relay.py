"""Following a child's streams in a thread, and handing them over when this Python ends before the child.

With plain subprocess a child's stderr is a terminal or a file, and stays so when its parent ends. A watched
child's stderr is a pipe to us: without a reader, its next word would kill it with SIGPIPE. So, at the end of
the interpreter, every stream that is still open goes to a ``cat`` that reads the pipe and writes to the
original place. It has nothing else open, is in a session of its own, and ends with the stream.

The threads are woken by one pipe for all, so that none is between reading and forwarding when its stream is
handed over. The hook is registered while such a thread lives. It does not run when this process is killed or
replaced (``SIGKILL``, ``os._exit``, ``os.exec``): the streams are closed then, and the child is told so when
it writes.
"""

from __future__ import annotations

import atexit
import contextvars
import os
import threading
import time
from contextlib import contextmanager
from subprocess import DEVNULL
from subprocess import Popen as _Popen  # the original, even where somebody puts ours in its place

from . import _os
from ._poller import Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._channel import Channel, Forward
    from ._drive import Drive

__all__ = ["follow", "lend", "relay"]

_PATIENCE = 2.0  # seconds for all threads together to let go; a sink may hold one

_live: dict[Drive, Callable[[float], object]] = {}
_lent: dict[Drive, tuple[int, threading.Event]] = {}  # those of daemon threads that are not ours
_wake: tuple[int, int] | None = None
_lock = threading.Lock()


class _LetGo(BaseException):
    """The interpreter ends: read no more."""


def follow(drive: Drive, poller: Poller | None = None) -> threading.Thread | None:
    """Follow a drive to the end of its streams in a thread, in the caller's context.

    Args:
        drive: What to follow.
        poller: Where it has been started already, or None to read on after its own end.

    Returns:
        The thread, or None where none can be started (at the end of the interpreter, in a subinterpreter
        without daemon threads, or when there are too many): the streams were handed over at once then.
    """
    work, late = contextvars.copy_context().run, "" if poller else "late-"
    thread = threading.Thread(
        target=work, args=(_follow, drive, poller), name=f"subwatch-{late}{drive.process.pid}"
    )
    _enroll(drive, thread.join)
    try:
        thread.daemon = True
        if not threading.main_thread().is_alive():  # in another exit hook: ours would not run any more
            raise RuntimeError
        thread.start()
    except RuntimeError:
        _hand_over(drive)
        return None
    return thread


def lend(drive: Drive) -> Callable[[], object]:
    """Have a drive handed over, too, that its own thread or event loop runs: where that is a daemon's.

    Such a thread does not end, it stands still when the interpreter does. To be called before the drive starts.

    Returns:
        What ends this; to be called when the drive is done.
    """
    if not threading.current_thread().daemon:
        return _nothing
    gone = threading.Event()
    # one for each: a loop has one callback per descriptor
    wake = _os.clear(os.dup(_enroll(drive, gone.wait)))
    _lent[drive] = threading.get_ident(), gone

    def back() -> None:
        drive.poller.forget_read(wake)
        os.close(wake)
        with _lock:
            _live.pop(drive, None)
            _lent.pop(drive, None)

    drive.poller.read(wake, _stand_still)
    return back


def _stand_still() -> None:
    """Hand over all that this thread drives, and do nothing any more."""
    for drive, (ident, gone) in list(_lent.items()):
        if ident == threading.get_ident():
            _hand_over(drive)
            if drive.monitor is not None:
                drive.monitor.close()
            gone.set()
    threading.Event().wait()


def _nothing() -> None:
    pass


def _enroll(drive: Drive, wait: Callable[[float], object]) -> int:
    """Have a drive handed over at the end, which waits for it in this way; return what is readable then."""
    global _wake  # noqa: PLW0603 - one for the process
    with _lock:
        if not _live and threading.main_thread().is_alive():
            atexit.unregister(_at_exit)
            atexit.register(_at_exit)  # last of all, so that it runs before sinks are closed
        if _wake is None:
            _wake = _os.pipe()
        _live[drive] = wait
        return _wake[0]


def _follow(drive: Drive, poller: Poller | None) -> None:
    try:
        if poller is not None:
            _wakeable(poller)
            poller.run(drive)
        while drive.open_channels:
            poller = _wakeable(Poller())
            drive.adopt(poller)
            poller.run(drive)
    except _LetGo:
        _hand_over(drive)
    if drive.monitor is not None:
        drive.monitor.close()
    with _lock:  # not before: the end of the interpreter waits for sinks that are still at work
        _live.pop(drive, None)


def _wakeable(poller: Poller) -> Poller:
    assert _wake is not None
    poller.read(_wake[0], _let_go)
    return poller


def _let_go() -> None:
    raise _LetGo


def _at_exit() -> None:
    """Have every thread hand over; do it for those that do not answer."""
    if _wake is None:  # after a fork
        return
    following = list(_live.items())  # those that let go at once are no less waited for
    os.write(_wake[1], b"!")  # never read: wakes all
    deadline = time.monotonic() + _PATIENCE
    for drive, wait in following:
        wait(max(0.0, deadline - time.monotonic()))
        _hand_over(drive)


def _hand_over(drive: Drive) -> None:
    """Give the open streams of a drive to somebody who outlives us."""
    with _lock:
        if _live.pop(drive, None) is None:
            return
    for channel in drive.unfinished:
        relay(channel)
    if not drive.settled and drive.monitor is not None:
        drive.settled = True
        drive.monitor.exited(*drive.ended(), drained=False)


def relay(channel: Channel) -> None:
    """Give an open channel to a ``cat`` that reads it and writes to where it leads."""
    forward = channel.forward
    os.set_blocking(channel.fd, True)
    if forward is not None:
        forward.restore()
    with _waiting(forward) as first:
        try:
            relay = _Popen(
                ["cat", "-"] if first is None else ["cat", f"/dev/fd/{first}", "-"],
                stdin=channel.fd,
                stdout=DEVNULL if forward is None else forward.fd,
                stderr=DEVNULL,
                pass_fds=() if first is None else (first,),
                env={"PATH": os.defpath},
                start_new_session=True,
            )
            relay.returncode = 0  # not waited for
        except OSError:  # no cat, no memory: nothing is left to try
            pass


@contextmanager
def _waiting(forward: Forward | None) -> Iterator[int | None]:
    """A descriptor of what was read already and is not taken yet, or None."""
    if forward is None or not forward.pending:
        yield None
        return
    from tempfile import TemporaryFile

    with TemporaryFile() as file:
        file.write(forward.pending)
        file.seek(0)
        yield file.fileno()


def _forget() -> None:
    """After a fork: these threads are the parent's."""
    global _wake, _lock  # noqa: PLW0603
    _live.clear()
    _lent.clear()
    _lock = threading.Lock()
    if _wake is not None:
        os.close(_wake[0])
        os.close(_wake[1])
        _wake = None


os.register_at_fork(after_in_child=_forget)
