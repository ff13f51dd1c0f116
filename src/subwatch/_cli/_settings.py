"""All settings of one invocation: the command line over variables over a file over the defaults."""

from __future__ import annotations

import os

from .. import _plugins
from ..errors import ConfigError, SubwatchError
from . import _config, _values
from ._options import OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..sinks import Sink
    from ._config import Source
    from ._values import Spec

__all__ = ["Settings", "gather"]


class Settings:
    """What holds, after everybody was heard.

    Args:
        sources: From the weakest to the strongest.

    Attributes:
        remarks: What is odd but no error.
    """

    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources
        self._values: dict[str, Any] = {}
        self.remarks = [remark for source in sources for remark in source.remarks]
        for source in sources:
            for key, value in source.values.items():
                if key == "tags":
                    self._values[key] = {**self._values.get(key, {}), **value}
                elif key == "redact":
                    self._values[key] = [*self._values.get(key, []), *value]
                else:
                    self._values[key] = value

    def __getitem__(self, key: str) -> Any:
        return self._values.get(key)

    def watch_options(self) -> dict[str, Any]:
        """The options of `Watch` that are set, sinks excepted."""
        return {
            option.watch_option: self._values[option.key]
            for option in OPTIONS
            if option.watch_option and option.key in self._values
        }

    def configured(self, name: str) -> bool:
        """Whether a file or a variable has options for a sink."""
        return any(name in source.sinks for source in self._sources)

    def unused(self, specs: list[Spec]) -> list[str]:
        """What was set for sinks that are not there, where one that is there is called nearly so."""
        named = {spec.name for spec in specs}
        return [
            f"{source.place(f'sink.{name}')}: options for {name!r} are not used: did you mean {close!r}?"
            for source in self._sources
            for name in source.sinks
            if name not in named and (close := _config.close(name, named, 0.75))
        ]

    def build(self, spec: Spec) -> Sink:
        """Make a sink, with all options that were set for it.

        Raises:
            SubwatchError: It is not installed, broken or wrongly set; the message names the file that has it.
        """
        try:
            return _plugins.build(self._resolved(spec))[0]
        except SubwatchError as error:
            place = self._blame(spec, f"sink.{spec.name}") if isinstance(error, ConfigError) else ""
            place = place or self._blame(spec, "sinks")
            raise type(error)(f"{place}: {error}" if place else str(error)) from error

    def _blame(self, spec: Spec, key: str) -> str:
        """Where the sink was set or named; empty where that is plain."""
        for source in reversed(self._sources):
            if key == "sinks":
                if key in source.values:
                    return source.place(key) if spec in source.values[key] else ""
            elif spec.name in source.sinks:
                return source.place(key)
        return ""

    def _resolved(self, spec: Spec) -> _plugins.SinkSpec:
        if spec.name == "callable":
            raise ConfigError(
                "sink 'callable' takes a Python function: it is for use in code, sinks=[function]"
            )
        combined = _config.combine(spec, iter(self._sources))
        annotations = _annotations(spec.name) if combined.options else {}
        options = _values.resolve(combined.options, lambda key: annotations.get(key, ""))
        for key, value in options.items():
            if takes := _misfit(value, annotations.get(key, "")):  # what it is may be a secret
                raise ConfigError(f"option {key!r} of sink {spec.name!r} takes {takes}")
        return _plugins.sink(spec.name, **options)


def _annotations(name: str) -> dict[str, str]:
    """The types of a sink's arguments, as they stand in its source."""
    import inspect

    try:
        parameters = inspect.signature(_plugins.factory(name)).parameters
    except (TypeError, ValueError):
        return {}
    return {key: str(parameter.annotation) for key, parameter in parameters.items()}


_KINDS: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "true or false"),
}


def _misfit(value: Any, annotation: str) -> str:
    """What an argument takes, where it is plain that this value is not that; otherwise nothing."""
    words = annotation.split(" | ")
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if len(kinds) + words.count("None") < len(words):
        return ""
    fits = "bool" in words if isinstance(value, bool) else any(isinstance(value, kind) for kind, _ in kinds)
    return "" if fits else " or ".join(takes for _, takes in kinds)


def gather(
    given: Mapping[str, Any], config: str | None, use_file: bool, environ: Mapping[str, str]
) -> Settings:
    """Collect the settings.

    Args:
        given: What the command line sets, by key.
        config: A file that it names.
        use_file: Whether a file may be used at all.
        environ: The environment.

    Raises:
        ConfigError: Something is wrong; the message says where and what would be right.
    """
    sources: list[Source] = []
    remarks: list[str] = []
    named = config or environ.get("SUBWATCH_CONFIG")
    if use_file:
        found = (named, None) if named else _config.find(_cwd(), remarks)
        if found is not None:
            sources.append(_config.from_file(*found))
    sources.append(_config.from_environment(environ))
    line = _config.Source()
    line.values = dict(given)
    line.remarks = remarks
    sources.append(line)
    return Settings(sources)


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return os.sep
