"""What real servers make of it, fed by the SDK's own transport."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter

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


@pytest.mark.slow
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
    # the SDK (2.75) does not know its own requests where the DSN has a port: those that were quick are spans, too
    spans = [(span["op"], span["description"]) for span in job["spans"] if span["op"] != "http.client"]
    assert spans == [("subprocess", "sh")]
    assert event["contexts"]["trace"]["span_id"] == job["spans"][0]["span_id"]
    assert [log["body"] for log in logs] == ["copying", "error: disk full"]
    assert [payload["status"] for kind, _, payload in items if kind == "check_in"] == ["in_progress", "error"]


FORKS = """
import os, signal, sys, threading, time
import sentry_sdk, subwatch

signal.alarm(50)  # nothing of this stays

def fail(text, code):
    subwatch.run(["/bin/sh", "-c", f"echo {text} >&2; exit {code}"], sinks=["sentry"], stderr=-3)

sentry_sdk.init(sys.argv[1], traces_sample_rate=1.0, default_integrations=True)
fail("before", 1)
sentry_sdk.flush(5)
running = subwatch.Popen(["/bin/sh", "-c", "echo running >&2; read x; exit 2"], sinks=["sentry"], stdin=-1, stderr=-3)
talk = ["/bin/sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do echo $n; sleep 0.05; done >&2"]
# they end well: forking while another thread is about to send is not safe in the SDK (sentry-python#6164)
threads = [threading.Thread(target=subwatch.run, args=(talk,), kwargs={"sinks": ["sentry"], "stderr": -3}) for _ in range(4)]
for thread in threads:
    thread.start()
time.sleep(0.2)
children = []
for number in range(3):
    if not (pid := os.fork()):
        signal.alarm(50)
        fail("forked", 4)
        sentry_sdk.capture_message(f"message {number}")
        sys.exit(0)  # the SDK flushes at the end, as in any process
    children.append(pid)
statuses = [os.waitpid(pid, 0)[1] for pid in children]
for thread in threads:
    thread.join()
running.communicate(b"\\n")
print(statuses)
"""


def test_fork(answering, patient):
    """A forked child has an SDK and runs of its own; what ran in the parent stays the parent's, and nothing doubles."""
    server = answering(200)
    done = subprocess.run(
        [sys.executable, "-c", patient + FORKS, server.dsn], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (0, "[0, 0, 0]\n"), done.stderr
    events = server.events()
    told = Counter(
        event["exception"]["values"][0]["value"] if "exception" in event else "message" for event in events
    )
    assert told == {
        "sh exited with code 1: before": 1,
        "sh exited with code 2: running": 1,
        "sh exited with code 4: forked": 3,
        "message": 3,
    }
    (own,) = {
        tuple(crumb["message"] for crumb in event["breadcrumbs"]["values"] if "stderr" in crumb["category"])
        for event in events
        if event.get("tags", {}).get("subprocess.exit_code") == "4"
    }
    assert own == ("forked",)


def test_losses_after_a_fork():
    """What the parent has lost a forked child does not count again, whether it has losses of its own or none."""
    code = """
import os, sys
import sentry_sdk, subwatch
from subwatch_sentry import SentrySink

def fail():
    subwatch.run(["false"], sinks=[sink])
    sentry_sdk.flush(20)

sentry_sdk.init("http://key@127.0.0.1:9/1", shutdown_timeout=0)
sink = SentrySink()
fail()
for losses in 0, 1:
    if not (pid := os.fork()):
        if losses:
            sentry_sdk.init("http://key@127.0.0.1:9/1", shutdown_timeout=0)
            fail()
        os._exit(sink.close(20))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(sink.close(20))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stdout) == (0, "0\n1\n1\n"), done.stderr


def tool(*arguments, **env):
    """Run the command line tool, without the SDK's variables of this environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTRY_")}
    command = [sys.executable, "-m", "subwatch", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **env}, timeout=60)


