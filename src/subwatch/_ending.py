"""When and why a child is to be ended: a pure timetable, the drivers send the signals.

The ladder is TERM, `grace` seconds, KILL. The first reason wins; what comes later only hurries.
"""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM

__all__ = ["Ending"]

# As subprocess.run: a child on our terminal has got the Ctrl-C too and is given this long to act on it.
SIGINT_WAIT = 0.25


class Ending:
    """Decides which signal is due.

    Args:
        grace: Seconds between SIGTERM and SIGKILL; 0 sends SIGKILL at once.
        idle_timeout: Seconds without output after which the child is ended, or None.
        own_group: Whether the child is out of reach of our terminal's Ctrl-C.
    """

    __slots__ = ("_grace", "_own_group", "_steps", "deadline", "idle_timeout", "reason", "silent_since")

    def __init__(self, grace: float, idle_timeout: float | None, own_group: bool) -> None:
        self._grace = grace
        self._own_group = own_group
        self._steps: list[tuple[float, int]] = []
        self.idle_timeout: float | None = idle_timeout
        self.deadline: float | None = None
        self.silent_since: float = 0.0
        #: Why the child is being ended; None while it is not.
        self.reason: str | None = None

    def begin(self, reason: str, now: float) -> None:
        """Start to end the child for this reason, unless that was begun before."""
        if self.reason is not None:
            return
        self.reason = reason
        if reason == "interrupted":
            if self._own_group:
                self._steps = [(now, SIGINT)]
            now += SIGINT_WAIT
        if self._grace > 0:
            self._steps.append((now, SIGTERM))
        self._steps.append((now + self._grace, SIGKILL))

    def hurry(self, now: float) -> None:
        """Kill at once: the user has asked a second time."""
        self._steps = [(now, SIGKILL)]

    def next(self) -> float | None:
        """When `due` has something to say, in monotonic seconds; None for never."""
        if self.reason is not None:
            return self._steps[0][0] if self._steps else None
        if self.idle_timeout is None:
            return self.deadline
        times = [time for time in (self.deadline, self._idle_at()) if time is not None]
        return min(times) if times else None

    def due(self, now: float) -> int | None:
        """Return the signal to send now, if any."""
        if self.reason is None:
            if self.deadline is not None and now >= self.deadline:
                self.begin("timed_out", now)
            elif (at := self._idle_at()) is not None and now >= at:
                self.begin("idle", now)
        if self._steps and now >= self._steps[0][0]:
            return self._steps.pop(0)[1]
        return None

    def _idle_at(self) -> float | None:
        return None if self.idle_timeout is None else self.silent_since + self.idle_timeout

    @property
    def exhausted(self) -> bool:
        """Whether the last signal has been sent."""
        return self.reason is not None and not self._steps
