"""Progress of PostgreSQL's own programs."""

from __future__ import annotations

from ._base import NUMBER, Pattern

__all__ = ["RECOGNIZERS"]

RECOGNIZERS = (
    # "714149/1808798 kB (39%), 0/1 tablespace (/path/to/the/file)"
    Pattern(
        "pg_basebackup",
        rf"^\s*(?P<completed>{NUMBER})/(?P<total>{NUMBER}) (?P<unit>kB) \((?P<percent>{NUMBER})%\), (?P<label>[0-9]+/[0-9]+ tablespaces?)",
        needles=("%", " tablespace"),
        programs=("pg_basebackup*",),
    ),
)
