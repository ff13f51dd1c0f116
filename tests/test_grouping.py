"""Lines that belong together become one record, and nothing else does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subwatch.processors.grouping import Grouper, Grouping
from subwatch.processors.levels import levels
from subwatch.records import INFO


def groups(text: str) -> list[str]:
    """The groups of a text's lines, each joined by ``|``."""
    texts = text.split("\n")
    grouper: Grouper[str] = Grouper()
    done = grouper.feed(zip(texts, texts, levels(texts), strict=True), 0.0)
    return ["|".join(group) for group in done + grouper.flush()]


def python(code: str) -> str:
    """What a real Python says when it fails."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    ).stderr.rstrip("\n")


@pytest.mark.parametrize(
    "code",
    [
        "1/0",
        "def f(): raise ValueError('x')\ntry: f()\nfinally: f()",
        "try: 1/0\nexcept ZeroDivisionError as e: raise KeyError('x') from e",
        "try:\n try: 1/0\n finally: {}[1]\nfinally: [][1]",
        "raise ExceptionGroup('several', [ValueError('a'), TypeError('b')])",
        "eval('1 +')",
        "def f(): f()\nf()",
    ],
)
def test_python(code: str) -> None:
    traceback = python(code)

    assert groups(f"before\n{traceback}\nafter\nlast") == [
        "before",
        traceback.replace("\n", "|"),
        "after",
        "last",
    ]


def test_pythons_logging_keeps_its_traceback() -> None:
    said = python(
        "import logging\nlogging.warning('a')\n"
        "try: 1/0\nexcept Exception: logging.exception('b')\nlogging.error('c')"
    )
    first, *rest = groups(said)

    assert first == "WARNING:root:a"
    assert rest[0].startswith("ERROR:root:b|Traceback (most recent call last):|")
    assert rest[0].endswith("|ZeroDivisionError: division by zero")
    assert rest[1:] == ["ERROR:root:c"]


def test_java() -> None:
    trace = (
        'Exception in thread "main" java.lang.IllegalStateException: A book has a null property\n'
        "\tat com.example.Author.getBookIds(Author.java:38)\n"
        "\tat java.base/java.lang.Thread.run(Thread.java:829)\n"
        "Caused by: java.lang.NullPointerException\n"
        "\tat com.example.Book.<init>(Book.java:22)\n"
        "\t... 1 more"
    )

    assert groups(f"{trace}\nnext") == [trace.replace("\n", "|"), "next"]


def test_go() -> None:
    trace = (
        "panic: runtime error: index out of range [3] with length 3\n\n"
        "goroutine 1 [running]:\n"
        "main.main()\n"
        "\t/src/main.go:8 +0x1d\n"
        "main.(*server).run(0xc000012345, {0x1, 0x2})\n"
        "\t/src/main.go:9 +0x1d\n"
        "created by main.main in goroutine 1\n"
        "\t/src/main.go:12 +0x25\n"
        "exit status 2"
    )

    assert groups(f"a\n{trace}\nnext (not)") == ["a", trace.replace("\n", "|"), "next (not)"]


def test_postgresql() -> None:
    assert groups(
        '2026-11-22 15:09:13 UTC [1] ERROR:  duplicate key value violates unique constraint "t_pkey"\n'
        "2026-11-22 15:09:13 UTC [1] DETAIL:  Key (id)=(1) already exists.\n"
        "2026-11-22 15:09:13 UTC [1] STATEMENT:  insert into t\n"
        "\tvalues (1);\n"
        "2026-11-22 15:09:14 UTC [1] LOG:  checkpoint starting: time"
    ) == [
        '2026-11-22 15:09:13 UTC [1] ERROR:  duplicate key value violates unique constraint "t_pkey"'
        "|2026-11-22 15:09:13 UTC [1] DETAIL:  Key (id)=(1) already exists."
        "|2026-11-22 15:09:13 UTC [1] STATEMENT:  insert into t|\tvalues (1);",
        "2026-11-22 15:09:14 UTC [1] LOG:  checkpoint starting: time",
    ]
    assert groups("pg_dump: error: a\npg_dump: detail: b\npg_dump: hint: c\npg_dump: x") == [
        "pg_dump: error: a|pg_dump: detail: b|pg_dump: hint: c",
        "pg_dump: x",
    ]


def test_psql_shows_the_place() -> None:
    """What psql 15 says of a query that is wrong."""
    first = [
        'psql:x.sql:1: ERROR:  column "xmi" does not exist',
        "LINE 1: select xmi from pg_class",
        "               ^",
        'HINT:  Perhaps you meant to reference the column "pg_class.xmin".',
    ]
    second = [
        'psql:x.sql:2: ERROR:  syntax error at or near ";"',
        "LINE 1: select 1 +;",
        "                  ^",
    ]
    assert groups("\n".join([*first, *second, "done"])) == ["|".join(first), "|".join(second), "done"]


@pytest.mark.parametrize(
    "text", ["", "a\nb\n c\n\td", "DETAIL: x\nHINT", "at x\nCaused by fire", "x\n\n\ny", "Traceback\n  a"]
)
def test_plain_lines_stay_alone(text: str) -> None:
    assert groups(text) == text.split("\n")


def test_the_first_line_of_all_continues_nothing() -> None:
    assert groups("\tat a.b.C(D.java:1)\nx") == ["\tat a.b.C(D.java:1)", "x"]


def test_limits() -> None:
    many = Grouping(max_lines=3)
    told = [many.continues(text, INFO, 0.0) for text in ("Traceback (most recent call last):", *["  x"] * 5)]
    assert told == [False, True, True, False, True, True]
    assert many.cut == 1

    large = Grouping(max_size=50)
    assert not large.continues("Traceback (most recent call last):", INFO, 0.0)
    assert not large.continues("  " + "x" * 50, INFO, 0.0)

    late = Grouping(max_gap=1.0)
    assert not late.continues("Traceback (most recent call last):", INFO, 0.0)
    assert late.continues("  a", INFO, 0.9)
    assert not late.continues("  b", INFO, 2.0)


def test_only_what_may_go_on_is_kept_back() -> None:
    grouper: Grouper[str] = Grouper()

    assert grouper.feed([("a", "a", INFO)], 0.0) == [["a"]]
    assert grouper.feed([("t", "Traceback (most recent call last):", INFO)], 0.0) == []
    assert grouper.feed([("f", "  File x", INFO)], 0.1) == []
    assert grouper.feed([("e", "KeyError: 1", INFO), ("b", "b", INFO)], 0.2) == [["t", "f", "e"], ["b"]]
    assert grouper.flush() == []


PIECES = st.sampled_from(
    [
        *(
            "Traceback (most recent call last):",
            "  File",
            "KeyError: 1",
            "",
            "\tat a.b(C)",
            "panic: x",
            "goroutine 1 [x]:",
        ),
        *(
            "During handling of the above exception",
            "ERROR:  x",
            "DETAIL:  y",
            "a: hint: z",
            "exit status 2",
            "\tx",
            "x",
        ),
    ]
)


@given(
    st.lists(
        st.tuples(PIECES | st.text(max_size=10), st.sampled_from([20, 30]), st.floats(0, 3)), max_size=40
    )
)
def test_nothing_is_lost_or_moved(lines: list[tuple[str, int, float]]) -> None:
    grouping = Grouping(max_lines=4, max_size=100)
    grouper: Grouper[int] = Grouper(grouping)
    seen: list[list[int]] = []
    now = 0.0
    for number, (text, level, gap) in enumerate(lines):
        now += gap
        seen += grouper.feed([(number, text, level)], now)
    seen += grouper.flush()

    assert [number for group in seen for number in group] == list(range(len(lines)))
    assert all(1 <= len(group) <= 4 for group in seen)
