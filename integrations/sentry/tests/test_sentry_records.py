"""The sink driven by hand-made records, into an in-memory transport: exact events."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import tracemalloc
import weakref

import pytest
import sentry_sdk

from subwatch.errors import ConfigError
from subwatch.records import CONTINUED, PARTIAL, TRUNCATED
from subwatch_sentry import SentrySink


class Upload:
    """Something large."""


def failure(child, **kwargs):
    """An exception as the core raises it for this child."""
    error = subprocess.CalledProcessError(1, ["backup", "--password", "hunter2"])
    error.subwatch_exit = child.record
    return error


def raised(error):
    try:
        raise error
    except type(error):
        return sentry_sdk.capture_exception()


def test_event_of_a_failed_child(sentry, child, crumbs):
    """A failure is one well-formed event that says what, why and where."""
    box = sentry()
    one = child(SentrySink(), "backup", "--all", tags={"cluster": "main"})
    one.start().says("starting", "warning: slow disk").says("error: disk full").exit(3)

    event = box.event
    assert event["level"] == "error"
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("ProcessFailed", "backup exited with code 3: error: disk full")
    assert error["mechanism"] == {"type": "subwatch", "handled": True}
    assert error["stacktrace"]["frames"][0]["function"] == "nightly"
    assert event["fingerprint"] == ["subwatch", "backup", "exit:3"]
    assert event["tags"] == {
        "cluster": "main",
        "subprocess.program": "backup",
        "subprocess.reason": "exited",
        "subprocess.exit_code": "3",
    }
    context = event["contexts"]["subprocess"]
    assert context["argv"] == ["backup", "--all"]
    assert context["pid"] == one.pid
    assert context["run_id"] == one.run.id
    assert context["duration"] == 1.25
    assert context["usage"] == {"user": 0.5, "system": 0.25, "max_rss": 1 << 20}
    assert context["tail"] == ["starting", "warning: slow disk", "error: disk full"]
    assert crumbs(event) == [
        ("subprocess.stderr", "starting"),
        ("subprocess.stderr", "warning: slow disk"),
        ("subprocess.stderr", "error: disk full"),
    ]
    values = event["breadcrumbs"]["values"]
    assert [crumb["level"] for crumb in values] == ["info", "warning", "info"]
    assert values[2]["data"] == {"program": "backup", "pid": one.pid, "run": one.run.id}
    assert all(crumb["timestamp"].endswith("Z") for crumb in values)
    assert box.attachments == {"stderr.log": b"starting\nwarning: slow disk\nerror: disk full\n"}


def test_success_sends_nothing(sentry, child):
    """A child that ends well costs no event."""
    box = sentry()
    child(SentrySink()).start().says("fine").exit(0)

    assert box.envelopes == []


def test_uninitialised_sdk(clean_sdk, child):
    """Without an SDK nothing happens, and nothing is asked of the child."""
    one = child(SentrySink()).start().says("x").exit(1)

    assert not one.stream.env
    assert SentrySink().close(1.0) == 0


@pytest.mark.parametrize(
    ("ends", "fingerprint", "value"),
    [
        ({"returncode": -9, "signal": "SIGKILL"}, "signal:SIGKILL", "backup was killed by SIGKILL"),
        (
            {"returncode": -15, "signal": "SIGTERM", "reason": "timed_out"},
            "timed_out",
            "backup timed out and was killed by SIGTERM",
        ),
        (
            {
                "returncode": None,
                "error": "[Errno 2] No such file: 'backup'",
                "error_type": "FileNotFoundError",
            },
            "spawn:FileNotFoundError",
            "backup could not be started (FileNotFoundError): [Errno 2] No such file: 'backup'",
        ),
    ],
)
def test_outcomes(sentry, child, ends, fingerprint, value):
    """Signals, timeouts and spawn failures are errors of their own kinds."""
    box = sentry()
    child(SentrySink()).exit(**ends)

    assert box.event["fingerprint"] == ["subwatch", "backup", fingerprint]
    assert box.event["exception"]["values"][0]["value"] == value


def test_allowed_exit_codes(sentry, child):
    """An allowed exit code is no error."""
    box = sentry()
    sink = SentrySink(allowed_exit_codes=[24])
    child(sink).start().exit(24)
    assert box.events == []
    child(sink).start().exit(23)
    assert len(box.events) == 1


@pytest.mark.parametrize("reason", ["interrupted", "cancelled"])
def test_ended_by_the_caller(sentry, child, reason):
    """Whoever cancels a child gets no error for it, unless that is asked for."""
    box = sentry()
    child(SentrySink()).start().exit(-15, signal="SIGTERM", reason=reason)
    assert box.events == []
    child(SentrySink(mode="event")).start().exit(-15, signal="SIGTERM", reason=reason)
    assert len(box.events) == 1


def test_ten_thousand_lines_leave_the_applications_crumbs(sentry, child, crumbs):
    """80 breadcrumbs of the application stay, whatever the child says; the last 20 lines join them."""
    box = sentry()
    for number in range(80):
        sentry_sdk.add_breadcrumb(message=f"app {number}", category="app")
    one = child(SentrySink()).start()
    for number in range(100):
        one.says(*(f"line {number * 100 + index}" for index in range(100)))
    one.exit(1)

    assert crumbs(box.event) == [
        *(("app", f"app {number}") for number in range(80)),
        *(("subprocess.stderr", f"line {number}") for number in range(9980, 10000)),
    ]


def test_full_scope_gives_way_by_no_more_than_the_lines(sentry, child, crumbs):
    """With 100 crumbs of the application, the oldest 20 make room, in that event only."""
    box = sentry()
    for number in range(100):
        sentry_sdk.add_breadcrumb(message=f"app {number}", category="app")
    for _ in range(5):
        child(SentrySink()).start().says(*(f"line {number}" for number in range(50))).exit(0)
    child(SentrySink()).start().says("the end").exit(1)
    sentry_sdk.capture_message("later")

    failed, later = box.events
    assert crumbs(failed) == [*(("app", f"app {n}") for n in range(1, 100)), ("subprocess.stderr", "the end")]
    assert len(crumbs(later)) == 100
    assert sum(category == "app" for category, _ in crumbs(later)) == 80
    assert crumbs(later)[-1] == ("subprocess.stderr", "the end")


def test_error_in_the_middle_of_a_run(sentry, child, crumbs):
    """An error of the application has the lines so far, after the command; the next one has more."""
    box = sentry()
    one = child(SentrySink(), "backup", "--to", "/srv").start().says("one", "two")
    sentry_sdk.capture_message("in the middle")
    one.says("three")
    one.exit(0)
    sentry_sdk.capture_message("after")

    middle, after = box.events
    assert crumbs(middle) == [
        ("subprocess", "backup --to /srv"),
        ("subprocess.stderr", "one"),
        ("subprocess.stderr", "two"),
    ]
    assert crumbs(after)[1:] == [*crumbs(middle)[1:], ("subprocess.stderr", "three")]
    assert after["breadcrumbs"]["values"][0]["data"]["exit_code"] == 0


def test_before_breadcrumb(sentry, child, crumbs):
    """The user's hook sees each line that is shown, once, with its record; it may change or drop it."""
    seen = []

    def before(crumb, hint):
        if "subwatch_record" not in hint:
            return crumb
        seen.append(hint["subwatch_record"].text)
        return None if "noise" in crumb["message"] else {**crumb, "message": crumb["message"].upper()}

    box = sentry(before_breadcrumb=before)
    one = child(SentrySink()).start().says("a", "noise", "b")
    sentry_sdk.capture_message("middle")
    one.exit(1)

    assert crumbs(box.events[1]) == [("subprocess.stderr", "A"), ("subprocess.stderr", "B")]
    assert seen == ["a", "noise", "b"]


