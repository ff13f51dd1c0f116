"""Properties of the way from bytes to records, for any bytes in any pieces at any time.

Each is run by Hypothesis here, and by a coverage-guided fuzzer in tests/fuzz/run.py. What either has found stands as
an ``@example`` of its property.
"""

from __future__ import annotations

import json
import pickle
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from subwatch import _tail
from subwatch._lines import split_block
from subwatch._session import Session
from subwatch.processors import Pipeline, Redactor
from subwatch.records import CONTINUED, PARTIAL, TRUNCATED, Run
from subwatch.sinks._jsonlines import as_dict

SECOND = 1_000_000_000


def run_of(program="program"):
    return Run(
        id="0", argv=(program,), program=program, cwd="/", host="h", tags={}, caller=None, parent_pid=1
    )  # fmt: skip


class Driver:
    """Feeds a session as a driver does, and keeps the batches."""

    def __init__(self, secrets=(), program="program", max_line=64, tail=5, encoding="utf-8"):
        self.pipeline = Pipeline(Redactor(secrets), program=program, encoding=encoding)
        self.session = Session(
            run_of(program), self.pipeline, max_line=max_line, partial_delay_ns=SECOND // 5, tail=tail
        )
        self.session.stream("stderr")
        self.batches = []
        self.now = SECOND
        self.session.started(1, self.now)
        self.fed = b""

    def feed(self, data):
        self.fed += data
        self.batches += self.session.feed("stderr", data, self.now)

    def skip(self, data):
        self.fed += data
        self.session.skip("stderr", data, self.now)

    def idle(self, _=None):
        self.now += SECOND
        if self.session.idle_at() is not None:  # a driver would not come
            self.batches += self.session.idle(self.now)

    def back(self, _=None):
        self.now -= SECOND // 2  # the clock is set back

    def end(self):
        self.batches += self.session.finish(self.now)
        self.batches += self.session.eof("stderr", self.now)
        return self.session.exited(
            pid=1,
            returncode=0,
            signal=None,
            reason="exited",
            time_ns=self.now,
            duration=0.0,
            usage=None,
            drained=True,
            dropped={},
        )

    @property
    def lines(self):
        return [line for batch in self.batches for line in batch]


def perform(driver, steps):
    for name, data in steps:
        getattr(driver, name)(data)
    return driver.end()


# without what redaction looks for: what comes out must be what went in
HARMLESS = st.lists(
    st.sampled_from([b"ab", b" ", b"\r", b"\n", b"\r\n", b"\xc3", b"\xa9", b"\xff", b"x" * 40, b"\0"])
)
BYTES = HARMLESS.map(b"".join)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), BYTES),
        st.tuples(st.just("feed"), st.binary(max_size=3)),
        st.tuples(st.sampled_from(["idle", "back"]), st.none()),
    ),
    max_size=20,
)


@given(STEPS, st.integers(16, 70))
@example([("feed", b"x" * 16 + b"\r"), ("idle", None), ("feed", b"\n")], 16)
@example([("feed", b"a\r"), ("idle", None), ("idle", None), ("feed", b"\nb")], 16)
@example([("feed", b"\r"), ("idle", None), ("feed", b"\n\n")], 16)
@example([("feed", b"ab"), ("idle", None), ("feed", b"\r")], 16)
def test_nothing_is_lost_and_all_is_counted(steps, max_line):
    driver = Driver(max_line=max_line)
    exit = perform(driver, steps)
    lines = driver.lines
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    times = [line.time_ns for line in lines]
    assert all(before < after for before, after in zip(times, [*times[1:], exit.time_ns]))
    assert exit.bytes == {"stderr": len(driver.fed)}
    assert exit.lines == {"stderr": len(lines)}
    assert exit.truncated == sum(line.truncated for line in lines)
    kept = iter(line.text for line in lines)  # of updates that follow each other only the last counts
    assert all(line.text in kept for line in exit.tail)
    last = [line.text for line in lines[-2:] if line.text or not line.continued]
    assert [line.text for line in exit.tail[-1:]] == last[
        -1:
    ]  # the mere end of a line that was shown is no line
    going_on = False
    for batch in driver.batches:
        assert (
            len(batch) == len(batch.texts) == len(batch.endings) == len(batch.levels) == len(batch.flags) > 0
        )
        for line, flags in zip(batch, batch.flags):
            assert bool(flags & CONTINUED) == going_on
            going_on = bool(flags & (PARTIAL | TRUNCATED))
            assert len(line.text.encode("latin-1", "replace")) <= 4 * max_line + 8
            assert (line.ending == "") or not going_on
    if (
        b"=" not in driver.fed
        and b":" not in driver.fed
        and b"<" not in driver.fed
        and b"-" not in driver.fed
    ):
        said = "".join(line.text + ("\n" if line.ending else "") for line in lines)
        whole = driver.fed.decode("utf-8", "backslashreplace")
        assert said == whole.replace("\r\n", "\n").replace("\r", "\n")
        assert sum(not line.continued for line in lines) == len(split_block(whole)[0])


