"""The logging sink: what its records are, and what its options leave out, hold back and put together."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
import uuid

import pytest

import subwatch
from subwatch.errors import ConfigError
from subwatch.processors import Pipeline, Redactor
from subwatch.records import Caller, Exit, Lines, Run, Start
from subwatch.sinks import LoggingSink
from subwatch.testing import SinkContract

SECOND = 10**9


class Keeper(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


@pytest.fixture
def log():
    """A logger of its own, which keeps its records (`log.kept`)."""
    logger = logging.Logger(f"test.{uuid.uuid4().hex}", logging.INFO)  # noqa: LOG001 - not for others
    keeper = Keeper()
    logger.addHandler(keeper)
    logger.kept = keeper.records
    return logger


def said(log):
    return [(record.levelname, record.getMessage()) for record in log.kept]


def texts(log):
    """The lines, as they were logged."""
    return [
        record.getMessage().removeprefix("prog: ")
        for record in log.kept
        if hasattr(record, "subwatch_stream")
    ]


class Child:
    """The records of a run, made by hand, one second after the other."""

    def __init__(self, sink, *, tags=None, fields=None):
        self.run = Run(
            id="1", argv=("prog",), program="prog", cwd="/", host="h", tags=tags or {}, parent_pid=1,
            caller=Caller("/app/backup.py", 7, "main"),
        )  # fmt: skip
        self.stream = sink.open(self.run)
        self.run.fields.update(fields or {})
        self.pipeline = Pipeline(Redactor(), program="prog")
        self.first, self.now = 1, 1_700_000_000 * SECOND
        self.tail = []
        self.stream.emit(Start(self.run, 42, self.now))

    def say(self, text, *, stream="stderr", late=False, seconds=1.0):
        self.now += int(seconds * SECOND)
        lines = Lines(self.run, stream, self.first, self.now, late, self.pipeline, text.encode())
        self.first += len(lines)
        self.tail = [*self.tail, *lines][-20:]
        self.stream.emit(lines)

    def end(self, returncode=0, dropped=None):
        self.now += SECOND
        self.stream.emit(
            Exit(
                run=self.run, pid=42, returncode=returncode, signal=None, reason="exited", start_ns=0,
                time_ns=self.now, duration=1.5, tail=self.tail, dropped=dropped,
            )
        )  # fmt: skip


class TestContract(SinkContract):
    def make_sink(self):
        return LoggingSink(logging.getLogger(f"contract.{uuid.uuid4().hex}"))


class TestContractWithEverything(SinkContract):
    def make_sink(self):
        log = logging.Logger("everything")  # noqa: LOG001
        log.addHandler(Keeper())
        return LoggingSink(log, throttle=10, hold_back=True, group=True)


def test_a_record_has_the_callers_place_the_read_time_and_its_extras(log):
    log.setLevel(logging.DEBUG)
    child = Child(LoggingSink(log), tags={"cluster": "main"}, fields={"trace_id": "abc"})
    child.say("one\ntwo\n", seconds=0.25)
    child.end(3)

    start, one, two, end = log.kept
    assert (start.levelname, start.getMessage()) == ("DEBUG", "prog started with pid 42")
    assert (one.msg, one.args, one.getMessage()) == ("%s: %s", ("prog", "one"), "prog: one")
    assert (one.pathname, one.lineno, one.funcName) == ("/app/backup.py", 7, "main")
    assert (one.created, one.msecs) == (1_700_000_000.25, 250.0)
    assert one.relativeCreated == pytest.approx((one.created - start.created) * 1000 + start.relativeCreated)
    extras = {name: value for name, value in two.__dict__.items() if name.startswith("subwatch_")}
    assert extras == {
        "subwatch_run_id": "1", "subwatch_program": "prog", "subwatch_pid": 42, "subwatch_stream": "stderr",
        "subwatch_number": 2, "subwatch_tag_cluster": "main", "subwatch_trace_id": "abc",
    }  # fmt: skip
    assert (end.levelname, end.getMessage()) == ("ERROR", "prog exited with code 3 after 1.5 s")
    assert (end.subwatch_exit_code, end.subwatch_reason, end.subwatch_duration) == (3, "exited", 1.5)
    assert end.subwatch_thinned == 0
    assert not hasattr(end, "subwatch_stream")


def test_records_are_independent_of_each_other(log):
    child = Child(LoggingSink(log))
    child.say("one\nwarning: two\n")
    one, two = log.kept
    one.extra_of_a_filter = 1

    assert not hasattr(two, "extra_of_a_filter")
    assert [(r.levelno, r.levelname, r.subwatch_number) for r in (one, two)] == [
        (20, "INFO", 1),
        (30, "WARNING", 2),
    ]


def test_a_record_factory_of_the_application_is_used_for_each_record(log):
    class Mine(logging.LogRecord):
        pass

    made = []

    def factory(*args, **kwargs):
        record = Mine(*args, **kwargs)
        record.request = len(made)
        made.append(record)
        return record

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        child = Child(LoggingSink(log))
        child.say("one\ntwo\n")
    finally:
        logging.setLogRecordFactory(before)

    assert [(type(r), r.request, r.getMessage()) for r in log.kept] == [
        (Mine, 0, "prog: one"),
        (Mine, 1, "prog: two"),
    ]


def test_only_what_is_heard_is_logged(log):
    log.setLevel(logging.WARNING)
    child = Child(LoggingSink(log))
    child.say("one\nwarning: two\n")
    child.end()

    assert said(log) == [("WARNING", "prog: warning: two")]


@pytest.mark.parametrize("around", ["", "é"])  # the quick look at a batch differs
def test_controls_are_made_harmless(log, around):
    child = Child(LoggingSink(log))
    child.say(f"{around}\n\x1b[31mred\x1b[0m\n\0a\x07\ttab\x7f\n\x1b]0;title\x07x\n")

    assert texts(log) == [around, "red", "\\x00a\\x07\ttab\\x7f", "x"]


def test_separators_beyond_ascii_are_made_harmless(log):
    child = Child(LoggingSink(log))
    child.say("a\x85b\u2028c\n")

    assert texts(log) == ["a\\x85b\\u2028c"]


def test_losses_are_said(log):
    Child(LoggingSink(log)).end(dropped={"loki": 3, "mine": 1})

    lost = "lost 3 records to loki, 1 record to mine"
    assert said(log) == [("INFO", f"prog exited with code 0 after 1.5 s, {lost}")]


# -- progress -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}% done\n", "{}% done\r", "no figure {}\r"])
def test_progress_is_thinned(log, form):
    child = Child(LoggingSink(log, progress=10))
    for count in range(1, 26):
        child.say(form.format(count))
    child.say("ordinary\n")
    child.end()

    shown = [1, 11, 21, 25]
    assert sorted(texts(log)) == sorted([*(form.format(n).rstrip() for n in shown), "ordinary"])
    assert log.kept[-1].getMessage() == "prog exited with code 0 after 1.5 s, left out 21 progress updates"
    assert log.kept[-1].subwatch_thinned == 21
    held = next(r for r in log.kept if "25" in r.getMessage())
    assert (held.subwatch_number, held.created) == (25, 1_700_000_025)


def test_the_update_that_completes_is_logged_at_once(log):
    child = Child(LoggingSink(log))
    child.say("1%\r50%\r99%\r100%\rdone\n")

    assert texts(log) == ["1%", "100%", "done"]


def test_updates_that_nobody_reads_are_no_phase_of_those_that_somebody_reads(log):
    child = Child(LoggingSink(log))
    for percent in range(5):
        child.say(f"{percent}%\rspinning {percent}\r")
    child.end()

    assert texts(log) == ["0%", "spinning 0", "4%", "spinning 4"]
    assert log.kept[-1].subwatch_thinned == 6


@pytest.mark.parametrize(("progress", "shown"), [(True, 4), (0, 4), (False, 1), (1e9, 3)])
def test_all_progress_or_none(log, progress, shown):
    child = Child(LoggingSink(log, progress=progress))
    child.say("1%\r2%\r3%\rordinary\n")
    child.end()

    assert len(texts(log)) == shown
    assert log.kept[-1].subwatch_thinned == 4 - shown


def test_warnings_are_never_thinned(log):
    child = Child(LoggingSink(log, progress=False))
    child.say("1%\rwarning: 2% are bad\rwarning: hot\r3%\r")
    child.end()

    assert texts(log) == ["warning: 2% are bad", "warning: hot"]
    assert log.kept[-1].subwatch_thinned == 2


def test_one_update_left_out_is_one(log):
    child = Child(LoggingSink(log, progress=False))
    child.say("1%\r")
    child.end()

    assert log.kept[-1].getMessage().endswith("s, left out 1 progress update")


def test_progress_that_is_not_heard_is_not_counted(log):
    child = Child(LoggingSink(log, exit_level=logging.WARNING))
    log.setLevel(logging.WARNING)
    child.say("1%\r2%\r3%\r")
    child.end()

    assert said(log) == [("WARNING", "prog exited with code 0 after 1.5 s")]


def test_late_progress_is_thinned_too_and_its_last_is_logged_at_the_end(log):
    child = Child(LoggingSink(log))
    child.say("1%\r2%\r")
    child.end()
    child.say("3%\r4%\r5%\r", late=True)
    child.stream.close()

    assert [r.getMessage() for r in log.kept] == [
        "prog: 1%", "prog: 2%", "prog exited with code 0 after 1.5 s", "prog: (late) 5%",
    ]  # fmt: skip


# -- throttle -----------------------------------------------------------------------------------------


def test_repetitions_and_floods_are_counted_and_said(log):
    child = Child(LoggingSink(log, throttle=3))
    child.say("same\n" * 5 + "warning: a\nb\nc\nd\n")
    child.end()

    assert said(log) == [
        ("INFO", "prog: same"),
        ("INFO", "prog: last message repeated 4 times"),
        ("WARNING", "prog: warning: a"),
        ("INFO", "prog: b"),
        ("INFO", "prog: 2 lines dropped in 10 s"),
        ("INFO", "prog exited with code 0 after 1.5 s, left out 4 repeated lines, 2 lines too many"),
    ]
    assert log.kept[1].subwatch_number is None


# -- hold back ----------------------------------------------------------------------------------------


def test_notices_do_not_wait_for_the_next_line(log):
    child = Child(LoggingSink(log, throttle=2))
    child.say("same\nsame\nsame\nother\nmore\n")
    assert texts(log) == ["same", "last message repeated 2 times", "other"]
    assert child.stream.due < time.monotonic()  # these lines were written years ago
    child.stream.idle()
    assert texts(log)[3:] == ["1 line dropped in 10 s"]
    assert child.stream.due is None


def test_progress_that_stands_still_is_logged_when_its_time_has_come(log):
    child = Child(LoggingSink(log))
    child.say("10%\r20%\r30%\r")
    assert texts(log) == ["10%"]
    child.stream.idle()
    assert texts(log) == ["10%", "30%"]
    assert child.stream.due is None
    child.end()
    assert texts(log) == ["10%", "30%"]


def test_a_line_that_might_go_on_is_logged_while_the_child_is_silent(log):
    script = "echo 'ERROR: no room' >&2; sleep 4"
    watch = subwatch.Watch(sinks=[LoggingSink(log, group=True)])
    with watch.Popen(["sh", "-c", script], stderr=subprocess.DEVNULL):
        begin = time.monotonic()
        while not texts(log):
            assert time.monotonic() - begin < 3.5
            time.sleep(0.05)
        assert time.monotonic() - begin > 1.5


JSON = '{"level": "warning", "ts": 1700000100.5, "msg": "low \\u001b[1mspace", "free": 3}\nplain\n'


@pytest.mark.parametrize("options", [{}, {"throttle": 100}])
def test_structured_lines_keep_their_text_and_have_their_fields(log, options):
    Child(LoggingSink(log, **options)).say(JSON)
    line, plain = log.kept
    assert line.getMessage() == "prog: " + JSON.partition("\n")[0]
    assert (line.levelname, line.subwatch_fields["free"]) == ("WARNING", 3)
    assert line.created == 1_700_000_001
    assert not hasattr(plain, "subwatch_fields")


@pytest.mark.parametrize("options", [{}, {"throttle": 100}])
def test_structured_lines_may_be_their_message_and_time(log, options):
    Child(LoggingSink(log, structured=True, **options)).say(JSON)
    line, plain = log.kept
    assert (line.levelname, line.getMessage(), plain.getMessage()) == (
        "WARNING",
        "prog: low space",
        "prog: plain",
    )
    assert (line.created, line.msecs) == (1_700_000_100.5, 500.0)
    assert line.subwatch_fields["free"] == 3


def test_after_a_success_warnings_were_nothing(log):
    child = Child(LoggingSink(log, hold_back=True))
    child.say("warning: a\nb\n")
    assert said(log) == [("INFO", "prog: b")]
    child.end()

    assert said(log)[1:] == [("INFO", "prog: warning: a"), ("INFO", "prog exited with code 0 after 1.5 s")]


def test_the_mere_end_of_what_was_logged_before_is_no_record(log):
    """Updates that begin with their carriage return, and a prompt."""
    script = "for n in 1 2 3; do printf '\\r%s/3 kB (%s%%)' $n $n; sleep 0.2; done; echo; printf 'name? '; sleep 0.2; echo"
    subwatch.run(["sh", "-c", f"({script}; echo; echo done) >&2"], partial_delay=0.01, sinks=[LoggingSink(log)],
                 stderr=subprocess.DEVNULL)  # fmt: skip

    assert [record.args[1] for record in log.kept[:-1]] == [
        "1/3 kB (1%)",
        "name? ",
        "",
        "done",
        "3/3 kB (3%)",
    ]


def test_after_a_failure_the_tail_is_raised(log):
    child = Child(LoggingSink(log, hold_back=True))
    child.say("warning: early\n" + "ordinary\n" * 25)
    child.say("warning: a\nb\n")
    del log.kept[:]
    child.end(1)

    assert said(log) == [
        ("WARNING", "prog: warning: early"),
        *[("ERROR", "prog: ordinary")] * 18,
        ("ERROR", "prog: warning: a"),
        ("ERROR", "prog: b"),
        ("ERROR", "prog exited with code 1 after 1.5 s"),
    ]
    assert log.kept[-3].subwatch_number == 27


def test_where_only_errors_are_heard_a_failure_tells_its_last_lines(log):
    log.setLevel(logging.ERROR)
    child = Child(LoggingSink(log, hold_back=True))
    assert child.stream.wants_lines is False
    child.say("a\n")
    child.end(1)

    assert said(log) == [("ERROR", "prog: a"), ("ERROR", "prog exited with code 1 after 1.5 s")]


def test_late_lines_are_not_held_back(log):
    child = Child(LoggingSink(log, hold_back=True))
    child.end()
    child.say("warning: a\n", late=True)

    assert said(log)[1:] == [("WARNING", "prog: (late) warning: a")]


# -- groups -------------------------------------------------------------------------------------------

TRACEBACK = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
\x1b[1mZeroDivisionError\x1b[0m: no
"""