def test_before_breadcrumb_that_raises(sentry, child, crumbs):
    """A hook that raises lets the crumb pass, as in the SDK."""

    def before(crumb, hint):
        raise RuntimeError("hook")

    box = sentry(before_breadcrumb=before)
    child(SentrySink()).start().says("a").exit(1)

    assert crumbs(box.event) == [("subprocess.stderr", "a")]


def test_progress_updates_count_once(sentry, child, crumbs):
    """Of updates that overwrite each other the last one is enough; it stays, for it tells how far the child came."""
    box = sentry()
    one = child(SentrySink()).start().says("begin").says("10%", "20%", ending="\r")
    sentry_sdk.capture_message("middle")
    one.says("30%", ending="\r").says("copying").says("40%", ending="\r").says("done").exit(1)

    middle, failed = box.events
    assert [message for _, message in crumbs(middle)[1:]] == ["begin", "20%"]
    assert [message for _, message in crumbs(failed)] == ["begin", "copying", "40%", "done"]


def test_a_flood_of_progress_does_not_wash_the_last_lines_away(sentry, child, crumbs):
    """What was said before thousands of updates is still told."""
    box = sentry()
    one = child(SentrySink(attachment=1000)).start().says("connecting", "copying")
    for number in range(3000):
        one.says(f"{number} of 3000 blocks", ending="\r")
    one.exit(1)

    assert [message for _, message in crumbs(box.event)] == ["connecting", "copying", "2999 of 3000 blocks"]


