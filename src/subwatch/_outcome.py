"""From an ended child to what the caller gets: a result, or an exception that says why."""

from __future__ import annotations

import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._captured import Captured
    from ._ending import Ending
    from ._monitor import Monitor
    from ._spawn import Child

__all__ = ["outcome"]


def outcome(
    child: Child[Any],
    monitor: Monitor,
    ending: Ending,
    captured: Captured,
    *,
    timeout: float | None,
    check: bool,
    wrong: Exception | None,
) -> subprocess.CompletedProcess[Any]:
    """Return the result of a run, or raise what it deserves.

    Args:
        child: The child, reaped.
        monitor: What watched it.
        ending: Why it was ended, if it was.
        captured: What it wrote.
        timeout: The caller's time limit in seconds.
        check: Whether a non-zero exit status raises.
        wrong: What was wrong with the caller's input, or None.

    Raises:
        subprocess.TimeoutExpired: It took too long, or was silent for too long.
        subprocess.CalledProcessError: It failed, and the caller wants to know.
    """
    try:
        if error := wrong or monitor.error:
            raise error
        if ending.reason in ("timed_out", "idle"):
            limit = timeout if ending.reason == "timed_out" else ending.idle_timeout
            assert limit is not None
            out, err = captured.so_far()
            late = subprocess.TimeoutExpired(child.args, limit, output=out, stderr=err)
            if ending.reason == "idle":
                late.add_note(f"it wrote nothing for {limit} seconds (idle_timeout)")
            raise late
        stdout, stderr = captured.result()
        returncode = child.returncode
        if check and returncode and ending.reason != "stopped":
            raise subprocess.CalledProcessError(returncode, child.args, output=stdout, stderr=stderr)
        completed = subprocess.CompletedProcess(child.args, returncode, stdout, stderr)
        completed.subwatch_exit = monitor.exit  # type: ignore[attr-defined]
        return completed
    except BaseException as error:
        if isinstance(error, UnicodeError):
            error.add_note(f"the child itself has ended: {monitor.exit.message if monitor.exit else ''}")
        monitor.annotate(error)
        captured.close()
        raise