@pytest.mark.parametrize(
    ("env", "verdict"),
    [
        ({}, "ok: installed, not configured (sentry sink: nothing is sent: set SENTRY_DSN"),
        ({"SUBWATCH_SINK_SENTRY_MODE": "event"}, "wrong: sentry sink: nothing is sent: set SENTRY_DSN"),
        ({"SENTRY_DSN": "nonsense"}, "wrong: SENTRY_DSN of the sentry sink is no DSN"),
        ({"SENTRY_DSN": "http://key@{}:{}/1"}, "ok"),
    ],
    ids=["none", "wanted", "wrong", "right"],
)
def test_check_of_the_command_line_tool(env, verdict):
    """It says what is missing, and sends nothing."""
    foreign = ("SENTRY_", "SUBWATCH_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {name: value.format(*server.getsockname()) for name, value in env.items()}
        command = [sys.executable, "-m", "subwatch", "sinks", "--check"]
        done = subprocess.run(command, capture_output=True, text=True, env={**clean, **env}, timeout=60)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("sentry ")]
    said = row.partition(" ")[2].strip()
    said = re.sub(r"^ok, but slow: it took .*", "ok", said)  # a machine may be busy
    assert said == verdict if verdict == "ok" else said.startswith(verdict)
    assert done.stderr == ""


@pytest.mark.parametrize("by", ["option", "environment"])
def test_command_line_tool(bugsink, by):
    """The tool initialises the SDK, sends before it ends, and tells no raw command."""
    project, dsn = bugsink.project(f"tool-{by}")
    secret = "-".join(["s3cr3t", "Zz9", "42"])
    child = ["/bin/sh", "-c", "echo error: disk full >&2; exit 3", f"--password={secret}"]
    patient = ["--flush-timeout", "20"]  # the machine may be busy
    if by == "option":
        done = tool(*patient, "--sink", f"sentry:dsn={dsn}", "--", *child)
    else:
        done = tool(*patient, "--sink", "sentry", "--", *child, SENTRY_DSN=dsn, SENTRY_ENVIRONMENT="night")

    assert (done.returncode, done.stderr) == (3, "error: disk full\n")
    (event,) = bugsink.wait(project)
    assert event["exception"]["values"][0]["value"] == "sh exited with code 3: error: disk full"
    assert event["environment"] == ("production" if by == "option" else "night")
    assert secret not in str(event)


def test_command_line_tool_sends_whole_envelopes(spotlight):
    """Attachment, check-ins and logs leave the tool as well before it ends; so does a command that is not there."""
    spotlight.clear()
    child = ["/bin/sh", "-c", "echo copying >&2; exit 3"]
    patient = ["--flush-timeout", "20"]
    tool(*patient, "--sink", "sentry:monitor=nightly,logs=true", "--", *child, SENTRY_DSN=spotlight.dsn)
    done = tool(*patient, "--sink", "sentry", "--", "/no/such/program", SENTRY_DSN=spotlight.dsn)

    assert done.returncode == 127
    items = spotlight.wait({"event", "attachment", "log", "check_in"})
    values = [payload["exception"]["values"][0]["value"] for kind, _, payload in items if kind == "event"]
    assert values[0] == "sh exited with code 3: copying"
    assert values[1].startswith("program could not be started (FileNotFoundError)")
    assert [payload["status"] for kind, _, payload in items if kind == "check_in"] == ["in_progress", "error"]


def test_command_line_tool_without_a_dsn():
    """It says once that nothing is sent; the command runs all the same."""
    done = tool("--sink", "sentry", "--", "/bin/sh", "-c", "exit 3")

    assert done.returncode == 3
    assert done.stderr.startswith("subwatch: sentry sink: nothing is sent: set SENTRY_DSN")
    assert done.stderr.count("\n") == 1


def test_an_application_without_a_dsn_hears_nothing(init, caplog):
    """`init()` without a DSN switches Sentry off, as on a developer's machine: that nothing is sent is no loss."""
    init(None)
    sink = SentrySink()
    assert subwatch.run(["/bin/sh", "-c", "exit 3"], sinks=[sink]).returncode == 3
    assert sink.close(1.0) == 0
    assert [record.getMessage() for record in caplog.records if record.name == "subwatch"] == []


