"""The options of ``subwatch run``, in one table: flag, key of the file and variable are made from it."""

from __future__ import annotations

from . import _progress, _values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["BY_KEY", "GROUPS", "OPTIONS", "Option"]


class Option:
    """One option.

    Args:
        key: Its name in a file; the flag is ``--KEY`` and the variable ``SUBWATCH_KEY``.
        parse: From what is written to a value.
        help: What it does.
        group: Heading in the help.
        metavar: What the value is called; empty for a switch.
        short: One-letter flag.
        flag: Flag where it is not made from the key.
        each: Parses one word, where the flag may be given several times.
        watch_option: The option of `Watch` that it becomes; empty when it is the command's own.
    """

    def __init__(
        self,
        key: str,
        parse: Callable[[Any], Any],
        help: str,
        *,
        group: str,
        metavar: str = "",
        short: str = "",
        flag: str = "",
        each: Callable[[str], Any] | None = None,
        watch_option: str = "",
    ) -> None:
        self.key = key
        self.parse = parse
        self.help = help
        self.group = group
        self.metavar = metavar
        self.flags = [*([short] if short else []), flag or "--" + key.replace("_", "-")]
        self.each = each
        self.watch_option = watch_option

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"SUBWATCH_{self.key.upper()}"


GROUPS = {
    "where": "where the records go",
    "command": "what happens to the command",
    "seen": "what you see",
    "meaning": "what the records say",
}

OPTIONS = [
    Option(
        "sinks",
        _values.specs,
        "a sink, with its options; may be given several times. 'subwatch sinks' lists them",
        group="where",
        metavar="NAME[:KEY=VALUE,...]",
        flag="--sink",
        short="-s",
        each=_values.spec,
    ),
    Option(
        "json",
        _values.text,
        "append every record to FILE as JSON, one object per line (- for stderr)",
        group="where",
        metavar="FILE",
        short="-j",
    ),
    Option(
        "log",
        _values.text,
        "log through Python logging to FILE, to 'syslog', or to stderr (-), there in place of the "
        "command's own stderr",
        group="where",
        metavar="FILE",
        short="-l",
    ),
    Option(
        "log_level",
        _values.level,
        "lowest level that is logged: debug, info (default), warning, error",
        group="where",
        metavar="LEVEL",
    ),
    Option(
        "log_format",
        _values.text,
        "a logging format, %%-style",
        group="where",
        metavar="FORMAT",
    ),
    Option(
        "hold_back",
        _values.flag,
        "log warnings when it is known how it ended: as mere information after a success, and after a failure "
        "with its last lines as errors",
        group="where",
    ),
    Option(
        "flush_timeout",
        _values.seconds,
        "how long the sinks may take to deliver at the end (default 2s)",
        group="where",
        metavar="TIME",
        watch_option="flush_timeout",
    ),
    Option(
        "timeout",
        _values.seconds,
        "end the command after this long; the exit status is then 124",
        group="command",
        metavar="TIME",
        short="-t",
    ),
    Option(
        "idle_timeout",
        _values.seconds,
        "end it when it has written nothing to stderr for this long; status 124",
        group="command",
        metavar="TIME",
        watch_option="idle_timeout",
    ),
    Option(
        "grace",
        _values.seconds,
        "time between SIGTERM and SIGKILL when it is to be ended (default 2s; 0 kills at once)",
        group="command",
        metavar="TIME",
        short="-k",
        watch_option="grace",
    ),
    Option(
        "stop_on",
        _values.pattern,
        "end it when a line matches; that is a success, with status 0",
        group="command",
        metavar="REGEX",
        watch_option="stop_on",
    ),
    Option(
        "tree",
        _values.flag,
        "run it in a session of its own, and end and signal all that it has started",
        group="command",
        watch_option="tree",
    ),
    Option(
        "drain",
        _values.seconds,
        "wait this long, after its end, for what processes it left behind still say (default 0)",
        group="command",
        metavar="TIME",
        watch_option="drain",
    ),
    Option(
        "quiet",
        _values.flag,
        "hold back its output, and show it only if it fails: what cron wants",
        group="seen",
        short="-q",
    ),
    Option(
        "verbose",
        _values.flag,
        "say at the end how it went",
        group="seen",
        short="-v",
    ),
    Option(
        "pty",
        _values.pty,
        "give it a terminal as stderr, or never; by default it gets one where yours is one",
        group="seen",
        watch_option="pty",
    ),
    Option(
        "tags",
        _values.pairs,
        "a label for every record; may be given several times",
        group="meaning",
        metavar="KEY=VALUE",
        flag="--tag",
        each=_values.pair,
        watch_option="tags",
    ),
    Option(
        "watch_stdout",
        _values.flag,
        "make records of the lines on stdout too",
        group="meaning",
        watch_option="watch_stdout",
    ),
    Option(
        "redact",
        _values.texts,
        "mask this text in every record; may be given several times (other users can see a "
        "command line: better in a file or in SUBWATCH_REDACT)",
        group="meaning",
        metavar="SECRET",
        each=_values.text,
        watch_option="redact",
    ),
    Option(
        "levels",
        _values.rules,
        "level of lines that match, such as 'debug=^trace'; may be given several times, the first "
        "that matches counts",
        group="meaning",
        metavar="LEVEL=REGEX",
        flag="--level",
        each=_values.rule,
        watch_option="levels",
    ),
    Option(
        "default_level",
        _values.level,
        "level of a line that says nothing about it (default info)",
        group="meaning",
        metavar="LEVEL",
        watch_option="default_level",
    ),
    Option(
        "ceiling",
        _values.level,
        "highest level of a line (default warning: whether it was an error is for the exit status to say)",
        group="meaning",
        metavar="LEVEL",
        watch_option="ceiling",
    ),
    Option(
        "recognizers",
        _progress.recognizers,
        "read progress so, too: one that is installed, or with groups, such as 'steps=step (?P<completed>\\d+) of "
        "(?P<total>\\d+)'; may be given several times",
        group="meaning",
        metavar="NAME[=REGEX]",
        flag="--recognizer",
        each=_progress.recognizer,
        watch_option="recognizers",
    ),
    Option(
        "tail",
        _values.number,
        "last lines to keep for the record of a failure (default 20)",
        group="meaning",
        metavar="LINES",
        watch_option="tail",
    ),
    Option(
        "encoding",
        _values.encoding,
        "encoding of the command's output (default utf-8)",
        group="meaning",
        metavar="NAME",
        watch_option="record_encoding",
    ),
    Option(
        "max_line",
        _values.at_least(16, _values.number),
        "size limit of a record; a longer line goes on in the next (default 65536)",
        group="meaning",
        metavar="BYTES",
        watch_option="max_line",
    ),
    Option(
        "partial_delay",
        _values.at_least(0.001, _values.seconds),
        "time after which an unfinished line, such as a prompt, becomes a record (default 0.2)",
        group="meaning",
        metavar="TIME",
        watch_option="partial_delay",
    ),
]

BY_KEY = {option.key: option for option in OPTIONS}
