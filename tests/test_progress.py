"""Progress, read from what real programs printed (recordings/record.py) and from what none should print."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from subwatch._lines import split_block
from subwatch._session import Session
from subwatch.errors import ConfigError
from subwatch.processors import Pipeline, Redactor
from subwatch.processors.progress import DEFAULT, Pattern, Reader, progress, reader, resolve
from subwatch.records import CONTINUED, PARTIAL, Lines, Progress, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

UNUSED: Any = None
RECORDINGS = Path(__file__).parent / "recordings"


def make_run(*argv: str) -> Run:
    return Run(
        id="0", argv=argv, program=argv[0], cwd="/", host="h", tags={}, caller=None, parent_pid=1
    )  # fmt: skip


def batch(
    texts: Sequence[str], endings: Sequence[str] | None = None, argv: Sequence[str] = ("prog",)
) -> Lines:
    ends = None if endings is None else list(endings)
    run = make_run(*argv)
    return Lines(run, "stderr", 1, 0, False, UNUSED, None, texts=list(texts), endings=ends)


def read(text: str, program: str = "prog", ending: str = "\n", **options: object) -> Progress | None:
    found = reader(program, **options)(batch([text], [ending], (program,)))  # type: ignore[arg-type]
    return found[0] if found else None


def recording(name: str) -> tuple[list[str], list[str]]:
    return split_block((RECORDINGS / f"{name}.bin").read_bytes().decode())


def recorded(name: str, *argv: str) -> list[Progress]:
    """What is read off a recording, by the program's own name and as a shell's child."""
    found = reader(argv[0])(batch(*recording(name), argv)) or []
    return [one for one in found if one is not None]


BORG_LAST = "Extracting: from/file14"
PG_LAST = (22953, 22953, 1.0, "kB", "1/1 tablespace")
# Recording, its command, the recogniser, whether a shell's child is recognised, too, and the last update.
RECORDED = [
    ("pg_basebackup", ["pg_basebackup"], "pg_basebackup", True, PG_LAST),
    ("pg_basebackup.tty", ["pg_basebackup"], "pg_basebackup", True, PG_LAST),
    ("pg_checksums", ["pg_checksums"], "pg_checksums", True, (96, 96, 1.0, "MB", "computed")),
    ("pg_checksums.tty", ["pg_checksums"], "pg_checksums", True, (96, 96, 1.0, "MB", "computed")),
    ("pg_verifybackup", ["pg_verifybackup"], "pg_checksums", True, (21911, 21911, 1.0, "kB", "verified")),
    ("pg_verifybackup.tty", ["pg_verifybackup"], "pg_checksums", True, (21911, 21911, 1.0, "kB", "verified")),
    ("pgbench-init", ["pgbench"], "pgbench_init", True, (500000, 500000, 1.0, "tuples", "")),
    ("pgbench-init.tty", ["pgbench"], "pgbench_init", True, (500000, 500000, 1.0, "tuples", "")),
    ("pgbench", ["pgbench", "-n", "-T", "4", "-P", "1"], "pgbench", False, (4, 4, 1.0, "s", None)),
    ("rsync", ["rsync"], "rsync", True, (1000000, None, 1.0, "B", "xfr#2, to-chk=0/3")),
    ("rsync.tty", ["rsync"], "rsync", True, (1000000, None, 1.0, "B", "xfr#2, to-chk=0/3")),
    ("curl", ["curl"], "curl", True, (999424, 999424, 1.0, "B", "")),
    ("curl.tty", ["curl"], "curl", True, (999424, 999424, 1.0, "B", "")),
    ("curl-unsized", ["curl"], "curl", True, (999424, None, None, "B", "")),
    ("curl-upload", ["curl"], "curl", True, (11953766.4, 11953766.4, 1.0, "B", "")),
    ("curl-bar", ["curl"], "curl_bar", True, (None, None, 1.0, "%", "")),
    ("curl-bar.tty", ["curl"], "curl_bar", True, (None, None, 1.0, "%", "")),
    ("wget", ["wget"], "wget", True, (None, None, 1.0, "%", "")),
    ("wget.tty", ["wget"], "wget_bar", True, (600002.56, None, 1.0, "B", "out")),
    ("ffmpeg", ["ffmpeg"], "ffmpeg", True, (3.0, 3.0, 1.0, "s", "")),
    ("ffmpeg.tty", ["ffmpeg"], "ffmpeg", True, (3.0, 3.0, 1.0, "s", "")),
    ("ffmpeg-progress", ["ffmpeg"], "ffmpeg", False, (3.0, 3.0, 1.0, "s", "")),
    ("dd", ["dd"], "dd", True, (6291456, None, None, "B", None)),
    ("dd.tty", ["dd"], "dd", True, (6291456, None, None, "B", None)),
    ("git-clone", ["git"], "git", True, (39, 39, 1.0, "objects", "Receiving objects")),
    ("git-clone.tty", ["git"], "git", True, (39, 39, 1.0, "objects", "Receiving objects")),
    ("git-fetch", ["git"], "git", True, (29, 29, 1.0, "objects", "Compressing objects")),
    ("tqdm", ["python3"], "tqdm", True, (60, 60, 1.0, "it", "files")),
    ("tqdm.tty", ["python3"], "tqdm", True, (60, 60, 1.0, "it", "files")),
    ("tqdm-endless", ["python3"], "tqdm_endless", True, (60, None, None, "it", "files")),
    ("pip.tty", ["pip"], "pip", True, (800.6, 800.6, 1.0, "kB", "")),
    ("pip-raw", ["pip"], "pip_raw", False, (800607, 800607, 1.0, "B", "")),
    ("borg-create", ["borg"], "borg", True, None),
    ("borg-create.tty", ["borg"], "borg", True, None),
    ("borg-create-json", ["borg"], "borg_json", True, None),
    ("borg-extract", ["borg"], "borg_percent", False, (None, None, 0.933, "%", BORG_LAST)),
    ("borg-extract.tty", ["borg"], "borg_percent", False, (None, None, 0.933, "%", BORG_LAST)),
    ("borg-extract-json", ["borg"], "borg_json", True, (4500000, 4500000, 1.0, "", BORG_LAST)),
    ("restic", ["restic"], "restic", False, None),
    ("restic.tty", ["restic"], "restic", False, None),
    ("restic-json", ["restic"], "restic_json", True, None),
    ("pv", ["pv"], "pv", True, (2998927.36, None, 1.0, "B", "")),
    ("pv-sizeless", ["pv"], "pv", True, (2998927.36, None, None, "B", "")),
    ("pv-numeric", ["pv"], "pv_numeric", False, (None, None, 1.0, "%", "")),
    ("xz.tty", ["xz"], "percent", True, None),
]  # fmt: skip


def test_every_recording_is_used() -> None:
    assert {name for name, *_ in RECORDED} == {path.stem for path in RECORDINGS.glob("*.bin")}


@pytest.mark.parametrize(
    ("name", "argv", "recognizer", "anywhere", "last"), RECORDED, ids=[r[0] for r in RECORDED]
)
def test_recorded(
    name: str,
    argv: list[str],
    recognizer: str,
    anywhere: bool,
    last: tuple[float | None, float | None, float | None, str, str | None] | None,
) -> None:
    found = recorded(name, *argv)

    assert len(found) >= 2
    assert {one.recognizer for one in found} == {recognizer}
    for before, after in itertools.pairwise(found):
        if before.label == after.label and before.fraction is not None and after.fraction is not None:
            assert before.fraction <= after.fraction
    assert all(one.fraction is None or 0.0 <= one.fraction <= 1.0 for one in found)
    assert all(one.completed is None or one.completed >= 0 for one in found)
    if last is not None:
        completed, total, fraction, unit, label = last
        end = found[-1]
        assert (end.completed, end.total, end.unit) == (completed, total, unit)
        assert end.fraction == (fraction if fraction is None else pytest.approx(fraction))
        assert label is None or end.label == label
    if anywhere:
        assert recorded(name, "sh", *argv[1:]) == found


def test_every_recogniser_is_proved_by_a_recording() -> None:
    assert {one.name for one in DEFAULT} == {recognizer for _, _, recognizer, *_ in RECORDED}


@pytest.mark.parametrize(("name", "argv"), [r[:2] for r in RECORDED], ids=[r[0] for r in RECORDED])
def test_no_update_of_a_recording_goes_unread(name: str, argv: list[str]) -> None:
    texts, endings = recording(name)
    found = reader(argv[0])(batch(texts, endings, argv)) or [None] * len(texts)
    unread = [text for text, one in zip(texts, found, strict=True) if one is None]

    assert not [text for text in unread if re.search(r"[0-9] ?%|(?: +[0-9.:]+[kMG]?){4}", text)]


@pytest.mark.parametrize("name", [r[0] for r in RECORDED if r[3]])
@pytest.mark.parametrize("cut", [None, 0.2, 0.5, 0.9])
def test_an_update_is_read_as_soon_as_it_is_shown(name: str, cut: float | None) -> None:
    """Most programs begin with the carriage return and pause behind the update, some (wget) within it."""
    argv = next(r[1] for r in RECORDED if r[0] == name)
    whole = recorded(name, "sh", *argv[1:])
    session = Session(make_run("sh", *argv[1:]), Pipeline(Redactor(), program="sh"),
                      max_line=65536, partial_delay_ns=1, tail=0)  # fmt: skip
    session.stream("stderr")
    found: list[Progress] = []
    for start, text in re.findall(rb"([\r\n]*)([^\r\n]*)", (RECORDINGS / f"{name}.bin").read_bytes()):
        middle = len(text) if cut is None else int(len(text) * cut)
        for piece in (start + text[:middle], text[middle:]):
            for lines in (*session.feed("stderr", piece, 1), *session.idle(10**18)):
                found += [one for one in lines.progress if one is not None]

    assert [one for one in whole if one not in found] == []
    assert cut is not None or [one for one in found if one not in whole] == []


def test_the_end_of_a_line_repeats_no_progress() -> None:
    read = reader("sh")
    begun = Lines(make_run("sh"), "stderr", 1, 0, False, UNUSED, None, ["  7%"], [""], [PARTIAL])
    ended = Lines(make_run("sh"), "stderr", 2, 0, False, UNUSED, None, [""], ["\r"], [CONTINUED])

    assert [bool(read(begun)), bool(read(ended))] == [True, False]


def test_batches_may_be_cut_anywhere() -> None:
    """ffmpeg's header and its updates come in different batches."""
    texts, endings = recording("ffmpeg")
    whole = reader("ffmpeg")(batch(texts, endings))
    each = reader("ffmpeg")
    single = [
        (each(batch([text], [ending])) or [None])[0]
        for text, ending in zip(texts, endings or (), strict=True)
    ]

    assert single == whole