def test_enrich(sentry, child, crumbs):
    """Where the caller gets an exception, that is the event; it says the same, without the command."""
    box = sentry()
    one = child(SentrySink(), raises=True).start().says("error: disk full").exit(1)
    assert box.events == []
    raised(failure(one))

    event = box.event
    error = event["exception"]["values"][-1]
    assert (error["type"], error["value"]) == (
        "CalledProcessError",
        "backup exited with code 1: error: disk full",
    )
    assert event["fingerprint"] == ["subwatch", "backup", "exit:1"]
    assert event["contexts"]["subprocess"]["run_id"] == one.run.id
    assert event["tags"]["subprocess.exit_code"] == "1"
    assert crumbs(event) == [("subprocess.stderr", "error: disk full")]
    assert box.attachments == {"stderr.log": b"error: disk full\n"}
    assert error["stacktrace"]["frames"][-1]["function"] == "raised"
    assert not any("vars" in frame for frame in error["stacktrace"]["frames"])


def test_enrich_through_a_chain_and_a_group(sentry, child, crumbs):
    """The failure is found as a cause and as a member of a group."""
    box = sentry()
    first = child(SentrySink(), raises=True).start().says("first").exit(1)
    second = child(SentrySink(), raises=True).start().says("second").exit(1)
    wrapped = RuntimeError("backup failed")
    wrapped.__cause__ = failure(first)
    raised(wrapped)
    raised(ExceptionGroup("both", [failure(first), failure(second)]))

    chained, group = box.events
    assert chained["contexts"]["subprocess"]["run_id"] == first.run.id
    assert "fingerprint" not in chained  # an error of the application is grouped as such
    assert crumbs(chained) == [("subprocess.stderr", "first")]
    assert crumbs(group) == [("subprocess.stderr", "first"), ("subprocess.stderr", "second")]
    assert b"hunter2" not in box.raw


def test_exception_that_is_handed_on_is_sent_once(sentry, child):
    """After another error, from another thread, in a task group: the failure is in Sentry already."""
    box = sentry()
    error = failure(child(SentrySink(), raises=True).start().says("why").exit(1))
    raised(error)
    raised(LookupError("another"))
    raised(error)
    thread = threading.Thread(target=raised, args=(error,))
    thread.start()
    thread.join()
    raised(ExceptionGroup("a group of it alone", [ExceptionGroup("nested", [error])]))
    raised(ExceptionGroup("a group that tells more", [error, LookupError("more")]))

    told = [event["exception"]["values"][-1]["type"] for event in box.events]
    assert told == ["CalledProcessError", "LookupError", "ExceptionGroup"]
    assert len(box.events[2]["exception"]["values"]) == 3


def test_group_of_failures_tells_of_its_members(sentry, child):
    """Whoever captures a member after its group sends nothing twice; a group with a new failure is sent."""
    box = sentry()
    first, second, third = (failure(child(SentrySink(), raises=True).start().exit(1)) for _ in range(3))
    raised(ExceptionGroup("both", [first, second]))
    raised(second)
    raised(ExceptionGroup("one is new", [second, third]))

    assert [event["exception"]["values"][-1]["type"] for event in box.events] == ["ExceptionGroup"] * 2


def test_one_event_where_both_would_send(sentry, child):
    """With ``mode="event"`` the exception of the same failure is not sent again; its own context is kept."""
    box = sentry()
    one = child(SentrySink(mode="event"), raises=True).start().says("why").exit(1)
    raised(failure(one))

    assert box.event["exception"]["values"][0]["type"] == "ProcessFailed"


