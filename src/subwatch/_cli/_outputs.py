"""The sinks of one invocation: made, closed in time, and what they lost."""

from __future__ import annotations

import time

from .._report import sink_name
from ._say import say
from ._values import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..sinks import Sink
    from ._settings import Settings

__all__ = ["Outputs"]


class Outputs:
    """Where the records go.

    Args:
        settings: What holds.

    Attributes:
        sinks: The sinks.
        display: Whether a sink draws on the terminal; it then shows the command's stdout there as well.
        raw: Whether the command's stderr is to be passed on; otherwise the log is there in its place.

    Raises:
        SubwatchError: A sink cannot be made.
    """

    def __init__(self, settings: Settings) -> None:
        wanted: list[Spec] = list(settings["sinks"] or ())
        if settings["json"]:
            wanted.append(Spec("jsonlines", {"path": settings["json"]}))
        log = settings["log"]
        if log and not any(spec.name == "logging" for spec in wanted):
            wanted.append(Spec("logging", {}))
        logs = [spec for spec in wanted if spec.name == "logging"]
        if settings["hold_back"] is not None:
            for spec in logs:
                spec.options["hold_back"] = settings["hold_back"]
        for remark in settings.unused(wanted):
            say(remark)
        self.sinks: list[Sink] = [settings.build(spec) for spec in wanted]
        self.display = any(getattr(sink, "terminal", False) for sink in self.sinks)
        self.raw = not (logs and log in (None, "-"))
        self._account: Callable[[], str | None] = lambda: None
        if logs:
            from ._log import set_up

            self._account = set_up(settings)

    def prepare(self) -> None:
        """Set up what libraries behind sinks need, as an application would.

        Raises:
            SubwatchError: A sink is wrongly set.
        """
        for sink in self.sinks:
            if callable(prepare := getattr(sink, "standalone", None)):
                prepare()

    def close(self, deadline: float, dropped: Mapping[str, int]) -> None:
        """Let the sinks deliver what they have, and say what they could not.

        Args:
            deadline: Monotonic time at which it has to be over, for all of them.
            dropped: Records that are known to be lost already, by sink.
        """
        lost = dict(dropped)
        for sink in self.sinks:
            name = sink_name(sink)
            try:
                left = sink.close(max(0.0, deadline - time.monotonic())) or 0
            except Exception as error:  # noqa: BLE001 - one sink's trouble is not another's
                if name not in dropped:  # otherwise it was reported when it happened
                    say(f"sink {name} failed at its end: {type(error).__name__}")
                continue
            if left:
                lost[name] = lost.get(name, 0) + left
        for name, count in lost.items():
            say(f"{count} record{'s' * (count != 1)} did not reach {name}")
        if (trouble := self._account()) is not None:
            say(trouble)
