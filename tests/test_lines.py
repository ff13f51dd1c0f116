"""Framing: any chunking of any bytes gives the same lines."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subwatch._lines import Framer, has_long_line, split_block

# Bytes that matter to framing occur often.
pieces = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"a", b"bc", b"", b"x" * 40, b"\0", b"\xff"]
)
streams = st.lists(pieces | st.binary(max_size=5), max_size=30).map(b"".join)


@st.composite
def chunked(draw, data=streams):
    """Bytes, and the same bytes in chunks."""
    whole = draw(data)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return whole, [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def lines_of(blocks):
    rows = []
    for block in blocks:
        rows += zip(*split_block(block.decode("latin-1")), strict=True)
    return rows


def frame(chunks):
    framer = Framer()
    blocks = [framer.feed(chunk) for chunk in chunks]
    assert all(block == b"" or block[-1:] in (b"\r", b"\n") for block in blocks), (
        "a block ends with an ending"
    )
    blocks.append(framer.take())
    assert framer.pending == 0
    return blocks


@given(chunked())
def test_any_chunking_gives_the_same_lines(case):
    whole, chunks = case
    blocks = frame(chunks)
    assert b"".join(blocks) == whole
    assert lines_of(blocks) == lines_of([whole])


@given(chunked())
def test_pending_counts_what_waits(case):
    _, chunks = case
    framer, given_out, fed = Framer(), 0, 0
    for chunk in chunks:
        given_out += len(framer.feed(chunk))
        fed += len(chunk)
        assert framer.pending == fed - given_out


@given(st.lists(streams, max_size=6))
def test_release_loses_only_the_newline_of_an_ending_that_was_given_out(parts):
    framer, out, lost = Framer(), b"", 0
    for part in parts:
        out += framer.feed(part)
        released = framer.release()
        out += released
    out += framer.take()
    whole = b"".join(parts)
    lost = len(whole) - len(out)
    after_cut = sum(
        1
        for index in range(1, len(parts))
        if parts[index][:1] == b"\n" and b"".join(parts[:index])[-1:] == b"\r"
    )
    assert lost == after_cut
    assert out.replace(b"\n", b"") == whole.replace(b"\n", b"")


@given(streams)
def test_split_block_is_lossless(data):
    text = data.decode("latin-1")
    texts, endings = split_block(text)
    assert len(texts) == len(endings)
    assert "".join(text + ending for text, ending in zip(texts, endings, strict=True)) == text
    assert all(ending in ("\n", "\r\n", "\r") for ending in endings[:-1])
    assert not any("\n" in line or "\r" in line for line in texts)


@given(streams, st.integers(1, 60))
def test_a_long_line_is_never_missed(data, limit):
    texts, _ = split_block(data.decode("latin-1"))
    if any(len(text) > limit for text in texts):
        assert has_long_line(data, limit)


@pytest.mark.parametrize("chunk", [1, 7, 4096, 65536])
def test_cost_is_linear_in_the_length_of_a_line(chunk):
    """A line that never ends must not be joined again with every chunk (invoke #1079)."""

    def cost(count):
        framer, data = Framer(), b"x" * chunk
        began = time.process_time()
        for _ in range(count):
            framer.feed(data)
        framer.take()
        return time.process_time() - began

    count = 20_000 if chunk < 4096 else 40
    cost(count)
    small, large = min(cost(count) for _ in range(3)), min(cost(8 * count) for _ in range(3))
    assert large < 8 * small * 4 + 0.05
