"""Throttling, thinning and holding back: what is kept back is counted, and what matters comes through."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subwatch.processors.throttle import HoldBack, ProgressThinner, Throttle
from subwatch.records import DEBUG, ERROR, INFO, WARNING, Progress


def written(throttle: Throttle, lines: list[tuple[str, float]]) -> list[str]:
    out = []
    for text, now in lines:
        admitted, notices = throttle.admit(text, now)
        out += notices + [text] * admitted
    return out + throttle.flush()


def test_repeated_lines() -> None:
    throttle = Throttle()

    assert written(throttle, [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("a", 4), ("a", 5)]) == [
        *("a", "last message repeated 2 times", "b"),
        *("a", "last message repeated 1 time"),
    ]
    assert (throttle.repeated, throttle.dropped) == (3, 0)


def test_repetition_is_said_in_every_interval() -> None:
    out = written(Throttle(interval=10), [("a", float(second)) for second in range(25)])

    assert out == [
        "a",
        "last message repeated 9 times",
        "last message repeated 10 times",
        "last message repeated 5 times",
    ]


def test_floods() -> None:
    throttle = Throttle(burst=3, interval=10)
    out = written(throttle, [(str(n), n * 0.1) for n in range(10)] + [("x", 11.0)])

    assert out == ["0", "1", "2", "7 lines dropped in 10 s", "x"]
    assert (throttle.repeated, throttle.dropped) == (0, 7)


def test_when_a_notice_is_due() -> None:
    throttle = Throttle(interval=10)
    due = []
    for now in (5.0, 6.0):
        throttle.admit("a", now)
        due.append(throttle.due)

    assert due == [None, 15.0]
    assert throttle.flush() == ["last message repeated 1 time"]
    assert throttle.flush() == []
    assert throttle.due is None


LINES = st.lists(st.tuples(st.sampled_from("aab"), st.floats(0, 8)), max_size=60)


@given(LINES, st.integers(0, 5))
def test_every_line_is_written_or_counted(lines: list[tuple[str, float]], burst: int) -> None:
    throttle = Throttle(burst=burst, interval=10)
    now, timed = 0.0, []
    for text, gap in lines:
        now += gap
        timed.append((text, now))
    out = written(throttle, timed)
    texts = [line for line in out if len(line) == 1]
    said = [int(word) for line in out if len(line) > 1 for word in line.split() if word.isdigit()]
    said_counts = [int(line.split()[3 if "repeated" in line else 0]) for line in out if len(line) > 1]

    assert len(texts) + throttle.repeated + throttle.dropped == len(lines)
    assert sum(said_counts) == throttle.repeated + throttle.dropped
    assert said or not said_counts


def thinned(
    thinner: ProgressThinner[float], updates: list[tuple[float | None, float]], name: str = "x"
) -> list[float]:
    out = []
    for fraction, now in updates:
        out += thinner.feed(
            fraction if fraction is not None else now, Progress(fraction=fraction, recognizer=name), now
        )
    return out + thinner.flush()


def test_progress_is_thinned_to_first_last_and_one_in_an_interval() -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval=10)

    assert thinned(thinner, [(n / 100, n * 0.5) for n in range(101)]) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert thinner.thinned == 95


def test_the_last_comes_even_when_it_is_not_all() -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval=100)

    assert thinned(thinner, [(0.1, 0), (0.2, 1), (0.3, 2)]) == [0.1, 0.3]
    assert thinner.thinned == 1


def test_the_end_comes_once() -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval=100)

    assert thinned(thinner, [(0.1, 0), (1.0, 1), (1.0, 2), (1.0, 3)]) == [0.1, 1.0]
    assert thinner.thinned == 2


def test_a_new_phase_begins_anew() -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval=100)

    assert thinned(thinner, [(0.1, 0), (0.5, 1), (0.9, 2), (0.0, 3), (0.3, 4)]) == [0.1, 0.9, 0.0, 0.3]


def test_without_fractions() -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval=10)

    assert thinned(thinner, [(None, float(n)) for n in range(25)]) == [0, 10, 20, 24]
    assert thinner.thinned == 21


@pytest.mark.parametrize(("interval", "shown"), [(True, 4), (0, 4), (False, 0), (1e9, 2)])
def test_all_updates_or_none(interval: float | bool, shown: int) -> None:
    thinner: ProgressThinner[float] = ProgressThinner(interval)

    assert len(thinned(thinner, [(n / 10, 0.0) for n in range(4)])) == shown
    assert (thinner.thinned, thinner.due) == (4 - shown, None)


def test_updates_that_nobody_reads_are_no_phase_of_the_others() -> None:
    thinner: ProgressThinner[str] = ProgressThinner(interval=10)
    read = Progress(fraction=0.5, recognizer="x")
    out = [
        thinner.feed(f"{now}{'r' if progress else 'u'}", progress, now)
        for now in range(3)
        for progress in (read, None)
    ]

    assert out == [["0r"], ["0u"], [], [], [], []]
    assert (thinner.due, thinner.thinned) == (10, 2)
    assert thinner.release(10) == ["2r", "2u"]
    assert thinner.flush() == []


def test_an_update_kept_back_is_held_for_those_that_would_follow_it() -> None:
    thinner: ProgressThinner[int] = ProgressThinner()
    read = Progress(fraction=0.5, recognizer="x")
    held = []
    for number in range(2):
        thinner.feed(number, None, 0.0)
        held.append((thinner.holds(None), thinner.holds(read)))

    assert held == [(False, False), (True, False)]
    assert not ProgressThinner(False).holds(None)


def test_which_batches_may_have_updates() -> None:
    columns = [("\n", None), ("\r", None), ("\n", Progress(fraction=0.5))]
    batches = [SimpleNamespace(endings=["\n", ending], progress=[None, read]) for ending, read in columns]

    for interval, expected in (
        (10.0, [False, True, True]),
        (False, [False, True, True]),
        (True, [False] * 3),
    ):
        assert [ProgressThinner(interval).concerns(lines) for lines in batches] == expected


@given(st.lists(st.tuples(st.none() | st.floats(0, 1), st.floats(0, 5)), max_size=40))
def test_thinning_loses_and_moves_nothing(updates: list[tuple[float | None, float]]) -> None:
    thinner: ProgressThinner[int] = ProgressThinner(interval=7)
    out: list[int] = []
    now = 0.0
    for number, (fraction, gap) in enumerate(updates):
        now += gap
        out += thinner.feed(number, Progress(fraction=fraction, recognizer="x"), now)
    out += thinner.flush()

    assert out == sorted(set(out))
    assert len(out) + thinner.thinned == len(updates)
    assert not updates or out[0] == 0


def line(number: int) -> SimpleNamespace:
    return SimpleNamespace(number=number)


def test_after_a_success_warnings_were_nothing() -> None:
    hold: HoldBack[SimpleNamespace] = HoldBack()
    one, two, three = line(1), line(2), line(3)

    assert hold.feed(one, INFO) == [(one, INFO)]
    assert hold.feed(two, WARNING) == []
    assert hold.feed(three, DEBUG) == [(three, DEBUG)]
    assert hold.outcome(failed=False, tail=[line(2), line(3)]) == [(two, INFO)]
    assert hold.outcome(failed=False) == []


def test_after_a_failure_the_tail_is_raised() -> None:
    hold: HoldBack[SimpleNamespace] = HoldBack()
    lines = [line(number) for number in range(5)]
    for one in lines:
        hold.feed(one, WARNING if one.number in (1, 3) else INFO)
    tail = [line(3), line(4)]

    assert hold.outcome(failed=True, tail=tail) == [(lines[1], WARNING), (tail[0], ERROR), (tail[1], ERROR)]


def test_holding_is_bounded_and_loses_nothing() -> None:
    hold: HoldBack[SimpleNamespace] = HoldBack(limit=2)
    lines = [line(number) for number in range(5)]
    written = [entry for one in lines for entry in hold.feed(one, WARNING)]

    assert written == [(lines[0], WARNING), (lines[1], WARNING), (lines[2], WARNING)]
    assert hold.outcome(failed=False) == [(lines[3], INFO), (lines[4], INFO)]


def test_an_update_kept_back_is_given_out_when_it_is_due() -> None:
    thinner: ProgressThinner[int] = ProgressThinner(interval=10)
    assert thinner.feed(1, Progress(fraction=0.1), 100.0) == [1]
    assert thinner.due is None
    assert thinner.feed(2, Progress(fraction=0.2), 101.0) == []
    assert thinner.due == 110
    assert thinner.release(109.9) == []
    assert thinner.release(112.0) == [2]
    assert thinner.due is None
    assert thinner.feed(3, Progress(fraction=0.3), 113.0) == []
    assert (thinner.due, thinner.thinned) == (122, 0)
