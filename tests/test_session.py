"""The state machine of one child: what the sinks get, for any bytes in any chunks."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from subwatch._lines import split_block
from subwatch._session import Session
from subwatch.processors import Pipeline, Redactor
from subwatch.records import Run

SECOND = 10**9
SECRET = "hunter2-Äß/q"
PEM = (
    b"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAvbW9\nc2VjcmV0IGtleSBib2R5\r\n"
    b"-----END RSA PRIVATE KEY-----\n"
)
KEY_LINES = ("MIIEowIBAAKCAQEAvbW9", "c2VjcmV0IGtleSBib2R5")


def make_session(
    *, secrets=(), max_line=64 * 1024, tail=20, encoding="utf-8", delay_ns=SECOND, names=("stderr",)
):
    run = Run(
        id="0", argv=("x",), program="x", cwd="/", host="h", tags={}, caller=None, parent_pid=1
    )  # fmt: skip
    session = Session(
        run,
        Pipeline(Redactor(secrets), encoding=encoding),
        max_line=max_line,
        partial_delay_ns=delay_ns,
        tail=tail,
    )
    for name in names:
        session.stream(name)
    session.started(1, 5)
    return session


def finish(session, time_ns=10**15, **options):
    return session.exited(
        pid=1,
        returncode=0,
        signal=None,
        reason="exited",
        time_ns=time_ns,
        duration=1.0,
        usage=None,
        drained=True,
        dropped={},
        **options,
    )


class Taken:
    """All lines of a session that was fed in chunks; a chunk of None is a pause."""

    def __init__(self, chunks, *, read_at_once=True, **options):
        session = make_session(**options)
        batches, now = [], 10
        for chunk in chunks:
            now += 2 * SECOND if chunk is None else 1
            batches += session.idle(now) if chunk is None else session.feed("stderr", chunk, now)
            if read_at_once:
                for batch in batches[-1:]:
                    list(batch)
        batches += session.eof("stderr", now + 1)
        batches += session.finish(now + 2)
        self.exit = finish(session)
        self.batches = batches
        self.lines = [line for batch in batches for line in batch]

    @property
    def rows(self):
        return [
            (line.text, line.ending, line.number, line.truncated, line.continued, line.level)
            for line in self.lines
        ]

    @property
    def joined(self):
        return "".join(line.text + line.ending for line in self.lines)


# Nothing here looks like a secret or has a syslog prefix, so that the text comes out as it went in.
harmless = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"a",
        b"word ",
        b"x" * 70,
        "é".encode(),
        "€".encode(),
        "𝄞".encode(),
        b"\x00",
        b"\x1b[31m",
        b"\xff",
        b"\xe2\x82",
        b"\xf0\x90\x90",
        b"\x80\x80\x80\x80\x80",
        b"\xc3",
        b"error: no\n",
        b"\xed\xa0\x80",
    ]
)
plain_streams = st.lists(harmless, max_size=30).map(b"".join)
dangerous = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"\r\n",
        b"a b",
        b"password=",
        b"swordfish1",
        b'"',
        SECRET.encode(),
        SECRET.encode()[:6],
        PEM,
        PEM[:40],
        PEM[-40:],
        b"https://me:pw@host/",
        b"Bearer ",
        b"<3>",
        b"<6>x\n",
        b"token: ",
        b"\xff",
        b"x" * 70,
        b"ghp_",
        b"abcdefghij0123456789",
        b"-----BEGIN ",
        b"PRIVATE KEY-----",
        b"error: ",
        b"\xc3",
        b"=",
        b"\\",
    ]
)
dangerous_streams = st.lists(dangerous | st.binary(max_size=4), max_size=25).map(b"".join)


@st.composite
def chunkings(draw, streams, pauses=False):
    whole = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    chunks = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    if pauses:
        chunks = [part for chunk in chunks for part in ((chunk, None) if draw(st.booleans()) else (chunk,))]
    return whole, chunks


limits = st.sampled_from([16, 17, 64, 1000, 64 * 1024])


@given(chunkings(plain_streams | dangerous_streams), limits, st.booleans())
def test_any_chunking_gives_the_same_lines(case, limit, read_at_once):
    whole, chunks = case
    options = {"max_line": limit, "secrets": [SECRET]}
    got, want = Taken(chunks, read_at_once=read_at_once, **options), Taken([whole], **options)
    assert got.rows == want.rows
    for name in ("lines", "bytes", "truncated"):
        assert getattr(got.exit, name) == getattr(want.exit, name)
    assert [line.text for line in got.exit.tail] == [line.text for line in want.exit.tail]


@given(chunkings(plain_streams), limits)
def test_nothing_is_lost_or_doubled(case, limit):
    whole, chunks = case
    taken = Taken(chunks, max_line=limit)
    assert taken.joined == whole.decode("utf-8", "backslashreplace")
    assert taken.exit.lines == {"stderr": len(taken.lines)}
    assert taken.exit.bytes == {"stderr": len(whole)}
    assert [line.number for line in taken.lines] == list(range(1, len(taken.lines) + 1))


@given(chunkings(plain_streams, pauses=True), limits)
@example((b"\xe2\x82\xac", [b"\xe2", None, b"\x82", None, b"\xac"]), 64)
def test_pauses_show_what_is_there_and_lose_nothing(case, limit):
    whole, chunks = case
    taken = Taken(chunks, max_line=limit)
    # a \r shown during a pause was taken for an ending of its own: the \n behind it is gone, and nothing else
    texts, open_line = [], ""
    for line in taken.lines:
        open_line += line.text
        if line.ending:
            texts.append(open_line)
            open_line = ""
    texts += [open_line] if open_line else []
    assert texts == split_block(whole.decode("utf-8", "backslashreplace"))[0]
    for before, line in zip([None, *taken.lines], taken.lines, strict=False):
        cut = before is not None and (before.partial or before.truncated)
        assert line.continued == cut
        if line.partial or line.truncated:
            assert line.ending == ""


@given(chunkings(plain_streams, pauses=True), limits)
def test_times_strictly_increase(case, limit):
    taken = Taken(case[1], max_line=limit)
    times = [line.time_ns for line in taken.lines]
    assert [5, *times] == sorted({5, *times})
    assert taken.exit.time_ns > max(times, default=0)
    assert [time for batch in taken.batches for time in batch.times] == times


@given(chunkings(plain_streams), st.sampled_from([16, 17, 64]))
def test_records_are_capped_and_marked(case, limit):
    taken = Taken(case[1], max_line=limit)
    for line in taken.lines:
        # an undecodable byte takes four characters, an unfinished character at most three bytes more
        assert len(line.text) <= 4 * (limit + 3)
    assert taken.exit.truncated == sum(line.truncated for line in taken.lines)
    if all(len(line) <= limit for line in case[0].replace(b"\r", b"\n").split(b"\n")):
        assert taken.exit.truncated == 0


@given(
    st.binary(max_size=90).filter(lambda raw: b"\r" not in raw and b"\n" not in raw),
    st.integers(0, 200),
    st.lists(st.integers(0, 300), max_size=8),
    st.lists(st.booleans(), min_size=9, max_size=9),
    limits,
    st.sampled_from(["literal", "password", "bearer", "url", "token", "quoted"]),
)
def test_no_secret_survives(before, after, cuts, pauses, limit, kind):
    """Wherever it stands, however it is read, whatever is shown early or cut."""
    body = "Zq7fK2mP9xL4vN8bT3wR"
    planted = {
        "literal": SECRET,
        "password": f"password={body} ",
        "bearer": f"Authorization: Bearer {body}\n",
        "url": f"postgres://me:{body}@db/ ",
        "token": f"ghp_{body}{body} ",
        "quoted": f'"password": "{body}" ',
    }[kind]
    secret = SECRET if kind == "literal" else body
    whole = before + b" " + planted.encode() + b"y" * after + b"\nend\n"
    bounds = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    chunks = []
    for start, end, pause in zip(bounds, bounds[1:], [*pauses, *pauses], strict=False):
        chunks += [whole[start:end], None] if pause else [whole[start:end]]
    taken = Taken(chunks, max_line=limit, secrets=[SECRET])
    shown = "".join(line.text for line in taken.lines)
    assert secret not in shown
    for size in (len(secret) - 1, 10) if kind != "literal" else (len(secret) - 1,):
        for start in range(len(secret) - size + 1):
            assert secret[start : start + size] not in shown
    assert secret not in repr(taken.lines) + repr(taken.exit) + "".join(
        repr(line) for line in taken.exit.tail
    )
    assert shown.endswith("end")


@given(st.lists(st.integers(0, 200), max_size=8), limits, st.lists(st.booleans(), min_size=9, max_size=9))
def test_no_private_key_survives(cuts, limit, pauses):
    whole = b"before\n" + PEM + b"after\n" + b"z" * 80 + b"\n"
    bounds = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    chunks = []
    for start, end, pause in zip(bounds, bounds[1:], pauses, strict=False):
        chunks += [whole[start:end], None] if pause else [whole[start:end]]
    taken = Taken(chunks, max_line=limit)
    shown = "".join(line.text for line in taken.lines)
    for body in KEY_LINES:
        for start in range(len(body) - 7):
            assert body[start : start + 8] not in shown
    assert "before" in shown
    assert "after" in shown
    assert shown.endswith("z" * 80)


def encodable(encoding):
    codec = codecs.lookup(encoding)

    def fits(text):
        try:
            return codec.decode(codec.encode(text)[0])[0] == text
        except UnicodeError:
            return False

    return (
        st.lists(st.sampled_from(["\r", "\n", "\r\n", "a", "é", "ソ表", "ﾃ", "word", "x" * 30]))
        .map("".join)
        .filter(fits)
    )


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "shift_jis", "euc_jp", "utf-7"]
)
@given(data=st.data())
def test_other_encodings(encoding, data):
    text = data.draw(encodable(encoding))
    whole, chunks = data.draw(chunkings(st.just(text.encode(encoding))))
    taken = Taken(chunks, encoding=encoding, max_line=data.draw(limits))
    assert taken.joined == text
    assert taken.exit.bytes == {"stderr": len(whole)}


@pytest.mark.parametrize(
    ("encoding", "data", "text"),
    [
        ("utf-16-le", b"a\0\n\0b", "a\n\\x62"),
        ("utf-16-le", "x\r".encode("utf-16-le") + b"\n", "x\r\\x0a"),
        ("shift_jis", b"ok\n\x83", "ok\n\\x83"),
        ("ascii", b"\xc3\xa4\n", "ä\n"),
    ],
)
def test_undecodable_ends_are_shown(encoding, data, text):
    assert Taken([data], encoding=encoding).joined == text
    assert Taken([bytes([byte]) for byte in data], encoding=encoding).joined == text


def test_a_prompt_is_shown_after_a_pause_and_goes_on_marked():
    session = make_session()
    assert session.idle_at() is None
    assert session.feed("stderr", b"Password: ", 100) == ()
    assert session.idle_at() == 100 + SECOND
    assert list(session.idle(100 + SECOND - 1)) == []
    (batch,) = session.idle(100 + SECOND)
    assert [(line.text, line.ending, line.partial, line.continued) for line in batch] == [
        ("Password: ", "", True, False)
    ]
    assert session.idle_at() is None
    (batch,) = session.feed("stderr", b"thanks\n", 3 * SECOND)
    # what follows a prompt for a password may be the password itself
    assert [(line.ending, line.partial, line.continued) for line in batch] == [("\n", False, True)]


def test_half_a_character_waits_through_a_pause():
    session = make_session()
    session.feed("stderr", b"caf\xc3", 100)
    (batch,) = session.idle(100 + SECOND)
    assert batch.texts == ["caf"]
    assert session.idle_at() is None, "nothing to do until more comes"
    (batch,) = session.feed("stderr", b"\xa9\n", 3 * SECOND)
    assert [(line.text, line.continued) for line in batch] == [("é", True)]


def test_a_clock_that_is_set_back_holds_nothing():
    session = make_session()
    session.feed("stderr", b"line\nprompt> ", 10**18)
    (batch,) = session.idle(10**18 - 3600 * SECOND)
    assert batch.texts == ["prompt> "]
    (batch,) = session.feed("stderr", b"\n", 10**18 - 3600 * SECOND)
    assert batch.times[0] > 10**18


def test_two_streams_have_one_numbering():
    session = make_session(names=("stderr", "stdout"))
    session.feed("stdout", b"half", 10)
    (one,) = session.feed("stderr", b"a\nb\n", 20)
    (two,) = session.feed("stdout", b" a line\n", 20)
    assert (one.stream, list(one.numbers), one.times) == ("stderr", [1, 2], [20, 21])
    assert (two.stream, list(two.numbers), two.times) == ("stdout", [3], [22])
    assert finish(session).lines == {"stderr": 2, "stdout": 1}


def test_what_comes_after_the_exit_is_late_and_goes_on():
    session = make_session()
    session.feed("stderr", b"half a ", 10)
    (batch,) = session.finish(20)
    assert [(line.text, line.partial) for line in batch] == [("half a ", True)]
    ended = finish(session, time_ns=15)
    (late,) = session.feed("stderr", b"line\nmore\n", 12)
    assert late.late
    assert [(line.text, line.continued, line.number) for line in late] == [
        ("line", True, 2),
        ("more", False, 3),
    ]
    assert ended.time_ns < late.times[0]
    assert ended.lines == {"stderr": 1}


def test_pieces_of_a_line_share_its_level():
    taken = Taken([b"<4>" + b"x" * 40 + b"\n<6>short\nerror: " + b"y" * 40 + b"\n"], max_line=16)
    assert {line.level for line in taken.lines if "x" in line.text} == {30}
    assert {line.level for line in taken.lines if line.text == "short"} == {20}
    assert {line.level for line in taken.lines if "y" in line.text} == {30}
    assert taken.joined == "x" * 40 + "\nshort\nerror: " + "y" * 40 + "\n"


@given(chunkings(plain_streams), st.integers(0, 5))
def test_the_tail_keeps_the_last_lines(case, limit):
    taken = Taken(case[1], tail=limit)
    endings = [line.ending for line in taken.lines]
    updates = [here == after == "\r" for here, after in zip(endings, [*endings[1:], ""], strict=False)]
    kept = [line for line, replaced in zip(taken.lines, updates, strict=True) if not replaced]
    want = kept[-limit:] if limit else []
    assert [(line.text, line.ending, line.number, line.time_ns, line.level) for line in taken.exit.tail] == [
        (line.text, line.ending, line.number, line.time_ns, line.level) for line in want
    ]


def test_the_tail_of_endless_progress_stays_small():
    session = make_session(tail=3)
    for number in range(10_000):
        session.feed("stderr", b"%d/10000\r" % number, 10 + number)
    session.feed("stderr", b"failed\n", 10**6)
    assert len(session._tail._batches) <= 4
    assert [line.text for line in session.tail()] == ["9999/10000", "failed"]


def test_the_tail_of_updates_that_are_shown_before_their_end_stays_small():
    session = make_session(tail=3, delay_ns=SECOND // 10)
    session.feed("stderr", b"trouble\n", 10)
    for number in range(3000):
        session.feed("stderr", b"\r%d/10000" % number, 10**9 * (number + 1))
        session.idle(10**9 * (number + 1) + 10**8 * 9)
    session.feed("stderr", b"\nfailed\n", 10**15)
    assert len(session._tail._batches) <= 6
    assert [(line.text, line.ending, line.partial) for line in session.tail()] == [
        ("2998/10000", "\r", False),
        ("2999/10000", "\n", False),
        ("failed", "\n", False),
    ]
    assert session.tail(4)[0].text == "trouble"


def test_the_tail_has_a_prompt_as_the_line_that_it_became():
    session = make_session(tail=3, delay_ns=SECOND // 10)
    for time_ns, said in enumerate((b"name? ", b"me\n", b"sure? ", b"\n"), 1):
        session.feed("stderr", said, time_ns * 10**9)
        session.idle(time_ns * 10**9 + 10**8 * 9)
    assert [(line.text, line.ending, line.partial) for line in session.tail()] == [
        ("name? ", "", True),
        ("me", "\n", False),
        ("sure? ", "\n", False),
    ]


def test_nobody_reads_nobody_splits():
    session = make_session(tail=2)
    batches = [lines for n in range(50) for lines in session.feed("stderr", b"line\n" * 1000, n)]
    ended = finish(session)
    assert ended.lines == {"stderr": 50_000}
    assert [batch._texts is None for batch in batches[:-1]] == [True] * 49
