"""Progress of PostgreSQL's own programs."""

from __future__ import annotations

import re
from typing import Literal

from ._base import NUMBER, Pattern, progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from subwatch.records import Progress

    from ._base import State

__all__ = ["RECOGNIZERS", "PgBench"]


class PgBench:
    """Reads ``progress: 5.0 s, 3247.7 tps, ...``; how long it will take stands in the arguments (``-T``)."""

    name = "pgbench"
    programs: tuple[str, ...] = ("pgbench*",)
    needles: tuple[str, ...] = ("progress: ",)
    scope: Literal["own"] = "own"

    def match(self, text: str, state: State) -> Progress | None:
        """Read the progress that a line tells; None when it tells none."""
        found = re.match(rf"progress: (?P<completed>{NUMBER}) s, (?P<label>{NUMBER} tps)", text)
        if found is None:
            return None
        total = _duration(state.run.argv)
        return progress(self.name, completed=found["completed"], total=total, unit="s", label=found["label"])


def _duration(argv: Sequence[str]) -> str | None:
    """The value of ``-T`` or ``--time``, in seconds."""
    found = re.search(rf"\0(?:-T\0?|--time[\0=])({NUMBER})\0", "\0".join((*argv, "")))
    return found and found[1]


RECOGNIZERS = (
    # "714149/1808798 kB (39%), 0/1 tablespace (data/base/1/1249)"
    Pattern(
        "pg_basebackup",
        rf"^ *(?P<completed>{NUMBER})/(?P<total>{NUMBER}) (?P<unit>kB) \((?P<percent>{NUMBER})%\),"
        r" (?P<label>[0-9]+/[0-9]+ tablespaces?)",
        programs=("pg_basebackup*",),
        needles=("%", "kB ("),
    ),
    # "12/96 MB (12%) computed", "1024/65536 kB (1%) verified"
    Pattern(
        "pg_checksums",
        rf"^ *(?P<completed>{NUMBER})/(?P<total>{NUMBER}) (?P<unit>[kM]B) \((?P<percent>{NUMBER})%\)"
        r" (?P<label>computed|verified)",
        programs=("pg_checksums*", "pg_verifybackup*"),
        needles=("%", "B ("),
    ),
    # "100000 of 500000 tuples (20%) done (elapsed 0.04 s, remaining 0.14 s)"
    # "100000 of 500000 tuples (20%) of pgbench_accounts done (elapsed 0.04 s, remaining 0.14 s)"
    Pattern(
        "pgbench_init",
        rf"^(?P<completed>{NUMBER}) of (?P<total>{NUMBER}) (?P<unit>tuples) \((?P<percent>{NUMBER})%\)"
        r"(?: of (?P<label>\w+))? done",
        programs=("pgbench*",),
        needles=("%", " tuples ("),
    ),
    PgBench(),
)
