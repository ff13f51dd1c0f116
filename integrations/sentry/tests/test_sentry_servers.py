"""What real servers make of it, fed by the SDK's own transport."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import sentry_sdk

import subwatch
from subwatch_sentry import SentrySink

# A child that uses Sentry itself: its own error has to be on our trace.
INSTRUMENTED = """
import sys
import sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0)
print("copying", file=sys.stderr)
try:
    raise ValueError("inside the child")
except ValueError as error:
    sentry_sdk.capture_exception(error)
sentry_sdk.flush(5)
print("error: disk full", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def init(clean_sdk):
    """Initialise the SDK with its real transport."""
    return lambda dsn, **options: sentry_sdk.init(dsn=dsn, traces_sample_rate=1.0, **options)


def test_bugsink_shows_the_error(init, bugsink):
    """The error with its breadcrumbs and context, and the child's own error on the same trace."""
    project, dsn = bugsink.project("errors")
    init(dsn, release="app@1.0")
    sentry_sdk.add_breadcrumb(message="before", category="app")
    command = [sys.executable, "-c", INSTRUMENTED, dsn]
    with sentry_sdk.start_transaction(name="job") as transaction:
        subwatch.run(command, sinks=["sentry"], tags={"cluster": "main"}, stderr=subprocess.DEVNULL)
    sentry_sdk.flush(5)

    events = {event["exception"]["values"][-1]["type"]: event for event in bugsink.wait(project, 2)}
    event, inside = events["ProcessFailed"], events["ValueError"]
    assert event["exception"]["values"][0]["value"].endswith(" exited with code 3: error: disk full")
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == [
        "before",
        "copying",
        "error: disk full",
    ]
    assert event["contexts"]["subprocess"]["exit_code"] == 3
    assert event["tags"]["cluster"] == "main"
    trace = event["contexts"]["trace"]
    assert trace["trace_id"] == inside["contexts"]["trace"]["trace_id"] == transaction.trace_id
    assert inside["contexts"]["trace"].get("parent_span_id") == trace["span_id"]


def test_bugsink_groups_by_program_and_outcome(init, bugsink):
    """Two failures of one kind are one issue, another exit code is another."""
    project, dsn = bugsink.project("groups")
    init(dsn)
    for code in (3, 3, 4):
        subwatch.run(["/bin/sh", "-c", f"exit {code}"], sinks=["sentry"])
    sentry_sdk.flush(5)

    assert len(bugsink.wait(project, 3)) == 3
    assert len(bugsink.issues(project)) == 2


def test_spotlight_reads_the_whole_envelope(init, spotlight):
    """Attachment, span, log, check-in and trace arrive as they were sent."""
    spotlight.clear()
    init(spotlight.dsn)
    sink = SentrySink(logs=True, monitor="nightly")
    with sentry_sdk.start_transaction(name="job") as transaction:
        subwatch.run(
            ["/bin/sh", "-c", "echo copying >&2; echo error: disk full >&2; exit 3"],
            sinks=[sink],
            stderr=subprocess.DEVNULL,
        )
    assert sink.close(10.0) == 0

    items = spotlight.wait({"event", "attachment", "transaction", "log", "check_in"})
    (event,) = [payload for kind, _, payload in items if kind == "event"]
    ((header, attached),) = [(header, payload) for kind, header, payload in items if kind == "attachment"]
    (job,) = [payload for kind, _, payload in items if kind == "transaction"]
    logs = [log for kind, _, payload in items if kind == "log" for log in payload["items"]]
    assert event["exception"]["values"][0]["type"] == "ProcessFailed"
    assert event["contexts"]["trace"]["trace_id"] == transaction.trace_id
    assert header["filename"] == "stderr.log"
    assert "copying" in str(attached["data"])
    assert [(span["op"], span["description"]) for span in job["spans"]] == [("subprocess", "sh")]
    assert event["contexts"]["trace"]["span_id"] == job["spans"][0]["span_id"]
    assert [log["body"] for log in logs] == ["copying", "error: disk full"]
    assert [payload["status"] for kind, _, payload in items if kind == "check_in"] == ["in_progress", "error"]


def test_command_line_tool(bugsink):
    """The tool initialises the SDK by ``dsn=``, sends before it ends, and tells no raw command."""
    project, dsn = bugsink.project("tool")
    secret = "-".join(["s3cr3t", "Zz9", "42"])
    child = ["/bin/sh", "-c", "echo error: disk full >&2; exit 3", f"--password={secret}"]
    command = [sys.executable, "-m", "subwatch", "run", "--sink", f"sentry:dsn={dsn}", "--", *child]
    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (3, "error: disk full\n")
    (event,) = bugsink.wait(project)
    assert event["exception"]["values"][0]["value"] == "sh exited with code 3: error: disk full"
    assert secret not in str(event)


def test_command_line_tool_and_a_server_that_hangs(silent_server):
    """The flush at its end has a deadline."""
    command = [sys.executable, "-m", "subwatch", "run", "--flush-timeout", "0.5", "--sink"]
    begin = time.monotonic()
    child = ["/bin/sh", "-c", "echo why >&2; exit 3"]
    done = subprocess.run(
        [*command, f"sentry:dsn={silent_server}", "--", *child], capture_output=True, text=True
    )

    print(done.stderr)
    assert done.returncode == 3
    assert "Sentry is attempting" not in done.stderr
    assert time.monotonic() - begin < 6


def test_server_that_hangs(init, silent_server):
    """A server that takes the connection and says nothing: no run waits, closing ends at its deadline."""
    init(silent_server)
    sink = SentrySink()
    begin = time.monotonic()
    done = subwatch.run(["/bin/sh", "-c", "exit 7"], sinks=[sink])
    assert done.returncode == 7
    assert time.monotonic() - begin < 1.5

    begin = time.monotonic()
    assert sink.close(0.5) >= 1
    assert time.monotonic() - begin < 1.5


def test_server_that_refuses(init):
    """Nobody listens: the SDK gives up at once, the child knows nothing of it."""
    init("http://key@127.0.0.1:9/1")
    sink = SentrySink()
    assert subwatch.run(["/bin/sh", "-c", "exit 7"], sinks=[sink]).returncode == 7
    assert sink.close(5.0) == 0