def test_command_line_tool_with_a_wrong_dsn():
    """A DSN that is none is a fault of the call: it says what one looks like, and starts nothing."""
    done = tool("--sink", "sentry", "--", "echo", "started", SENTRY_DSN="nonsense")

    assert (done.returncode, done.stdout) == (125, "")
    assert "SENTRY_DSN of the sentry sink is no DSN" in done.stderr
    assert "https://KEY@HOST/PROJECT" in done.stderr


def test_command_line_tool_and_a_server_that_hangs(silent_server):
    """The flush at its end has a deadline, the SDK waits for nothing after that, and the loss is said."""
    child = ["/bin/sh", "-c", "echo why >&2; exit 3"]
    quick = tool("--sink", "sentry", "--", "true", SENTRY_DSN=silent_server)
    begin = time.monotonic()
    done = tool("--flush-timeout", "1", "--sink", "sentry", "--", *child, SENTRY_DSN=silent_server)

    assert quick.stderr == ""
    assert done.returncode == 3
    assert done.stderr == "why\nsubwatch: 1 record did not reach sentry\n"
    assert time.monotonic() - begin < 20  # the SDK's own limit for a request is 30


def test_command_line_tool_and_a_server_that_refuses():
    """The loss is said, and why."""
    child = ["--", "/bin/sh", "-c", "exit 3"]
    done = tool("--flush-timeout", "20", "--sink", "sentry", *child, SENTRY_DSN="http://key@127.0.0.1:9/1")

    assert done.returncode == 3
    assert "network_error" in done.stderr
    assert "1 record did not reach sentry" in done.stderr


def test_dsn_of_a_program_without_an_init(answering, patient, tmp_path):
    """With ``dsn=`` the first run initialises the SDK, and the end of the program sends what is left."""
    server = answering(200)
    sink = f"subwatch.sink('sentry', dsn={server.dsn!r})"
    code = f"{patient}import subwatch\nsubwatch.configure(sinks=[{sink}])\nfor _ in 1, 2: subwatch.run(['false'])"
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=60)

    assert [event["fingerprint"][2] for event in server.events()] == ["exit:1", "exit:1"]


def test_server_that_hangs(init, silent_server):
    """A server that takes the connection and says nothing: no run waits, closing ends at its deadline."""
    init(silent_server)
    sink = SentrySink()
    begin = time.monotonic()
    for _ in range(3):
        done = subwatch.run(["/bin/sh", "-c", "exit 7"], sinks=[sink])
        assert done.returncode == 7
    assert time.monotonic() - begin < 5

    begin = time.monotonic()
    assert sink.close(0.5) == 3
    assert time.monotonic() - begin < 5


def test_server_that_refuses(init, caplog):
    """Nobody listens: the child knows nothing of it; the loss is counted, and said once."""
    init("http://key@127.0.0.1:9/1")
    sink = SentrySink(logs=True, monitor="nightly")
    for _ in range(2):
        done = subwatch.run(["/bin/sh", "-c", "echo a >&2; echo b >&2; exit 7"], sinks=[sink], stderr=-3)
        assert done.returncode == 7
    assert sink.close(5.0) == 2 + 2 * 2 + 2 * 2  # errors, lines, check-ins
    assert sink.close(5.0) == 0

    (said,) = [record.getMessage() for record in caplog.records if record.name == "subwatch"]
    assert "network_error" in said


@pytest.mark.parametrize("status", [429, 413, 500])
def test_server_that_answers_with_an_error(init, answering, caplog, status):
    """What a server did not take is said; it is counted, but for what the server has counted itself (429)."""
    init(answering(status).dsn)
    sink = SentrySink()
    subwatch.run(["/bin/sh", "-c", "exit 7"], sinks=[sink])

    assert sink.close(5.0) == (0 if status == 429 else 1)
    assert [record.name for record in caplog.records if "not delivered" in record.getMessage()] == [
        "subwatch"
    ]