@pytest.mark.parametrize(
    ("text", "fraction", "label"),
    [
        ("[ 45%] Building C object CMakeFiles/x.o", 0.45, "Building C object CMakeFiles/x.o"),
        ("Progress: 10.5 %", 0.105, ""),
        ("Progress: 20% of something", 0.2, ""),
        ("copied (50%)", 0.5, "copied"),
        ("  7% done", 0.07, ""),
        ("Reading database ... 100%", 1.0, "Reading database"),
        ("0%", 0.0, ""),
        ("\x1b[32m 12%\x1b[0m", 0.12, ""),
        ("used.txt  45%", 0.45, "used.txt"),
        ("Checking disk: 33.333333%", 1 / 3, "Checking disk"),
        ("progress:45%", 0.45, ""),
        ("50% done, memory used 3 GB", 0.5, ""),
    ],
)
def test_generic_percentages(text: str, fraction: float, label: str) -> None:
    found = read(text)

    assert found is not None
    assert (found.recognizer, found.unit) == ("percent", "%")
    assert found.fraction == pytest.approx(fraction)
    assert found.label == label or label == ""


@pytest.mark.parametrize(
    "text",
    [
        "disk is 95% full",
        "150%",
        "(101%)",
        "-5%",
        "5%d",
        "%s",
        "50% 20%",
        "\u0665\u0660%",  # Arabic digits
        "\uff15\uff10%",  # full-width digits
        "9" * 400 + "%",
        "1e3%",
        "%41%42%",
        "LIKE '%x'",
        "x" * 3000 + " 50%",
        # measured, not done
        "video:14kB audio:0kB subtitle:0kB other streams:0kB global headers:0kB muxing overhead: 0.367397%",
        "[libx264 @ 0x5581] 8x8 transform intra:54.0%",
        "CPU usage: 5%",
        "[load 12%]",
        "memory used (45%)",
        "cache hit ratio = 99.2%",
        "0% packet loss",
        "95% used",
        "Coverage: 80.0%",
    ],
)
def test_what_is_no_progress(text: str) -> None:
    assert read(text) is None


