# ruff: noqa: PT017 - whatever is raised is looked at
"""Properties of settings and of the command line: whatever is written, it works or it is named as wrong."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import subwatch
from subwatch._cli import _config, _parser, _settings, _values
from subwatch._cli._options import OPTIONS
from subwatch.errors import ConfigError

ODD = st.sampled_from(
    [
        *(
            "",
            "0",
            "-1",
            "1.5s",
            "2h",
            "inf",
            "nan",
            "1e9",
            "9" * 30,
            "9" * 5000,
            "²",
            "٣",
            "auto",
            "true",
            "no",
            "\0",
        ),
        *(
            "a=b",
            "=",
            "a=",
            "debug=^x",
            "debug=(",
            "x{99999999999}",
            "(" * 200,
            "[[a]",
            "(?i)a",
            "utf-16",
            "rot13",
            "hex",
        ),
        *(
            "logging",
            "loki:url=http://h",
            "loki:labels.a=b,labels=3",
            "x:a.b.c=[1,2],d='e,f'",
            "x:y",
            ":",
            "a:b={",
            "no/name",
        ),
        *(
            "'",
            '"a b" c',
            "\\",
            "-",
            "--",
            "syslog",
            "%(message)s",
            "%(nothing)s",
            "%s",
            "é",
            "\ud800",
            "\n",
            "a\nb",
            "warning",
        ),
    ]
)
VALUES = st.recursive(
    st.one_of(ODD, st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from([option.key for option in OPTIONS])


def works(settings):
    """What settings take, the library takes; what is wrong has been said before."""
    options = settings.watch_options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of regular expressions
        subwatch.Watch(sinks=[], **options)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
@example({"tail": "9" * 5000})
def test_values_of_any_kind(values):
    source = _config.Source()
    for key, value in values.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                source.values[key] = _config.BY_KEY[key].parse(value)
        except ConfigError as error:
            assert str(error)
    works(_settings.Settings([source]))


TOML = st.lists(
    st.sampled_from(
        [
            *(
                "sinks",
                "json",
                "tags",
                "redact",
                "grace",
                "tail",
                "levels",
                "sink",
                "tool",
                "subwatch",
                "loki",
                "log_format",
            ),
            *(
                " = ",
                "=",
                "\n",
                "\n",
                "[",
                "]",
                "[[",
                "{",
                "}",
                ".",
                ",",
                '"',
                "'",
                '"""',
                "#",
                "\r\n",
                "\\",
                "\\u0000",
            ),
            *(
                "1",
                "1.5",
                "inf",
                "nan",
                "true",
                "'2h'",
                '["a"]',
                "{ a = 'b' }",
                "2026-11-22",
                "0x1F",
                "1e400",
                "9" * 30,
            ),
            *(
                "\n[tool.subwatch]\n",
                "\n[sink.loki]\n",
                "\n[sink]\n",
                "tool.subwatch = 3",
                "sink = 3",
                "é",
                "\0",
                "\ufeff",
            ),
        ]
    )
).map("".join)


@given(
    st.sampled_from(["subwatch.toml", "pyproject.toml"]),
    TOML.map(lambda text: text.encode("utf-8", "surrogateescape")) | st.binary(max_size=60),
)
@example("pyproject.toml", b"[tool]\nsubwatch = 3")
@example("subwatch.toml", b"tail = " + b"9" * 5000)
@example("subwatch.toml", b"a = " + b"[" * 5000)
def test_files_of_any_content(name, content):
    try:
        source = _config.from_file(name, content)
    except ConfigError as error:
        assert str(error).startswith(name)
    else:
        works(_settings.Settings([source]))


BESIDE = st.sampled_from(
    [
        *(
            "",
            "# tail = -1",
            "# \x85 \u2028",
            "  ",
            "json = 'a\u2028b'",
            "tags = { tail = 'x' }",
            "quiet = true",
        ),
        *(
            'log = """\ntail = -1\n"""',
            "log_format = '''\n[nosuch]\n'''",
            "redact = [\n  'tail',\n]",
            "pty = 'auto'",
        ),
    ]
)
OTHER_TABLES = st.sampled_from(
    [
        "[nosuch]",
        "[tool.nosuch]\ntail = -1",
        "[tail]\nx = 1",
        "[tool.other]\ngrace = 'x'",
        "[[project]]\nnosuch = 1",
    ]
)
WRONG = st.sampled_from(
    [
        *("nosuch = 1", "'tail' = -1", "  tail=-1", '"grace" = "x"', "tail = [\n  1,\n]", "tail.a = 1"),
        *('log_level = """\nx\n"""', "tail = ", "= 3", "tail = 1 2"),
    ]
)


