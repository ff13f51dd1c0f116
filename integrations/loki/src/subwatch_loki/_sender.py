"""The sending thread: what each answer means, when to try again, and when to stop.

Statuses as recorded from Loki 3.7
(https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs): a 400 may have stored most of a
batch, a 2xx need not have stored anything, and some 5xx never go away.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import random
import re
import threading
import time
from typing import TYPE_CHECKING

from subwatch_loki._outbox import Outbox, logger, say
from subwatch_loki._push import Emitter
from subwatch_loki._spool import Spool

if TYPE_CHECKING:
    from subwatch_loki._encode import Batch
    from subwatch_loki._options import Options
    from subwatch_loki._push import Answer

__all__ = ["Sender", "refused", "sending"]

# 200 comes from proxies; 260 and others are how Loki says that ingestion is blocked: not stored.
STORED = (200, 204)
DENIED = {
    401: "no tenant or wrong credentials: set tenant=, username= and password=, or token=",
    403: "the credentials are not allowed to write",
    404: "there is no push API at this URL",
    405: "there is no push API at this URL",
    407: "the proxy wants credentials",
}
# How long to leave a server alone that does not want us.
DENIED_PAUSE = 300.0
# Same 5xx answers to the same body before it is suspected.
SUSPECT = 3
# Why something is left at the end, when nothing has failed yet.
SILENT = "no answer in the time for delivery"
# Seconds between looks whether the process that is sending the spool has done so.
LOOK = 0.2

_IGNORED = re.compile(r"total ignored: (\d+) out of (\d+)")
_GROUPED = re.compile(r"(\d+) errors like: ")

#: Set in the thread that sends, so that its own log records are not sent again.
sending = threading.local()


def refused(text: str, count: int) -> int:
    """How many of a batch's entries a 400 has not stored.

    Args:
        text: The answer: ``total ignored: 3 out of 10`` of an ingester, ``3 errors like: ...`` of a
            distributor. An ingester's hides what the distributor has refused before, but its total is without that.
        count: Number of entries in the batch.

    Returns:
        The number; all of them when it does not tell, as with labels that cannot be parsed.
    """
    stored = sum(int(total) - int(ignored) for ignored, total in _IGNORED.findall(text))
    numbers = [int(number) for number in _GROUPED.findall(text)]
    if stored or not numbers:
        return max(0, count - stored)
    return min(sum(numbers), count)


class _LaterError(Exception):
    """The server cannot take it now."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


class _DeniedError(_LaterError):
    """The server does not want us at all."""


