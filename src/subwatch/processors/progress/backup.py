"""Progress of backup programs: borg and restic, as text and as JSON."""

from __future__ import annotations

from typing import Any, Literal

from ._base import NUMBER, Pattern, json_object, progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subwatch.records import Progress

    from ._base import State

__all__ = ["RECOGNIZERS", "BorgJson", "ResticJson"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class BorgJson:
    """Reads ``borg --progress --log-json`` (Borg's documentation, "All about JSON")."""

    name = "borg_json"
    programs: tuple[str, ...] = ("borg*",)
    needles: tuple[str, ...] = ("{", '"', '"finished"')
    scope: Literal["any"] = "any"

    def match(self, text: str, state: State) -> Progress | None:  # noqa: ARG002 - every line stands for itself
        """Read the progress that a line tells; None when it tells none."""
        told = json_object(text)
        match told.get("type"):
            case "progress_percent":
                label = _text(told.get("message")).lstrip(" 0123456789.%")
                return progress(
                    self.name, completed=told.get("current"), total=told.get("total"), label=label
                )
            case "archive_progress":
                label = _text(told.get("path"))
                return progress(self.name, completed=told.get("nfiles"), unit="files", label=label)
        return None


class ResticJson:
    """Reads the status messages of ``restic --json`` (restic's documentation, "Scripting")."""

    name = "restic_json"
    programs: tuple[str, ...] = ("restic*",)
    needles: tuple[str, ...] = ("{", '"', '"percent_done"')
    scope: Literal["any"] = "any"

    def match(self, text: str, state: State) -> Progress | None:  # noqa: ARG002 - every line stands for itself
        """Read the progress that a line tells; None when it tells none."""
        told = json_object(text)
        if told.get("message_type") != "status":
            return None
        part = told.get("percent_done")
        percent = part * 100 if isinstance(part, int | float) and not isinstance(part, bool) else None
        done, total = told.get("bytes_done"), told.get("total_bytes")
        return progress(self.name, completed=done, total=total, percent=percent, unit="B")


RECOGNIZERS = (
    # "1.23 GB O 1.00 GB C 500.00 MB D 1234 N home/user/file"
    Pattern(
        "borg",
        rf"^(?:{NUMBER} [kMGTP]?B [OCD] ){{3}}(?P<completed>{NUMBER}) N (?P<label>.*)$",
        programs=("borg*",),
        needles=("O", "B O "),
        scope="updates",
        unit="files",
    ),
    # " 97.5% Extracting: home/user/file"
    Pattern(
        "borg_percent",
        rf"^ *(?P<percent>{NUMBER})% (?P<label>[A-Z].*)$",
        programs=("borg*",),
        scope="own",
        unit="%",
    ),
    BorgJson(),
    # "[0:05] 12.34%  10 files 1.200 MiB, total 100 files 10.000 MiB, 0 errors ETA 0:10"
    # "[0:00] 50.00%  1 / 2 snapshots"
    Pattern(
        "restic",
        rf"^\[[0-9:]+\] (?:(?P<percent>{NUMBER})%  )?(?P<completed>{NUMBER})(?: / (?P<total>{NUMBER}))?"
        r" (?P<unit>[a-z/]+)(?:.*, total (?P<label>.*))?",
        programs=("restic*",),
        needles=("[", ":", "] "),
        scope="own",
    ),
    ResticJson(),
)
