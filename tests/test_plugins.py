"""Sinks as plugins: a third party's real distribution in a fresh environment, broken ones, wrong options, precedence."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
import venv
from pathlib import Path
from subprocess import DEVNULL

import pytest

import subwatch
from subwatch import _plugins
from subwatch.sinks import CallableSink, JsonLinesSink, LoggingSink

ROOT = Path(__file__).parent.parent

SINK = """
    import json

    class FileSink:
        '''Writes what it gets; `path` has a default, as every option.'''

        def __init__(self, path="records.json", retries=3):
            if not isinstance(retries, int):
                raise TypeError("retries must be an int")
            self.path = path

        def open(self, run):
            self.seen = []
            return self

        def emit(self, records):
            self.seen += [type(record).__name__ for record in records]

        def close(self, timeout=None):
            with open(self.path, "w") as file:
                json.dump(self.seen, file)
"""
LOSING = """
    class Losing:  # delivers nothing, and says so at its end
        lost = 0

        def open(self, run):
            return self

        def emit(self, records):
            self.lost += len(records)

        def close(self, timeout=None):
            return self.lost if timeout is not None else None
"""
PATIENT = """
    from subwatch.sinks import Background

    class Inner:
        def open(self, run):
            return self

        def emit(self, records):
            pass

        def close(self, timeout=None):
            if timeout is not None:
                print(f"{timeout:.0f}", flush=True)

    class Patient(Background):
        def __init__(self, flush_timeout):
            super().__init__(Inner(), flush_timeout=flush_timeout)
"""
MODULES = {
    "acme_sink": SINK,
    "acme_patient": textwrap.dedent(PATIENT),
    "acme_losing": textwrap.dedent(LOSING),
    "acme_unimportable": "import no_such_module_anywhere",
    "acme_shapeless": "class Shapeless:\n    pass",
    "acme_refusing": "class Refusing:\n    def __init__(self):\n        raise OSError('no network')",
    "acme_unnamed": "raise SystemExit('imported though nobody named it')",
}
POINTS = {
    "acme": "acme_sink:FileSink",
    "losing": "acme_losing:Losing",
    "patient": "acme_patient:Patient",
    "unimportable": "acme_unimportable:Sink",
    "missing": "acme_sink:NoSuchSink",
    "shapeless": "acme_shapeless:Shapeless",
    "refusing": "acme_refusing:Refusing",
    "unnamed": "acme_unnamed:Sink",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """An interpreter with subwatch and a third party's distribution, both installed by pip."""
    folder = tmp_path_factory.mktemp("acme")
    (folder / "src").mkdir()
    for name, source in MODULES.items():
        (folder / "src" / f"{name}.py").write_text(textwrap.dedent(source))
    points = "\n".join(f'{name} = "{value}"' for name, value in POINTS.items())
    (folder / "pyproject.toml").write_text(
        textwrap.dedent("""\
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "acme-monitoring"
        version = "4.2"
        [tool.hatch.build.targets.wheel]
        only-include = ["src"]
        sources = ["src"]
        [project.entry-points."subwatch.sinks"]
        """)
        + points
    )
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", ROOT, folder]
    subprocess.run(command, check=True, timeout=300)
    return str(python)


