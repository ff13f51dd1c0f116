"""All sinks at once, against their real servers: one run id and one trace id lead from each to each.

`nightly.py` beside this file is the application: a backup by `pg_basebackup`, failures of all kinds, a daemon, two
hundred children at a time. Here is looked at what arrived in the log, in Loki, behind the OpenTelemetry
collector, in Bugsink (errors), in Spotlight (all that Sentry's SDK sends) and on the terminal.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pyte
import pytest

pytestmark = pytest.mark.shared_children

SECRET = "hunter2-Zz9-42"
FAILURES = {"failing": 3, "checked": 4, "killed": -9, "outside": 5}
SINGLE = {"backup", "daemon", "chatty", *FAILURES}
CROWD = {f"{kind}-{number}" for kind in ("thread", "coroutine") for number in range(100)}


@pytest.fixture(scope="module")
def servers(helper, tmp_path_factory):
    """Everything that the application talks to."""
    collector = helper("integrations/opentelemetry/tests/otlp_collector.py")
    sentry = helper("integrations/sentry/tests/servers.py")
    loki = helper("integrations/loki/tests/lokiserver.py").LokiServer()
    with contextlib.ExitStack() as stack:
        stack.callback(loki.stop)
        readback = stack.enter_context(collector.readback())
        started = {
            "otlp": lambda: collector.running(tmp_path_factory.mktemp("rotel"), readback),
            "cluster": lambda: contextlib.closing(helper("tests/pg.py").Cluster(megabytes=20)),
            "bugsink": sentry.bugsink,
            "spotlight": sentry.spotlight,
        }
        with ThreadPoolExecutor() as pool:
            entered = pool.map(lambda start: stack.enter_context(start()), started.values())
            found = dict(zip(started, entered))
        yield SimpleNamespace(loki=loki, readback=readback, **found)


@pytest.fixture(scope="module")
def evening(servers, helper, tmp_path_factory):
    """Let the application run on a terminal; return what every server has got."""
    folder = tmp_path_factory.mktemp("nightly")
    project, dsn = servers.bugsink.project("nightly")
    store = helper("integrations/loki/tests/conftest.py").Loki(servers.loki.url)
    settings = {
        "backup": servers.cluster.backup(servers.cluster.folder / "backup"),
        "dsn": dsn,
        "log": str(folder / "log"),
        "loki": store.options,
        "otlp": servers.otlp["http/protobuf"],
        "result": str(folder / "result"),
        "secret": SECRET,
        "spotlight": servers.spotlight.dsn.replace("key@", "").removesuffix("/1") + "/stream",
    }
    (folder / "settings").write_text(json.dumps(settings))
    command = [sys.executable, str(Path(__file__).with_name("nightly.py")), str(folder / "settings")]
    with helper("tests/cli/terminal.py").Terminal(command, cwd=folder, rows=40, columns=100) as terminal:
        terminal.screen = pyte.HistoryScreen(100, 40, history=100_000, ratio=1)
        terminal.screen.set_mode(pyte.modes.LNM)
        terminal._stream = pyte.ByteStream(terminal.screen)
        code = terminal.finish(90)
        above = ["".join(row[x].data for x in range(100)).rstrip() for row in terminal.screen.history.top]
        shown = [*above, *terminal.text().splitlines()]
    assert code == 0, "\n".join(shown[-40:])
    result = json.loads((folder / "result").read_text())
    pages = result["pages"]
    ids = {page["id"]: job for job, page in pages.items()}
    written = sum(len(page["texts"]) for page in pages.values())
    errors = servers.bugsink.wait(project, len(FAILURES))
    return SimpleNamespace(
        pages=pages,
        jobs=ids,
        backup=result["backup"].splitlines(),
        threads=result["threads"],
        terminal=shown,
        log=[json.loads(line) for line in (folder / "log").read_text().splitlines()],
        loki=store.entries(count=written + 2 * len(pages)),
        spans=servers.readback.wait("traces", lambda items: len(items) > len(pages) and items),
        records=servers.readback.items("logs"),
        errors=errors,
        envelopes=servers.spotlight.items(),
        raw=[
            (folder / "log").read_bytes(),
            terminal.raw,
            *(body for _, body in servers.loki.requests),
            *(request.SerializeToString() for request in servers.readback.requests),
        ],
        twice=servers.loki.store.sent_twice,
    )


def plain(value):
    """An OTLP value as Python's."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes(item):
    return {pair.key: plain(pair.value) for pair in item.attributes}


