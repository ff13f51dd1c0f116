"""For tests of code that runs children, and of sinks.

`RecordingSink` keeps every record, `SinkContract` is the suite that an author of a sink subclasses, and the
pytest fixture ``subwatch_records`` (found by itself once subwatch is installed) watches all runs of a test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .records import Exit, Line, Lines, Start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .records import Run
    from .sinks import Sink

__all__ = ["RecordingSink", "SinkContract", "subwatch_records"]


class RecordingSink:
    """Keeps all records of all runs, in order.

    Attributes:
        records: Every `Start`, `Line` and `Exit` so far.
        runs: The runs, in the order in which they were opened.
    """

    name = "recording"

    def __init__(self) -> None:
        self.records: list[Start | Line | Exit] = []
        self.runs: list[Run] = []

    def open(self, run: Run) -> RecordingSink:
        """Note the run; the sink is its own stream."""
        self.runs.append(run)
        return self

    def emit(self, records: Start | Lines | Exit) -> None:
        """Keep the records."""
        self.records.extend(records)

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing."""

    @property
    def lines(self) -> list[Line]:
        """The lines among the records."""
        return [record for record in self.records if isinstance(record, Line)]

    @property
    def texts(self) -> list[str]:
        """The texts of the lines."""
        return [line.text for line in self.lines]

    @property
    def exits(self) -> list[Exit]:
        """The exits among the records."""
        return [record for record in self.records if isinstance(record, Exit)]

    @property
    def exit(self) -> Exit:
        """The exit of the only run.

        Raises:
            LookupError: There was no exit, or more than one.
        """
        if len(self.exits) != 1:
            raise LookupError(f"there were {len(self.exits)} exits, not one")
        return self.exits[0]


class SinkContract:
    """What every sink has to stand, as a test class: subclass it and define `make_sink`.

    Each test runs real children through the sink. Use it with pytest::

        class TestMySink(SinkContract):
            def make_sink(self):
                return MySink()
    """

    def make_sink(self) -> Sink:
        """Return a new sink, ready for use."""
        raise NotImplementedError

    def _run(self, sink: Any, script: str, **kwargs: Any) -> tuple[Any, RecordingSink]:
        import subprocess

        from . import run

        seen = RecordingSink()
        done = run(["sh", "-c", script], sinks=[sink, seen], stderr=subprocess.DEVNULL, **kwargs)
        assert _losses(seen) == {}, "the sink raised or dropped records"
        return done, seen

    def test_contract_success(self) -> None:
        """A child that succeeds leaves nothing behind in the sink."""
        sink = self.make_sink()
        done, _ = self._run(sink, "echo one >&2; echo two >&2")
        assert done.returncode == 0
        assert not sink.close(5.0)

    def test_contract_failure(self) -> None:
        """A child that fails keeps its exit status."""
        sink = self.make_sink()
        done, _ = self._run(sink, "echo 'error: no' >&2; exit 3")
        assert done.returncode == 3
        assert not sink.close(5.0)

    def test_contract_odd_lines(self) -> None:
        """Bytes that are no text, escape sequences, NUL, empty and unfinished lines are taken."""
        sink = self.make_sink()
        script = r"printf '\377\376\n\033[31mred\033[0m\n\000\n\n50%%\r100%%\r\n{}%%s %%d\nno end' >&2"
        _, seen = self._run(sink, script)
        assert len(seen.lines) == 8
        assert not sink.close(5.0)

    def test_contract_long_line(self) -> None:
        """A line longer than a record is taken in pieces."""
        sink = self.make_sink()
        _, seen = self._run(sink, "head -c 200000 /dev/zero | tr '\\0' x >&2")
        assert "".join(seen.texts) == "x" * 200_000
        assert not sink.close(5.0)

    def test_contract_spawn_failure(self) -> None:
        """A child that cannot be started is a run with an exit and nothing else."""
        from . import run

        sink, seen = self.make_sink(), RecordingSink()
        try:
            run(["/nonexistent/program"], sinks=[sink, seen])
        except FileNotFoundError:
            pass
        else:
            raise AssertionError("FileNotFoundError expected")
        assert seen.exit.reason == "spawn_failed"
        assert _losses(seen) == {}
        assert not sink.close(5.0)

    def test_contract_concurrent_runs(self) -> None:
        """Runs in several threads at once do not disturb each other."""
        from concurrent.futures import ThreadPoolExecutor

        sink = self.make_sink()
        with ThreadPoolExecutor(8) as pool:
            for done, _ in pool.map(
                lambda n: self._run(sink, f"for i in 1 2 3; do echo {n} >&2; done"), range(16)
            ):
                assert done.returncode == 0
        assert not sink.close(5.0)

    def test_contract_reuse(self) -> None:
        """One sink serves many runs, one after the other."""
        sink = self.make_sink()
        for _ in range(5):
            self._run(sink, "echo again >&2")
        assert not sink.close(5.0)


def _losses(seen: RecordingSink) -> dict[str, int]:
    """What the sinks of a run did not take, by sink name."""
    return dict(seen.exit.dropped)


def _fixture() -> Any:
    """Make the pytest fixture; without pytest this module still imports."""
    try:
        import pytest
    except ImportError:
        return None

    @pytest.fixture(name="subwatch_records")
    def fixture() -> Iterator[RecordingSink]:
        """A `RecordingSink` that gets the records of all runs of a test that set no sinks of their own."""
        from . import _default, configure

        before, sink = _default.current, RecordingSink()
        configure(sinks=[sink])
        try:
            yield sink
        finally:
            _default.current = before

    return fixture


subwatch_records: Any = _fixture()
