"""Level rules: those of the user, and those of families of programs that begin lines in their own way."""

from __future__ import annotations

import fnmatch
import functools
import re

from subwatch.errors import ConfigError
from subwatch.records import DEBUG, ERROR, INFO, WARNING

from ._text import numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    #: A function that tells the level of a text or None, or a pattern and its level.
    LevelRule = Callable[[str], int | None] | tuple[str | re.Pattern[str], int]

__all__ = ["FAMILIES", "Family", "Rule", "compile_rules", "rules_for"]

# A user's pattern may backtrack: it is given the beginning of a line only.
_LONGEST = 1000


class Rule:
    """A user's rule; after it raised once it matches nothing any more.

    Args:
        tell: Tells the level of a text, or None.

    Attributes:
        failed: What it raised, if it did.
    """

    __slots__ = ("_tell", "failed")

    def __init__(self, tell: Callable[[str], int | None]) -> None:
        self._tell = tell
        self.failed: BaseException | None = None

    def find(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Find the lines that it knows, with their levels."""
        if self.failed is None:
            try:
                for index, text in enumerate(texts):
                    level = self._tell(text[:_LONGEST])
                    if level is not None:
                        yield index, int(level)
            except Exception as error:  # noqa: BLE001 - whatever it raises, the lines go on
                self.failed = error


def _matcher(pattern: str | re.Pattern[str], level: int) -> Callable[[str], int | None]:
    search = re.compile(pattern).search
    return lambda text: level if search(text) else None


def compile_rules(rules: Iterable[LevelRule | Rule]) -> tuple[Rule, ...]:
    """Check a user's rules and make them ready.

    Args:
        rules: Functions ``text -> level or None``, or pairs of a regular expression and a level; the first
            that knows a line decides. They are given its first 1,000 characters.

    Raises:
        ConfigError: One is neither, or its expression is none.
    """
    ready: list[Rule] = []
    for rule in rules:
        if isinstance(rule, Rule):
            ready.append(rule)
        elif callable(rule):
            ready.append(Rule(rule))
        else:
            try:
                pattern, level = rule
                ready.append(Rule(_matcher(pattern, int(level))))
            except (TypeError, ValueError, OverflowError, RecursionError, re.error) as error:
                wanted = "a function of the text, or a pair of a regular expression and a level"
                raise ConfigError(f"a level rule is {wanted}, not {rule!r}: {error}") from error
    return tuple(ready)


class Family:
    """Programs that begin their lines alike.

    Args:
        name: For people.
        programs: Shell patterns of program names.
        beginnings: Pairs of an expression and the level of lines that begin with it; the first decides.
    """

    __slots__ = ("_levels", "_pattern", "name", "programs")

    def __init__(self, name: str, programs: tuple[str, ...], *beginnings: tuple[str, int]) -> None:
        self.name: str = name
        self.programs: tuple[str, ...] = programs
        self._levels = tuple(level for _, level in beginnings)
        self._pattern = rf"\n(?:{'|'.join(f'({pattern})' for pattern, _ in beginnings)})"

    def find(self, joined: str) -> Iterator[tuple[int, int]]:
        """Find the lines that it knows, with their levels, in lines with a newline before each."""
        for index, match in numbered(joined, re.finditer(self._pattern, joined)):
            yield index, self._levels[(match.lastindex or 1) - 1]


#: Asked in order; the first whose programs fit is taken. What programs have in common stands in `levels`.
FAMILIES = (
    Family("apt", ("apt", "apt-*", "aptitude", "dpkg*"), ("E: ", ERROR), ("W: ", WARNING), ("[NI]: ", INFO)),
    Family(
        "npm",
        ("npm", "npx", "pnpm"),
        ("npm (?:ERR!|error)", ERROR),
        ("npm (?:WARN|warn)", WARNING),
        ("npm (?:http|verb|sill|timing)", DEBUG),
    ),
    Family("curl", ("curl*",), (r"curl: \([0-9]+\) ", ERROR), ("[*<>{}] ", DEBUG)),
    Family("wget", ("wget*",), ("wget: unable to ", ERROR)),
    Family(
        "rsync",
        ("rsync*",),
        ("rsync error: ", ERROR),
        ("rsync warning: |file has vanished: ", WARNING),
        (r"rsync: (?:\[\w+\] )?[^\n]{0,255}failed", ERROR),
    ),
    Family(
        "make", ("make", "gmake", "ninja"), (r"g?make(?:\[[0-9]+\])?: \*\*\* ", ERROR), ("FAILED: ", ERROR)
    ),
    Family(
        "tar",
        ("tar", "gtar"),
        (r"g?tar: (?:[^\n]{1,255}: )?(?:Cannot|Error|Exiting with failure|Not found)", ERROR),
        (r"g?tar: [^\n]{1,255}: (?:file changed|File removed)", WARNING),
    ),
    Family(
        "terraform", ("terraform", "tofu"), ("[│╷ ]{0,3}Error: ", ERROR), ("[│╷ ]{0,3}Warning: ", WARNING)
    ),
    Family(
        "cmake",
        ("cmake", "ctest", "cpack"),
        ("CMake Error", ERROR),
        (r"CMake (?:Deprecation )?Warning", WARNING),
    ),
    Family("cargo", ("cargo", "rustc"), (r"error\[E[0-9]{4}\]: ", ERROR)),
    Family("node", ("node*",), (r"\(node:[0-9]+\) (?:\[\w{1,64}\] )?\w{0,64}Warning: ", WARNING)),
    Family(
        "mysql",
        ("mysql*", "mariadb*"),
        (r"(?:mysql|mariadb)[\w-]{0,64}: (?:\[ERROR\] |Got error|Error: |Couldn't )", ERROR),
        (r"(?:mysql|mariadb)[\w-]{0,64}: \[Warning\] ", WARNING),
    ),
    Family(
        "nginx",
        ("nginx*",),
        (r"nginx: \[(?:emerg|alert|crit|error)\] ", ERROR),
        (r"nginx: \[warn\] ", WARNING),
    ),
    Family(
        "ffmpeg",
        ("ffmpeg*", "ffprobe*"),
        (r"(?:\[[^\]\n]{1,64}\] )?(?:Error |Conversion failed|Unknown encoder|Unrecognized option)", ERROR),
        (
            r"[^\n]{1,255}: (?:No such file or directory|Invalid data found|Permission denied|Invalid argument)",
            ERROR,
        ),
    ),
    Family(
        "ssh",
        ("ssh", "scp", "sftp"),
        ("debug[1-3]: ", DEBUG),
        (r"(?:ssh|scp|sftp|kex_exchange_identification): ", ERROR),
        (r"[^\n]{1,255}: (?:Permission denied \(|Connection (?:refused|closed))", ERROR),
    ),
)


@functools.lru_cache(maxsize=256)
def rules_for(program: str) -> tuple[Family, ...]:
    """The family that a program belongs to; for most programs there is none."""
    for family in FAMILIES:
        if any(fnmatch.fnmatchcase(program, pattern) for pattern in family.programs):
            return (family,)
    return ()
