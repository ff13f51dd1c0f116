"""What is told of single lines: pieces, progress, fields; and which progress updates go."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import subwatch
from subwatch.errors import ConfigError
from subwatch_loki import LokiSink


@pytest.fixture
def ship(loki):
    """Run a script with a sink; returns its line entries and the exit's metadata."""

    def ship(code, count=None, **options):
        sink = LokiSink(**loki.options, **{"max_line_bytes": 256 * 1024, **options})
        subwatch.run([sys.executable, "-c", f"import sys, time\nput = sys.stderr.write\n{code}"], sinks=[sink],
                     stderr=subprocess.DEVNULL)  # fmt: skip
        assert sink.close(30) == 0
        entries = loki.entries(count=count)
        return entries[1:-1], entries[-1][2]

    return ship


def texts(entries):
    return [line for _, line, _, _ in entries]


# -- pieces of lines -----------------------------------------------------------------------------------------


def test_a_prompt_and_its_continuation_are_marked(ship):
    entries, _ = ship("put('Continue? '); sys.stderr.flush(); time.sleep(2); put('yes\\nnext\\n')")
    assert texts(entries) == ["Continue? ", "yes", "next"]
    marks = [
        {name for name in ("partial", "truncated", "continued") if name in each} for _, _, each, _ in entries
    ]
    assert marks == [{"partial"}, {"continued"}, set()]
    assert entries[0][2]["partial"] == "true"


@pytest.mark.usefixtures("default_limits")
def test_a_line_above_the_size_of_a_record_is_marked(ship):
    entries, end = ship("put('x' * 150_000 + '\\n')")
    assert "".join(texts(entries)) == "x" * 150_000
    assert entries[0][2]["truncated"] == entries[-1][2]["continued"] == "true"
    assert "truncated" not in entries[-1][2]
    assert int(end["truncated"]) > 0


# -- progress ------------------------------------------------------------------------------------------------

UPDATES = "for n in range(101): put(f'{n:3d}%\\r')\nput('\\ndone\\n')"


def test_progress_is_thinned_and_counted(ship):
    entries, end = ship(UPDATES)
    said = [line.strip() for line in texts(entries) if line]
    assert said == ["0%", "100%", "done"]
    assert int(end["thinned"]) + len(entries) == int(end["lines"])
    assert [each["progress"] for _, _, each, _ in entries if "progress" in each] == ["0", "1"]
    numbers = [int(each["line"]) for _, _, each, _ in entries]
    assert numbers == sorted(numbers)
    assert numbers[1] == 101


def test_the_last_update_is_sent_where_it_did_not_end(ship):
    entries, end = ship("for n in range(50): put(f'{n:3d}%\\r')")
    assert [line.strip() for line in texts(entries)] == ["0%", "49%"]
    assert end["thinned"] == "48"


def test_progress_that_stands_still_is_sent_when_its_time_has_come(loki):
    sink = LokiSink(**loki.options, progress=1.0, batch_seconds=0.1)
    code = "import sys; sys.stderr.write('1%\\r2%\\r3%\\r'); sys.stderr.flush(); input()"
    with subwatch.Popen([sys.executable, "-c", code], sinks=[sink], stdin=subprocess.PIPE,
                        stderr=subprocess.DEVNULL) as process:  # fmt: skip
        assert texts(loki.entries(count=3))[1:] == ["1%", "3%"]
        process.stdin.write(b"\n")
    assert sink.close(30) == 0
    assert loki.entries(count=4)[-1][2]["thinned"] == "1"


@pytest.mark.usefixtures("default_limits")
def test_all_progress_or_none(ship, loki):
    entries, end = ship(UPDATES, progress=True)
    assert len(entries) == int(end["lines"])
    assert "thinned" not in end
    loki.label += "x"
    entries, end = ship(UPDATES, progress=False)
    assert [line for line in texts(entries) if line] == ["100%", "done"], "the last one ends with a newline"
    assert int(end["thinned"]) + len(entries) == int(end["lines"])


def test_a_backup_tells_how_far_it_is(ship):
    line = "714149/1808798 kB (39%%), 0/1 tablespace (pgdata/base/5/16384)"
    entries, _ = ship(f"import os; os.execvp('sh', ['sh', '-c', 'printf \"{line}\\\\\\\\r\" >&2'])")
    ((_, _, told, _),) = entries
    assert told.items() >= {
        "progress": "0.3948", "progress_completed": "714149", "progress_total": "1808798", "progress_unit": "kB"
    }.items()  # fmt: skip


