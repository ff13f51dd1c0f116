"""Progress of programs that copy: rsync, curl, wget, dd, pv, git."""

from __future__ import annotations

import re
from typing import Literal

from ._base import NUMBER, SIZE, Pattern, progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subwatch.records import Progress

    from ._base import State

__all__ = ["RECOGNIZERS", "Curl"]


class Curl:
    """Reads ``" 43  976k   43  420k    0     0   400k      0  0:00:02  0:00:01  0:00:01  400k"``.

    These are, with a percentage before each: all, received, sent. Where curl does not know how much will come, it
    says that what came is all.
    """

    name = "curl"
    programs: tuple[str, ...] = ("curl*",)
    needles: tuple[str, ...] = (":", "  ")
    scope: Literal["updates"] = "updates"

    _pattern = (
        rf" *({NUMBER}) +({SIZE}) +({NUMBER}) +({SIZE}) +{NUMBER} +({SIZE})(?: +[0-9.]+[kMGTP]?){{2}}"
        r"(?: +(?:[0-9:-]{7,8}|[0-9]{1,4}d(?: [0-9]{2}h)?)){3} +[0-9.]+[kMGTP]?$"
    )

    def match(self, text: str, state: State) -> Progress | None:  # noqa: ARG002 - every line stands for itself
        """Read the progress that a line tells; None when it tells none."""
        found = re.match(self._pattern, text)
        if found is None:
            return None
        percent, total, of_received, received, sent = found.groups()
        if received == "0":
            return progress(self.name, completed=sent, total=total, percent=percent, unit="B")
        if percent == "100" and of_received == "0":
            return progress(self.name, completed=received, unit="B")
        return progress(self.name, completed=received, total=total, percent=percent, unit="B")


RECOGNIZERS = (
    # "        562,144  56%  500.45kB/s    0:00:00 (xfr#1, to-chk=1/3)"
    Pattern(
        "rsync",
        rf"^\s*(?P<completed>{SIZE}) +(?P<percent>{NUMBER})% +[0-9.,]+[kMGT]?B/s +[0-9:]+"
        r"(?: \((?P<label>[^)]*)\))?",
        programs=("rsync*",),
        needles=("%", "B/s"),
        unit="B",
        scale=1000,
    ),
    Curl(),
    # "########                            18.3%"
    Pattern(
        "curl_bar",
        rf"^[#O=\- ]{{4,}} (?P<percent>{NUMBER})%$",
        programs=("curl*",),
        needles=("%", "#"),
        unit="%",
    ),
    # "    50K .......... .......... .......... .......... .......... 17%  234K 1s"
    Pattern(
        "wget",
        rf"^ *[0-9]{{1,18}}[KMG] [., ]{{1,90}} (?P<percent>{NUMBER})%",
        programs=("wget*",),
        needles=("%", "..."),
        unit="%",
    ),
    # "out                  10%[=>                  ]  64.00K   300KB/s    eta 2s"
    Pattern(
        "wget_bar",
        rf"^(?P<label>[^%\[]*?)(?<![0-9.])(?P<percent>{NUMBER})%\[[ =+>]*\] +(?P<completed>{SIZE})",
        programs=("wget*",),
        needles=("%", "%["),
        unit="B",
    ),
    # "2162688 bytes (2.2 MB, 2.1 MiB) copied, 1 s, 2.0 MB/s"
    Pattern(
        "dd",
        rf"^(?P<completed>{NUMBER}) bytes \([^)]*\) copied, (?P<label>.*)$",
        programs=("dd", "gdd"),
        needles=("(", " copied, "),
        scope="updates",
        unit="B",
    ),
    # " 450KiB 0:00:00 [1.21MiB/s] [====>            ] 15% ETA 0:00:00"; without a size no percentage
    Pattern(
        "pv",
        rf"^(?:(?P<label>[^:]*): )? *(?P<completed>{SIZE})(?P<unit>B)? [0-9:]{{7,}} \[[^]]*/s\] \[[^]]*\]"
        rf"(?: *(?P<percent>{NUMBER})%)?",
        programs=("pv",),
        needles=("[", "/s]"),
        scope="updates",
    ),
    # "15" (pv -n)
    Pattern("pv_numeric", rf"^(?P<percent>{NUMBER})$", programs=("pv",), needles=(), scope="own", unit="%"),
    # "remote: Counting objects:  16% (26/159)", "Receiving objects:  86% (137/159), 445.74 KiB | 15.37 MiB/s"
    Pattern(
        "git",
        r"^(?:remote: )?(?P<label>[A-Z][a-z]+(?: \w+)*? (?P<unit>\w+)): +"
        rf"(?P<percent>{NUMBER})% \((?P<completed>{NUMBER})/(?P<total>{NUMBER})\)",
        programs=("git*",),
        needles=("%", "% ("),
    ),
)
