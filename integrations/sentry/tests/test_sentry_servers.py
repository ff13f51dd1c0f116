"""What real servers make of it, fed by the SDK's own transport."""

from __future__ import annotations

import pytest
import sentry_sdk

from subwatch_sentry import SentrySink


@pytest.fixture
def init(clean_sdk):
    """Initialise the SDK with its real transport."""
    return lambda dsn, **options: sentry_sdk.init(dsn=dsn, traces_sample_rate=1.0, **options)


def test_bugsink_shows_the_error(init, bugsink, child):
    """The error, its breadcrumbs in order, its context; an own issue per program and outcome."""
    project, dsn = bugsink.project("errors")
    init(dsn, release="app@1.0")
    sentry_sdk.add_breadcrumb(message="before", category="app")
    one = child(SentrySink(), "backup", "--all", tags={"cluster": "main"}).start()
    one.says("copying", "error: disk full").exit(3)
    child(SentrySink()).start().exit(3)
    child(SentrySink()).start().exit(4)
    sentry_sdk.flush(5)

    events = bugsink.wait(project, 3)
    (event,) = [
        one
        for one in events
        if one["contexts"]["subprocess"]["argv"] == ["backup", "--all"] and one["tags"].get("cluster")
    ]
    assert event["exception"]["values"][0]["value"] == "backup exited with code 3: error: disk full"
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
        "before",
        "copying",
        "error: disk full",
    ]
    assert event["contexts"]["subprocess"]["pid"] == one.pid
    assert event["tags"]["subprocess.exit_code"] == "3"
    assert len({tuple(one["fingerprint"]) for one in events}) == 2


def test_spotlight_reads_the_whole_envelope(init, spotlight, child):
    """Attachment, span, log and trace arrive as they were sent."""
    spotlight.clear()
    init(spotlight.dsn)
    with sentry_sdk.start_transaction(name="job") as transaction:
        child(SentrySink(logs=True)).start().says("copying", "error: disk full").exit(3)
    sentry_sdk.flush(5)

    items = spotlight.wait({"event", "attachment", "transaction", "log"})
    (event,) = [payload for kind, _, payload in items if kind == "event"]
    (attachment,) = [(header, payload) for kind, header, payload in items if kind == "attachment"]
    (job,) = [payload for kind, _, payload in items if kind == "transaction"]
    logs = [log for kind, _, payload in items if kind == "log" for log in payload["items"]]
    assert event["exception"]["values"][0]["type"] == "ProcessFailed"
    assert event["contexts"]["trace"]["trace_id"] == transaction.trace_id
    assert attachment[0]["filename"] == "stderr.log"
    assert "error: disk full" in str(attachment[1]["data"])
    assert [(span["op"], span["description"]) for span in job["spans"]] == [("subprocess", "backup")]
    assert event["contexts"]["trace"]["span_id"] == job["spans"][0]["span_id"]
    assert [log["body"] for log in logs] == ["copying", "error: disk full"]


def test_unreachable_server(init, child):
    """Nobody answers: the flush ends at its deadline and says what was not delivered."""
    sink = SentrySink()
    init("http://key@127.0.0.1:9/1")
    child(sink).start().exit(1)

    assert sink.close(3.0) == 0  # refused at once: the SDK has given up on it by then
    assert sink.close(3.0) == 0
