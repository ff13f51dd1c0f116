"""Asks recognisers about batches of lines."""

from __future__ import annotations

import fnmatch
import functools

from subwatch.errors import ConfigError
from subwatch.processors._text import Batch, lines_with
from subwatch.records import CONTINUED, PARTIAL, TRUNCATED, Progress

from ._base import Recognizer, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from subwatch.records import Lines

    _Closer = list[tuple[Recognizer, tuple[str, ...]]]

__all__ = ["Reader", "resolve"]

# Progress is short: what is longer is not worth a pattern's time.
_LONGEST = 2000
_MOST = 256  # sets of needles for which is remembered who is worth a closer look
_GROUP = "subwatch.recognizers"


class Reader:
    """Reads the progress of one run's lines.

    Args:
        program: Name of the program; recognisers made for it are asked first.
        recognizers: What to ask, in order.

    Attributes:
        failed: The recognisers that raised, by name, and what they raised; each is left out from then on.
    """

    def __init__(self, program: str, recognizers: Iterable[Recognizer]) -> None:
        made_for: dict[bool, list[Recognizer]] = {True: [], False: []}
        for recognizer in recognizers:
            known = _made_for(program, tuple(recognizer.programs))
            if known or recognizer.scope != "own":
                made_for[known].append(recognizer)
        self._updates = frozenset(id(r) for r in made_for[False] if r.scope == "updates")
        self._order = made_for[True] + made_for[False]
        self._first = tuple(dict.fromkeys(r.needles[0] for r in self._order if r.needles))
        # Which recognisers are worth a closer look, and what for, by which of the first needles a batch has: all,
        # and those for batches without updates.
        self._closer: dict[tuple[bool, ...], tuple[_Closer, _Closer]] = {}
        self._states: dict[str, State] = {}
        self._begun: dict[str, str] = {}  # by stream, what was said of a line that is shown in pieces
        self.failed: dict[str, BaseException] = {}

    def __call__(self, lines: Lines, batch: Batch | None = None) -> list[Progress | None] | None:
        """Read the progress of each line.

        Args:
            lines: A batch of the run; batches must come in order for those recognisers that remember.
            batch: The texts again, if the caller has that already.

        Returns:
            One entry a line; None when no line tells any.
        """
        if lines._flags is not None:
            batch = Batch(self._whole(lines))
        batch = batch or Batch(lines.texts)
        likely = self._likely(batch, lines)
        if not likely:
            return None
        batch = batch.bare()
        column: list[Progress | None] = [None] * len(lines)
        for recognizer in likely:
            state = self._states.get(recognizer.name)
            if state is None:
                state = self._states[recognizer.name] = State(lines.run)
            try:
                self._ask(recognizer, state, batch, column)
            except Exception as error:  # noqa: BLE001 - whatever it raises, the others go on
                self.failed[recognizer.name] = error
                self._order = [other for other in self._order if other is not recognizer]
                self._closer = {}
            if None not in column:
                break
        return column if any(column) else None

    def _whole(self, lines: Lines) -> list[str]:
        """What the lines' pieces belong to, as far as it was said; the mere end of a line tells nothing new."""
        texts = []
        begun = self._begun.pop(lines.stream, "")
        for text, flags in zip(lines.texts, lines.flags, strict=True):
            whole = begun + text if flags & CONTINUED else text
            begun = whole[: _LONGEST + 1] if flags & (PARTIAL | TRUNCATED) else ""
            texts.append(whole if text else "")
        if begun:
            self._begun[lines.stream] = begun
        return texts

    def _likely(self, batch: Batch, lines: Lines) -> list[Recognizer]:
        """The recognisers whose needles the batch has; the first needles are shared and tell most of it."""
        text = batch.text
        present = tuple([needle in text for needle in self._first])
        closer = self._closer.get(present)
        if closer is None:
            absent = {needle for needle, here in zip(self._first, present, strict=True) if not here}
            every = [
                (r, tuple(r.needles[1:])) for r in self._order if not r.needles or r.needles[0] not in absent
            ]
            steady = [pair for pair in every if id(pair[0]) not in self._updates]
            closer = every, steady
            if len(self._closer) < _MOST:
                self._closer[present] = closer
        every, steady = closer
        # one that begins with its carriage return comes as a line that has not ended
        if len(every) > len(steady) and (batch.steady or not {"\r", ""} & {*lines.endings}):
            every = steady
        return [r for r, needles in every if not needles or all(map(text.__contains__, needles))]

    @staticmethod
    def _ask(recognizer: Recognizer, state: State, batch: Batch, column: list[Progress | None]) -> None:
        needles, texts = recognizer.needles, batch.texts
        for index in lines_with(needles[-1], batch.joined) if needles else range(len(texts)):
            text = texts[index]
            if column[index] is None and len(text) <= _LONGEST and all(needle in text for needle in needles):
                found = recognizer.match(text, state)
                if found is not None:
                    column[index] = _checked(found)


@functools.lru_cache(maxsize=1024)  # a run asks this of each recogniser
def _made_for(program: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(program, pattern) for pattern in patterns)


def _checked(found: Progress) -> Progress:
    """Refuse what is no progress: a fraction outside of 0.0 to 1.0 breaks whoever draws it."""
    if not isinstance(found, Progress):
        raise TypeError(f"a recogniser returned {type(found).__name__}, not Progress or None")
    if found.fraction is not None and not 0.0 <= found.fraction <= 1.0:
        found.fraction = None
    return found


def resolve(names: Iterable[str | Recognizer]) -> tuple[Recognizer, ...]:
    """Find recognisers that are named by their entry point in the group ``subwatch.recognizers``.

    Args:
        names: Names, and recognisers, which stay what they are.

    Returns:
        The recognisers in order. An entry point may offer one, several in a tuple, or a class.

    Raises:
        ConfigError: No distribution offers that name, or what it offers is no recogniser.
    """
    found: list[Recognizer] = []
    for name in names:
        offers = _load(name) if isinstance(name, str) else (name,)
        for offer in offers:
            missing = [m for m in ("name", "programs", "needles", "scope", "match") if not hasattr(offer, m)]
            if missing:
                raise ConfigError(f"recogniser {name!r} is {offer!r}, which has no {', '.join(missing)}")
            found.append(offer)
    return tuple(found)


def _load(name: str) -> Iterable[Recognizer]:
    from importlib.metadata import entry_points

    points = entry_points(group=_GROUP)
    if name not in points.names:
        known = ", ".join(sorted(points.names)) or "none"
        raise ConfigError(
            f"no installed distribution offers the recogniser {name!r} (group {_GROUP}; there: {known})"
        )
    point = points[name]
    try:
        offer = point.load()
        offer = offer() if isinstance(offer, type) else offer
    except Exception as error:
        package = point.dist.name if point.dist else "an unknown distribution"
        raise ConfigError(
            f"recogniser {name!r} ({point.value}, from {package}) cannot be loaded: {error!r}"
        ) from error
    return offer if isinstance(offer, tuple | list) else (offer,)