def test_exception_of_a_timeout_without_check(sentry, child):
    """A timeout raises without ``check=True`` too: whoever captures that sends nothing twice."""
    box = sentry()
    one = child(SentrySink()).start().exit(-15, signal="SIGTERM", reason="timed_out")
    error = subprocess.TimeoutExpired(["backup"], 3)
    error.subwatch_exit = one.record
    raised(error)

    assert box.event["fingerprint"] == ["subwatch", "backup", "timed_out"]


def test_event_dropped_by_before_send_is_left_to_the_exception(sentry, child, caplog):
    """``before_send`` decides; a drop is said once, and the exception may still come through."""
    box = sentry(before_send=lambda event, hint: None if "subwatch_exit" in hint else event)
    sink = SentrySink(mode="event")
    one = child(sink, raises=True).start().exit(1)
    child(sink).start().exit(1)
    raised(failure(one))

    assert box.event["exception"]["values"][-1]["type"] == "CalledProcessError"
    said = [record for record in caplog.records if record.name == "subwatch"]
    assert len(said) == 1


def test_before_send_that_raises(sentry, child, caplog):
    """The SDK drops the event; the sink goes on, and says so once."""

    def before_send(event, hint):
        raise RuntimeError("hook")

    box = sentry(before_send=before_send)
    sink = SentrySink()
    child(sink).start().exit(1)
    child(sink).start().exit(1)

    assert box.events == []
    assert [record.name for record in caplog.records] == ["subwatch"]


def test_fingerprint(sentry, child, caplog):
    """A list or a function of the exit; one that raises is said once and does no harm."""

    def broken(exit):
        raise LookupError("no")

    box = sentry()
    child(SentrySink(fingerprint=["{{ default }}"])).start().exit(1)
    child(SentrySink(fingerprint=lambda exit: ["mine", exit.returncode])).start().exit(1)
    sink = SentrySink(fingerprint=broken)
    child(sink).start().exit(1)
    child(sink).start().exit(2)

    assert [event["fingerprint"] for event in box.events] == [
        ["{{ default }}"],
        ["mine", "1"],
        ["subwatch", "backup", "exit:1"],
        ["subwatch", "backup", "exit:2"],
    ]
    assert len([record for record in caplog.records if "LookupError" in record.getMessage()]) == 1


@pytest.mark.parametrize(
    ("returned", "sent"),
    [
        ("one", ["one"]),
        (["caf\udce9", None, 3], ["caf\\udce9", "None", "3"]),
        (["x" * 100_000], ["x" * 2047 + "…"]),
        ([], ["subwatch", "backup", "exit:1"]),
        (None, ["subwatch", "backup", "exit:1"]),
        (3, ["subwatch", "backup", "exit:1"]),
    ],
    ids=["text", "surrogate", "huge", "empty", "none", "number"],
)
def test_fingerprint_of_any_kind(sentry, child, returned, sent):
    """What the function returns never costs the event: Sentry refuses an event with a lone surrogate as a whole."""
    box = sentry()
    child(SentrySink(fingerprint=lambda exit: returned)).start().exit(1)

    assert box.event["fingerprint"] == sent


def test_huge_and_binary_lines(sentry, child):
    """Lines are cut to size; bytes that were no text arrive as the core shows them."""
    box = sentry()
    sink = SentrySink(attachment=1000)
    child(sink).start().says("x" * 100_000).says("bell \x07 and \\xff", "lone \ud800").exit(1)

    event = box.event
    assert len(event["breadcrumbs"]["values"][0]["message"]) == 2048
    assert len(box.attachments["stderr.log"]) <= 1001
    assert box.attachments["stderr.log"].endswith(b"xx\nbell \x07 and \\xff\nlone \\ud800\n")


def test_no_breadcrumbs_no_attachment(sentry, child, crumbs):
    """Both can be switched off."""
    box = sentry()
    child(SentrySink(breadcrumbs=0, attachment=0)).start().says("x").exit(1)

    assert crumbs(box.event) == []
    assert box.attachments == {}


