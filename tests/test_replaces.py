"""A sink that shows a stream where it would go by itself: the bytes are not passed on there as well."""

from __future__ import annotations

import asyncio

import pytest

import subwatch
from subwatch.records import Exit, Lines, Run, Start

THREE = ["sh", "-c", "for n in 1 2 3; do echo line $n >&2; sleep 0.2; done; echo out"]


class Display:
    """Shows the streams of its runs, until it has seen `last` lines."""

    def __init__(self, last: int = 99, fails: bool = False) -> None:
        self.shown: list[str] = []
        self.forwarded: frozenset[str] = frozenset()
        self._last = last
        self._fails = fails

    @property
    def replaces(self) -> frozenset[str]:
        return self.forwarded if len(self.shown) < self._last else frozenset()

    def open(self, run: Run) -> Display:
        self.forwarded = run.forwarded
        return self

    def emit(self, records: Start | Lines | Exit) -> None:
        if isinstance(records, Lines):
            self.shown += records.texts
            if self._fails:
                raise RuntimeError("no more")

    def close(self, timeout: float = 0) -> None:
        pass


def on_asyncio(*args, **options):
    return asyncio.run(subwatch.aio.run(*args, **options))


def with_popen(argv, **options):
    with subwatch.Popen(argv, **options) as process:
        process.wait()


@pytest.mark.parametrize("run", [subwatch.run, on_asyncio, with_popen])
def test_its_lines_are_seen_once(run, capfd):
    display = Display()
    run(THREE, sinks=[display])
    assert display.shown == ["line 1", "line 2", "line 3"]
    assert capfd.readouterr() == ("out\n", "")


def test_stdout_where_that_is_watched(capfd):
    display = Display()
    subwatch.run(THREE, sinks=[display], watch_stdout=True)
    assert display.shown[-1] == "out"
    assert capfd.readouterr() == ("", "")


def test_what_goes_elsewhere_goes_there(tmp_path, capfd):
    display = Display()
    with (tmp_path / "err").open("w") as file:
        subwatch.run(THREE, sinks=[display], stderr=file)
    assert (tmp_path / "err").read_text() == "line 1\nline 2\nline 3\n"
    assert subwatch.run(THREE, sinks=[display], capture_output=True).stderr == b"line 1\nline 2\nline 3\n"
    assert capfd.readouterr() == ("out\n", "")


@pytest.mark.parametrize("display", [Display(last=1), Display(fails=True)])
def test_when_it_no_longer_does_the_rest_is_passed_on(display, capfd):
    subwatch.run(THREE, sinks=[display])
    assert display.shown[0] == "line 1"
    assert capfd.readouterr() == ("out\n", "line 2\nline 3\n")
