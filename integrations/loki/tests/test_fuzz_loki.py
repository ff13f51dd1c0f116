"""Properties of what is sent to Loki, for names, values and lines of any kind. See tests/fuzz for how they are fuzzed."""

from __future__ import annotations

import json
import re

from hypothesis import example, given
from hypothesis import strategies as st

from subwatch_loki._encode import Encoder
from subwatch_loki._labels import MAX_LABELS, label_set, metadata
from subwatch_loki._values import consecutive, cut, escape, value

NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
PIECES = st.sampled_from(
    [
        "",
        "a",
        "_",
        "__",
        ".",
        "1",
        "é",
        "\n",
        "\0",
        '"',
        "\\",
        "\ud800",
        "☃",
        "service_name",
        "job",
        "x" * 3000,
    ]
)
TEXT = st.lists(PIECES | st.text(max_size=3)).map("".join)
ANYTHING = TEXT | st.integers() | st.floats() | st.booleans() | st.none()


def sent(text):
    """What a text is after it was encoded: no half of a surrogate pair gets through."""
    return text.encode("utf-8", "replace").decode()


@given(st.dictionaries(TEXT | st.integers(), ANYTHING, max_size=25))
@example({f"name{n}": n for n in range(25)})
def test_labels_are_what_loki_takes(labels):
    chosen, surplus, _ = label_set(labels)
    assert 0 < len(chosen) <= MAX_LABELS
    for name, text in {**chosen, **surplus}.items():
        assert NAME.fullmatch(name)
        assert len(name) <= 1024
        assert 0 < len(text.encode("utf-8")) <= 2048


@given(
    st.lists(st.tuples(TEXT, ANYTHING), max_size=10)
    | st.lists(st.tuples(st.integers(), ANYTHING), max_size=200)
)
def test_metadata_is_what_loki_takes(pairs):
    found = json.loads("{" + metadata((str(name), text) for name, text in pairs) + "}")
    assert len(found) <= 128
    assert sum(len(name) + len(text.encode("utf-8")) for name, text in found.items()) <= 64 * 1024
    for name, text in found.items():
        assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
        assert text


@given(
    st.lists(TEXT, min_size=1, max_size=30),
    st.integers(10**18, 2**62),
    st.integers(1, 10**6),
    st.integers(1, 50),
)
@example(["a"] * 30, 10**18 + 995, 995, 7)
def test_lines_are_the_lines(texts, time_ns, number, most):
    values, lines = [], 0
    for text, count in consecutive(time_ns, number, escape(texts), ['","name":"value"}]'] * len(texts), most):
        part = json.loads(f"[{text}]".encode("utf-8", "replace"))
        assert len(part) == count <= most
        values += part
        lines += count
    assert lines == len(texts)
    assert [entry[0] for entry in values] == [str(time_ns + n) for n in range(lines)]
    assert [sent(entry[1]) for entry in values] == [sent(text) for text in texts]
    assert [entry[2]["line"] for entry in values] == [str(number + n) for n in range(lines)]


class Owner:
    dropped = 0


@given(st.lists(TEXT, min_size=2, max_size=8), st.dictionaries(TEXT, TEXT, max_size=3), st.integers(-12, 12))
def test_batches_hold_what_went_in(texts, labels, loss):
    chosen, _, _ = label_set(labels)
    encoder, owner = Encoder(chosen, 10**9), Owner()
    pairs = metadata([("name", "a b")])
    for number, text in enumerate(escape(texts)):
        assert encoder.add(owner, value(number, text, pairs), 1, number, number) is None
    batch = encoder.take()
    stream, values = batch._read()
    assert stream == {name: sent(text) for name, text in chosen.items()}
    assert [sent(entry[1]) for entry in values] == [sent(text) for text in texts]
    first, second = batch.split()
    assert first._read()[1] + second._read()[1] == values
    assert [entry[1] for entry in batch.plain()._read()[1]] == [entry[1] + ' name="a b"' for entry in values]
    assert (first.count + second.count, batch.oldest, batch.newest) == (len(texts), 0, len(texts) - 1)
    batch.lose(min(abs(loss), len(texts)))
    assert owner.dropped == min(abs(loss), len(texts))


@given(TEXT, st.integers(1, 5000))
def test_a_cut_line_is_short_enough(text, limit):
    shown, rest = cut(text, limit)
    assert len(shown.encode("utf-8", "replace")) <= max(limit, 3)
    assert isinstance(rest, str)