def test_structured_and_cut_lines(sentry, child):
    """Fields of a structured line are in the breadcrumb, bounded, its message in the title; pieces are marked."""
    box = sentry()
    fields = {"message": "disk full", "code": 28, "ok": False, **{f"key{n}": "x" * 1000 for n in range(50)}}
    one = child(SentrySink()).start()
    one.says("a very", flags=PARTIAL).says(" long line", flags=CONTINUED | TRUNCATED).says(
        "{...}", fields=fields
    )
    one.exit(1)

    first, second, third = [crumb["data"] for crumb in box.event["breadcrumbs"]["values"]]
    assert first["partial"]
    assert (second["continued"], second["truncated"]) == (True, True)
    assert "partial" not in second
    assert third["fields"]["code"] == 28
    assert third["fields"]["ok"] is False
    assert (len(third["fields"]), len(third["fields"]["key0"])) == (10, 200)
    assert box.event["exception"]["values"][0]["value"] == "backup exited with code 1: disk full"


def test_stdout_has_its_own_file(sentry, child):
    """Watched stdout is attached as well."""
    box = sentry()
    child(SentrySink()).start().says("err").says("out", stream="stdout").exit(1)

    assert box.attachments == {"stderr.log": b"err\n", "stdout.log": b"out\n"}


def test_records_from_another_thread(sentry, child, crumbs):
    """The scopes are those of the thread that opened the stream."""
    box = sentry()
    with sentry_sdk.isolation_scope() as scope:
        scope.set_tag("request", "r1")
        one = child(SentrySink())
        thread = threading.Thread(target=lambda: one.start().says("why").exit(1))
        thread.start()
        thread.join()
        sentry_sdk.capture_message("after")
    sentry_sdk.capture_message("elsewhere")

    failed, after, elsewhere = box.events
    assert failed["tags"]["request"] == "r1"
    assert crumbs(failed) == [("subprocess.stderr", "why")]
    assert ("subprocess.stderr", "why") in crumbs(after)
    assert crumbs(elsewhere) == []


def test_span_and_trace(sentry, child):
    """One span under the current transaction, named by the program; the child continues the trace from it."""
    box = sentry(traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="job") as transaction:
        one = child(SentrySink(), "backup", "--password", "***").start().exit(3)

    (span,) = box.spans
    assert (span["op"], span["description"], span["status"]) == ("subprocess", "backup", "internal_error")
    assert span["origin"] == "auto.subprocess.subwatch"
    assert span["data"]["process.exit.code"] == 3
    assert span["data"]["process.pid"] == one.pid
    assert span["data"]["subprocess.duration"] == 1.25
    trace_id, span_id, sampled = one.stream.env["SENTRY_TRACE"].split("-")
    assert (trace_id, span_id, sampled) == (transaction.trace_id, span["span_id"], "1")
    assert f"sentry-trace_id={trace_id}" in one.stream.env["SENTRY_BAGGAGE"]
    assert one.stream.env["SUBPROCESS_SENTRY_TRACE"] == one.stream.env["SENTRY_TRACE"]
    assert one.run.fields == {"trace_id": trace_id, "span_id": span_id}
    assert box.event["contexts"]["trace"]["span_id"] == span["span_id"]


def test_streamed_span(sentry, child):
    """The same under ``trace_lifecycle="stream"``."""
    box = sentry(traces_sample_rate=1.0, trace_lifecycle="stream")
    with sentry_sdk.traces.start_span(name="job"):
        one = child(SentrySink()).start().exit(1)
    sentry_sdk.flush()

    spans = [span for item in box._items("span") for span in item.payload.json["items"]]
    (span,) = [span for span in spans if span["name"] == "backup"]
    assert span["attributes"]["sentry.op"]["value"] == "subprocess"
    assert span["attributes"]["process.exit.code"]["value"] == 1
    assert span["status"] == "error"
    assert one.stream.env["SENTRY_TRACE"].split("-")[1] == span["span_id"]


def test_no_span_without_a_transaction(sentry, child):
    """There is no span to hang it under, yet the trace goes on in the child."""
    sentry(traces_sample_rate=1.0)
    one = child(SentrySink()).start().exit(0)

    assert one.stream.env["SENTRY_TRACE"]


def test_no_span_when_opentelemetry_owns_them(sentry, child):
    """With an external propagation context, spans and propagation are OpenTelemetry's."""
    box = sentry(traces_sample_rate=1.0)
    sentry_sdk.scope.register_external_propagation_context(lambda: ("a" * 32, "b" * 16))
    try:
        with sentry_sdk.start_transaction(name="job"):
            one = child(SentrySink()).start().exit(0)
    finally:
        sentry_sdk.scope.remove_external_propagation_context()

    assert box.spans == []
    assert one.stream.env == {}