def by_job(evening, items, run_id):
    """Items by job; those of no run are under None."""
    found = defaultdict(list)
    for item in items:
        found[evening.jobs.get(run_id(item))].append(item)
    return found


def logged(evening):
    return by_job(evening, evening.log, lambda record: record.get("subwatch_run_id"))


def stored(evening):
    return by_job(evening, evening.loki, lambda entry: entry[2].get("run_id"))


def traced(evening):
    return by_job(evening, evening.spans, lambda span: attributes(span).get("subwatch.run.id"))


def recorded(evening):
    spans = {span.span_id: attributes(span).get("subwatch.run.id") for span in evening.spans}
    return by_job(evening, evening.records, lambda record: spans[record.span_id])


def failed(evening):
    return by_job(
        evening, evening.errors, lambda event: event["contexts"].get("subprocess", {}).get("run_id")
    )


@pytest.mark.slow
def test_all_have_run(evening):
    """Every job ended as it should, and its lines are those that it wrote."""
    pages = evening.pages
    assert set(pages) == SINGLE | CROWD
    assert {job: page["returncode"] for job, page in pages.items() if page["returncode"]} == FAILURES
    assert pages["killed"]["signal"] == "SIGKILL"
    assert pages["backup"]["texts"] == evening.backup
    assert evening.backup[-1] == "pg_basebackup: base backup completed"
    assert pages["chatty"]["texts"] == [f"word {number}" for number in range(1, 3001)]
    for job in CROWD:
        assert pages[job]["texts"] == [f"{job}: line {number}" for number in range(1, 6)]


def test_daemon_is_not_waited_for(evening):
    """What the grandchild said after the child's end is in all places, marked."""
    page = evening.pages["daemon"]
    assert page["texts"] == ["daemonizing", "ready at last"]
    assert (page["late"], page["drained"], page["counted"]) == (1, False, 1)
    last = max(stored(evening)["daemon"])
    assert last[1:2] == ("ready at last",)
    assert last[2]["late"] == "true"
    late = [record for record in recorded(evening)["daemon"] if attributes(record).get("subwatch.line.late")]
    assert [plain(record.body) for record in late] == ["ready at last"]
    assert "ready at last" in logged(evening)["daemon"][-1]["message"]
    assert sum("ready at last" in line for line in evening.terminal) == 1


def test_log_has_every_line_once(evening):
    """Lines, but for progress updates that the exit has counted, and the exit."""
    for job, records in logged(evening).items():
        if job is None:
            continue
        page = evening.pages[job]
        exits = [record for record in records if "subwatch_exit_code" in record]
        (exit,) = exits
        numbers = [record["subwatch_number"] for record in records if "subwatch_number" in record]
        assert sorted(set(numbers)) == sorted(numbers)
        assert len(numbers) + exit["subwatch_thinned"] == len(page["texts"]), job
        assert (exit["levelname"] == "ERROR") == (job in FAILURES)
        assert len(records) == len(numbers) + 1
    # besides: what the application says of the failed check, and the SDK of its second address
    assert {record["name"] for record in logged(evening)[None]} == {"nightly", "spotlight"}
    assert set(logged(evening)) == {None, *SINGLE, *CROWD}


def test_loki_has_every_line_once(evening):
    """Lines, start and exit; the counts of the exit agree."""
    assert evening.twice == 0
    found = stored(evening)
    assert set(found) == SINGLE | CROWD
    for job, entries in found.items():
        page = evening.pages[job]
        (exit,) = [metadata for _, _, metadata, _ in entries if metadata.get("event") == "exit"]
        events = Counter(metadata.get("event") for _, _, metadata, _ in entries)
        thinned = int(exit.get("thinned", 0))
        assert events == {None: len(page["texts"]) - thinned, "start": 1, "exit": 1}, job
        lines = [(int(metadata["line"]), line) for _, line, metadata, _ in entries if "line" in metadata]
        assert all(line == page["texts"][number - 1] for number, line in lines)
        assert len(dict(lines)) == len(lines)
        assert int(exit["lines"]) == page["counted"]
        assert json.loads(exit.get("dropped", "{}")) == page["dropped"]
        assert "loki" not in page["dropped"]


