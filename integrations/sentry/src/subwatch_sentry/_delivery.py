"""What the SDK could not deliver of what it was told about children."""

from __future__ import annotations

import logging
import os
from collections import Counter
from functools import wraps
from typing import TYPE_CHECKING, Any

from sentry_sdk.utils import capture_internal_exceptions

if TYPE_CHECKING:
    from sentry_sdk.client import BaseClient
    from sentry_sdk.envelope import Item

__all__ = ["Losses"]


class Losses:
    """Counts what a transport tells its client reports about: errors of children, check-ins and logs.

    Every transport of the SDK tells of each loss in one place, ``record_lost_event``, with what was lost. An
    answer of 429 alone is not told there, since the server has counted it; it is reported all the same.

    Attributes:
        monitors: Slugs of the cron monitors whose check-ins count.
    """

    def __init__(self) -> None:
        self.monitors: set[str] = set()
        self._counts = Counter[int]()  # by process: a forked one inherits its parent's
        self._said: set[str] = set()

    @classmethod
    def of(cls, client: BaseClient) -> Losses:
        """Return the account of a client's transport; opened when first asked for."""
        transport: Any = client.transport
        if transport is None:
            return cls()
        losses: Losses = vars(transport).setdefault("_subwatch_losses", new := cls())
        if losses is new:
            losses._listen(transport)
        return losses

    def take(self) -> int:
        """Return how many this process has lost since this was asked last."""
        return self._counts.pop(os.getpid(), 0)

    def _listen(self, transport: Any) -> None:
        record, drop = transport.record_lost_event, getattr(transport, "on_dropped_event", _nothing)

        @wraps(record)
        def record_lost_event(
            reason: str, data_category: Any = None, item: Item | None = None, *, quantity: int = 1
        ) -> None:
            with capture_internal_exceptions():
                if item is not None and reason != "before_send" and (count := _ours(item, self.monitors)):
                    self._counts[os.getpid()] += count
                    self._say(reason)
            record(reason, data_category, item, quantity=quantity)

        def on_dropped_event(reason: str) -> None:
            if reason == "status_429":
                self._say(reason)
            drop(reason)

        transport.record_lost_event = record_lost_event
        transport.on_dropped_event = on_dropped_event

    def _say(self, reason: str) -> None:
        if reason not in self._said:
            self._said.add(reason)
            logging.getLogger("subwatch").warning(
                "sentry sink: an error, check-in or log of a child was not delivered (%s)", reason
            )


def _ours(item: Item, monitors: set[str]) -> int:
    """How many errors, check-ins and logs of children an item of an envelope holds."""
    payload: Any = item.payload.json
    if item.type == "event":
        return int("run_id" in ((payload.get("contexts") or {}).get("subprocess") or ()))
    if item.type == "check_in":
        return int(payload.get("monitor_slug") in monitors)
    if item.type == "log":
        return sum("subprocess.run_id" in log["attributes"] for log in payload["items"])
    return 0


def _nothing(_reason: str) -> None:
    pass
