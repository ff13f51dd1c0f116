"""The command ``subwatch-loki``: look into the spool, empty it, print the Grafana dashboard."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sqlite3
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subwatch.errors import ConfigError
from subwatch_loki._options import HIDDEN, Options, default_spool
from subwatch_loki._sender import Sender
from subwatch_loki._spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the program's name; default those of the process.

    Returns:
        Exit status: 0, 1 when something is left in the spool, 2 when it could not be done.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        status: int = options.run(options)
    except (ConfigError, OSError, sqlite3.Error) as error:
        _say(f"subwatch-loki: {error}", sys.stderr)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="subwatch-loki", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    spool = commands.add_parser("spool", help="batches on disk that are not delivered yet")
    actions = spool.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser("status", help="show what is stored, and what was lost")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)
    drain = actions.add_parser("drain", help="deliver what is stored, oldest first")
    drain.add_argument("--url", help="server (default: LOKI_URL, else the only one in the spool)")
    drain.add_argument("--tenant", help="tenant (default: LOKI_TENANT)")
    drain.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="default: 60")
    drain.set_defaults(run=_drain)
    for action in (status, drain):
        action.add_argument("--spool", type=Path, metavar="FILE", help=f"default: {default_spool()}")
    dashboard = commands.add_parser("dashboard", help="print a Grafana dashboard to import")
    dashboard.set_defaults(run=_dashboard)
    return parser


def _say(text: str, stream: Any = None) -> None:
    print(text, file=stream or sys.stdout)


def _look(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    spool = Spool(path, "", 1)
    try:
        return spool.status()
    finally:
        spool.close()


def _status(options: argparse.Namespace) -> int:
    path = options.spool or default_spool()
    found = _look(path)
    if options.json:
        _say(json.dumps(found, indent=2))
        return int(any(each["entries"] for each in found.values()))
    if not found:
        _say(f"{path}: empty")
    for target, each in found.items():
        age = "" if each["oldest_ns"] is None else f", oldest from {_moment(each['oldest_ns'])}"
        _say(f"{target}: {each['entries']} entries in {each['batches']} batches, {each['bytes']} bytes{age}")
        for reason, entries in each["lost"].items():
            _say(f"{target}: {entries} entries lost so far: {reason}")
    return int(any(each["entries"] for each in found.values()))


def _moment(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time_ns / 1e9))


def _drain(options: argparse.Namespace) -> int:
    path = options.spool or default_spool()
    url, tenant = options.url, options.tenant
    if not url and not os.environ.get("LOKI_URL"):
        targets = [target for target, each in _look(path).items() if each["entries"]]
        if not targets:
            _say(f"{path}: empty")
            return 0
        if len(targets) > 1:
            raise ConfigError(f"say which one with --url and --tenant: {', '.join(targets)}")
        name, _, rest = targets[0].partition("@")
        tenant, url = (name, rest) if rest and "/" not in name else (None, targets[0])
        if HIDDEN in url:
            raise ConfigError(f"say the whole URL with --url or LOKI_URL: the spool hides its query: {url}")
    settings = Options.build(url=url, tenant=tenant, spool=path)
    before = _left(path, settings.target)
    sender = Sender(settings)
    sender.start()
    deadline = time.monotonic() + options.timeout
    while (left := _left(path, settings.target)) and not sender.denied and time.monotonic() < deadline:
        time.sleep(0.1)
    sender.close(0.1)
    _say(f"{settings.target}: {before - left} of {before} entries done, {sender.outbox.lost} of them lost")
    return int(left > 0)


def _left(path: Path, target: str) -> int:
    entries: int = _look(path).get(target, {}).get("entries", 0)
    return entries


def _dashboard(options: argparse.Namespace) -> int:  # noqa: ARG001 - it has none
    _say((files("subwatch_loki") / "dashboard.json").read_text("utf-8").rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