def test_switched_off(sentry, child):
    """No span, no variables."""
    box = sentry(traces_sample_rate=1.0)
    with sentry_sdk.start_transaction(name="job"):
        one = child(SentrySink(spans=False, propagate=False)).start().exit(0)

    assert box.spans == []
    assert one.stream.env == {}


def test_check_ins(sentry, child):
    """A cron monitor sees begin and end with the same id, and spawn failures."""
    box = sentry()
    config = {"schedule": {"type": "crontab", "value": "0 3 * * *"}}
    sink = SentrySink(monitor="nightly", monitor_config=config)
    child(sink).start().exit(0)
    child(sink).start().exit(1)
    child(sink).exit(None, error="gone", error_type="FileNotFoundError")

    begun, ok, begun_again, failed, not_started = box.check_ins
    assert [one["status"] for one in box.check_ins] == ["in_progress", "ok", "in_progress", "error", "error"]
    assert begun["check_in_id"] == ok["check_in_id"] != begun_again["check_in_id"] == failed["check_in_id"]
    assert ok["duration"] == 1.25
    assert begun["monitor_config"] == config
    assert not_started["monitor_slug"] == "nightly"


def test_no_check_in_without_an_end(sentry, child):
    """Of a child that outlives this process nobody can tell how it ends: the monitor decides by its time limit."""
    box = sentry()
    child(SentrySink(monitor="server")).start().exit(None, reason="left_running")

    assert [one["status"] for one in box.check_ins] == ["in_progress"]
    assert box.events == []


def test_logs(sentry, child):
    """Each line a Sentry log, braces and all, on the caller's trace; none lost in a flood."""
    box = sentry()
    one = child(SentrySink(logs=True)).start()
    one.says("plain {braces} %s", "warn me").says(*(f"line {number}" for number in range(5000))).exit(0)
    sentry_sdk.flush()

    # the SDK's own thread flushes too: envelopes may overtake each other
    logs = sorted(box.logs, key=lambda log: log["attributes"]["line"]["value"])
    assert [log["body"] for log in logs] == [
        "plain {braces} %s",
        "warn me",
        *(f"line {n}" for n in range(5000)),
    ]
    assert [log["level"] for log in logs[:2]] == ["info", "warn"]
    assert logs[0]["attributes"]["line"]["value"] == 1
    assert logs[0]["attributes"]["subprocess.run_id"]["value"] == one.run.id
    assert {log["trace_id"] for log in logs} == {one.stream.env["SENTRY_TRACE"].split("-")[0]}
    assert one.stream.dropped == 0


def test_logs_of_structured_lines(sentry, child):
    """Fields are attributes, to be searched by."""
    box = sentry()
    child(SentrySink(logs=True)).start().says("{...}", fields={"code": 28, "device": "sda1"}).exit(0)
    sentry_sdk.flush()

    (log,) = box.logs
    assert log["attributes"]["subprocess.field.code"]["value"] == 28
    assert log["attributes"]["subprocess.field.device"]["value"] == "sda1"


def test_logs_that_the_transport_cannot_take_are_counted(sentry, child):
    """A full transport drops; the count says how many."""
    box = sentry()
    box.is_healthy = lambda: False
    one = child(SentrySink(logs=True)).start().says("a", "b").exit(0)

    assert one.stream.dropped == 2


def test_what_comes_after_the_sdk_was_closed_is_counted(sentry, child, caplog):
    """The end of the interpreter closes the SDK while threads still watch children; it drops, and tells nobody."""
    box = sentry()
    one = child(SentrySink(logs=True, monitor="backup")).start()
    sentry_sdk.get_client().close()
    one.says("a", "b").exit(1)

    assert one.stream.dropped == 4  # two logs, a check-in, an error
    assert box.events == []
    assert len(box.check_ins) == 1
    (said,) = [record.getMessage() for record in caplog.records if record.name == "subwatch"]
    assert "the SDK had been closed" in said


def test_without_a_dsn_nothing_is_sent_and_nothing_is_wrong(child, caplog):
    """An application that leaves the DSN away, for development, has chosen to."""
    sentry_sdk.init(dsn="")
    one = child(SentrySink(logs=True, monitor="backup")).start().says("a", "b").exit(1)

    assert one.stream.dropped == 0
    assert [record for record in caplog.records if record.name == "subwatch"] == []