def test_warnings_are_never_thinned(ship):
    entries, end = ship("for n in range(20): put(f'WARNING: {n}% of the disk is left\\r')")
    assert len(entries) == 20
    assert "thinned" not in end


def test_lines_with_a_percentage_are_lines(ship):
    entries, end = ship("for n in range(20): put(f'[{n:3d}%] Building part{n}.o\\n')")
    assert [each["progress"] for _, _, each, _ in entries][:2] == ["0", "0.01"]
    assert len(entries) == 20
    assert "thinned" not in end


def test_order_and_times_with_progress_between_lines(ship):
    entries, _ = ship("for n in range(30): put(f'line {n}\\n{n}%\\r')\nput('\\n')", progress=0.0)
    numbers = [int(each["line"]) for _, _, each, _ in entries]
    stamps = [stamp for stamp, *_ in entries]
    assert numbers == sorted(numbers)
    assert stamps == sorted(set(stamps))
    assert [line for line in texts(entries) if line.startswith("line")] == [f"line {n}" for n in range(30)]


@pytest.mark.parametrize("progress", [-1, float("nan"), float("inf"), "often", None])
def test_wrong_progress(progress):
    with pytest.raises(ConfigError, match="progress takes seconds"):
        LokiSink("http://127.0.0.1:9", progress=progress)


# -- fields --------------------------------------------------------------------------------------------------

JSON = {"level": "info", "msg": "paid", "user": "ann", "amount": 12.5, "ok": True, "none": None, "run_id": "mine",
        "deep": {"a": ["b"]}, "a.b": "é", "": "x"}  # fmt: skip


def test_fields_are_not_sent_unless_wanted(ship):
    entries, _ = ship(f"put({json.dumps(JSON)!r} + '\\n')")
    ((_, line, told, _),) = entries
    assert json.loads(line) == JSON
    assert "user" not in told


def test_all_fields(ship):
    entries, _ = ship(
        f"put({json.dumps(JSON)!r} + '\\nplain\\nlevel=info user=bob took=3ms\\n')", fields=True
    )
    told = entries[0][2]
    assert told.items() >= {
        "msg": "paid", "user": "ann", "amount": "12.5", "ok": "true", "field_run_id": "mine", "a_b": "é",
        "deep": '{"a": ["b"]}', "level": "info", "field_level": "info",
    }.items()  # fmt: skip
    assert told["run_id"] != "mine"
    assert "none" not in told
    assert "user" not in entries[1][2]
    assert (entries[2][2]["user"], entries[2][2]["took"]) == ("bob", "3ms")


@pytest.mark.parametrize("fields", [["user", "amount", "nothing"], ("user", "amount"), "user"])
def test_some_fields(ship, fields):
    entries, _ = ship(f"put({json.dumps(JSON)!r} + '\\n')", fields=fields)
    told = entries[0][2]
    assert told["user"] == "ann"
    assert ("amount" in told) == (fields != "user")
    assert "msg" not in told


@pytest.mark.usefixtures("default_limits")
def test_fields_are_bounded(ship):
    many = json.dumps({f"f{n}": "x" * 1000 for n in range(40)})
    entries, _ = ship(f"put({many!r} + '\\n')", fields=True)
    told = entries[0][2]
    assert 5 <= sum(name.startswith("f") and name[1:].isdigit() for name in told) <= 20
    assert int(told["metadata_cut"]) >= 20


def test_fields_of_a_wrong_kind():
    with pytest.raises(ConfigError, match="fields takes names"):
        LokiSink("http://127.0.0.1:9", fields=3)


# -- what the encoder relies on ------------------------------------------------------------------------------


def test_times_and_numbers_of_a_batch_follow_each_other():
    """As `Lines.time_ns` says; the encoder takes only the first of each."""
    batches = []

    class Keep:
        def open(self, run):
            return self

        def emit(self, records):
            if type(records) is subwatch.Lines:
                batches.append(records)

        def close(self, timeout=None):
            pass

    code = "import sys\nfor n in range(5000): sys.stderr.write('a\\r' if n % 7 else 'b\\n')\nsys.stderr.write('c')"
    subwatch.run([sys.executable, "-c", code], sinks=[Keep()], stderr=subprocess.DEVNULL)
    assert sum(map(len, batches)) == 5001
    for lines in batches:
        assert lines.times == list(range(lines.time_ns, lines.time_ns + len(lines)))
        assert list(lines.numbers) == list(range(lines.first, lines.first + len(lines)))
        assert abs(lines.time_ns - time.time_ns()) < 60 * 10**9
