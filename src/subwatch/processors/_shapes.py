"""Levels of many lines at once: a program begins most of its lines in few ways, which are learnt from it.

A shape is a pattern of line beginnings, made of those parts of the grammar in `subwatch.processors._words` that a
sample line has. Without options it takes a third of the time of the whole grammar, and it goes through all lines of
a batch in one search. What it says of a line is certain: `told` says the same. Lines of other shapes are left to
those, and in the end to `told`.
"""

from __future__ import annotations

import functools
import re

from ._text import Batch, join, numbered
from ._words import (
    AT_START,
    BARE,
    COLON_WORD,
    DAY,
    FIRST,
    KEY,
    PARTS,
    PREFIX,
    SIGNS,
    STAMPS,
    THEN,
    WORDS,
    Levels,
    told,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Shapes", "learn"]

_FEW, _MANY = 4, 24  # fewer lines are looked at one by one; so many more are worth learning a shape
_MOST = 4  # shapes that are kept
_RARE = 32  # one line in so many is rare
_PRICE = 1000  # lines that cost as much, looked at one by one, as it does to learn a shape

# Beginnings that may tell a level, of lines without a prefix and behind one. The first character decides which
# of the alternatives is tried, that is what makes them cheap.
_WORD = rf"[{FIRST}]{THEN}|[JFMASOND]{DAY}"
_STAMP = r"(?:.:|...[-/]|[0-9]{8})"  # what follows the first figure of a time
_MARK = r"[*#>!|,:\[(<-]"
_START = (
    rf"[{FIRST}]{THEN}|[JFMASOND0-9 \t*#>!|,:\[(<-]"
    rf"(?:(?<=[JFMASOND]){DAY}|(?<={_MARK})|(?<=[0-9]){_STAMP}|(?<=[ \t])[ \t]*+(?:{_WORD}|[0-9]{_STAMP}|{_MARK}))"
)
_BEHIND = rf"{_WORD}|[A-Z](?![a-z])|[^a-zA-Z/\"']"
# A level word after the colon of the first word, or of the first two. Where these look beyond the line they err to
# the safe side: "not blank" is many times as fast as "neither blank nor newline"; and not far, as what names a program
# has at most 255 characters, and a batch may have no blank at all.
_SAID = rf"(?<=:) {COLON_WORD}"
_FIRST_SAID = rf"(?=[^ ]{{1,400}}+{_SAID})"
_SECOND_SAID = rf"[^ ]{{1,400}}+(?:{_SAID}| [^ ]{{1,400}}+{_SAID})"
# What names the program: "pg_dump: ", "host program[12]: ".
_TAG = re.compile(rf"(?!{_WORD})[a-zA-Z](?:[\w.-]{{0,63}} )?[^\s=@]{{0,80}}: ")
_PREFIX = re.compile(rf"(?>{BARE}|{PREFIX})")
_BRACKET = re.compile(rf"({PARTS['bracket']})([ \t:|,]*)")


class Quiet:
    """The shape of lines whose words tell no level.

    Args:
        others: The beginnings of all other lines.
    """

    __slots__ = ("_others",)

    def __init__(self, others: str) -> None:
        self._others = re.compile(rf"\n{others}")

    def put(self, joined: str, left: Sequence[int], column: list[int], levels: Levels) -> list[int]:  # noqa: ARG002
        """Leave the lines of this shape at their level; return the numbers of the others, as `Loud.put`."""
        return [index for index, _ in numbered(joined, self._others.finditer(joined))]


class Plain:
    """The `Quiet` shape of lines without a prefix; what a batch lacks need not be looked for."""

    def put(self, joined: str, left: Sequence[int], column: list[int], levels: Levels) -> list[int]:
        """Leave the lines of this shape at their level; return the numbers of the others, as `Loud.put`."""
        more = f"|{KEY}" * ("=" in joined) + f"|{_FIRST_SAID}" * (":" in joined)
        return _quiet(rf"(?:{_START}{more})").put(joined, left, column, levels)


class Loud:
    """The shape of lines with a word that tells their level.

    Args:
        before: What they begin with.
        words: What the word is one of.
    """

    __slots__ = ("_before", "_usual", "_words")

    def __init__(self, before: str, words: str) -> None:
        self._before = rf"{before}(?:{words})"
        self._words = re.compile(rf"\n(?:{before}({words})|)")
        # The word that nearly all lines had. When that lasts, it costs half to look for those that have not.
        self._usual: tuple[str, Quiet | None] = ("", None)

    def put(self, joined: str, left: Sequence[int], column: list[int], levels: Levels) -> list[int]:
        """Put the levels of this shape's lines into a column.

        Args:
            joined: Lines, each with a newline before it.
            left: Where they stand in the column.
            column: One level a line, for more lines; it holds the default where these stand.
            levels: The levels of words.

        Returns:
            Which of the lines, numbered from 0, are of other shapes.
        """
        usual, unusual = self._usual
        if unusual is not None:
            others = unusual.put(joined, left, column, levels)
            if len(others) * _RARE <= len(left):
                _write(column, left, [levels[usual]] * len(left))
                _write(column, [left[index] for index in others], [levels[""]] * len(others))
                return others
        words: list[str] = self._words.findall(joined)
        _write(column, left, list(map(levels.__getitem__, words)))
        most = words[0] if words.count(words[0]) * _RARE > len(words) * (_RARE - 1) else ""
        lasts = most and most == usual and unusual is None
        self._usual = (most, _quiet(rf"(?!{self._before}(?<=[^a-zA-Z]{re.escape(most)}))") if lasts else None)
        return [index for index, word in enumerate(words) if not word] if "" in words else []


def _write(column: list[int], where: Sequence[int], levels: list[int]) -> None:
    if len(where) == len(column):
        column[:] = levels
    else:
        for index, level in zip(where, levels, strict=True):
            column[index] = level


_quiet, _loud = functools.lru_cache(maxsize=64)(Quiet), functools.lru_cache(maxsize=64)(Loud)
_levels = functools.lru_cache(maxsize=16)(Levels)


def learn(text: str) -> Quiet | Loud | None:
    """Find the shape of a line; None when there is none that would be certain."""
    word = told(text)
    if word and (found := AT_START.match(text)):
        before = _before(found.groupdict(default=""), False)
        return None if before is None else _loud(before, WORDS)
    found = _PREFIX.match(text)
    before = _before(found.groupdict(default=""), True) if found else None
    if found is None or before is None:
        return None
    if tag := _TAG.match(text, found.end()):
        before += re.escape(tag[0])
        return _loud(before, COLON_WORD) if word else _quiet(rf"(?!{before}(?!{COLON_WORD}))")
    user = f"|{PARTS['user']}" if found["brackets"] else ""
    return None if word or not before else _quiet(rf"(?!{before}(?!{_BEHIND}{user}|{_SECOND_SAID}))")


def _before(part: dict[str, str], quiet: bool) -> str | None:
    """The pattern of a prefix with just these parts; None if more could be read from what it accepts.

    Args:
        part: Texts of the parts of a sample line, empty where it has none.
        quiet: Whether what follows tells nothing: then the prefix must not, either.
    """
    brackets = _BRACKET.findall(part["brackets"])
    gaps = (part["lead"], part["gap"], *(gap for _, gap in brackets))
    # A run that is as long as it may be could be followed by more of the same.
    if len(max(gaps, key=len)) > 7 or not re.fullmatch(r"[ *-]{0,2}(?:[\[(<] ?)?", part["marks"]):
        return None
    if quiet and (
        (part["marks"] or part["inner"] or part["user"])
        or "".join(part.values())[-1:] not in ("", " ", "\t")
        or ": " in "\n".join(gaps)
    ):
        return None
    pieces = [re.escape(part["lead"]), *(STAMPS[name] for name in STAMPS if part[name])]
    pieces += re.escape(part["zone"] + part["gap"]), PARTS["number"] if part["number"] else ""
    for bracket, gap in brackets:
        pieces += _bracket(bracket, quiet), re.escape(gap)
    pieces += (PARTS[name] for name in ("user", "logger") if part[name])
    pieces += re.escape(part["marks"]), PARTS["inner"] if part["inner"] else ""
    return "".join(pieces)


def _bracket(sample: str, quiet: bool) -> str:
    """The pattern of brackets that hold the like of a sample."""
    opening = re.escape(sample[0])
    if re.fullmatch("[0-9]+", sample[1:-1]):
        return rf"{opening}[0-9]{{1,20}}+[])>]"
    if re.fullmatch(STAMPS["date"], sample[1:-1]):
        return rf"{opening}{STAMPS['date']}[])>]"
    # at most one blank, and none after a colon, where nothing must be said
    inside = r"[^])> \t\n]{0,31}+(?:(?<!:) [^])> \t\n]{0,31}+|)" if quiet else r"[^])>\n]{0,63}+"
    like = r"[0-9](?!...[-/])" if sample[1] in "0123456789" else rf"(?!{_WORD})[a-zA-Z]"
    return rf"{opening}{like}{inside}[])>]"


class Shapes:
    """The shapes of one program's lines, learnt as they come.

    Attributes:
        single: How many lines were looked at one by one.
    """

    def __init__(self) -> None:
        self._known: tuple[Quiet | Plain | Loud, ...] = (Plain(),)
        self._learnt = 0
        self.single: int = 0

    def levels(self, batch: Batch, default: int, ceiling: int) -> list[int]:
        """Tell the levels that the words of lines tell.

        Args:
            batch: Lines without escape sequences.
            default: Level of lines whose words tell none.
            ceiling: Highest level to tell.
        """
        levels, texts = _levels(default, ceiling), batch.texts
        if len(texts) < _FEW:
            return [levels[told(text)] for text in texts]
        column = [default] * len(texts)
        if not any(map(batch.text.__contains__, SIGNS)):
            return column
        joined = batch.joined
        left: Sequence[int] = range(len(texts))
        known, hits = list(self._known), dict[object, int]()
        for shape in known:
            if len(left) < _FEW:
                break
            others = shape.put(joined, left, column, levels)
            if len(others) < len(left):
                hits[shape] = len(left) - len(others)
                left, texts = [left[index] for index in others], [texts[index] for index in others]
                joined = join(texts)
            if shape is known[-1] and len(left) >= max(_MANY, len(column) // 8):
                known += self._learn(texts, known)
        for index, text in zip(left, texts, strict=True):
            column[index] = levels[told(text)]
        self.single += len(left)
        if len(known) > len(self._known) or len(hits) > 1 or known[0] not in hits:
            self._known = tuple(sorted(known, key=lambda shape: -hits.get(shape, 0))[:_MOST])
        return column

    def _learn(self, texts: Sequence[str], known: Sequence[object]) -> Iterator[Quiet | Loud]:
        """Learn a shape from lines that are left, unless few were left since the last time."""
        if self._learnt * _PRICE <= self.single:
            shape = learn(texts[self.single % len(texts)])
            if shape is not None and shape not in known:
                self._learnt += 1
                yield shape
