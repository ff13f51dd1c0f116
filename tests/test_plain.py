"""Text from outside: nothing that a terminal would act on gets through, and nothing is hidden by it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from subwatch.sinks import plain
from subwatch.sinks._plain import all_plain

ESC = "\x1b"


@given(
    st.text()
    | st.lists(st.sampled_from([ESC, "[", "]", "8;;", "1", "m", "\\", "\x07", "\x9b", "é"])).map("".join)
)
@example("\x1b\x1b[0m[31m")
def test_nothing_that_a_terminal_acts_on_is_left(text: str) -> None:
    shown = plain(text)
    assert not re.search("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    shown.encode()
    assert plain(text, "latin-1").encode("latin-1") or not shown
    assert plain(shown) == shown
    assert all_plain([text, "x"]) == [shown, "x"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]text[/b] naïve", "plain [b]text[/b] naïve"),
        (f"{ESC}[1;31mred{ESC}[m, {ESC}[38;2;1;2;3mtrue{ESC}[0m", "red, true"),
        (f"{ESC}[2J{ESC}[H{ESC}[?25lmoves{ESC}7{ESC}8{ESC}c{ESC}(B", "moves"),
        (f"{ESC}]8;;http://x{ESC}\\link{ESC}]8;;{ESC}\\", "link"),
        (f"{ESC}]0;a title\x07text", "text"),
        (f"{ESC}]52;c;Y2xpcGJvYXJk\x07{ESC}P+q544e{ESC}\\text", "text"),
        ("\x9b31mred\x9b0m \x9d0;title\x9ctext", "red text"),
        # cut off, as by the size limit of a record
        (f"unfinished {ESC}[12", "unfinished "),
        (f"unfinished {ESC}", "unfinished "),
        (f"{ESC}]0;this never ends", "\\x1b]0;this never ends"),
        (f"{ESC}[999999999999" + "9" * 80 + "m", "\\x1b[" + "9" * 92 + "m"),
        ("a\tb", "a\tb"),
        ("a\r\nb\x08\x7f", "a\\x0d\\x0ab\\x08\\x7f"),
        ("gpj\u202efdp.exe \u2066x\u2069 \u2028", "gpj\\u202efdp.exe \\u2066x\\u2069 \\u2028"),
        ("\udcff", "\\udcff"),
    ],
)  # fmt: skip
def test_examples(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_what_an_encoding_lacks_is_spelled_out() -> None:
    assert plain("naïve ✓", "latin-1") == "naïve \\u2713"
    assert plain("naïve", "ascii") == "na\\xefve"


@pytest.mark.parametrize(
    "text", [f"{ESC}[" * 20_000, f"{ESC}]" * 20_000, ESC * 40_000, f"{ESC}[" + "1" * 65_000]
)
def test_hostile_text_costs_no_more(text: str) -> None:
    begin = time.process_time()
    plain(text)
    assert time.process_time() - begin < 1