def test_a_traceback_is_one_record(log):
    child = Child(LoggingSink(log, group=True))
    for line in ("before\n" + TRACEBACK).splitlines(keepends=True):
        child.say(line)
    assert texts(log) == ["before"]
    child.say("after\n")

    assert texts(log) == ["before", TRACEBACK.replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip(), "after"]
    assert (log.kept[1].levelname, log.kept[1].subwatch_number) == ("WARNING", 2)


def test_groups_of_two_streams_do_not_mix(log):
    child = Child(LoggingSink(log, group=True))
    first, *rest = TRACEBACK.splitlines(keepends=True)
    child.say(first)
    child.say("out\n", stream="stdout")
    child.say("".join(rest))
    child.end()

    assert [text.count("\n") for text in texts(log)] == [0, 2]


def test_all_stages_together(log):
    child = Child(LoggingSink(log, group=True, hold_back=True, throttle=100))
    child.say("1%\r2%\r3%\r")
    child.say(TRACEBACK + TRACEBACK + "ok\n")
    del log.kept[:]
    child.end(1)

    assert [(level, text.count("\n")) for level, text in said(log)] == [
        ("INFO", 0),  # 3%
        ("WARNING", 0),  # the traceback, repeated
        *[("ERROR", 0)] * 3,
        *[("ERROR", 2)] * 2,
        *[("ERROR", 0)] * 2,
    ]


# -- configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        *({"progress": value} for value in (-1, "10", None, float("nan"), float("inf"))),
        *({"throttle": value} for value in (0, -1, "3", True, 1.5)),
        *({"hold_back": "no"}, {"group": 1}, {"logger": 3}),
        {"structured": "yes"},
    ],
)
def test_wrong_options(options):
    with pytest.raises(ConfigError, match=rf"^{next(iter(options))}= takes "):
        LoggingSink(**options)


def test_a_real_child_with_all_options(log):
    sink = subwatch.sink("logging", logger=log, progress=60, throttle=50, hold_back=True, group=True)
    script = (
        "import sys, time\nfor n in range(101): sys.stderr.write(f'{n}%\\r')\nsys.stderr.write('\\n')\n1 / 0"
    )
    subwatch.run([sys.executable, "-c", script], sinks=[sink], stderr=subprocess.DEVNULL)

    assert log.kept[-1].levelname == "ERROR"
    assert log.kept[-1].subwatch_thinned == 99
    assert any(
        "ZeroDivisionError" in text and text.startswith("Traceback")
        for text in (r.args[1] for r in log.kept[:-1])
    )