def call(python, tmp_path, code):
    """Run code there; return what it prints as JSON."""
    done = subprocess.run(
        [python, "-W", "error", "-c", "import json, sys, subwatch\n" + textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_plugin_is_found_and_used(python, tmp_path):
    code = """
        done = subwatch.run(["sh", "-c", "echo hi >&2"], sinks=[subwatch.sink("acme", path="out.json")], stderr=-3)
        print(json.dumps([done.returncode, [name for name in sys.modules if name.startswith("acme")]]))
    """
    assert call(python, tmp_path, code) == [0, ["acme_sink"]], "nothing that was not named is imported"
    assert json.loads((tmp_path / "out.json").read_text()) == ["Start", "Line", "Exit"]


ERRORS = """
    try:
        subwatch.run(["touch", "started"], sinks=[{like}])
    except subwatch.SubwatchError as error:
        print(json.dumps([type(error).__name__, str(error), type(error.__cause__).__name__]))
"""


@pytest.mark.parametrize(
    ("like", "kind", "words", "cause"),
    [
        ("'unimportable'", "SinkLoadError", ["'unimportable'", "acme_unimportable:Sink", "acme-monitoring 4.2"], "ModuleNotFoundError"),
        ("'missing'", "SinkLoadError", ["'missing'", "acme_sink:NoSuchSink", "acme-monitoring 4.2"], "AttributeError"),
        ("'shapeless'", "SinkLoadError", ["'shapeless'", "open(run)", "acme-monitoring 4.2"], "NoneType"),
        ("'refusing'", "SinkLoadError", ["'refusing'", "no network", "acme-monitoring 4.2"], "OSError"),
        ("subwatch.sink('acme', pth='x')", "ConfigError", ["sink 'acme' has no option 'pth': did you mean 'path'?"], "TypeError"),
        ("subwatch.sink('acme', zzz='x')", "ConfigError", ["no option 'zzz': options are path, retries"], "TypeError"),
        ("subwatch.sink('acme', retries='3')", "ConfigError", ["'acme'", "retries must be an int"], "TypeError"),
        ("'loki'", "SinkNotFound", ["'loki'", "pip install subwatch-loki", "acme"], "NoneType"),
        ("'acne'", "SinkNotFound", ["'acne'", "did you mean 'acme'?"], "NoneType"),
        ("'zzzzz'", "SinkNotFound", ["'zzzzz'", "install the distribution that offers it"], "NoneType"),
    ],
)  # fmt: skip
def test_broken_plugins_are_named(python, tmp_path, like, kind, words, cause):
    name, message, chained = call(python, tmp_path, ERRORS.format(like=like))
    assert (name, chained) == (kind, cause)
    for word in words:
        assert word in message
    assert not (tmp_path / "started").exists(), "nothing was started"


@pytest.mark.parametrize(
    ("use", "said"),
    [
        ("subwatch.configure(sinks=['losing']); subwatch.run(['true'])", True),
        ("subwatch.configure(sinks=['losing']); subwatch.run(['true']); subwatch.configure(sinks=[])", True),
        ("subwatch.run(['true'], sinks=['losing'])", True),
        ("watch = subwatch.Watch(sinks=['losing']); watch.run(['true']); assert watch.close() == 2", False),
    ],
)
def test_losses_at_the_end_of_a_sink_are_said_unless_somebody_is_told(python, tmp_path, use, said):
    done = subprocess.run(
        [python, "-c", f"import subwatch; {use}"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "sink losing: 2 records were not delivered\n" * said


def test_a_sink_has_its_own_time_at_the_end_of_the_process(python, tmp_path):
    code = "import subwatch; sink = subwatch.sink; "
    code += "subwatch.configure(sinks=[sink('patient', flush_timeout=9), sink('patient', flush_timeout=2)])"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("9\n2\n", "")


def test_a_sink_that_cannot_say_its_time_keeps_no_other_from_its_end():
    given = []

    class Sink:
        def open(self, run):
            return self

        def close(self, timeout=0.0):
            given.append(round(timeout))

    class Raises(Sink):
        @property
        def flush_timeout(self):
            raise OSError("not now")

    class Odd(Sink):
        flush_timeout = "soon"

    assert _plugins.close_all([Raises(), Odd(), Sink()], None) == 0
    assert given == [5, 5, 5]


def test_installed_sinks_are_listed_without_importing_them(python, tmp_path):
    code = """
        from subwatch._plugins import installed
        names = [point.name for point in installed()]
        print(json.dumps([names, [name for name in sys.modules if name.startswith("acme")]]))
    """
    names, imported = call(python, tmp_path, code)
    assert names == sorted([*POINTS, "callable", "jsonlines", "logging"])
    assert imported == []


# -- wrong names, types and values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"sinks": "logging"},
        {"sinks": [42]},
        {"sinks": [JsonLinesSink]},
        {"sinks": [subwatch.sink("jsonlines")]},
        {"sinks": [subwatch.sink("logging", logger=3)]},
        {"sinks": [subwatch.sink("logging", loger="x")]},
        {"tags": {"a": 1}},
        {"tags": ["a"]},
        {"redact": "secret"},
        {"redact": [""]},
        {"watch_stdout": 1},
        {"record_encoding": "klingon"},
        {"record_encoding": "hex"},
        {"grace": -1},
        {"grace": True},
        {"idle_timeout": "1"},
        {"stop_on": 3},
        {"stop_on": "("},
        {"on_line": "print"},
        {"on_error": "ignore"},
        {"drain": float("nan")},
        {"pty": "yes"},
        {"tail": 1.5},
        {"max_line": 1},
        {"partial_delay": 0},
        {"flush_timeout": None},
    ],
)
def test_wrong_values(front, options, tmp_path):
    done = front(["touch", str(tmp_path / "started")], **options) if "sinks" not in options else None
    if done is None:
        with pytest.raises(subwatch.ConfigError) as caught:
            subwatch.run(["touch", str(tmp_path / "started")], **options)
        error = caught.value
    else:
        error = done.error
    assert isinstance(error, subwatch.ConfigError)
    assert "= takes" in str(error) or "sink" in str(error), "it says what would be right"
    assert not (tmp_path / "started").exists()


def test_level_rules_and_recognisers_of_a_call_are_checked_before_anything_is_started(front, tmp_path):
    for wrong in ({"levels": [("(", 30)]}, {"levels": [("x", "loud")]}, {"recognizers": ["no such"]}):
        error = front(["touch", str(tmp_path / "started")], **wrong).error
        assert isinstance(error, subwatch.ConfigError)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"grace": -1}, "; -1 is not that"),
        ({"drain": float("nan")}, "; nan is not that"),
        ({"tail": 10**5000}, "; this int is not that"),
        ({"flush_timeout": None}, "; None is not that"),
        ({"redact": "hunter2"}, "; this str is not that"),
    ],
)
def test_messages_tell_numbers_and_no_texts(option, said):
    with pytest.raises(subwatch.ConfigError) as caught:
        subwatch.Watch(**option)
    assert str(caught.value).endswith(said)