def test_collector_has_every_line_once(evening):
    """Those that the rate limit held back are counted in the span and in the exit record."""
    found = recorded(evening)
    spans = traced(evening)
    limited = 0
    for job, page in evening.pages.items():
        lines = [one for one in found[job] if one.event_name != "subwatch.process.exit"]
        said = Counter(plain(one.body) for one in lines)
        assert said <= Counter(page["texts"]), job
        dropped = page["dropped"].get("opentelemetry", 0)
        (span,) = spans[job]
        thinned = attributes(span).get("subwatch.lines.thinned", 0)
        assert len(lines) + dropped + thinned == len(page["texts"]), job
        assert attributes(span).get("subwatch.lines.dropped", 0) == dropped
        assert len(found[job]) - len(lines) == (job in FAILURES)
        limited += dropped
    assert limited, "the chatty one is above the limit"


def test_terminal_has_every_line_once(evening):
    """Lines and verdicts scroll; what came too fast is counted."""
    text = evening.terminal
    shown = sum(bool(re.match(r"\S+ +(\[\d+\] +)?│ ", line)) for line in text)
    dropped = sum(page["dropped"].get("rich", 0) for page in evening.pages.values())
    bars = sum(len(page["texts"]) for job, page in evening.pages.items() if job == "backup")
    written = sum(len(page["texts"]) for page in evening.pages.values())
    assert written - bars - dropped <= shown <= written - dropped
    verdicts = Counter(line[0] for line in text if line[:2] in ("✓ ", "✗ "))
    assert verdicts == {"✓": len(evening.pages) - len(FAILURES), "✗": len(FAILURES)}


def test_sentry_has_every_failure_once(evening):
    """One event each, with the child's lines and no others, and nothing else: OpenTelemetry owns the spans."""
    found = failed(evening)
    assert {job: len(events) for job, events in found.items()} == dict.fromkeys(FAILURES, 1)
    kinds = Counter(kind for kind, _, _ in evening.envelopes)
    assert kinds == {"event": len(FAILURES), "attachment": len(FAILURES)}
    for job, (event,) in found.items():
        page = evening.pages[job]
        # but for the SDK's own requests to Spotlight
        crumbs = [
            (one.get("category"), one.get("message"))
            for one in event["breadcrumbs"]["values"]
            if not str((one.get("data") or {}).get("url")).endswith("/stream")
        ]
        assert len(set(crumbs)) == len(crumbs), f"{job}: doubled"
        assert [text for category, text in crumbs if category == "subprocess.stderr"] == page["texts"]
        assert {category for category, _ in crumbs} <= {"subprocess.stderr", "nightly"}
        assert event["tags"]["job"] == job
        assert event["contexts"]["subprocess"]["exit_code"] == page["returncode"]


def test_ids_lead_everywhere(evening):
    """From a line in the log to Loki, the span and the error."""
    log, loki, spans, records, errors = (look(evening) for look in (logged, stored, traced, recorded, failed))
    (root,) = [span for span in evening.spans if span.name == "nightly"]
    for job, page in evening.pages.items():
        trace_id, span_id = page["fields"]["trace_id"], page["fields"]["span_id"]
        (span,) = spans[job]
        assert (span.trace_id.hex(), span.span_id.hex()) == (trace_id, span_id)
        assert attributes(span)["process.pid"] == page["pid"]
        if job == "outside":
            assert not span.parent_span_id
        else:
            assert (trace_id, span.parent_span_id) == (root.trace_id.hex(), root.span_id)
        assert {(one["subwatch_trace_id"], one["subwatch_span_id"]) for one in log[job]} == {
            (trace_id, span_id)
        }
        assert {(one[2]["trace_id"], one[2]["span_id"]) for one in loki[job]} == {(trace_id, span_id)}
        assert {(one.trace_id.hex(), one.span_id.hex()) for one in records[job]} <= {(trace_id, span_id)}
        for event in errors[job]:
            assert event["contexts"]["trace"]["trace_id"] == trace_id, job
            # the application itself has sent the error of the checked one, from its own span
            assert event["contexts"]["trace"]["span_id"] == span_id or job == "checked"


def test_secret_is_nowhere(evening):
    """The command line's password is in nothing that left the process."""
    assert not [raw[:80] for raw in evening.raw if SECRET.encode() in raw]
    assert SECRET not in json.dumps(evening.errors)
    assert SECRET not in json.dumps(evening.envelopes)


def test_nothing_is_left_behind(evening):
    """After the last child only threads of the SDKs and of sinks that are still open are there."""
    ours = {name for name in evening.threads if name.startswith("subwatch")}
    assert ours <= {"subwatch-loki", "subwatch-loki-sender"}
