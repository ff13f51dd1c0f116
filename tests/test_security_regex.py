"""No line makes us slow: every regular expression of ours is tried on what makes regular expressions explode.

A child chooses what we read, so each pattern has to be linear, or be used on texts so short that it does not matter.
From the parse tree of each pattern, strings are made that it can nearly match in many ways: what its repetitions
repeat, what stands before them, and an ending that fits nothing.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import time
from re import _constants as c
from re import _parser

import pytest

import subwatch
from subwatch.processors import Pipeline, Redactor
from subwatch.processors.progress import DEFAULT
from subwatch.processors.rules import FAMILIES
from subwatch.sinks import plain

SIZE = 8 * 1024  # characters; a quadratic pattern takes a third of a second or more for these
SHORT = 2000  # of a line that is searched for progress, see subwatch.processors.progress
BOUND = 0.1  # seconds of CPU time; a linear one takes a hundredth of that


def patterns():
    """All patterns of the core by name, and how long the text may be that each is used on."""
    found = {}
    for info in pkgutil.walk_packages(subwatch.__path__, "subwatch."):
        if info.name.rpartition(".")[2] in ("__main__", "_typing"):  # it is for type checkers
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                found.setdefault(value.pattern, (f"{info.name}.{name}", SIZE))
            elif isinstance(value, str) and info.name in STRINGS and is_pattern(name, value):
                found.setdefault(value, (f"{info.name}.{name}", SIZE))
    for rule in importlib.import_module("subwatch.processors._secrets").RULES:
        found.setdefault(rule.pattern, (f"redaction: {rule.name}", SIZE))
    for family in FAMILIES:
        found.setdefault(family._pattern, (f"family: {family.name}", SIZE))
    for recognizer in DEFAULT:
        for where in (vars(type(recognizer)), {s: getattr(recognizer, s, None) for s in ("_pattern",)}):
            for name, value in where.items():
                if "pattern" in name.lower() and isinstance(value, (str, re.Pattern)):
                    text = value if isinstance(value, str) else value.pattern
                    found.setdefault(text, (f"progress: {recognizer.name} {name}", SHORT))
    return {name: (pattern, size) for pattern, (name, size) in found.items() if isinstance(pattern, str)}


def is_pattern(name, value):
    if not re.fullmatch("_[A-Z_]+", name):
        return False
    try:
        return bool(re.compile(value))
    except re.error:  # a part of one
        return False


#: Modules whose strings are patterns that are compiled when they are first needed.
STRINGS = {
    f"subwatch.processors.{name}" for name in ("_arguments", "_finders", "_names", "_secrets", "redact")
}
#: Patterns that are only tried at one place of a text, with `match` or `fullmatch`; others are searched for.
ANCHORED = {
    *(
        "_finders._VALUE",
        "_finders._EOL",
        "_finders._BARE_VALUE",
        "_arguments._OPTION",
        "_arguments._ASSIGNED",
    ),
    *(
        "_arguments._FLAG",
        "_arguments._PROMPTING",
        "grouping._ALWAYS",
        "grouping._TRACEBACK",
        "grouping._CHAINED",
    ),
    *(
        "grouping._GO",
        "grouping._GO_MORE",
        "grouping._POSTGRES_MORE",
        "structured._PAIR",
        "_words._AT_START",
        "_words._PROGRAM",
        "_words._KEY",
    ),
    *("_values._DURATION", "_values._NAME"),
}


def sample(tree, length=1):
    """A string that a part of a pattern matches, each of its repetitions so many times."""
    return "".join(one(operator, argument, length) for operator, argument in tree)


def one(operator, argument, length):
    if operator is c.LITERAL:
        return chr(argument)
    if operator is c.NOT_LITERAL:
        return "a" if argument != ord("a") else "b"
    if operator is c.ANY:
        return "a"
    if operator is c.IN:
        return member(argument)
    if operator is c.BRANCH:
        return sample(argument[1][0], length)
    if operator is c.SUBPATTERN:
        return sample(argument[-1], length)
    if operator is c.ATOMIC_GROUP:
        return sample(argument, length)
    if operator in REPEATS:
        low, high, body = argument
        return sample(body) * max(low, min(high, length))
    return ""


REPEATS = {c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT}


def member(choices):
    """A character of a class."""
    if choices[0][0] is c.NEGATE:
        pattern = _parser.State()
        refused = re.compile("[" + "".join(spell(choice) for choice in choices[1:]) + "]")
        del pattern
        return next(ch for ch in "ab1 -.:=/%\"'\\x\t@é" if not refused.match(ch))
    operator, argument = choices[0]
    if operator is c.LITERAL:
        return chr(argument)
    if operator is c.RANGE:
        return chr(argument[0])
    return {c.CATEGORY_DIGIT: "1", c.CATEGORY_SPACE: " ", c.CATEGORY_WORD: "a"}.get(argument, "-")


def spell(choice):
    operator, argument = choice
    if operator is c.LITERAL:
        return re.escape(chr(argument))
    if operator is c.RANGE:
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    return {
        c.CATEGORY_DIGIT: r"\d", c.CATEGORY_SPACE: r"\s", c.CATEGORY_WORD: r"\w",
        c.CATEGORY_NOT_DIGIT: r"\D", c.CATEGORY_NOT_SPACE: r"\S", c.CATEGORY_NOT_WORD: r"\W",
    }[argument]  # fmt: skip


def repeated(tree, before=""):
    """What is repeated anywhere in a pattern, each with what stands before it."""
    for operator, argument in tree:
        if operator in REPEATS:
            yield before, sample(argument[2]) or "a"
            yield from repeated(argument[2], before)
        elif operator is c.BRANCH:
            for branch in argument[1]:
                yield before, sample(branch) or "a"
                yield from repeated(branch, before)
        elif operator is c.SUBPATTERN:
            yield from repeated(argument[-1], before)
        elif operator is c.ATOMIC_GROUP:
            yield from repeated(argument, before)
        elif operator in (c.ASSERT, c.ASSERT_NOT):
            yield from repeated(argument[1], before)
        before += one(operator, argument, 1)


def attacks(pattern, size):
    """Texts of a size that a pattern can nearly match in many ways."""
    tree = _parser.parse(pattern)
    whole = sample(tree)
    pairs = list(dict.fromkeys(repeated(tree)))[:24]
    pumps = list(dict.fromkeys(pump for _, pump in pairs))
    literals = list(dict.fromkeys(re.sub(r"[^ -~\n\t]", "", whole)))[:12]
    seen = set()
    for before, pump in (
        *pairs,
        *((before, before + pump) for before, pump in pairs if before),
        *(("", whole[:end]) for end in (len(whole), len(whole) - 1) if end > 0),
        *(("", a + b) for a, b in itertools.product(pumps[:5], repeat=2)),
        *(("", literal) for literal in literals),
    ):
        text = before + pump * (size // len(pump))
        for ending in ("", "\0", "\n"):
            if (text := text + ending) not in seen:
                seen.add(text)
                yield text


PATTERNS = patterns()


@pytest.mark.parametrize("name", PATTERNS)
def test_no_text_makes_a_pattern_slow(name):
    pattern, size = PATTERNS[name]
    compiled = re.compile(pattern)
    for text in attacks(pattern, size):
        begun = time.process_time()
        compiled.match(text)
        compiled.fullmatch(text)
        if ".".join(name.split(".")[-2:]) not in ANCHORED:
            for _ in itertools.islice(compiled.finditer(text), 1_000_000):
                pass
        took = time.process_time() - begun
        assert took < BOUND, f"{took:.2f} s for {len(text)} characters: {text[:60]!r}..."


@pytest.mark.parametrize("pattern", [r"\s*x", r"(\w+)*:", r"<[^>]*>x", r"x\d+\d+y"])
def test_the_attacks_find_what_explodes(pattern):
    """That is: the test above is able to fail."""
    size = 20 if "+)*" in pattern else SIZE
    for text in attacks(pattern, size):
        begun = time.process_time()
        sum(1 for _ in re.finditer(pattern, text))
        if time.process_time() - begun > 0.02:
            return
    pytest.fail("no text made it slow")


UNITS = (
    *("\x1b[", "\x1b]", "\x9d", "\x90", "\x9b", "\x1b", "\x1b(", "\x1bP", "\x1b[0;", "\x1b]0;a", "\x9b0"),
    *(
        "<3>",
        "[",
        "[[",
        "(",
        "]",
        "[]",
        "- ",
        "error",
        "E",
        "2026-11-22 14:00:07 ",
        ": error",
        ":",
        ": ",
        "a: Error",
        "= ",
        "level=",
    ),
    *(
        "{",
        '{"',
        '{"a":',
        '{"a":[',
        '"',
        "\\",
        '\\"',
        "a=",
        'a="',
        "a=b ",
        'a="\\',
        "level=info ",
        "[1]",
        "thread '",
        "1,",
    ),
    *(
        "%",
        "1%",
        "1 ",
        "0",
        "1/",
        "1.",
        "1,0",
        "kB ",
        "[==",
        "#",
        "it/s",
        "00:",
        "ETA",
        "(1/1)",
        "1 tablespace ",
        "frame=",
        " ",
    ),
    *(
        "\t",
        "é",
        "\u2028",
        "x",
        "a ",
        "K",
        "1K",
        "B/s",
        "|",
        "a|",
        "password ",
        "token:",
        "://",
        "@",
        "\0",
        "Duration: ",
    ),
)


@pytest.mark.parametrize("unit", UNITS)
def test_no_line_makes_its_meaning_slow(unit):
    """Levels, fields, progress, redaction and what makes texts harmless, for a line of the largest size and many small."""
    for text in (unit * (64 * 1024 // len(unit)), (unit * (100 // len(unit)) + "\n") * 600):
        texts = text.split("\n")
        begun = time.process_time()
        pipeline = Pipeline(Redactor(["hunter2-hunter2"]), program="ssh")
        shown, _, _ = pipeline.texts(text.encode("utf-8"))
        pipeline.levels(shown)
        pipeline._meant().structured.fields(texts)
        for each in texts:
            plain(each)
        took = time.process_time() - begun
        assert took < 0.5, f"{took:.2f} s for {len(text)} characters of {unit!r}"


@pytest.mark.parametrize(
    "unit", ["ghp_", "xoxb-", "hvs.", "eyJ", "AKIA", "://", "://a:", "://a@", "-", "_", "a.", "Bearer ", "= "]
)
@pytest.mark.parametrize("ending", ["", " ", "\0", "ghp_", "://u"])
def test_no_unfinished_line_makes_redaction_slow(unit, ending):
    """A line in pieces is judged at each piece, by its end."""
    redactor = Redactor(["hunter2-hunter2"])
    text = unit * (64 * 1024 // len(unit)) + ending
    begun = time.process_time()
    redactor.release(text)
    redactor.continuation(text, text)
    redactor.context_after(text, text)
    took = time.process_time() - begun
    assert took < 1.0, f"{took:.2f} s for {len(text)} characters of {unit!r} and {ending!r}"
