"""The command line, and the help that a person reads."""

from __future__ import annotations

import argparse
import os
import re

from ..errors import ConfigError
from ._options import GROUPS, OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ._options import Option

__all__ = ["build", "command", "given", "refuse"]

# Texts fit into 80 columns; what argparse folds is folded to the width of the terminal.
_ABOUT = """\
Run a command and have what it says on stderr where you look: in a log, in Loki,
Sentry or OpenTelemetry, as JSON, or as a live display. The command notices
nothing, and neither do you: its output, its exit status, Ctrl-C and Ctrl-Z are
what they are without subwatch.
"""

_START = """\
to begin with:
  subwatch demo                          see it work, no server needed
  subwatch run --json run.jsonl -- make  run a command, keep its records as JSON
  subwatch sinks                         what records can go to here
  subwatch run --help                    everything that 'run' can do
"""

_RUN = """\
Run COMMAND with its streams, signals and exit status untouched, and send a
record of its start, of each line on its stderr and of its end to sinks.
"""

_EXAMPLES = """\
examples:
  subwatch run --sink loki:url=http://127.0.0.1:3100 -- pg_basebackup -D b -v -P
      ship each line to Loki while the backup runs
  subwatch run --quiet --timeout 2h -- restic backup /home
      for cron: no mail unless it fails; it may take two hours
  subwatch run --log backup.log --tag cluster=main -- ./backup.sh
      a log file with times and levels; your terminal shows what it always shows
  subwatch run --log syslog --hold-back -- ./backup.sh
      warnings alarm nobody when it succeeds; when it fails its last lines do
  subwatch run --log - -- make
      the log on stderr, in place of the raw lines
  subwatch run --stop-on 'ready to accept' --json - -- ./server
      wait for a line, then end it
  subwatch run --tree --grace 30 --idle-timeout 10m -- ./job
      end the job and all that it has started when it falls silent

settings:
  Every option can also be set in subwatch.toml (or in pyproject.toml, under
  [tool.subwatch]) in this folder or above, and by a variable: --idle-timeout is
  idle_timeout there and SUBWATCH_IDLE_TIMEOUT here. The command line wins over
  variables, these over the file. A table [sink.NAME] in the file, and variables
  SUBWATCH_SINK_NAME_KEY, set options of a sink for whoever names it.

      sinks = ["loki"]
      grace = "30s"
      tags = { cluster = "main" }
      [sink.loki]
      url = "http://127.0.0.1:3100"

exit status:
  that of the command; 128+N if signal N killed it, 124 after a timeout, 126 if
  it cannot be run, 127 if it does not exist, 125 if subwatch itself was asked
  for something impossible.

A TIME is a number of seconds, or has a unit: 500ms, 90s, 15m, 2h, 1d.
"""


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and where help is."""

    status = 2

    def error(self, message: str) -> NoReturn:
        from ..sinks._plain import plain

        message = plain(message.removeprefix("argument ").removeprefix("command: "))
        if wrong := re.match(r"COMMAND: invalid choice: (['\"])(.*?)\1 \(choose from", message):
            message = _no_command(wrong[2])
        self.exit(self.status, f"subwatch: {message}\nsubwatch: see '{self.prog} --help'\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # of "--json=--" argparse takes the value away before Python 3.12.5
        if action.option_strings and arg_strings == ["--"]:
            return self._get_value(action, "--")
        return super()._get_values(action, arg_strings)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help without noise: ``-t, --timeout TIME``, and a ``--no-`` only where that is news."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=max(60, min(_columns(), 100)))

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # what counts is what stands below it
            return "".join(map(self._format_action, action._get_subactions()))
        return super()._format_action(action)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        flags = [
            flag
            for flag in action.option_strings
            if not flag.startswith("--no-") or action.dest in ("pty", "no_config")
        ]
        return ", ".join(flags) + (f" {self._format_args(action, action.dest)}" if action.nargs != 0 else "")


def _columns() -> int:
    """Width of the terminal, as shutil has it, which would be half as long to import as all of this."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            return os.get_terminal_size(1).columns
        except OSError:
            return 80