class Sender:
    """Delivers the batches of an outbox, one at a time, oldest first.

    Args:
        options: Where to, and how.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        spool = options.spool and Spool(options.spool, options.target, options.spool_bytes)
        self.outbox: Outbox = Outbox(spool or None, options.max_age)
        self._emitter = Emitter(options)
        self._plain = False  # the server takes no structured metadata
        self._reset()

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._failures = 0  # in a row
        self._since = 0.0
        self._reason = SILENT
        self._last: tuple[int, int, str] | None = None  # batch that was answered with a 5xx, and how
        self._repeats = 0
        self._denied_until = 0.0

    def forked(self) -> None:
        """Start afresh in a forked child."""
        self._emitter.forked()
        self.outbox.forked()
        self._reset()

    @property
    def denied(self) -> bool:
        """Whether the server is left alone, since it does not want us."""
        return time.monotonic() < self._denied_until

    def put(self, batch: Batch, *, wait: bool = True) -> None:
        """Queue a batch and see that it is sent; wait for room, unless this is the end."""
        self.start()
        self.outbox.put(batch, wait=wait)

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._starting:
            if self._thread is None:
                # An empty context: our requests make no breadcrumbs or spans in the caller's scope.
                work = contextvars.Context().run
                thread = threading.Thread(
                    target=work, args=(self._work,), name="subwatch-loki-sender", daemon=True
                )
                with contextlib.suppress(RuntimeError):  # the interpreter ends; `close` counts what is there
                    thread.start()
                    self._thread = thread

    def close(self, timeout: float) -> int:
        """Deliver what there is, at most `timeout` seconds long; returns how many entries were not."""
        deadline = time.monotonic() + timeout
        left = self.outbox.close(timeout)
        if left and self._failures < 2:  # else it has been said
            say(logging.WARNING, "cannot deliver to %s: %s", self._options.shown, self._reason)
        if self._thread is not None:
            self._thread.join(max(0.1, deadline - time.monotonic()))
        if self._thread is None or not self._thread.is_alive():
            self._end()
        return left

    def _end(self) -> None:
        self._emitter.close()
        if self.outbox.spool is not None:
            self.outbox.spool.close()

    def _work(self) -> None:
        sending.active = True
        outbox = self.outbox
        while not outbox.closed:
            batch = outbox.oldest()
            if batch is None:
                outbox.rest(LOOK if outbox.look_around() else None)
                continue
            try:
                self._deliver(batch)
            except _DeniedError as denied:
                self._deny(batch, denied.answer)
            except _LaterError as later:
                pause = self._pause(later.answer)
                outbox.rest(pause, failing=True, patient=later.answer.retry_after is not None)
            except Exception:  # noqa: BLE001 - a batch that cannot be read is not tried for ever
                logger.exception("loki: a batch of %d entries is dropped", batch.count)
                self._finish(batch, [(batch, batch.count)])
        self._end()

    def _deliver(self, batch: Batch) -> None:
        """Get rid of a batch.

        Raises:
            _LaterError: It stays where it is.
        """
        if batch.row is None and self.denied:
            self._finish(batch, [(batch, batch.count)])
            return
        answer = self._push(batch)
        poison = None
        if self._poisonous(batch, answer):
            answer = self._push(batch)  # the server may have come back between the two
            poison = (answer.status, answer.text) if answer.status >= 500 else None
        losses = self._settle(batch, answer, poison)
        if self._failures > 1:
            say(logging.INFO, "delivering again after %.0f s", time.monotonic() - self._since)
        self._failures, self._reason = 0, SILENT
        self._denied_until = 0.0
        self._finish(batch, losses)

    def _finish(self, batch: Batch, losses: list[tuple[Batch, int]]) -> None:
        for part, count in losses if not self.outbox.closed else ():  # else all is counted already
            part.lose(count)
        self.outbox.done(batch, sum(count for _, count in losses), "refused")
        self.outbox.failing = False

    def _push(self, batch: Batch) -> Answer:
        return self._emitter.push(batch.plain().body if self._plain else batch.body)

    def _settle(
        self, batch: Batch, answer: Answer, poison: tuple[int, str] | None
    ) -> list[tuple[Batch, int]]:
        """Draw the conclusion from an answer, with further requests if need be.

        A batch that is sent in parts is sent as a whole again after an interruption: Loki stores equal
        entries once.

        Args:
            batch: The batch or part of one that was sent.
            answer: What the server said.
            poison: The answer that is known to be an entry's fault: look for the entry.

        Returns:
            What is lost: batches or parts, with the number of their entries.

        Raises:
            _LaterError: The server cannot take it now.
        """
        status, text = answer.status, answer.text
        if status in STORED:
            return []
        if status == 413 or (status, text) == poison:
            if batch.count > 1:
                halves = [(half, self._push(half)) for half in batch.split()]
                return [loss for half, reply in halves for loss in self._settle(half, reply, poison)]
            return self._lost(batch, 1, answer)
        if status == 400:
            if not self._plain and "structured metadata" in text and "disallowed" in text:
                self._plain = True
                say(
                    logging.WARNING,
                    "the server takes no structured metadata, lines hold it instead: %s",
                    text,
                )
                return self._settle(batch, self._push(batch), poison)
            return self._lost(batch, refused(text, batch.count), answer)
        if status in DENIED or 300 <= status < 400:
            raise _DeniedError(answer)
        if status in (0, 408, 425, 429) or status >= 500:
            raise _LaterError(answer)
        return self._lost(batch, batch.count, answer)

    def _lost(self, batch: Batch, count: int, answer: Answer) -> list[tuple[Batch, int]]:
        if count:
            text = f"{answer.status} {answer.text[:1024]}"
            self.outbox.warn("the server has not stored %d of %d entries: %s", count, batch.count, text)
        return [(batch, count)]

    def _poisonous(self, batch: Batch, answer: Answer) -> bool:
        """Find out whether a 5xx is the batch's fault.

        An entry that the server cannot digest makes it answer 500 for ever. So when it repeats itself about
        one batch but takes another one, the batch is to blame.
        """
        if answer.status < 500:
            return False
        now = (batch.row or id(batch), answer.status, answer.text)
        self._repeats = self._repeats + 1 if now == self._last else 1
        self._last = now
        if self._repeats % SUSPECT:
            return False
        other = self.outbox.oldest(batch)
        if other is None or self._push(other).status not in STORED:
            return False
        self.outbox.done(other)
        return True

    def _pause(self, answer: Answer) -> float:
        """How long to wait: exponential backoff with full jitter, at least as long as the server asks for."""
        self._failures += 1
        self._reason = f"{answer.status} {answer.text[:300]}" if answer.status else answer.text
        if self._failures == 1:
            self._since = time.monotonic()
        elif self._failures == 2:
            shown = self._options.shown
            say(logging.WARNING, "cannot deliver to %s, will go on trying: %s", shown, self._reason)
        limit = min(self._options.retry_max, self._options.retry_min * 2 ** min(self._failures - 1, 30))
        pause = random.uniform(0, limit)  # noqa: S311 - not a secret
        return max(pause, min(answer.retry_after or 0.0, 3600.0))

    def _deny(self, batch: Batch, answer: Answer) -> None:
        """Stop sending for a while: batches stay in the spool, or are dropped."""
        what = DENIED.get(answer.status, "the URL redirects elsewhere")
        fate = "dropped" if batch.row is None else "kept in the spool"
        if not self._denied_until:
            message = "%s answers %d, %s; records are %s: %s"
            say(logging.ERROR, message, self._options.shown, answer.status, what, fate, answer.text[:300])
        self._denied_until = time.monotonic() + DENIED_PAUSE
        if batch.row is None:
            self._finish(batch, [(batch, batch.count)])
        else:
            self.outbox.rest(DENIED_PAUSE, failing=True, patient=True)
