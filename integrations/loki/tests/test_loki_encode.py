"""Names, bodies and batches, without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from subwatch_loki._encode import Batch, Encoder
from subwatch_loki._labels import label_name, label_set, metadata, metadata_name
from subwatch_loki._values import consecutive, cut, escape, value

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Owner:
    dropped = 0


def document(batch):
    return json.loads(zlib.decompress(batch.body, 31))


def make(count, owner=None, limit=10**6, first=10**18):
    owner = owner or Owner()
    encoder = Encoder({"job": "x"}, limit)
    encoder.add(
        owner,
        ",".join(value(first + n, f"line {n}", f'"n":"{n}"') for n in range(count)),
        count,
        first,
        first + count - 1,
    )
    return encoder.take()


@given(st.text())
def test_every_name_becomes_one_that_loki_takes(name):
    for valid in (label_name(name), metadata_name(name)):
        assert NAME.match(valid)
        assert re.search("[A-Za-z0-9]", valid), "a name without any costs the whole request with a 500"
        assert not valid.startswith("__")


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,50}", fullmatch=True))
def test_good_names_stay(name):
    assert label_name(name) == metadata_name(name) == name


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.integers(), st.binary()), max_size=150))
def test_metadata_is_a_flat_object_of_strings_within_the_limits(pairs):
    found = json.loads("{" + metadata(pairs.items()) + "}")
    assert all(isinstance(value, str) and value for value in found.values())
    assert len(found) <= 128
    assert sum(len(name) + len(value.encode()) for name, value in found.items()) < 64 * 1024


@given(st.dictionaries(st.text(), st.text(), max_size=30))
def test_labels_are_at_most_15_and_nothing_is_lost(labels):
    chosen, surplus, remarks = label_set(labels)
    assert len(chosen) <= 15
    assert all(NAME.match(name) for name in chosen)
    assert bool(surplus) <= any("at most 15" in remark for remark in remarks)


@given(st.lists(st.text(), max_size=50))
def test_every_text_survives_the_body(texts):
    encoder = Encoder({"job": 'a "b"\né'}, 10**6)
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    for number, text in enumerate(texts):
        encoder.add(Owner(), value(number, *escape([text]), ""), 1, number, number)
    batch = encoder.take()
    if not texts:
        assert batch is None
        return
    (stream,) = document(batch)["streams"]
    assert stream["stream"] == {"job": 'a "b"\né'}
    assert stream["values"] == [[str(number), text, {}] for number, text in enumerate(texts)]
    assert (batch.count, batch.oldest, batch.newest) == (len(texts), 0, len(texts) - 1)


def test_lone_surrogates_do_not_cost_the_batch():
    encoder = Encoder({}, 10**6)
    encoder.add(Owner(), value(1, "a\udcffb", ""), 1, 1, 1)
    assert document(encoder.take())["streams"][0]["values"] == [["1", "a?b", {}]]


@given(st.integers(2, 40))
def test_halves_hold_the_same_entries_and_owners(count):
    first, second = Owner(), Owner()
    batch = make(count)
    batch.parts = [(first, count // 3), (second, count - count // 3)]
    left, right = batch.split()
    values = [value for half in (left, right) for value in document(half)["streams"][0]["values"]]
    assert values == document(batch)["streams"][0]["values"]
    assert left.count + right.count == count
    left.lose(left.count)
    right.lose(right.count)
    assert (first.dropped, second.dropped) == (count // 3, count - count // 3)


def test_halves_of_an_earlier_process_have_no_owners():
    batch = make(4)
    old = Batch(batch.body, 4, batch.oldest, batch.newest)
    assert [half.parts for half in old.split()] == [[], []]


def test_plain_batches_hold_their_metadata_in_the_line():
    encoder = Encoder({}, 10**6)
    encoder.add(Owner(), value(1, "text", '"a":"b","c":"d e=\\"f\\""'), 1, 1, 1)
    values = document(encoder.take().plain())["streams"][0]["values"]
    assert values == [["1", r'text a=b c="d e=\"f\""']]


def test_a_full_batch_comes_by_itself():
    encoder = Encoder({}, 100)
    assert encoder.add(Owner(), value(1, "x" * 10, ""), 1, 1, 1) is None
    assert encoder.since is not None
    batch = encoder.add(Owner(), value(2, "x" * 100, ""), 1, 2, 2)
    assert batch.count == 2
    assert encoder.take() is None
    assert encoder.since is None


def test_times_differ_unless_the_clock_was_set_back():
    encoder = Encoder({"job": "x"}, 10**6)
    now = 10**18
    assert encoder.place(now, 100) == now
    assert encoder.place(now + 50) == now + 100
    assert encoder.place(now + 100) == now + 101
    assert encoder.place(now + 102, 7) == now + 102
    assert encoder.place(now - 10**10) == now - 10**10


@settings(deadline=None)
@given(
    st.lists(st.text(), min_size=1, max_size=2500),
    st.integers(1, 2500),
    st.sampled_from([1000, 1998, 999_000, 10**18 + 999]),
    st.integers(1, 1500),
)
def test_values_of_consecutive_lines(texts, number, time_ns, most):
    texts = (texts * 300)[:2500]
    ends = [f'","end":"{n % 3}"}}]' for n in range(len(texts))]
    pieces = list(consecutive(time_ns, number, escape(texts), ends, most))
    found = [each for values, _ in pieces for each in json.loads(f"[{values}]")]
    assert found == [
        [str(time_ns + n), text, {"line": str(number + n), "end": str(n % 3)}] for n, text in enumerate(texts)
    ]
    assert [len(json.loads(f"[{values}]")) for values, _ in pieces] == [count for _, count in pieces]
    assert max(count for _, count in pieces) <= most


@given(st.lists(st.text()))
def test_escaped_texts_are_the_insides_of_strings(texts):
    assert [json.loads(f'"{text}"') for text in escape(texts)] == texts


@given(st.text(), st.integers(1, 50))
def test_what_is_cut_is_told(text, limit):
    kept, note = cut(text, limit)
    size = len(text.encode())
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    assert note == (f',"cut_bytes":"{size - len(kept.encode())}"' if size > limit else "")


def test_with_isa_l_and_without():
    """ISA-L and the standard library make bodies that say the same."""
    code = """
import sys, zlib
if sys.argv[1] == "zlib":
    sys.modules["isal"] = None
from subwatch_loki._encode import Encoder, deflate
from subwatch_loki._values import value
encoder = Encoder({"job": "x"}, 10**6)
encoder.add(None, ",".join(value(n, "some text", "") for n in range(1000)), 1000, 0, 999)
batch = encoder.take()
assert deflate.__name__ == sys.argv[1], "for both: pip install isal"
assert all(half.count == 500 for half in batch.split())
print(zlib.decompress(batch.body, 31).decode())
"""
    said = {
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code, name], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for name in ("isal.isal_zlib", "zlib")
    }
    assert len(said) == 1