def test_more_than_everything_is_everything() -> None:
    found = read("2000/1000 kB (200%), 0/1 tablespace", "pg_basebackup")

    assert found == Progress(2000.0, 1000.0, 1.0, "kB", "0/1 tablespace", "pg_basebackup")


def test_totals_may_change() -> None:
    texts = [
        f"{done}/{total} kB ({100 * done // (total or 1)}%), 0/1 tablespace"
        for done, total in ((5, 10), (6, 20), (7, 0))
    ]
    found = reader("pg_basebackup")(batch(texts))

    assert [one and (one.total, one.fraction) for one in found or ()] == [(10, 0.5), (20, 0.3), (None, 1.0)]


@pytest.mark.parametrize(
    "text",
    [
        '{"message_type":"status","percent_done":1e400}',
        '{"message_type":"status","percent_done":NaN}',
        '{"message_type":"status","percent_done":-1}',
        '{"message_type":"status","percent_done":"0.5"}',
        '{"message_type":"status","percent_done":null,"total_bytes":"x"}',
        '{"message_type":"status","percent_done":true,"bytes_done":[]}',
        '{"message_type":"status","percent_done":' + "9" * 1500 + "}",
        '{"message_type":"status","percent_done":0.5',
        '{"percent_done"' * 100,
        '{"finished":false,"type":"progress_percent","current":-1,"total":-1}',
        '{"finished":false,"type":["progress_percent"],"current":1}',
        '{"finished":1,"a":' + "[" * 1900,
    ],
)
def test_absurd_json(text: str) -> None:
    found = read(text)

    assert found is None or (found.fraction is None and (found.completed or 0) >= 0)


