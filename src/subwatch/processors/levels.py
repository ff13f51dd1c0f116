"""How serious a line is, read from its beginning only: never from a word in the middle of a sentence.

Asked in this order: the user's rules, the prefix of :manpage:`sd-daemon(3)`, the level among the fields of a
structured line, the rules of the program's family (`subwatch.processors.rules`), the words that programs
begin lines with, the default. The result is clamped to a ceiling, since only the exit status tells whether
the child failed.
"""

from __future__ import annotations

from subwatch.records import CRITICAL, DEBUG, ERROR, INFO, WARNING

from ._text import Batch
from .rules import compile_rules
from .structured import level_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ._shapes import Shapes
    from .rules import Family, LevelRule, Rule

__all__ = ["levels", "strip_syslog", "syslog"]

# sd-daemon(3): emerg, alert, crit, err, warning, notice, info, debug.
_SYSLOG = (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)


def levels(
    texts: Sequence[str],
    *,
    default: int = INFO,
    ceiling: int = WARNING,
    rules: Sequence[LevelRule | Rule] = (),
    prefixes: Sequence[int | None] = (),
    fields: Sequence[Mapping[str, Any] | None] | None = None,
    family: Sequence[Family] = (),
    batch: Batch | None = None,
    shapes: Shapes | None = None,
) -> list[int]:
    """Tell the levels of lines.

    Args:
        texts: Lines without their endings.
        default: Level of a line that says nothing about it.
        ceiling: Highest level given; what is above becomes this.
        rules: The user's, see `compile_rules`; they are asked first.
        prefixes: What `strip_syslog` found; next.
        fields: What `Structured.fields` found; next.
        family: What `rules_for` the program gave; next.
        batch: The lines again, if the caller has that already.
        shapes: What was learnt from the program's lines before; makes it faster, nothing else.

    Returns:
        As many levels as texts, in the numbers of :mod:`logging`.
    """
    if shapes is None:
        from ._shapes import Shapes

        shapes = Shapes()
    batch = (batch or Batch(texts)).bare()

    # What is written last wins, so the weakest evidence comes first.
    column = shapes.levels(batch, min(default, ceiling), ceiling)
    for relatives in family:
        for index, level in relatives.find(batch.joined):
            column[index] = min(level, ceiling)
    for index, mapping in enumerate(fields or ()):
        if mapping is not None and (told := level_of(mapping)) is not None:
            column[index] = min(told, ceiling)
    for index, prefix in enumerate(prefixes):
        if prefix is not None:
            column[index] = min(prefix, ceiling)
    for rule in reversed(compile_rules(rules)) if rules else ():
        for index, level in rule.find(batch.texts):
            column[index] = min(level, ceiling)
    return column


def syslog(text: str) -> tuple[str, int | None]:
    """Take the ``<N>`` prefix of :manpage:`sd-daemon(3)` off a line.

    Returns:
        The text without it and the level, or the text as it is and None.
    """
    if text[:1] == "<" and text[2:3] == ">" and text[1] in "01234567":
        return text[3:], _SYSLOG[int(text[1])]
    return text, None


def strip_syslog(texts: Sequence[str]) -> tuple[list[str], list[int | None]] | None:
    """Take the ``<N>`` prefixes of :manpage:`sd-daemon(3)` off lines.

    Args:
        texts: Lines; call it only where a batch holds a ``<`` at all, that test is nearly free.

    Returns:
        The texts without them and their levels (None for a line that has none); None when no line has one.
    """
    if not any(text[:1] == "<" for text in texts):
        return None
    pairs = [syslog(text) for text in texts]
    found = [level for _, level in pairs]
    return ([text for text, _ in pairs], found) if any(level is not None for level in found) else None
