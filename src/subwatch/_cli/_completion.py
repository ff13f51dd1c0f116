"""``subwatch completion``: scripts for bash, zsh and fish, made from the parser."""

from __future__ import annotations

import argparse

from ._parser import build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["script"]

_Actions = list[argparse.Action]


def script(shell: str) -> str:
    """Return the completion script for ``"bash"``, ``"zsh"`` or ``"fish"``."""
    subcommands, helps = _subcommands()
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](subcommands, helps)


def _subcommands() -> tuple[dict[str, _Actions], dict[str, str]]:
    parser = build()
    chosen = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in chosen._get_subactions()}
    return {name: list(sub._actions) for name, sub in chosen.choices.items()}, helps


def _options(actions: _Actions) -> Iterator[argparse.Action]:
    return (action for action in actions if action.option_strings)


def _kind(action: argparse.Action) -> str:
    """What its value is: ``file``, ``sink``, a list of words, or nothing that can be guessed."""
    metavar = str(action.metavar or "")
    return {"FILE": "file", "LEVEL": "debug info warning error critical"}.get(
        metavar, "sink" if metavar.startswith("NAME[:") else ""
    )


def _short(action: argparse.Action) -> str:
    return _plain(
        (action.help or "").partition(";")[0].partition(" (")[0].partition(":")[0].replace("%%", "%")
    )


def _plain(text: str) -> str:
    return "".join(character for character in text if character not in "'[]:")


# -- bash ---------------------------------------------------------------------------------------------------

_BASH = """\
# bash completion for subwatch
_subwatch() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '@SUBCOMMANDS@ --help --version' -- "$cur"))
        return
    fi
    if [[ ${COMP_WORDS[1]} == run ]]; then
        for ((i = 2; i < COMP_CWORD; i++)); do
            case ${COMP_WORDS[i]} in
                --) ((i++)); break ;;
                @VALUED@ | : | =) ((i++)) ;;
                -*) ;;
                *) break ;;
            esac
        done
        if ((i < COMP_CWORD)) || [[ ${COMP_WORDS[i-1]} == -- && $prev != [=:] ]]; then
            if declare -F _command_offset > /dev/null; then
                _command_offset "$i"
            elif ((i == COMP_CWORD)); then
                COMPREPLY=($(compgen -c -- "$cur"))
            else
                COMPREPLY=($(compgen -f -- "$cur"))
            fi
            return
        fi
    fi
    case $prev in
@VALUES@
    esac
    case ${COMP_WORDS[1]} in
@OPTIONS@
    esac
    if [[ ${COMP_WORDS[1]} == run && $cur != -* ]]; then
        COMPREPLY=($(compgen -c -- "$cur"))
    fi
}
complete -F _subwatch subwatch
"""


def _bash(subcommands: dict[str, _Actions], _: dict[str, str]) -> str:
    valued = [action for action in _options(subcommands["run"]) if action.nargs != 0]
    values = []
    for action in valued:
        kind = _kind(action)
        words = {"file": "-f", "sink": '-W "$(subwatch sinks --names 2> /dev/null)"', "": ""}.get(
            kind, f"-W '{kind}'"
        )
        reply = f'COMPREPLY=($(compgen {words} -- "$cur"))' if words else ":"
        values.append(f"        {' | '.join(action.option_strings)}) {reply}; return ;;")
    options = []
    for name, actions in subcommands.items():
        flags = [flag for action in _options(actions) for flag in action.option_strings]
        flags += [word for action in actions if not action.option_strings for word in action.choices or ()]
        options.append(f"        {name}) COMPREPLY=($(compgen -W '{' '.join(flags)}' -- \"$cur\")) ;;")
    return (
        _BASH.replace("@SUBCOMMANDS@", " ".join(subcommands))
        .replace("@VALUED@", " | ".join(flag for action in valued for flag in action.option_strings))
        .replace("@VALUES@", "\n".join(values))
        .replace("@OPTIONS@", "\n".join(options))
    )


# -- zsh ----------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef subwatch
_subwatch_sinks() {
  local -a names
  names=(${(f)"$(subwatch sinks --names 2> /dev/null)"})
  compadd -a names
}
_subwatch() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  _arguments -C '(- *)--help[show help]' '(- *)--version[show the version]' \\
    '1: :->subcommand' '*:: :->arguments'
  case $state in
    subcommand)
      local -a subcommands
      subcommands=(@SUBCOMMANDS@)
      _describe subcommand subcommands ;;
    arguments)
      case $words[1] in
@ARGUMENTS@
      esac ;;
  esac
}
if [[ $funcstack[1] == _subwatch ]]; then _subwatch "$@"; else compdef _subwatch subwatch; fi
"""


def _zsh(subcommands: dict[str, _Actions], helps: dict[str, str]) -> str:
    cases = []
    for name, actions in subcommands.items():
        lines = []
        for action in _options(actions):
            kind = _kind(action)
            does = {"file": "_files", "sink": "_subwatch_sinks", "": " "}.get(kind, f"({kind})")
            value = f":{_plain(str(action.metavar))}:{does}" if action.nargs != 0 else ""
            many = "*" if isinstance(action, argparse._AppendAction) else ""
            lines += [f"'{many}{flag}[{_short(action)}]{value}'" for flag in action.option_strings]
        choices = next(
            (action.choices for action in actions if not action.option_strings and action.choices), None
        )
        if choices:
            lines.append(f"'1:shell:({' '.join(choices)})'")
        if name == "run":
            lines += ["'(-)1:command:_command_names -e'", "'*::arguments:_normal'"]
        joined = " \\\n          ".join(lines)
        cases.append(f"        {name}) _arguments -S \\\n          {joined} ;;")
    described = " ".join(f"'{name}:{helps[name]}'" for name in subcommands)
    return _ZSH.replace("@SUBCOMMANDS@", described).replace("@ARGUMENTS@", "\n".join(cases))


# -- fish ---------------------------------------------------------------------------------------------------


def _fish(subcommands: dict[str, _Actions], helps: dict[str, str]) -> str:
    lines = ["# fish completion for subwatch", "complete -c subwatch -f"]
    lines += [
        f"complete -c subwatch -n __fish_use_subcommand -a {name} -d '{helps[name]}'" for name in subcommands
    ]
    for name, actions in subcommands.items():
        here = f"complete -c subwatch -n '__fish_seen_subcommand_from {name}'"
        for action in _options(actions):
            kind = _kind(action)
            value = {"file": " -r -F", "sink": " -x -a '(subwatch sinks --names 2> /dev/null)'", "": " -x"}
            takes = value.get(kind, f" -x -a '{kind}'") if action.nargs != 0 else ""
            flags = "".join(
                f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"
                for flag in action.option_strings
            )
            lines.append(f"{here}{flags}{takes} -d '{_short(action)}'")
        lines += [
            f"{here} -a '{' '.join(action.choices)}'"
            for action in actions
            if not action.option_strings and action.choices
        ]
    valued = [
        flag for action in _options(subcommands["run"]) if action.nargs != 0 for flag in action.option_strings
    ]
    # its parser takes long options only as arguments that do not come first
    valued.sort(key=lambda flag: flag.startswith("--"))
    command = f"(__fish_complete_subcommand --fcs-skip=2 {' '.join(valued)})"
    lines.append(f"complete -c subwatch -n '__fish_seen_subcommand_from run' -x -a '{command}'")
    return "\n".join(lines) + "\n"