class Broken:
    name = "broken"
    programs = ()
    needles = ("!",)
    scope = "any"

    def __init__(self, answer: object = None) -> None:
        self.asked = 0
        self.answer = answer

    def match(self, text: str, state: object) -> object:
        self.asked += 1
        if self.answer is None:
            raise RuntimeError("oops")
        return self.answer


@pytest.mark.parametrize("answer", [None, 0.5, "50%"])
def test_a_recogniser_that_raises_is_left_out(answer: object) -> None:
    broken = Broken(answer)
    reading = reader("prog", [broken])  # type: ignore[list-item]

    for _ in range(3):
        assert reading(batch(["a! 10%", "[20%]"])) == [
            Progress(None, None, 0.1, "%", "a!", "percent"),
            Progress(None, None, 0.2, "%", "", "percent"),
        ]
    assert broken.asked == 1
    assert list(reading.failed) == ["broken"]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, math.nan, math.inf])
def test_a_fraction_out_of_bounds_is_unknown(fraction: float) -> None:
    reading = reader("prog", [Broken(Progress(1, 2, fraction))])  # type: ignore[list-item]
    found = reading(batch(["!"]))

    assert found == [Progress(1, 2, None)]


def test_a_users_recogniser_comes_first() -> None:
    mine = Pattern(
        "mine", r"step (?P<completed>[0-9]+) of (?P<total>[0-9]+), (?P<percent>[0-9]+)%", unit="steps"
    )

    assert read("step 1 of 4, 25%", recognizers=[mine]) == Progress(1, 4, 0.25, "steps", "", "mine")
    assert read("25%", recognizers=[mine]).recognizer == "percent"  # type: ignore[union-attr]
    assert Reader("prog", [mine])(batch(["25%"])) is None


def test_a_programs_own_recogniser_comes_before_all() -> None:
    generic = Pattern("a", r"(?P<percent>[0-9]+)%")
    own = Pattern("b", r"(?P<percent>[0-9]+)%", programs=("mine*",))
    only = Pattern("c", r"(?P<percent>[0-9]+)%", programs=("theirs",), scope="own")

    for program, expected in (("mine-2", "b"), ("other", "a"), ("theirs", "c")):
        (found,) = Reader(program, [generic, own, only])(batch(["1%"])) or [None]
        assert found is not None
        assert found.recognizer == expected