@given(st.binary(max_size=300) | BYTES, st.lists(st.integers(0, 300)), st.integers(16, 70))
@example(b"a\r\nb", [2], 16)
def test_chunks_do_not_matter(data, cuts, max_line):
    def rows(pieces):
        driver = Driver(max_line=max_line)
        for piece in pieces:
            driver.feed(piece)
        # until the end, which may come between "\r" and "\n"
        driver.batches += driver.session.eof("stderr", driver.now)
        return [
            (text, ending, flag)
            for batch in driver.batches
            for text, ending, flag in zip(batch.texts, batch.endings, batch.flags)
        ]

    places = sorted({cut % (len(data) + 1) for cut in cuts})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)])]
    assert rows(pieces) == rows([data])


@given(
    st.lists(st.tuples((BYTES | st.binary(max_size=9)).filter(len), st.integers(0, 5))), st.integers(16, 70)
)
@example([(b"10%\r20%\r30", 1), (b"%\r", 1)], 16)
@example([(b"x" * 18, 1)], 16)
@example([(b"a\n", 1), (b"b\nc", 1), (b"\n", 1)], 16)
@example([(b"a\nb\n", 0), (b"c\n", 0)], 16)
def test_the_tail_is_the_same_where_nobody_wants_lines(chunks, max_line):
    def tail(way):
        driver = Driver(max_line=max_line, tail=50)
        for data, waited in chunks:
            driver.now += waited
            getattr(driver, way)(data)
        # an update, and a piece of a line that is too long, has the time of the whole line then
        inexact = b"\r" in driver.fed or any(len(line) > max_line for line in driver.fed.split(b"\n"))
        return [
            (line.text, line.ending, line.level, line.partial, line.continued, inexact or line.time_ns)
            for line in pickle.loads(pickle.dumps(driver.end().tail))
        ]

    assert tail("skip") == tail("feed")


def test_half_an_ending_that_was_shown_is_one_line():
    """A program pauses between the two bytes of an ending, and nobody wants what comes then."""
    driver = Driver()
    driver.feed(b"10%\r")
    driver.idle()
    driver.skip(b"\nok\n")
    assert [(line.text, line.ending) for line in driver.end().tail] == [("10%", "\r"), ("ok", "\n")]


SECRET = "Zq7XvKw9QjZ3YxBd"
PLANTS = (
    *("{}", "password={}", "password: {} ", "password='{}'", 'x "api_key": "{}", ', "PGPASSWORD={} pg_dump"),
    *(
        "postgres://user:{}@host/db",
        "https://{}@host/",
        "Authorization: Bearer {}",
        "Cookie: a={}",
        "Bearer {}",
    ),
    *("ghp_{}abcdefghijklmnopqrst", "eyJ{}.eyJabc.def", "hvs.{}abcdefgh", r"{{\"token\":\"{}\"}}"),
    *("-----BEGIN RSA PRIVATE KEY-----\n{}\nmore\n-----END RSA PRIVATE KEY-----", "token = {}"),
)
AROUND = st.lists(
    st.sampled_from(
        [*"ab :=\"'\\/@_-.&;,()[]{}é\n\r<3>", "x" * 20, "password", "\r\n", "://", "----", "key "]
    )
).map("".join)


def no_piece_is_seen(*told):
    for lines in told:
        shown = "".join(line.text for line in lines)
        for at in range(len(SECRET) - 5):
            assert SECRET[at : at + 6] not in shown


@given(
    st.sampled_from(PLANTS),
    AROUND,
    AROUND,
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["idle", "", ""]))),
    st.integers(16, 200),
    st.sampled_from(["utf-8", "utf-16-le", "latin-1"]),
)
@example("password={}", "", "", [(9, "idle"), (12, "idle"), (16, "idle")], 16, "utf-8")
@example("Bearer {}", "", "", [(3, "idle"), (9, "idle")], 16, "utf-8")
@example("ghp_{}abcdefghijklmnopqrst", "", "", [(13, "idle"), (17, "idle")], 100, "utf-8")
def test_no_secret_is_seen_in_pieces(plant, before, after, cuts, max_line, encoding):
    """However it is cut, by reads, by pauses or by the size limit: all pieces side by side do not show it."""
    driver = Driver([SECRET] if plant == "{}" else [], max_line=max_line, encoding=encoding)
    data = (before + " " + plant.format(SECRET) + " " + after).encode(encoding, "replace")
    start = 0
    for cut, then in sorted((cut % (len(data) + 1), then) for cut, then in cuts):
        driver.feed(data[start:cut])
        start = cut
        if then:
            driver.idle()
    driver.feed(data[start:])
    exit = driver.end()
    no_piece_is_seen(driver.lines, exit.tail)