@given(
    st.booleans(), st.lists(OTHER_TABLES, unique=True), st.lists(BESIDE, unique=True, max_size=4), WRONG, st.booleans()
)  # fmt: skip
@example(False, [], ["# \x85 \u2028"], "nosuch = 1", False)
@example(True, ["[nosuch]"], [], "nosuch = 1", False)
@example(False, [], ['log = """\ntail = -1\n"""'], "  tail=-1", False)
@example(True, [], [], "  tail=-1", True)
def test_an_error_names_its_line(within, tables, before, wrong, sink):
    """In a file of ours, or in a part of another; whatever else there is that looks alike."""
    text = "\n".join(before) + "\n"
    if within:
        head = ["[tool.subwatch.sink.loki]\ntail = 1"] if sink else []
        text = "\n".join([*tables, *head, "[tool.subwatch]", *before]) + "\n"
    line = text.count("\n") + 1
    name = "pyproject.toml" if within else "subwatch.toml"
    with pytest.raises(ConfigError) as caught:
        _config.from_file(name, f"{text}{wrong}\nend = 0\n".encode())
    said = str(caught.value)
    assert said.startswith(f"{name}, line {line}: ") or f"(at line {line}, " in said


NAMES = st.lists(
    st.sampled_from(
        ["SUBWATCH_", "SINK_", "LOKI", "_URL", "_", ".", "TAGS", "CONFIG", "GRACE", "GRACES", "labels.a", "é"]
    )
).map("".join) | st.sampled_from([option.variable for option in OPTIONS])


@given(st.dictionaries(NAMES, ODD, max_size=5))
@example({"SUBWATCH_STOP_ON": "[[a]"})
def test_variables_of_any_name_and_value(environ):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            settings = _settings.gather({}, None, False, environ)
    except ConfigError as error:
        assert "variable" in str(error) or "goes into" in str(error)
    else:
        works(settings)


FLAGS = st.sampled_from(
    [flag for option in OPTIONS for flag in option.flags]
    + ["--no-pty", "--no-tree", "--help", "--config", "--no-config"]
)
ARGUMENTS = st.lists(
    FLAGS
    | ODD
    | st.tuples(FLAGS, ODD).map("=".join)
    | st.sampled_from(["--", "true", "-x", "--x=y", "-tq", "-qv", "-k1"])
)


@given(st.sampled_from(["run", "sinks", "demo", "completion", "nothing", ""]), ARGUMENTS)
@example("run", ["--", "--"])
@example("run", ["--sink=--", "--tag=--", "--json=--", "--idle-timeout=--"])
@example("run", ["--tag=--"])
@example("run", ["true", "--"])
@example("run", ["--json=--"])
def test_any_command_line(subcommand, arguments):
    parser = _parser.build()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", FutureWarning)
        said = []
        patch.setattr(type(parser), "_print_message", lambda self, message, file=None: said.append(message))
        try:
            found, unknown = parser.parse_known_args([subcommand, *arguments])
            if unknown:
                _parser.refuse(getattr(found, "parser", parser), unknown[0])
        except SystemExit as end:
            assert end.code in ({0, 125} if subcommand == "run" else {0, 2})
            assert said
            return
    if subcommand == "run":
        given_ = _parser.given(found)
        command = _parser.command(found)
        before = len(arguments) - len(command)
        assert command == arguments[before:]
        assert _parser.command(parser.parse_known_args(["run", *arguments[:before]])[0]) == []
        for value in given_.values():  # each is what our parsers make of it, and none was lost on the way
            assert value != []
            assert not (isinstance(value, list) and [] in value)
        source = _config.Source()
        source.values = given_
        works(_settings.Settings([source]))


@given(st.text() | ODD)
@example("1\nb = 2")
@example("[" * 5000)
def test_any_word_of_a_sink(word):
    for annotation in ("", "str", "bool | str", "Mapping[str, str] | None", "float"):
        _values.literal(word, annotation)


@given(
    ODD
    | st.lists(ODD | st.sampled_from([":", ",", "=", "{", "}", "[", "]", "'", '"', ".", "a", "loki"])).map(
        "".join
    )
)
@example("loki:labels.a=b,labels=3,labels.c=d")
def test_any_sink(text):
    try:
        spec = _values.spec(text)
    except ConfigError as error:
        assert str(error)
    else:
        assert spec.name
        _values.resolve(spec.options, lambda key: "")