def test_unknown_options(front):
    error = front(["true"], idle_timout=3).error
    assert isinstance(error, TypeError)
    assert error.__notes__ == ["did you mean 'idle_timeout', an option of subwatch?"]
    assert not hasattr(front(["true"], frobnicate=3).error, "__notes__")
    with pytest.raises(TypeError, match="did you mean 'idle_timeout'"):
        subwatch.Watch(idle_timout=3)
    with pytest.raises(TypeError):
        subwatch.configure(sink=["logging"])


@pytest.mark.parametrize("make", [lambda: CallableSink(3), lambda: LoggingSink(3), lambda: subwatch.sink("")])
def test_constructors_check(make):
    with pytest.raises(subwatch.ConfigError):
        make()


# -- precedence, pickling ------------------------------------------------------------------------------------


class Names:
    def __init__(self):
        self.runs = []

    def open(self, run):
        self.runs.append(run)
        return self

    def emit(self, records):
        pass

    def close(self, timeout=None):
        pass


@pytest.fixture
def configured():
    before = subwatch.configure
    sink = Names()
    subwatch.configure(sinks=[sink], tags={"from": "configure", "site": "a"})
    yield sink
    before()


def test_precedence(configured):
    mine, call = Names(), Names()
    watch = subwatch.Watch(sinks=[mine], tags={"from": "watch"})
    subwatch.run(["true"])
    assert (len(configured.runs), configured.runs[0].tags) == (1, {"from": "configure", "site": "a"})
    watch.run(["true"])
    assert (len(configured.runs), len(mine.runs)) == (1, 1)
    assert mine.runs[0].tags == {"from": "watch", "site": "a"}
    watch.run(["true"], sinks=[call], tags={"from": "call"})
    assert (len(mine.runs), call.runs[0].tags) == (1, {"from": "call", "site": "a"})
    subwatch.Watch(tags={"x": "y"}).run(["true"])
    assert configured.runs[1].tags == {"from": "configure", "site": "a", "x": "y"}
    with watch.Popen(["true"]):
        pass
    assert len(mine.runs) == 2


def test_watch_pickles(tmp_path):
    path = tmp_path / "run.jsonl"
    watch = subwatch.Watch(sinks=[subwatch.sink("jsonlines", path=str(path))], tags={"a": "b"}, grace=0.5)
    watch.run(["true"])
    code = f"import pickle; pickle.loads({pickle.dumps(watch)!r}).run(['false'])"
    subprocess.run([sys.executable, "-c", code], check=True, stderr=DEVNULL)
    again = pickle.loads(pickle.dumps(watch))
    again.run(["true"])
    watch.close()
    again.close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event.get("returncode") for event in events if event["event"] == "exit"] == [0, 1, 0]
    assert events[2]["tags"] == {"a": "b"}
