"""The one list of attribute names, and how a run and its exit become attributes.

Names without the prefix ``subwatch.`` are of the semantic conventions, version 1.44: the span group
``span.cli.client`` (caller's side), and the registries ``process``, ``code``, ``error`` and ``log``. Their
Python constants are "incubating" and move between releases, hence the copies.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from subwatch.records import LEVEL_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from subwatch.records import Exit, Line, Run

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

CODE_FILE_PATH = "code.file.path"
CODE_FUNCTION_NAME = "code.function.name"
CODE_LINE_NUMBER = "code.line.number"
ERROR_TYPE = "error.type"
LOG_IOSTREAM = "log.iostream"
PROCESS_ARGS_COUNT = "process.args_count"
PROCESS_COMMAND_ARGS = "process.command_args"
PROCESS_EXECUTABLE_NAME = "process.executable.name"
PROCESS_EXECUTABLE_PATH = "process.executable.path"
PROCESS_EXIT_CODE = "process.exit.code"
PROCESS_PID = "process.pid"
PROCESS_WORKING_DIRECTORY = "process.working_directory"

# What the conventions have no name for.
RUN_ID = "subwatch.run.id"
EXIT_REASON = "subwatch.exit.reason"
EXIT_SIGNAL = "subwatch.exit.signal"
CPU_USER = "subwatch.cpu.user"  # seconds
CPU_SYSTEM = "subwatch.cpu.system"  # seconds
MEMORY_MAX = "subwatch.memory.max_rss"  # bytes
LINE_CONTINUED = "subwatch.line.continued"
LINE_LATE = "subwatch.line.late"
LINE_LEVEL = "subwatch.line.level"
LINE_NUMBER = "subwatch.line.number"
LINE_PARTIAL = "subwatch.line.partial"
LINE_TEXT = "subwatch.line.text"
LINE_TRUNCATED = "subwatch.line.truncated"
LINES_DROPPED = "subwatch.lines.dropped"
LINES_THINNED = "subwatch.lines.thinned"
TAIL = "subwatch.tail"
FIELD_PREFIX = "subwatch.field."
TAG_PREFIX = "subwatch.tag."

EXIT_EVENT = "subwatch.process.exit"
LINE_EVENT = "subwatch.process.line"

# A tag named like one of ours, or like one that OpenTelemetry keeps for itself, is moved under TAG_PREFIX.
_RESERVED = ("code.", "error.", "exception.", "log.", "otel.", "process.", "subwatch.", "telemetry.")
# Room that an SDK's default limit of 128 attributes leaves beside ours.
_MAX_TAGS = 64
_MAX_FIELDS = 64
_MAX_ARGS = 256


def clean(value: object, limit: int | None) -> str:
    """Return a text that every exporter can encode, no longer than allowed.

    A file name that is no UTF-8 reaches Python with lone surrogates; protobuf refuses these, and
    the whole batch would be lost with them.

    Args:
        value: Text, or an object to take the text of.
        limit: Largest length in characters, or None.

    Returns:
        The text, lone surrogates escaped with a backslash, cut at the limit.
    """
    text = str(value)[:limit]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()[:limit]


def tag_attributes(tags: Mapping[str, str], limit: int | None) -> dict[str, Any]:
    """Return the user's labels; those named like attributes of ours, or reserved ones, under a prefix.

    Args:
        tags: The run's tags.
        limit: Largest length of a value, in characters.

    Returns:
        Attributes of the span from its creation, so that samplers may decide by them.
    """
    attributes = {}
    for name, value in islice(tags.items(), _MAX_TAGS):
        if name:
            key = clean(name, None)
            attributes[TAG_PREFIX + key if key.startswith(_RESERVED) else key] = clean(value, limit)
    return attributes


def process_attributes(run: Run, limit: int | None, pid: int | None, command_args: bool) -> dict[str, Any]:
    """Return what was started and where, the most important first.

    Args:
        run: The run.
        limit: Largest length of a value, in characters.
        pid: Process id, or None when the child could not be started.
        command_args: Whether to give the (redacted) command.

    Returns:
        Attributes of the span.
    """
    caller = run.caller
    where = (None, 0, "") if caller is None else (caller.file, caller.line, caller.function)
    command = _command(limit, run.program, run.argv, run.cwd, command_args, *where)
    ids = {RUN_ID: run.id[:limit]} if pid is None else {RUN_ID: run.id[:limit], PROCESS_PID: pid}
    return {**ids, **command}


@lru_cache(64)  # the same place in the code mostly starts the same program
def _command(
    limit: int | None,
    program: str,
    argv: tuple[str, ...],
    cwd: str,
    command_args: bool,
    file: str | None,
    line: int,
    function: str,
) -> dict[str, Any]:
    attributes: dict[str, Any] = {PROCESS_EXECUTABLE_NAME: clean(program, limit)}
    if command_args:
        attributes[PROCESS_COMMAND_ARGS] = [clean(arg, limit) for arg in argv[:_MAX_ARGS]]
        if len(argv) > _MAX_ARGS:
            attributes[PROCESS_ARGS_COUNT] = len(argv)
    attributes[PROCESS_WORKING_DIRECTORY] = clean(cwd, limit)
    # with `executable` another program runs in its place
    if argv and argv[0].startswith("/") and argv[0].endswith("/" + program):
        attributes[PROCESS_EXECUTABLE_PATH] = clean(argv[0], limit)
    if file is not None:
        attributes[CODE_FILE_PATH] = clean(file, limit)
        attributes[CODE_LINE_NUMBER] = line
        attributes[CODE_FUNCTION_NAME] = clean(function, limit)
    return attributes


def child_attributes(run: Run, limit: int | None, pid: int | None, alone: bool) -> dict[str, Any]:
    """Return what every log record of a child carries.

    Args:
        run: The run.
        limit: Largest length of a value, in characters.
        pid: Process id, or None when the child could not be started.
        alone: Whether no recorded span says the rest of it.

    Returns:
        The program's name; where no span has them, the process id and the run, too.
    """
    attributes: dict[str, Any] = {PROCESS_EXECUTABLE_NAME: clean(run.program, limit)}
    if alone:
        attributes[RUN_ID] = run.id[:limit]
        if pid is not None:
            attributes[PROCESS_PID] = pid
    return attributes


def exit_attributes(exit: Exit, limit: int | None) -> dict[str, Any]:
    """Return how the child ended, the most important first.

    Args:
        exit: The exit record.
        limit: Largest length of a value, in characters.

    Returns:
        Attributes of the span, and of the exit's log record.
    """
    attributes: dict[str, Any] = {}
    code = exit_code(exit)
    if code is not None:
        attributes[PROCESS_EXIT_CODE] = code
    error = error_type(exit)
    if error is not None:
        attributes[ERROR_TYPE] = error[:limit]
    if exit.signal is not None:
        attributes[EXIT_SIGNAL] = exit.signal[:limit]
    if exit.reason not in ("exited", "signaled"):
        attributes[EXIT_REASON] = exit.reason[:limit]
    if exit.usage is not None:
        attributes[CPU_USER] = exit.usage.user
        attributes[CPU_SYSTEM] = exit.usage.system
        attributes[MEMORY_MAX] = exit.usage.max_rss
    return attributes


def exit_code(exit: Exit) -> int | None:
    """Return the exit code as shells say it: 128 + N after signal N, None when there is none."""
    code = exit.returncode
    return 128 - code if code is not None and code < 0 else code


def error_type(exit: Exit) -> str | None:
    """Return the failure's class, of low cardinality as ``error.type`` must be; None on success.

    Returns:
        ``timeout``, ``idle``, ``interrupted``, ``cancelled`` when subwatch ended the child; ``lost`` when the
        worker that ran it died; the class of the exception when it could not start (``FileNotFoundError``);
        the signal's name (``SIGKILL``); else the exit code; ``_OTHER`` when none of this is known.
    """
    if not exit.failed:
        return None
    if exit.reason == "timed_out":
        return "timeout"
    if exit.reason in ("idle", "interrupted", "cancelled", "lost"):
        return exit.reason
    if exit.reason == "spawn_failed":
        return exit.error_type or "_OTHER"
    return exit.signal or ("_OTHER" if exit.returncode is None else str(exit.returncode))


def field_attributes(fields: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    """Return what a structured line (JSON, logfmt) says, as attributes of its log record.

    Args:
        fields: The line's fields.
        limit: Largest length of a value, in characters.

    Returns:
        Numbers and truth values as they are where OTLP has room for them (64 bits), lists and
        objects as JSON text, all else as text; nothing for null.
    """
    return {
        FIELD_PREFIX + clean(name, None): value if _is_plain(value) else clean(_text(value), limit)
        for name, value in islice(fields.items(), _MAX_FIELDS)
        if value is not None
    }


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, float)) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _text(value: object) -> object:
    # the SDK takes them as they are from version 1.45 on only, and most backends do not take them at all
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (dict, list)) else value


def level_name(level: int) -> str:
    """Return the name of a level, its number where it has none."""
    return LEVEL_NAMES.get(level, str(level))


def line_attributes(line: Line, limit: int | None) -> dict[str, Any]:
    """Return a line as attributes, for an event of the span."""
    return {
        LINE_TEXT: clean(line.text, limit),
        LINE_LEVEL: level_name(line.level),
        LINE_NUMBER: line.number,
        LOG_IOSTREAM: line.stream,
    }
