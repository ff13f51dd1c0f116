"""What the workers of `soak.py` have written down, against what has arrived."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter, defaultdict

from soak_telemetry import Telemetry

# What a killed process may lose of the spool, in seconds: what waits for its batch (0.5), and what a busy machine has
# not got round to.
UNSAFE = 3.0
GROWTH = 12 * 2**20  # bytes that the steady process may grow by after its warm-up


class Run:
    """What the worker has written down of one run."""

    def __init__(self, name):
        self.worker = name
        self.key = self.kind = self.reason = self.settled = self.captured = self.error = None
        self.counted = 0  # lines, by the exit record
        self.closed = False
        self.drained = True  # by the exit record
        self.dropped = {}  # by the exit record
        self.left_out = False  # a sink raised
        self.returncode = None
        self.place = None, None  # trace and span
        self.unsent = []  # reasons why Sentry's transport has lost its error
        self.events = {}  # Start and Exit, with their times
        self.batches = []
        self.sums = {}

    def read(self, entry):
        self.key = entry.get("key", self.key)
        self.kind = entry.get("kind", self.kind)
        self.captured = entry.get("captured", self.captured)
        self.error = entry.get("error", self.error)
        if "unsent" in entry:
            self.unsent.append(entry["unsent"])
        elif "first" in entry:
            self.batches.append(entry)
        elif "event" in entry:
            self.events[entry["event"].lower()] = entry["ns"]
            self.place = entry["trace_id"], entry["span_id"]
            self.returncode = entry.get("returncode")
            self.reason = entry.get("reason")
            self.drained = entry.get("drained", True)
            self.counted = entry.get("lines", 0)
            self.dropped = entry.get("dropped", {})
        elif "settled" in entry:
            self.settled, self.closed, self.sums = entry["settled"], entry["closed"], entry

    def records(self):
        """Names of the records and when they were seen."""
        yield from self.events.items()
        for batch in self.batches:
            for number in range(batch["first"], batch["first"] + batch["count"]):
                yield str(number), batch["ns"]

    def marks(self, *, late=True):
        """What each writer has said: numbers, and whether the last of them was there."""
        found = defaultdict(list)
        for batch in self.batches:
            for mark in batch["marks"] if late or not batch["late"] else ():
                found[mark[0]].append(mark[1:])
        return found


class Accounts:
    def __init__(self, soak):
        self.folder = soak.folder
        self.runs = {}
        self.samples = []
        self.said = Counter()
        self.wrong = soak.wrong
        self.killed = soak.killed
        self.sums = Counter()
        self.balance = defaultdict(Counter)
        self.traces = defaultdict(set)  # run to traces that it was said to be part of
        self.telemetry = Telemetry(soak, self)
        for path in sorted(soak.folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
            self.read(path)
        self.filed = defaultdict(Counter)
        for path in soak.folder.glob("*.records"):
            self.read_records(path)
        self.delivered = defaultdict(Counter)
        for metadata in soak.loki.entries():
            self.delivered[metadata["run_id"]][metadata.get("line") or metadata["event"]] += 1
            self.traces[metadata["run_id"]].add(metadata.get("trace_id"))

    def read(self, path):
        name = path.name.split("-")[0]
        for line in path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # killed while writing
                if name not in self.killed:
                    self.wrong.append(f"{path.name}: half a line")
                continue
            self.telemetry.read(path.name.rsplit("-", 1)[0], entry)
            if "run" in entry:
                self.runs.setdefault(entry["run"], Run(name)).read(entry)
            elif "sample" in entry and name == "steady":
                self.samples.append(entry)
            elif "said" in entry:
                if found := re.search(r"'jsonlines' failed and is left out of run (\S+)", entry["said"]):
                    self.runs[found[1]].left_out = True
                # what differs from one to the next is left out
                said = re.sub(rf"\d+(?= s\b| record)|(?<= of run )\S+|{self.folder}/", "...", entry["said"])
                self.said[f"{name.rstrip('0123456789')}: {said[:150]}"] += 1

    def read_records(self, path):
        """What the jsonlines sink has written."""
        lines = path.read_bytes().splitlines()
        broken = 0
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                broken += 1
                continue
            self.traces[record["run"]].add(record.get("trace_id"))
            self.filed[record["run"]][str(record.get("number", record["event"]))] += 1
        self.sums["half lines in JSON files, by a full disk or SIGKILL"] += broken

    def book(self, what, said, arrived, counted):
        """Add to the table of what was said, has arrived and was counted as lost; both may be true."""
        missing = max(0, said - arrived)
        row = self.balance[what]
        row["said"] += said
        row["arrived"] += arrived
        row["lost, counted"] += min(counted, missing)
        row["lost, SIGKILL or exit"] += max(0, missing - counted)
        row["counted, but arrived"] += max(0, counted - missing)

    def complain(self, run, text):
        self.wrong.append(f"{run.key} ({run.kind}): {text}")

    def check(self):
        for run_id, run in self.runs.items():
            self.check_numbers(run)
            if run.settled is not None:
                self.check_settled(run)
            elif run.worker not in self.killed:
                self.complain(run, "was never settled")
            self.check_delivery(run_id, run)
            self.check_file(run_id, run)
            self.telemetry.check(run_id, run)
            if self.traces[run_id] - {run.place[0]}:
                self.complain(run, f"part of {self.traces[run_id]}, not of {run.place[0]}")
        self.telemetry.check_all()
        for run_id in self.delivered.keys() - self.runs.keys():
            self.wrong.append(f"run {run_id} was delivered, but nobody has seen it")
        self.check_growth()

    def check_numbers(self, run):
        """What the core made of what the child has written: all of it, in order."""
        expected = 1
        for batch in run.batches:
            if batch["first"] != expected:
                self.complain(run, f"line {batch['first']} after line {expected - 1}")
            expected = batch["first"] + batch["count"]
        self.sums["lines"] += expected - 1
        by_itself = run.reason in ("exited", "signaled") and run.closed and not run.error
        left = run.worker.startswith(
            "exit"
        )  # before what late writers had to say, or the exit record says so
        for writer, marks in run.marks().items():
            numbers = [int(mark.rstrip("!")) for mark in marks]
            if numbers != list(range(len(numbers))):
                self.complain(run, f"writer {writer}: {numbers}")
            if (
                by_itself
                and not marks[-1].endswith("!")
                and not (left and (writer == "g" or not run.drained))
            ):
                self.complain(run, f"writer {writer}: the end is missing after {marks[-1]}")
        if (
            run.reason
            and (now := sum(batch["count"] for batch in run.batches if not batch["late"])) != run.counted
        ):
            self.complain(run, f"{now} lines, but {run.counted} in the exit record")
        if run.captured is not None and run.kind != "forking":
            seen = [
                writer + mark for writer, marks in sorted(run.marks(late=False).items()) for mark in marks
            ]
            if sorted(seen) != sorted(run.captured):
                self.complain(run, f"captured {len(run.captured)} lines, watched {len(seen)}")

    def check_settled(self, run):
        """Sinks in the process: what they were given is there or counted."""
        sums, dropped = run.sums, run.settled
        if sums["handed"] + dropped["moody"] != sums["records"]:
            self.complain(run, f"moody: {sums['handed']} + {dropped['moody']} dropped of {sums['records']}")
        exits = "exit" in run.events
        if sums["logged"] != sums["lines"] + exits:
            self.complain(run, f"logged {sums['logged']} of {sums['lines']} + {exits}")
        self.book("records for a slow sink", sums["records"], sums["handed"], dropped["moody"])

    def check_delivery(self, run_id, run):
        """What has come to Loki."""
        found = self.delivered.get(run_id, Counter())
        twice = [name for name, count in found.items() if count > 1]
        if twice:
            self.complain(run, f"delivered more than once: {twice[:5]}")
        records = dict(run.records())
        strange = found.keys() - records.keys()
        missing = records.keys() - found.keys()
        dropped = run.settled["loki"] if run.settled else 0
        self.book("records for Loki", len(records), len(records) - len(missing), dropped)
        if strange:
            self.complain(run, f"delivered, but not seen: {sorted(strange)[:5]}")
        if run.worker in self.killed:
            limit = self.killed[run.worker] - UNSAFE * 1e9
            early = [name for name in missing if records[name] < limit]
            if early:
                self.complain(run, f"{len(early)} lost before the last moment: {sorted(early)[:5]}")
        elif run.settled is not None:
            # a spool that is too small gave way while nobody knew whether it had arrived
            if run.worker.startswith("small") and dropped > len(missing):
                return
            if len(missing) != dropped:
                self.complain(
                    run, f"{len(missing)} did not arrive, {dropped} are counted: {sorted(missing)[:5]}"
                )

    def check_file(self, run_id, run):
        """What the jsonlines sink has written: all, but for what did not go onto a full disk."""
        found = self.filed.get(run_id, Counter())
        records = dict(run.records())
        if twice := [name for name, count in found.items() if count > 1]:
            self.complain(run, f"in the file more than once: {twice[:5]}")
        missing = records.keys() - found.keys()
        counted = run.dropped.get("jsonlines", 0) if run.left_out else (run.settled or {}).get("jsonlines", 0)
        self.book("records for a JSON file", len(records), len(records) - len(missing), counted)
        if run.worker in self.killed:
            missing = {name for name in missing if records[name] < self.killed[run.worker] - 1e9}
        late = {
            str(batch["first"] + index)
            for batch in run.batches
            if batch["late"]
            for index in range(batch["count"])
        }
        if run.left_out:  # what came after the exit record is not in its account
            excused = not run.reason or counted >= len(missing - late - {"exit"})
        else:
            excused = counted == len(missing)
        if not excused:
            self.complain(
                run, f"{len(missing)} not in the file, {counted} are counted: {sorted(missing)[:5]}"
            )

    def check_growth(self):
        """The steady process is as large at the end as it was when it was warm."""
        third = max(1, len(self.samples) // 3)
        if len(self.samples) < 3:
            self.wrong.append(f"only {len(self.samples)} samples of the steady process")
            return
        # connections come and go: the fewest count
        bounds = [
            ("rss", statistics.median, GROWTH),
            ("objects", statistics.median, 3000),
            ("fds", min, 3),
            ("threads", min, 0),
        ]
        for name, typical, most in bounds:
            early, late = (
                typical([sample[name] for sample in part])
                for part in (self.samples[third : 2 * third], self.samples[-third:])
            )
            if late - early > most:
                self.wrong.append(f"{name} of the steady process: {early} became {late}")
        if stuck := [sample["unsettled"] for sample in self.samples if sample["unsettled"]]:
            self.wrong.append(f"runs that did not settle when all was quiet: {stuck}")