def test_updates_are_looked_for_only_where_there_are_any() -> None:
    text = "2162688 bytes (2.2 MB, 2.1 MiB) copied, 1 s, 2.0 MB/s"

    assert read(text, "sh", "\r") is not None
    assert read(text, "sh", "\n") is None
    assert read(text, "dd", "\n") is not None


def test_resolving_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "acme_progress-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-progress\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[subwatch.recognizers]\nacme = acme_progress:ONE\nmany = acme_progress:MANY\n"
        "broken = acme_progress:missing\nwrong = acme_progress:WRONG\n"
    )
    (tmp_path / "acme_progress.py").write_text(
        "from subwatch.processors.progress import Pattern\n"
        "ONE = Pattern('acme', r'(?P<percent>[0-9]+) per cent', needles=('per cent',))\n"
        "MANY = (ONE, ONE)\nWRONG = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    mine = DEFAULT[0]

    assert [one.name for one in resolve(["acme", mine, "many"])] == ["acme", mine.name, "acme", "acme"]
    with pytest.raises(ConfigError, match=r"offers the recogniser 'nothing' .*acme, broken, many, wrong"):
        resolve(["nothing"])
    with pytest.raises(
        ConfigError, match=r"'broken' \(acme_progress:missing, from acme-progress\) cannot be loaded"
    ):
        resolve(["broken"])
    with pytest.raises(
        ConfigError, match=r"'wrong' is 3, which has no name, programs, needles, scope, match"
    ):
        resolve(["wrong"])


ODD = " \t%/()[]{}:.,-+0123456789eEkMBODN\u0663\uff15\x1b\x00\xe9\u2501"
SAMPLES = st.sampled_from(
    [line for path in RECORDINGS.glob("*.bin") for line in re.split("[\r\n]", path.read_bytes().decode())]
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real line with something in it changed."""
    text = draw(SAMPLES)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, len(text)))
    piece = draw(
        st.sampled_from(["", "9" * 400, "-", "%", "\u0663", "1e400", "{", ":", " ", "0", ".", ","])
        | st.text(ODD, max_size=5)
    )
    return re.sub("[\r\n]", " ", text[:start] + piece + text[end:])


@given(
    st.lists(mutated() | st.text(ODD, max_size=40), max_size=8),
    st.sampled_from(["sh", *(name for _, (name, *_), *_ in RECORDED)]),
)
@example(["1e999/1e999 kB (1e999%), 0/1 tablespace"], "pg_basebackup")
def test_nothing_breaks_it(texts: list[str], program: str) -> None:
    reading = reader(program)
    found = reading(batch(texts, ["\r"] * len(texts), (program, "-T", "9" * 18)))

    assert not reading.failed
    assert found is None or len(found) == len(texts)
    for one in found or ():
        if one is not None:
            assert one.fraction is None or 0.0 <= one.fraction <= 1.0
            assert one.completed is None or 0.0 <= one.completed < math.inf
            assert one.total is None or 0.0 < one.total < math.inf
            assert one.completed is not None or one.fraction is not None


@given(st.lists(mutated(), max_size=8))
def test_a_line_alone_reads_the_same(texts: list[str]) -> None:
    """Apart from ffmpeg, which remembers, chunking must not show."""
    stateless = [one for one in DEFAULT if one.name != "ffmpeg"]
    together = Reader("sh", stateless)(batch(texts, ["\r"] * len(texts))) or [None] * len(texts)
    alone = [(Reader("sh", stateless)(batch([text], ["\r"])) or [None])[0] for text in texts]

    assert together == alone


@given(
    st.one_of(st.none(), st.floats(), st.integers(), st.text(ODD, max_size=5), st.booleans()),
    st.floats() | st.none(),
    st.floats() | st.none(),
)
def test_progress_is_always_in_bounds(completed: object, total: object, percent: object) -> None:
    try:
        found = progress("x", completed=completed, total=total, percent=percent)
    except ValueError:
        assert isinstance(completed, str)
    else:
        assert found is None or found.fraction is None or 0.0 <= found.fraction <= 1.0