def test_logging_of_the_same_run_is_not_doubled(sentry, child, crumbs):
    """Records of a run that the sink reports itself make no event and no breadcrumb of their own."""
    box = sentry()
    one = child(SentrySink()).start()
    other = child(SentrySink(breadcrumbs=0)).start()
    logger = logging.getLogger("some.name")
    logger.warning("line", extra={"subwatch_run_id": one.run.id})
    logger.error("exit", extra={"subwatch_run_id": one.run.id})
    logger.warning("line", extra={"subwatch_run_id": other.run.id})
    logger.warning("other", extra={"subwatch_run_id": "unknown"})
    logger.warning("mine")
    one.exit(1)

    assert crumbs(box.event) == [("some.name", "line"), ("some.name", "other"), ("some.name", "mine")]


def test_quiet_while_spawning(sentry, child):
    """Between open and the first record the SDK's own subprocess patch is off, in this thread alone."""
    box = sentry(traces_sample_rate=1.0)
    client = sentry_sdk.get_client()
    command = [sys.executable, "-c", "pass", "hunter2"]

    def elsewhere():
        seen.append(sentry_sdk.get_client().get_integration("stdlib"))

    seen = []
    with sentry_sdk.start_transaction(name="job"):
        one = child(SentrySink())
        process = subprocess.Popen(command)
        with sentry_sdk.scope.use_scope(sentry_sdk.get_current_scope()):
            import contextvars

            thread = threading.Thread(target=contextvars.copy_context().run, args=(elsewhere,))
            thread.start()
            thread.join()
        one.start()
        process._wait(timeout=None)
        one.exit(0)
        assert sentry_sdk.get_client() is client
        subprocess.run(["true", "theirs"])
    sentry_sdk.capture_message("after")

    assert seen == [client.get_integration("stdlib")]
    assert b"hunter2" not in box.raw
    assert [span["description"] for span in box.spans if span["op"] == "subprocess"] == [
        "backup",
        "true theirs",
    ]
    assert box.raw.count(b"true theirs") >= 2


def test_two_sentry_sinks_count_as_one(sentry, child):
    """The second sink of a run keeps still."""
    box = sentry()
    one = child(SentrySink())
    second = SentrySink().open(one.run)
    second.emit(one.start().exit(1).record)
    second.close()

    assert len(box.events) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "both"}, "auto, event, enrich"),
        ({"breadcrumbs": -1}, "breadcrumbs="),
        ({"breadcrumbs": "many"}, "breadcrumbs="),
        ({"attachment": True}, "attachment="),
        ({"attachment": 65537}, "from 0 to 65536"),
        ({"fingerprint": "one"}, "['one']"),
        ({"allowed_exit_codes": ["x"]}, "allowed_exit_codes="),
        ({"dsn": "nonsense"}, "dsn="),
    ],
)
def test_wrong_options(clean_sdk, options, says):
    """A wrong option is told at once, with what would be right."""
    with pytest.raises(ConfigError) as caught:
        SentrySink(**options)
    assert says in str(caught.value)


def test_requests_that_are_over_are_forgotten(sentry, child):
    """What the scopes of a thousand requests hold does not stay for the sake of the children that they ran."""
    sentry(traces_sample_rate=1.0)
    held = []
    for number in range(300):
        with (
            sentry_sdk.isolation_scope() as scope,
            sentry_sdk.start_transaction(name="request") as transaction,
        ):
            scope.set_extra("upload", upload := Upload())
            transaction.set_data("upload", upload)
            held.append(weakref.ref(upload))
            child(SentrySink(), raises=bool(number % 2)).start().says("x").exit(number % 2)
    del scope, transaction, upload
    gc.collect()

    assert sum(reference() is not None for reference in held) <= 128


def test_nothing_is_kept_of_the_output(sentry, child):
    """While a child talks the sink holds nothing; after its end, breadcrumbs, and the files while they are unsent."""
    box = sentry()
    sink = SentrySink(breadcrumbs=1)
    assert not child(sink).stream.wants_lines
    assert child(SentrySink(logs=True)).stream.wants_lines

    tracemalloc.start()
    try:
        begin, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            child(sink).start().says(*(str(number) * 3000 for number in range(20))).exit(1)
        box.envelopes.clear()
        gc.collect()
        end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end - begin < 3_000_000  # 6,000,000 would be the output
