"""The command ``subwatch``."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line tool.

    Args:
        argv: Arguments without the program's name; by default those of this process, which then ends here.

    Returns:
        The exit status.
    """
    if argv is not None:
        return _main(argv)
    _prepare()
    try:
        status = _main(sys.argv[1:])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # nobody reads what we print (| head)
        status = 141
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError:  # nobody reads it any more
        pass
    # Sinks had their time. What libraries do at exit (retries of a minute, seen) is not waited for.
    os._exit(status)


def _main(argv: Sequence[str]) -> int:
    from . import _parser

    parser = _parser.build()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        _parser.refuse(getattr(arguments, "parser", parser), unknown[0])
    if arguments.version:
        from importlib.metadata import version

        print(f"subwatch {version('subwatch')}")
        return 0
    if arguments.subcommand is None:
        parser.print_help()
        return 0
    return _dispatch(arguments)


def _dispatch(arguments: Namespace) -> int:
    from ..errors import SubwatchError
    from ._say import say

    if arguments.subcommand == "demo":
        from ._demo import demo

        return demo(plain=arguments.plain)
    if arguments.subcommand == "completion":
        from ._completion import script

        print(script(arguments.shell), end="")
        return 0
    from . import _parser, _settings

    running = arguments.subcommand == "run"
    given = _parser.given(arguments) if running else {}
    try:
        settings = _settings.gather(given, arguments.config, not arguments.no_config, os.environ)
        for remark in settings.remarks:
            say(remark)
        if running:
            from ._run import run

            return run(settings, _parser.command(arguments))
        from ._sinks import sinks

        return sinks(settings, check=arguments.check, names=arguments.names)
    except SubwatchError as error:
        say(str(error))
        return 125 if running else 1


def _prepare() -> None:
    """Undo what starting Python has changed, so that the command finds all as we have found it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            # closed: taken, so that no file of ours gets this number; closed again for the command (PEP 446)
            os.open(os.devnull, os.O_RDWR)
    if os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        try:
            with open("/proc/self/environ", "rb") as file:
                coerced = not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0"))
        except OSError:
            coerced = False
        if coerced:  # by Python itself, in the C locale (PEP 538)
            del os.environ["LC_CTYPE"]