def build() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    common: dict[str, Any] = {"formatter_class": _Formatter, "allow_abbrev": False}
    parser = _Parser(prog="subwatch", description=_ABOUT, epilog=_START, add_help=False, **common)
    commands = parser.add_subparsers(
        dest="subcommand", metavar="COMMAND", title="commands", parser_class=_Parser
    )
    options = parser.add_argument_group("options")
    options.add_argument("-h", "--help", action="help", help="show this help and exit")
    options.add_argument("--version", action="store_true", help="show the version and exit")

    run = commands.add_parser(
        "run",
        help="run a command, watched",
        usage="subwatch run [OPTION]... [--] COMMAND [ARGUMENT]...",
        description=_RUN,
        epilog=_EXAMPLES,
        **common,
    )
    run.status = 125  # not to be taken for a status of the command; as timeout(1) and env(1)
    run.set_defaults(parser=run)
    _add_run(run)
    sinks = commands.add_parser(
        "sinks",
        help="list the sinks that are installed; check that they work",
        description="List what records can be sent to here.",
        **common,
    )
    sinks.add_argument(
        "--check", action="store_true", help="make, open and close each with your settings; say what is wrong"
    )
    sinks.add_argument("--names", action="store_true", help="print names only")
    sinks.set_defaults(parser=sinks)
    _add_config(sinks)
    _add_shows(commands, common)
    return parser


def _add_shows(commands: Any, common: dict[str, Any]) -> None:
    demo = commands.add_parser(
        "demo",
        help="a short show that needs no server",
        description="Watch a few programs of Python's standard library at once, one of which fails.",
        **common,
    )
    demo.set_defaults(parser=demo)
    demo.add_argument(
        "--plain", action="store_true", help="plain lines, even on a terminal with subwatch-rich installed"
    )
    completion = commands.add_parser(
        "completion",
        help="print a completion script for your shell",
        description="Print a completion script.",
        epilog=_COMPLETION,
        **common,
    )
    completion.set_defaults(parser=completion)
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])


_COMPLETION = """\
to install:
  bash   cd ~/.local/share/bash-completion/completions &&
         subwatch completion bash > subwatch
  zsh    subwatch completion zsh > "${fpath[1]}/_subwatch"
  fish   subwatch completion fish > ~/.config/fish/completions/subwatch.fish
"""


def _add_run(run: argparse.ArgumentParser) -> None:
    for key, title in GROUPS.items():
        group = run.add_argument_group(title)
        for option in OPTIONS:
            if option.group == key:
                _add(group, option)
    _add_config(run.add_argument_group("settings"))
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)


def _add(group: Any, option: Option) -> None:
    if not option.metavar:
        group.add_argument(
            *option.flags, dest=option.key, action=argparse.BooleanOptionalAction, help=option.help
        )
    elif option.each is not None:
        group.add_argument(*option.flags, dest=option.key, action="append", metavar=option.metavar,
                           type=_typed(option.each), help=option.help)  # fmt: skip
    else:
        group.add_argument(*option.flags, dest=option.key, metavar=option.metavar,
                           type=_typed(option.parse), help=option.help)  # fmt: skip


def _add_config(parser: Any) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="settings file to use, in place of the one found here or above"
    )
    parser.add_argument("--no-config", action="store_true", help="use no settings file")


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def convert(value: str) -> Any:
        try:
            return parse(value)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _no_command(word: str) -> str:
    """What is to be said to whoever forgets ``run``, or slips."""
    from difflib import get_close_matches

    close = get_close_matches(word, ["run", "sinks", "demo", "completion"], 1)
    cure = f": did you mean {close[0]!r}?" if close else f"; to run a program, write: subwatch run -- {word}"
    return f"there is no command {word!r}{cure}"


def refuse(parser: argparse.ArgumentParser, word: str) -> NoReturn:
    """End with what is to be said about a word that the parser does not know."""
    from difflib import get_close_matches

    word = word.partition("=")[0]  # what follows may be a credential
    close = get_close_matches(word, parser._option_string_actions, 1)
    parser.error(
        f"unknown {'option' if word.startswith('-') else 'argument'} {word}"
        + (f": did you mean {close[0]}?" if close else "")
    )


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line sets, by key."""
    values: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(arguments, option.key)
        if value is not None:
            values[option.key] = dict(value) if option.key == "tags" else value
    return values


def command(arguments: argparse.Namespace) -> list[str]:
    """The command to run."""
    words: list[str] = arguments.command
    return words[1:] if words[:1] == ["--"] else words  # Python 3.12.5 takes it away itself
