"""Whose lines they are, where a program only runs another: ``sudo -u postgres pg_dump`` speaks as pg_dump does."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["speaker"]

# By program: the letters of its options that take a value, and how many words stand before the command.
_WRAPPERS = {
    "chronic": ("", 0),
    "chrt": ("DPT", 1),
    "doas": ("Cu", 0),
    "env": ("CSu", 0),
    "flock": ("Ew", 1),
    "ionice": ("cn", 0),
    "nice": ("n", 0),
    "nohup": ("", 0),
    "runuser": ("Ggu", 0),
    "setsid": ("", 0),
    "stdbuf": ("eio", 0),
    "sudo": ("CDRTUghprtu", 0),
    "taskset": ("", 1),
    "time": ("fo", 0),
    "timeout": ("ks", 1),
    "unbuffer": ("", 0),
}


def speaker(program: str, argv: Sequence[str]) -> str:
    """The name of the program by whose rules lines are read.

    Args:
        program: The name of what is run.
        argv: Its command line.
    """
    words, name = list(argv), program
    while name in _WRAPPERS:
        valued, before = _WRAPPERS[name]
        at = 1
        while at < len(words) and (words[at][:1] == "-" or (name in ("env", "sudo") and "=" in words[at])):
            word = words[at]
            at += 1
            if word == "--":
                break
            if word[:1] == "-" and word[1:2] != "-" and word[-1] in valued:
                at += 1
        words = words[at + before :]
        if not words:
            return program
        name = words[0].rpartition("/")[2]
    return name or program
