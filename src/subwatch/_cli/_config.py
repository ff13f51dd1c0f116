"""Settings from files and variables: where they are, what they say, and where exactly they are wrong."""

from __future__ import annotations

import os
import re
import stat
from functools import partial
from itertools import islice

from ..errors import ConfigError
from ._options import BY_KEY, OPTIONS
from ._values import Spec, Word, put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

__all__ = ["Source", "close", "combine", "find", "from_environment", "from_file"]

_SINK = "SUBWATCH_SINK_"
_OTHERS = {"SUBWATCH_CONFIG"}


class Source:
    """What one file, or the environment, sets.

    Attributes:
        values: Values by key.
        sinks: Options of sinks by the sink's name; they hold for whoever names it.
        remarks: What is odd but no error.
        place: Tells where it sets a key, or the options of a sink (``sink.NAME``); empty where that is plain.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sinks: dict[str, dict[str, Any]] = {}
        self.remarks: list[str] = []
        self.place: Callable[[str], str] = lambda key: ""  # noqa: ARG005


# -- files ------------------------------------------------------------------------------------------------


def find(start: str, remarks: list[str]) -> tuple[str, bytes] | None:
    """Find the file that holds here: ``subwatch.toml``, else a ``pyproject.toml`` with ``[tool.subwatch]``.

    It is looked for in a folder and those above it. A file that somebody else may have written (root excepted)
    is not taken: whoever may write to /tmp must not choose where the output of root's jobs goes.

    Args:
        start: Folder to begin in.
        remarks: Gets a line about a file that was not taken.

    Returns:
        The file and what it says, read from the very file that was judged.
    """
    folder, above = start, os.path.dirname(start)
    while True:
        for path in (os.path.join(folder, "subwatch.toml"), os.path.join(folder, _PYPROJECT)):
            content, objection = _look(path)
            if not content or (path.endswith(_PYPROJECT) and b"tool.subwatch" not in content):
                continue
            if not objection:
                return path, content
            remarks.append(f"{path} is not used: {objection}; to use it, say --config {path}")
        if folder == above:
            return None
        folder, above = above, os.path.dirname(above)


_PYPROJECT = "pyproject.toml"
_LARGEST = 1024 * 1024  # bytes; also of what nobody has asked us to read


def _look(path: str) -> tuple[bytes, str]:
    """What a file says, and what speaks against believing it; nothing where there is no ordinary file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would never end
            return b"", ""
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            link, found = os.lstat(path), os.fstat(file.fileno())
            content = file.read(_LARGEST + 1)
    except OSError:
        return b"", ""
    ours = (0, os.geteuid())
    if found.st_uid not in ours or link.st_uid not in ours:  # nor a link of somebody else's to a file of ours
        return content, "it belongs to another user"
    if found.st_mode & stat.S_IWOTH:
        return content, "everybody may write to it"
    return content, "it is larger than 1 MiB" if len(content) > _LARGEST else ""


def from_file(path: str, content: bytes | None = None) -> Source:
    """Read a file.

    Args:
        path: The file.
        content: What it says, if that was read already.

    Raises:
        ConfigError: It cannot be read, is no TOML, or has a wrong key or value; with its name and the line.
    """
    import tomllib

    try:
        if content is None:
            with open(path, "rb") as file:
                content = file.read()
        text = content.decode("utf-8")
        data: Any = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not encoded in UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    except (ValueError, RecursionError) as error:  # ValueError: also of an int that is too long to convert
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise ConfigError(f"{path} is no valid TOML: {reason}") from None
    inside = os.path.basename(path) == _PYPROJECT
    if inside:
        tool = data.get("tool", {})
        data = tool.get("subwatch", {}) if isinstance(tool, dict) else {}
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: settings stand in a table, [tool.subwatch]")
    source = Source()
    source.place = partial(_place, path, text, inside)
    for key, value in data.items():
        if key == "sink":
            _sink_tables(source, value)
            continue
        option = BY_KEY.get(key)
        if option is None:
            raise ConfigError(f"{source.place(key)}: unknown key {key!r}: {_nearest(key, [*BY_KEY, 'sink'])}")
        try:
            source.values[key] = option.parse(value)
        except ConfigError as error:
            raise ConfigError(f"{source.place(key)}: {key} {error}") from None
    return source


def _sink_tables(source: Source, tables: Any) -> None:
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        cure = "options of a sink stand in a table of its own, such as [sink.loki]; which to use, in sinks"
        raise ConfigError(f"{source.place('sink')}: {cure}")
    source.sinks = tables


def _place(path: str, text: str, within: bool, key: str) -> str:
    """The file, and the line on which a key is set; `within`: in a part of the file."""
    keys = ["tool", "subwatch"] * within + key.split(".", 1)
    lines = text.split("\n")
    named = re.compile(rf"(?<![\w-]){re.escape(keys[-1])}(?![\w-])").search
    for number in islice((number for number, line in enumerate(lines) if named(line)), _TRIES):
        line = lines[number]  # without its value, which may go on over the next lines
        head = line if line.lstrip().startswith("[") else line.partition("=")[0] + "= 0"
        if _sets("\n".join([*lines[:number], head]), keys):
            return f"{path}, line {number + 1}"
    return path


_TRIES = 30  # each reads the file from its beginning


def _sets(text: str, keys: list[str]) -> bool:
    """Whether a file's beginning sets a key."""
    import tomllib

    try:
        data: Any = tomllib.loads(text)
    except ValueError:  # within a text or list of several lines
        return False
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return False
        data = data[key]
    return True


# -- variables --------------------------------------------------------------------------------------------


def from_environment(environ: Mapping[str, str]) -> Source:
    """Read the variables ``SUBWATCH_KEY`` and ``SUBWATCH_SINK_NAME_OPTION``; an empty one sets nothing.

    Raises:
        ConfigError: One has a wrong value.
    """
    source = Source()
    source.place = _variable
    known = {option.variable: option for option in OPTIONS}
    for name, value in sorted(environ.items()):
        if not name.startswith("SUBWATCH_") or not value:
            continue
        if option := known.get(name):
            try:
                source.values[option.key] = option.parse(value)
            except ConfigError as error:
                raise ConfigError(f"variable {name} {error}") from None
        elif name.startswith(_SINK) and "_" in name[len(_SINK) :]:
            sink, _, key = name[len(_SINK) :].lower().partition("_")
            put(source.sinks.setdefault(sink, {}), key, Word(value))
        elif name not in _OTHERS and (near := close(name, known, 0.85)):
            source.remarks.append(f"variable {name} means nothing to subwatch: did you mean {near}?")
    return source


def _variable(key: str) -> str:
    name = "SUBWATCH_" + key.upper().replace(".", "_")
    return f"variables {name}_..." if key.startswith("sink.") else f"variable {name}"


def _nearest(key: str, keys: list[str]) -> str:
    near = close(key.replace("-", "_"), keys)
    return f"did you mean {near!r}?" if near else f"keys are {', '.join(sorted(keys))}"


def close(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Which of the known words is much like this one, if any."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, 1, cutoff)), None)


# -- sinks ------------------------------------------------------------------------------------------------


def combine(spec: Spec, sources: Iterator[Source]) -> Spec:
    """A sink with the options that files and variables set for it, under those written with its name."""
    options: dict[str, Any] = {}
    for source in sources:
        _update(options, source.sinks.get(spec.name, {}))
    _update(options, spec.options)
    return Spec(spec.name, options)


def _update(options: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(options.get(key), dict):
            _update(options[key], value)
        else:
            options[key] = dict(value) if isinstance(value, dict) else value
