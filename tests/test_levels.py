"""Levels of lines: what real programs write, what is prose, and what must never break it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from subwatch.errors import ConfigError
from subwatch.processors._shapes import Plain, Shapes, learn
from subwatch.processors._words import Levels, told
from subwatch.processors.levels import levels, strip_syslog, syslog
from subwatch.processors.rules import FAMILIES, compile_rules, rules_for
from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING, level_name

NONE = 1  # the default in these tests, which no line asks for


def level(text: str, program: str = "") -> int:
    return levels([text], default=NONE, ceiling=100, family=rules_for(program))[0]


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        # PostgreSQL's client programs
        (ERROR, 'pg_basebackup: error: connection to server at "h", port 5432 failed: Connection refused'),
        (WARNING, "pg_dump: warning: there are circular foreign-key constraints on this table:"),
        (WARNING, "pg_dump: detail: film"),
        (
            WARNING,
            "pg_dump: hint: You might not be able to restore the dump without using --disable-triggers.",
        ),
        (CRITICAL, "pg_restore: fatal: out of memory"),
        # PostgreSQL's server, with several log_line_prefix
        (INFO, "2026-11-22 15:09:13.123 UTC [1234] LOG:  database system is ready to accept connections"),
        (CRITICAL, "2026-11-22 15:09:13.123 CET [1234] FATAL:  the database system is starting up"),
        (
            ERROR,
            '2026-11-22 15:09:13.123 UTC [1234] me@db ERROR:  relation "x" does not exist at character 15',
        ),
        (CRITICAL, "PANIC:  could not locate a valid checkpoint record"),
        (WARNING, "WARNING:  there is no transaction in progress"),
        (INFO, "DETAIL:  Key (id)=(1) already exists."),
        (INFO, 'NOTICE:  table "t" does not exist, skipping'),
        (DEBUG, "DEBUG1:  removing file"),
        # Python
        (WARNING, "WARNING:root:disk is nearly full"),
        (ERROR, "2026-11-22 15:09:13,123 - app.db - ERROR - lost connection"),
        (DEBUG, "2026-11-22 15:09:13,123 [MainThread] DEBUG app - hi"),
        (INFO, "INFO:     Uvicorn running"),
        (ERROR, "Traceback (most recent call last):"),
        (WARNING, "/usr/lib/x.py:12: DeprecationWarning: old"),
        (ERROR, "2026-11-22 15:09:13,123 - ERROR - lost connection"),
        (ERROR, "2026-11-22 15:09:13.123 | ERROR    | app.db:connect:42 - lost connection"),
        # others
        (ERROR, "2026-11-22 15:09:13,123 ERROR [main] org.app.Main - failed"),
        (ERROR, "[2026-11-22T15:09:13Z ERROR app] lost connection"),
        (
            WARNING,
            "2026-11-22T15:09:13.123456Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.",
        ),
        (ERROR, "Nov 22 15:09:13 ERROR lost connection"),
        (ERROR, "2024/01/01 00:00:00 [error] 1234#0: *1 open() failed"),
        (CRITICAL, "2024/01/01 00:00:00 [emerg] 1#0: bind() failed"),
        (ERROR, "E0102 12:00:00.123456    1 reflector.go:12] watch failed"),
        (INFO, "I0102 12:00:00.123456    1 main.go:1] hello"),
        (ERROR, "12:00:00.123 [main] ERROR com.example.Main - failed"),
        (ERROR, 'time="2026-11-22T15:09:13Z" level=error msg="no such host"'),
        (WARNING, "ts=2026-11-22T15:09:13Z caller=main.go:1 level=warn msg=x"),
        (ERROR, "main.c:12:3: error: expected ';' before '}' token"),
        (WARNING, "main.c:12:3: warning: unused variable"),
        (ERROR, "gcc: fatal error: no input files"),
        (CRITICAL, "fatal: not a git repository (or any of the parent directories): .git"),
        (ERROR, "Nov 22 15:09:13 host prog[12]: error: x"),
        (ERROR, "thread 'main' panicked at src/main.rs:2:5:"),
        (CRITICAL, "panic: runtime error: index out of range"),
        (ERROR, 'Exception in thread "main" java.lang.NullPointerException'),
        (ERROR, "\x1b[31mERROR\x1b[0m something"),
        (ERROR, "\x1b[1m\x1b[31merror\x1b[0m\x1b[1m: cannot find value\x1b[0m"),
        (ERROR, "[ERROR] Failed to execute goal"),
        (WARNING, "  - WARN  x"),
        (WARNING, "** WARNING ** x"),
        (ERROR, "Error opening input file film.mkv."),
        (WARNING, "Warning"),
        (ERROR, "error opening x: no such file"),
        (ERROR, "<error> x"),
        (ERROR, "ERROR"),
        (DEBUG, "debug: x"),
        (DEBUG, "TRACE x"),
    ],
)
def test_programs(expected: int, text: str) -> None:
    assert expected == level(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0 errors",
        "no warnings",
        "3 errors and 2 warnings generated",
        "error.log copied",
        "errors: 0",
        "copied file: error.log",
        "finished with no error: good",
        "the word is error: here",
        "debug symbols loaded",
        "tracebacks are off",
        "informational",
        "warnings.py compiled",
        "2026-11-22 15:09:13 copying errors.txt",
        "2026-11-22 15:09:13 no error",
        "set level=debug to see more",
        "level=info",  # a single pair is no log line of its own
        "714149/1808798 kB (39%), 0/1 tablespace",
        "http://example.org/error: x",
        "log: x",
        "hint: x",
        "Critical path analysis took 2 s",
        "ERRNO 5",
        "WARNINGS",
        "error-free run",
        "error handling is next",
        "warning",
    ],
)
def test_prose_has_no_level(text: str) -> None:
    assert level(text) in (NONE, INFO) if "level=" in text else level(text) == NONE


FAMILIAR = [
    ("apt-get", ERROR, "E: Unable to locate package foo"),
    ("apt-get", WARNING, "W: Target Packages is configured multiple times"),
    ("apt-get", INFO, "N: Unable to locate package foo"),
    ("npm", ERROR, "npm ERR! code E404"),
    ("npm", ERROR, "npm error code E404"),
    ("npm", WARNING, "npm WARN deprecated"),
    ("npm", WARNING, "npm warn deprecated"),
    ("npm", DEBUG, "npm http fetch GET 200 https://registry.example/x 12ms"),
    ("curl", ERROR, "curl: (6) Could not resolve host: nowhere"),
    ("curl", DEBUG, "* Connected to localhost (127.0.0.1) port 80 (#0)"),
    ("wget", ERROR, "wget: unable to resolve host address 'nowhere'"),
    ("rsync", ERROR, "rsync error: some files/attrs were not transferred (code 23) at main.c(1338)"),
    ("rsync", ERROR, 'rsync: [sender] link_stat "/x" failed: No such file or directory (2)'),
    ("rsync", WARNING, "rsync warning: some files vanished before they could be transferred (code 24)"),
    ("rsync", WARNING, 'file has vanished: "/x/y"'),
    ("make", ERROR, "make[1]: *** [Makefile:2: all] Error 1"),
    ("ninja", ERROR, "FAILED: x.o"),
    ("tar", ERROR, "tar: x: Cannot stat: No such file or directory"),
    ("tar", WARNING, "tar: x: file changed as we read it"),
    ("terraform", ERROR, "\u2502 Error: Invalid reference"),
    ("tofu", WARNING, "\u2502 Warning: Deprecated attribute"),
    ("cmake", ERROR, "CMake Error at CMakeLists.txt:3 (find_package):"),
    ("cmake", WARNING, "CMake Warning (dev) at CMakeLists.txt:1:"),
    ("cmake", WARNING, "CMake Deprecation Warning at CMakeLists.txt:1 (cmake_minimum_required):"),
    ("cargo", ERROR, "error[E0425]: cannot find value `x` in this scope"),
    ("node", WARNING, "(node:12) [DEP0005] DeprecationWarning: Buffer() is deprecated"),
    ("node", WARNING, "(node:12) Warning: Accessing non-existent property"),
    ("mysqldump", ERROR, "mysqldump: Got error: 1045: Access denied for user 'x'@'localhost'"),
    ("mysql", WARNING, "mysql: [Warning] Using a password on the command line interface can be insecure."),
    ("nginx", ERROR, "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)"),
    ("nginx", WARNING, "nginx: [warn] conflicting server name"),
    ("ffmpeg", ERROR, "input.mp4: Invalid data found when processing input"),
    ("ffmpeg", ERROR, "Conversion failed!"),
    ("ssh", DEBUG, "debug1: Connecting to host"),
    ("ssh", ERROR, "ssh: connect to host nowhere port 22: Connection refused"),
    ("ssh", ERROR, "me@host: Permission denied (publickey)."),
]


@pytest.mark.parametrize(("program", "expected", "text"), [*FAMILIAR, ("cat", NONE, "E: x")])
def test_families(program: str, expected: int, text: str) -> None:
    assert expected == level(text, program)


def test_empty_lines_and_escape_sequences_count() -> None:
    assert (
        levels(["\x1b[31mERROR x", "", "WARNING: y", ""] * 9, default=NONE)
        == [WARNING, NONE, WARNING, NONE] * 9
    )


@pytest.mark.parametrize("text", ["dEBUG: x", "a=1 level=\u0131nfo x", "a=1 level=\u0130nfo x"])
def test_no_spelling_is_too_odd(text: str) -> None:
    assert level(text) in (NONE, DEBUG)


def test_families_are_named_once() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_every_beginning_of_every_family_is_proved() -> None:
    proved = {
        (family.name, match.lastindex)
        for program, _, text in FAMILIAR
        for family in rules_for(program)
        if (match := re.match(family._pattern, "\n" + text))
    }

    assert proved == {(family.name, 1 + n) for family in FAMILIES for n in range(len(family._levels))}


def test_what_ffmpeg_says_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-i", str(tmp_path / "nothing.mp4"), "-f", "null", "-"],
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert ERROR in [level(line, "ffmpeg") for line in done.stderr.splitlines()]


def test_the_ceiling_and_the_default() -> None:
    assert levels(["FATAL: x", "x", "DEBUG: x"]) == [WARNING, INFO, DEBUG]
    assert levels(["x", "ERROR: x"], default=CRITICAL, ceiling=ERROR) == [ERROR, ERROR]
    assert levels([]) == []


def test_users_rules_come_first() -> None:
    rules = compile_rules(
        [
            (r"deadlock", CRITICAL),
            (re.compile("^ERROR: ignore"), DEBUG),
            lambda text: WARNING if "deadlock" in text or "slow" in text else None,
        ]
    )
    texts = ["a deadlock", "ERROR: ignore me", "slow query", "ERROR: x", "x"]

    assert levels(texts, rules=rules, ceiling=100) == [CRITICAL, DEBUG, WARNING, ERROR, INFO]


def test_who_has_the_last_word() -> None:
    texts = ["DEBUG: a", "DEBUG: b", "DEBUG: c", "E: DEBUG: d", "DEBUG: e"]
    found = levels(
        texts,
        rules=[("a", CRITICAL)],
        prefixes=[ERROR, ERROR, None, None, None],
        fields=[None, {"level": "info"}, {"level": "info"}, None, {"msg": "no level"}],
        family=rules_for("apt"),
        ceiling=100,
    )

    assert found == [CRITICAL, ERROR, INFO, ERROR, DEBUG]


def test_rules_need_not_be_compiled() -> None:
    assert levels(["slow"], rules=[("slow", WARNING)]) == [WARNING]


@pytest.mark.parametrize("rule", [("(", WARNING), ("x",), "x", 3, ("x", "loud"), None])
def test_wrong_rules_say_so(rule: object) -> None:
    with pytest.raises(ConfigError, match="a level rule is a function of the text, or a pair"):
        compile_rules([rule])  # type: ignore[list-item]


def test_a_rule_that_raises_is_left_out() -> None:
    asked = []

    def broken(text: str) -> int:
        asked.append(text)
        raise RuntimeError("oops")

    (rule,) = rules = compile_rules([broken])

    assert levels(["ERROR: a", "b"], rules=rules) == [WARNING, INFO]
    assert levels(["ERROR: a", "b"], rules=rules) == [WARNING, INFO]
    assert asked == ["ERROR: a"]
    assert isinstance(rule.failed, RuntimeError)


def test_a_rule_that_returns_nonsense_is_left_out() -> None:
    (rule,) = rules = compile_rules([lambda text: "loud"])  # type: ignore[list-item,return-value]

    assert levels(["a"], rules=rules) == [INFO]
    assert isinstance(rule.failed, ValueError)


def test_a_rule_sees_the_beginning_of_a_line_only() -> None:
    seen: list[str] = []
    levels(["x" * 100_000], rules=compile_rules([lambda text: seen.append(text)]))

    assert seen == ["x" * 1000]


def test_syslog_prefixes() -> None:
    assert syslog("<3>no space left") == ("no space left", ERROR)
    assert [syslog(f"<{n}>")[1] for n in range(8)] == [
        *(CRITICAL, CRITICAL, CRITICAL, ERROR),
        *(WARNING, INFO, INFO, DEBUG),
    ]
    for text in ("", "<", "<8>x", "<3", "<33>x", " <3>x", "<a>", "<\u0663>x", "x<3>"):
        assert syslog(text) == (text, None)


def test_syslog_in_batches() -> None:
    assert strip_syslog(["a", "<b", "<html>"]) is None
    assert strip_syslog(["a", "<4>b"]) == (["a", "b"], [None, WARNING])
    assert strip_syslog([]) is None


LINE = st.one_of(
    st.text(st.characters(exclude_characters="\n"), max_size=80),
    st.lists(
        st.sampled_from(
            [
                *(
                    "error",
                    "ERROR",
                    "Warning:",
                    "debug",
                    "fatal: ",
                    "<3>",
                    ": ",
                    "[",
                    "]",
                    "\x1b[31m",
                    "level=",
                    " ",
                    "-",
                ),
                *(
                    "2026-11-22 15:09:13",
                    "E0102 12:00:00.1",
                    "prog[1]",
                    "Traceback (most recent",
                    "\t",
                    "=",
                    "a",
                    "é",
                    "LOG:",
                ),
            ]
        ),
        max_size=8,
    ).map("".join),
)


@given(st.lists(LINE, max_size=20))
def test_a_batch_is_its_lines(texts: list[str]) -> None:
    """Chunking must not show: each line has the level that it has alone."""
    assert levels(texts, ceiling=100) == [levels([text], ceiling=100)[0] for text in texts]


@pytest.mark.parametrize("first", [0, 200])
@pytest.mark.parametrize("then", [0, 200])
def test_whatever_a_batch_begins_with_no_word_is_missed(first: int, then: int) -> None:
    """How many of the first lines look as if they had a word decides how the others are searched."""
    word, prose = "2026-11-22 15:09:01,123 ERROR disk: full", "copying base file to the target directory"
    texts = [word] * first + [prose] * 200 + [word] * then + [prose]

    assert levels(texts, default=NONE, ceiling=100) == [ERROR if text is word else NONE for text in texts]


PIECES = (
    *(
        "2026-11-22 15:09:13",
        "2026/11/22T15:09:13",
        ".123",
        ",5",
        "Z",
        "+01:00",
        " UTC",
        "12:03:01",
        "1795360153.5",
    ),
    *(
        "Nov 22 15:09:13 ",
        "Err 12 11:11:11",
        "host ",
        "prog[1]",
        "prog: ",
        " 0 ",
        "12 [",
        "42",
        "[",
        "]",
        " [",
        "] ",
    ),
    *(
        ": ",
        ":",
        " ",
        "  ",
        "\t",
        "- ",
        " - ",
        "app.db",
        "me@db ",
        " | ",
        "(",
        "<",
        ">",
        ")",
        "*",
        "#",
        "-",
        "=",
        "@",
    ),
    *(
        "INFO",
        "INFO ",
        "INFO:",
        "ERROR ",
        "Error",
        "error:",
        "error: ",
        "(error",
        "warning: ",
        "WARN",
        "DEBUG1",
        "LOG:  ",
    ),
    *(
        "hint: x",
        "detail: ",
        "DeprecationWarning: ",
        "E1122 ",
        "I1122 15:09:13.1",
        "[ERROR]",
        "FATAL:",
        "info",
        "info:",
    ),
    *(
        "thread 'x' panicked:",
        "Traceback (most recent call last):",
        "foo",
        "copying base",
        "Reading",
        "a",
        "e",
        "E",
    ),
    *(
        "level=",
        "lvl=error ",
        "time=1 ",
        "\u0661",
        "\x1c",
        "\xa0",
        "/usr",
        '"',
        "{",
        "'x'",
        "3:a",
        "\x1b[31m",
    ),
)
EDIT = st.tuples(st.integers(0, 60), st.sampled_from([*PIECES, *"2 :-[]()<>|x@E."]), st.booleans())


@st.composite
def like_lines(draw: st.DrawFn) -> list[str]:
    """Lines that begin alike, as those of one program do, or nearly."""
    first = draw(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
    texts = [first]
    for edits in draw(st.lists(st.lists(EDIT, max_size=3), min_size=1, max_size=10)):
        text = first
        for where, piece, over in edits:
            text = text[:where] + piece + text[where + over * len(piece) :]
        texts.append(text)
    return texts


@settings(max_examples=150)
@given(like_lines(), like_lines())
def test_what_is_learnt_from_lines_is_what_each_line_tells(texts: list[str], others: list[str]) -> None:
    """No shape may claim a line that tells something else, whatever was learnt before."""
    shapes = Shapes()
    for batch in (texts * 6, others * 6, texts + others):
        expected = [level(text) for text in batch]

        assert levels(batch, default=NONE, ceiling=100, shapes=shapes) == expected
        assert levels(batch, default=NONE, ceiling=100, shapes=shapes) == expected


@settings(max_examples=150)
@given(like_lines())
@example(["[E]  2026-11-22 15:09:13me@db ", "[E]  me@db FATAL"])
def test_a_shape_is_certain(texts: list[str]) -> None:
    every = Levels(NONE, 100)
    joined = "\n" + "\n".join(texts).replace("\x1b[31m", "")
    expected = [every[told(text)] for text in joined[1:].split("\n")]
    for shape in (Plain(), *filter(None, map(learn, texts[:3]))):
        column = [NONE] * len(texts)
        others = shape.put(joined, range(len(texts)), column, every)

        assert column == [NONE if index in others else level for index, level in enumerate(expected)]


PREFIXES = (
    *(
        "2026-11-22 15:09:13.123 UTC [42] {}:  x",
        "2026-11-22 15:09:13,123 {} app: x",
        "[2026-11-22 15:09:13] {} app: x",
    ),
    *(
        "2026-11-22 15:09:13,123 - app.db - {} - x",
        "2026-11-22 15:09:13,123 [main-1] {} org.Main - x",
        "12:03:01 {} x",
    ),
    *(
        "{}:app.db:x",
        "[{}] x",
        "2026-11-22 15:09:13.123 UTC [42] me@db {}:  x",
        "2026-11-22T15:09:13Z 0 [{}] x",
    ),
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_programs_shapes_are_learnt(prefix: str) -> None:
    """After the first batch hardly a line is looked at by itself, and no line is missed."""
    shapes, texts = Shapes(), []
    for number in range(400):
        text = prefix.format(("INFO", "DEBUG", "ERROR")[number % 3])
        texts.append(text.replace("13", f"{number % 60:02}").replace("42", str(number)))
    found = levels(texts, ceiling=100, shapes=shapes)

    assert found == [(INFO, DEBUG, ERROR)[number % 3] for number in range(400)]
    assert shapes.single < 100


@given(st.lists(LINE, max_size=20))
def test_syslog_batches_are_their_lines(texts: list[str]) -> None:
    expected = [syslog(text) for text in texts]
    stripped = strip_syslog(texts)
    if stripped is None:
        assert all(found is None for _, found in expected)
    else:
        assert list(zip(*stripped, strict=True)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60_000,
        "a" * 60_000 + ": error: x",
        "- " * 30_000,
        "(" * 9 + ")" * 60_000,
        "= " * 30_000,
        ": " * 30_000,
        "0" * 60_000,
    ],
)
def test_hostile_lines_take_linear_time(text: str) -> None:
    """The whole suite would hang here if a pattern could backtrack badly."""
    assert len(levels([text] * 3, family=FAMILIES)) == 3


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (0, "debug"),
        (10, "debug"),
        (19, "debug"),
        (20, "info"),
        (35, "warning"),
        (40, "error"),
        (99, "critical"),
    ],
)
def test_a_level_between_two_is_named_as_the_lower(level: int, name: str) -> None:
    assert level_name(level) == name
