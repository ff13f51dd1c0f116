"""Entries to the JSON of their values, ``["<time>","<line>",{"name":"value"}]``: a thousand at a time.

Of the entries of a batch, times and numbers differ in their last digits only, so these come from a table,
and the rest is one join: a quarter of the time of a format for each.
"""

from __future__ import annotations

from json.encoder import encode_basestring  # the C function, when there is one
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["consecutive", "cut", "escape", "value"]

_LAST_OF_TIME = [f'{n:03}","' for n in range(1000)]
_LAST_OF_NUMBER = [f"{n:03}" for n in range(1000)]
_SMALL_NUMBER = [str(n) for n in range(1000)]
# What cannot stand in a JSON string as it is (RFC 8259 section 7).
_SPECIAL = bytes((*range(32), ord('"'), ord("\\")))


def escape(texts: list[str]) -> list[str]:
    """The texts as the insides of JSON strings; one look at all of them tells whether there is work."""
    data = "".join(texts).encode("utf-8", "replace")
    if len(data.translate(None, _SPECIAL)) == len(data):
        return texts
    return [quoted[1:-1] for quoted in map(encode_basestring, texts)]


def value(time_ns: int, text: str, metadata: str) -> str:
    """One value; `text` is escaped, `metadata` the inside of the object."""
    return f'["{time_ns}","{text}",{{{metadata}}}]'


def consecutive(
    time_ns: int, number: int, texts: Sequence[str], ends: Sequence[str], most: int
) -> Iterator[tuple[str, int]]:
    """Values of lines whose times follow each other by 1 ns, and their numbers by 1.

    Args:
        time_ns: Time of the first line.
        number: Its number, which becomes the metadata ``line``.
        texts: The lines, escaped.
        ends: The rest of each value, behind the number's digits: ``","name":"value"}]``.
        most: How many values to put together.

    Yields:
        Values, with commas between them, and how many.
    """
    done = 0
    while done < len(texts):
        high, low = divmod(time_ns + done, 1000)
        thousands, rest = divmod(number + done, 1000)
        count = min(len(texts) - done, 1000 - low, 1000 - rest, most)
        parts = [f',["{high}'] * (6 * count)
        parts[0] = parts[0][1:]
        parts[1::6] = _LAST_OF_TIME[low : low + count]
        parts[2::6] = texts[done : done + count]
        parts[3::6] = [f'",{{"line":"{thousands or ""}'] * count
        parts[4::6] = (_LAST_OF_NUMBER if thousands else _SMALL_NUMBER)[rest : rest + count]
        parts[5::6] = ends[done : done + count]
        yield "".join(parts), count
        done += count


def cut(text: str, limit: int) -> tuple[str, str]:
    """Cut a line to what the server takes.

    Args:
        text: The line.
        limit: Most bytes of UTF-8.

    Returns:
        The line, and what to add to its metadata: the mark with the number of bytes cut, or nothing.
    """
    if len(text) * 4 <= limit:
        return text, ""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return text, ""
    kept = data[:limit].decode("utf-8", "ignore")
    return kept, f',"cut_bytes":"{len(data) - len(kept.encode())}"'