@given(
    st.sampled_from([plant for plant in PLANTS if "KEY" not in plant]),
    AROUND,
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["feed", "skip", "skip", "idle"]))),
)
@example("password={}", "", [(12, "skip"), (18, "skip"), (60, "skip")])
def test_no_secret_is_seen_in_what_nobody_wanted(plant, after, cuts):
    """Of lines that nobody wants only the last bytes are kept: they may begin in the middle of a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tail, "_KEPT", 24)
        patch.setattr(_tail, "_SHORT", 4)  # otherwise short chunks become one, which is kept
        driver = Driver([SECRET] if plant == "{}" else [])
        data = (" " + plant.format(SECRET) + " " + "x" * 30 + after).encode()
        start = 0
        for cut, way in sorted((cut % (len(data) + 1), way) for cut, way in cuts):
            if way == "idle":
                driver.idle()
            else:
                getattr(driver, way)(data[start:cut])
                start = cut
        driver.feed(data[start:])
        exit = driver.end()
    no_piece_is_seen(driver.lines, exit.tail)


# -- what lines mean ----------------------------------------------------------------------------------------

WORDS = (
    *(
        "error",
        "ERROR",
        "Warning:",
        "fatal",
        "INFO ",
        "[",
        "]",
        "(",
        ")",
        "<3>",
        ":",
        ": ",
        " - ",
        "|",
        ">",
        "\t",
    ),
    *(
        "2026-11-22 14:00:07",
        "T14:00:07.123Z",
        "14:00:07",
        "I1122 14:00:07.123",
        " CET [1] ",
        "npm ERR!",
        "make[1]: *** ",
    ),
    *(
        "level=error",
        "msg=hi",
        'msg="a \\" b"',
        "ts=1",
        "time=2026-11-22T14:00:07Z",
        "=",
        "lvl=",
        '"',
        "'",
        "\\",
    ),
    *(
        '{"level": "error"',
        '"msg": "x"',
        ', "n": 1e999',
        ', "n": -0',
        ', "d": ',
        "}",
        "{}",
        "[[[[",
        "NaN",
        "\\ud800",
        "\\u0000",
    ),
    *(
        "100%",
        "50.5%",
        "101%",
        "%",
        "12/24",
        "kB (",
        "1,024",
        "ETA",
        "1.5MiB/s",
        "1e5",
        "999999999999999999999",
        "00:00:01",
    ),
    *(
        "pg_basebackup: ",
        "tablespaces",
        "frame=  10",
        "time=00:00:01.00",
        "Duration: 00:10:00.00",
        "speed=1x",
        "it/s]",
    ),
    *(
        "\x1b[31m",
        "\x1b[0m",
        "\x1b",
        "\0",
        "é",
        "\u2028",
        "\U0001f600",
        "٣",
        "²",
        " ",
        "  ",
        "x" * 30,
        "0",
        "-",
        "+",
    ),
    *(
        "Receiving objects: ",
        "Traceback (most recent call last):",
        "DETAIL:",
        "HINT:",
        "progress: ",
        "bytes",
        "MB",
        "copied,",
    ),
    *(
        '{"message_type":"status","percent_done":0.5}',
        '{"type":"archive_progress","original_size":5}',
        "#" * 10,
        "=",
    ),
)
#: Whole lines that mean something; words side by side seldom do.
SPOKEN = st.sampled_from(
    [
        '{"level":"error","msg":"x","n":1e999}',
        r'{"level":"warn","msg":"\ud800","n":[1,{"a":99999999999999999999}]}',
        'level=error msg="a \\" b" ts=1',
        "npm ERR! code 1",
        "E: Unable to locate package x",
        "<3>refused",
        "2026-11-22 14:00:07.123 UTC [1] ERROR:  relation does not exist",
        "1024/2048 kB (150%), 0/1 tablespace",
        "  150%|####      | 3/2 [00:01<00:00,  1.00it/s]",
        '{"message_type":"status","percent_done":1.5,"total_bytes":10,"bytes_done":20}',
    ]
)
TEXT = st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map("".join) | SPOKEN
PROGRAMS = st.sampled_from(
    "program pg_basebackup pgbench rsync curl wget ffmpeg dd git pip restic borg pv npm make ssh tar apt terraform tqdm".split()
)


@given(PROGRAMS, st.lists(st.tuples(TEXT, st.sampled_from(["\n", "\r", "\r\n"])), max_size=8))
@example("npm", [("npm ERR! code 1", "\n")])
@example("restic", [('{"percent_done":0.5,"total_bytes":1e999}', "\n")])
def test_any_line_has_a_meaning(program, lines):
    driver = Driver(program=program, max_line=4096)
    driver.feed("".join(text + ending for text, ending in lines).encode("utf-8", "surrogateescape"))
    exit = driver.end()
    for batch in driver.batches:
        assert len(batch.levels) == len(batch.progress) == len(batch.fields) == len(batch)
        assert set(batch.levels) <= {10, 20, 30}
        for progress in filter(None, batch.progress):
            assert progress.fraction is None or 0.0 <= progress.fraction <= 1.0
            assert progress.completed is None or 0.0 <= progress.completed < float("inf")
            assert progress.total is None or 0.0 < progress.total < float("inf")
        for fields in filter(None, batch.fields):
            json.dumps(fields, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert driver.pipeline.failures() == {}
    for record in (*driver.lines, exit):
        json.loads(json.dumps(as_dict(record), allow_nan=False))


@given(
    st.lists(TEXT.map(lambda text: text.replace("\r", "").replace("\n", "")), min_size=1, max_size=6),
    PROGRAMS,
)
def test_lines_have_the_level_that_they_have_alone(texts, program):
    """Prefilters look at whole batches: what is beside a line must not change its meaning."""

    def levels(texts):
        return Pipeline(Redactor(), program=program).levels(list(texts))

    def fields(texts):
        driver = Driver(program=program, max_line=4096)
        driver.feed("".join(text + "\n" for text in texts).encode("utf-8", "surrogateescape"))
        return [fields for batch in driver.batches for fields in batch.fields]

    assert levels(texts) == [levels([text])[0] for text in texts]
    assert fields(texts) == [fields([text])[0] for text in texts]


@given(
    PROGRAMS,
    st.lists(
        st.tuples(
            TEXT | st.builds(lambda plant, text: plant.format(SECRET) + text, st.sampled_from(PLANTS), TEXT),
            st.sampled_from(["\n", "\n", "\r", "\r\n"]),
        ),
        max_size=8,
    ),
    st.lists(st.integers(0, 600), max_size=6),
)
@example("program", [("password=Zq7XvKw9,QjZ3YxBd", "\n"), (": x", "\n")], [26])
def test_chunks_do_not_matter_to_what_lines_mean(program, lines, cuts):
    data = "".join(text + ending for text, ending in lines).encode("utf-8", "surrogateescape")
    # some recognisers are asked only where a batch has updates: then it does matter what is read at once
    steady = b"\r" not in data

    def rows(pieces):
        driver = Driver(program=program, max_line=4096)
        for piece in pieces:
            driver.feed(piece)
        driver.batches += driver.session.eof("stderr", driver.now)
        return [
            (
                line.text,
                line.ending,
                line.level,
                line.fields,
                as_dict(line).get("progress") if steady else None,
            )
            for line in driver.lines
        ]

    places = sorted({cut % (len(data) + 1) for cut in cuts})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)])]
    assert rows(pieces) == rows([data])


@given(st.one_of(TEXT, AROUND, st.sampled_from(PLANTS)).filter(bool), PROGRAMS)
@example(".\r\n\r\n=://.", "ssh")
def test_the_cost_is_linear(unit, program):
    """Whatever a child repeats, as one line or as many."""

    def cost(size):
        text = (unit * (size // len(unit) + 1))[:size]
        begun = time.process_time()
        driver = Driver(["hunter2-hunter2"], program=program, max_line=1 << 16)
        driver.feed((text + "\n").encode("utf-8", "surrogateescape"))
        driver.feed(
            "\n".join(text[at : at + 100] for at in range(0, size, 100)).encode("utf-8", "surrogateescape")
        )
        driver.idle()
        perform(driver, [])
        assert [(batch.levels, batch.progress, batch.fields) for batch in driver.batches]
        return time.process_time() - begun

    if cost(1 << 14) > 0.06:  # most take a tenth of that; only then it is worth to look again
        assert min(cost(1 << 14) for _ in range(2)) < 24 * min(cost(1 << 11) for _ in range(3))
