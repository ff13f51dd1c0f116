"""What has come to Sentry and to OpenTelemetry's collector, against what the workers of `soak.py` have written down.

Neither SDK keeps on disk what it cannot deliver, so each error, span and log record has arrived or was told to be
lost. Both may be: a server that has stored something may not live to say so.
"""

from __future__ import annotations

from collections import Counter, defaultdict

FAILED = ("exited", "signaled", "timed_out", "idle", "spawn_failed")
GIVEN_UP = ("interrupted", "cancelled")  # is no error that Sentry is told of
# What a process that is killed may lose of what it said in its last seconds: what waits for its batch (5 s by the SDK),
# for an exporter that tries an earlier one again (1.5 s), and for a busy machine.
UNSAFE = 10.0
LEAVING = 1.0  # and one that leaves, which flushes first: what its threads had not handed to an SDK yet


class Telemetry:
    """Looks at the runs of `Accounts`."""

    def __init__(self, soak, accounts):
        self.book = accounts.book
        self.balance = accounts.balance
        self.complain = accounts.complain
        self.wrong = accounts.wrong
        self.killed = soak.killed
        self.left = {}  # worker's name to when it began to leave
        self.unexported = {"spans": Counter(), "logs": Counter()}
        self.unsent = Counter()  # by process, as Sentry's transport tells
        self.counted = Counter()  # by process, as the sink does
        collector = soak.collector
        self.spans = defaultdict(list)
        for span in collector.items("traces"):
            self.spans[collector.attributes_of(span).get("subwatch.run.id")].append(span)
        self.logs = defaultdict(list)
        for log in collector.items("logs"):
            self.logs[log.span_id.hex()].append(log)
        self.events, self.refused = by_run(soak.sentry.events()), by_run(soak.sentry.refused())

    def read(self, process, entry):
        """Take note of what a process has written down of its SDKs."""
        if "unexported" in entry:
            self.unexported[entry["unexported"]].update(entry["spans"])
        elif "unsent" in entry:
            self.unsent[process] += 1
        elif "counted" in entry:
            self.counted[process] += entry["counted"]
        elif "leaving" in entry:
            self.left[process.split("-")[0]] = entry["leaving"]

    def check(self, run_id, run):
        end = self.killed.get(run.worker, float("inf")) - UNSAFE * 1e9
        unsafe = min(end, self.left.get(run.worker, end) - LEAVING * 1e9)
        failed = int(run.returncode != 0 and run.reason in FAILED)
        ended = int(run.returncode != 0 and run.reason in GIVEN_UP)
        late = run.events.get("exit", float("inf")) > unsafe
        self.check_event(run_id, run, failed, excused=late)
        self.check_span(run_id, run, excused=late)
        self.check_logs(run, failed or ended, unsafe, late=late)

    def check_event(self, run_id, run, failed, *, excused):
        """A failed run is one error."""
        events = self.events[run_id]
        after_the_sdk = (run.settled or run.dropped).get("sentry", 0)
        lost = len(run.unsent) + len(self.refused[run_id]) + after_the_sdk
        self.compare(run, "errors for Sentry", len(events), lost, failed, excused=excused)
        for event in events:
            trace = event["contexts"]["trace"]
            if (trace["trace_id"], trace["span_id"]) != run.place:
                self.complain(run, f"error of span {trace}, not {run.place}")

    def check_span(self, run_id, run, *, excused):
        """Each run is one span."""
        spans = self.spans[run_id]
        lost = self.unexported["spans"][run.place[1]]
        self.compare(run, "spans for OpenTelemetry", len(spans), lost, 1, excused=excused)
        for span in spans:
            if run.events and (span.trace_id.hex(), span.span_id.hex()) != run.place:
                self.complain(run, f"span {span.span_id.hex()}, not {run.place}")

    def check_logs(self, run, failed, unsafe, *, late):
        """Each line is one log record of the run's span, as is a failure, but for those above the rate limit."""
        logs = self.logs[run.place[1]]
        times = Counter((log.time_unix_nano, log.event_name) for log in logs)
        if twice := [key for key, count in times.items() if count > 1]:
            self.complain(run, f"log records more than once: {twice[:5]}")
        for log in logs:
            text = log.body.string_value
            if log.trace_id.hex() != run.place[0] or ("#" in text and f"#{run.key}." not in text):
                self.complain(run, f"log record of another run: {text[:80]}")
        limited = (run.settled or run.dropped).get("opentelemetry", 0)
        lost = limited + self.unexported["logs"][run.place[1]]
        lines = sum(batch["count"] for batch in run.batches)
        excused = sum(batch["count"] for batch in run.batches if batch["ns"] > unsafe)
        excused += failed and late
        if run.settled is None and run.reason is None:  # killed: what was held back was never said
            excused = lines
        self.compare(run, "log records for OpenTelemetry", len(logs), lost, lines + failed, excused=excused)

    def compare(self, run, what, arrived, lost, expected, *, excused):
        """Nothing has come more often than it was said, and what has not come was counted.

        Both may be true: a server that has stored something may not live to say so.
        """
        missing = max(0, expected - arrived)
        self.book(what, expected, arrived, lost)
        if arrived > expected:
            self.complain(run, f"{what}: {arrived} arrived of {expected}")
        elif lost + excused < missing:
            self.complain(run, f"{what}: {arrived} arrived and {lost} counted of {expected}")

    def check_all(self):
        """What the Sentry sink counts is what the transport has told, and something has arrived at all."""
        for process, count in self.counted.items():
            if count != self.unsent[process]:
                told = self.unsent[process]
                self.wrong.append(f"{process}: the sentry sink counts {count} losses, the SDK {told}")
        for what, row in self.balance.items():
            if not row["arrived"]:
                self.wrong.append(f"no {what} have arrived")


def by_run(events):
    """Errors of children by run; others are of the log, such as those of an exporter."""
    found = defaultdict(list)
    for event in events:
        if child := event["contexts"].get("subprocess"):
            found[child["run_id"]].append(event)
    return found
