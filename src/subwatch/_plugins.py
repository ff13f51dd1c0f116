"""Sinks by name: entry points of the group ``subwatch.sinks``, looked up lazily.

Only what is named is ever imported. All wording of errors about plugins is here.
"""

from __future__ import annotations

import time

from ._forks import importing
from ._report import report, report_undelivered, sink_name
from .errors import ConfigError, SinkLoadError, SinkNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from importlib.metadata import EntryPoint
    from typing import Any

    from .sinks import Sink, SinkLike

__all__ = ["SinkSpec", "build", "build_all", "close_all", "factory", "installed", "sink"]

GROUP = "subwatch.sinks"
_OWN = {"logging": "LoggingSink", "jsonlines": "JsonLinesSink", "callable": "CallableSink"}
_KNOWN = {"loki", "opentelemetry", "rich", "sentry"}


class SinkSpec:  # noqa: PLW1641 - options need not be hashable
    """A sink by name, with options; made by `sink`, turned into a sink when a run needs it."""

    __slots__ = ("name", "options")

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name: str = name
        self.options: dict[str, Any] = options

    def __repr__(self) -> str:
        # values may be credentials
        return f"subwatch.sink({', '.join([repr(self.name), *(f'{key}=...' for key in self.options)])})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SinkSpec):
            return NotImplemented
        return (self.name, self.options) == (other.name, other.options)


def sink(name: str, /, **options: Any) -> SinkSpec:
    """Name a sink and its options.

    Args:
        name: Name of an entry point of the group ``subwatch.sinks``, such as ``"loki"``.
        options: Arguments for that sink.

    Returns:
        A specification to give to ``sinks=``; nothing is imported yet.

    Raises:
        ConfigError: The name is not a string.
    """
    given: Any = name
    if not isinstance(given, str) or not given:
        raise ConfigError(f"a sink's name is a non-empty string such as 'loki', not {name!r}")
    return SinkSpec(name, options)


def installed() -> list[EntryPoint]:
    """Return the entry points of all installed sinks, by name, without importing any."""
    from importlib.metadata import entry_points

    unique = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    return [unique[key] for key in sorted(unique)]


def factory(name: str) -> Any:
    """Import what makes the sink of this name.

    Raises:
        SinkNotFound: No such sink is installed.
        SinkLoadError: It is installed but broken.
    """
    if name in _OWN:
        from . import sinks

        return getattr(sinks, _OWN[name])
    point = _point(name)
    if point is None:
        names = sorted({*_OWN, *(point.name for point in installed())})
        cure = f"install it with 'pip install subwatch-{name}'" if name in _KNOWN else _nearest(name, names)
        raise SinkNotFound(f"no sink named {name!r} is installed: {cure}; installed are {', '.join(names)}")
    try:
        with importing:
            return point.load()
    except Exception as error:
        raise SinkLoadError(
            f"sink {_origin(name)} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _point(name: str) -> EntryPoint | None:
    from importlib.metadata import entry_points

    return next(iter(entry_points(group=GROUP, name=name)), None)


def _nearest(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, [*names, *_KNOWN], 1)
    return f"did you mean {close[0]!r}?" if close else "install the distribution that offers it"


def _origin(name: str) -> str:
    """A sink's name and where it comes from."""
    point = None if name in _OWN else _point(name)
    if point is None:
        return repr(name)
    dist = point.dist
    where = f"distribution {dist.name} {dist.version}" if dist is not None else "an unknown distribution"
    return f"{name!r} (entry point {point.value!r} of {where})"


def build(like: SinkLike) -> tuple[Sink, bool]:
    """Turn what ``sinks=`` accepts into a sink.

    Returns:
        The sink, and whether it was made here, so that whoever asked has to close it.

    Raises:
        ConfigError: It is nothing of the kind, or its options are wrong.
        SinkNotFound: No such sink is installed.
        SinkLoadError: It is installed but broken.
    """
    if isinstance(like, str):
        like = SinkSpec(like, {})
    if isinstance(like, SinkSpec):
        return _make(like), True
    if isinstance(like, type):
        raise ConfigError(f"sinks= takes sink objects; {like.__name__} is a class: write {like.__name__}()")
    if callable(getattr(like, "open", None)):
        return like, False  # type: ignore[return-value]
    if callable(like):
        from .sinks import CallableSink

        return CallableSink(like), False
    raise ConfigError(
        f"sinks= takes names, subwatch.sink(...), sink objects and callables, not {type(like).__name__}"
    )


def build_all(likes: Iterable[SinkLike]) -> tuple[tuple[Sink, ...], tuple[Sink, ...]]:
    """Make the sinks of a list; return them all, and those that we made and have to close."""
    built = [build(like) for like in likes]
    return tuple(sink for sink, _ in built), tuple(sink for sink, mine in built if mine)


def _patience(sink: Sink) -> float:
    try:
        return float(getattr(sink, "flush_timeout", 5.0))
    except Exception:  # noqa: BLE001 - a plugin's property; the other sinks are to be closed as well
        return 5.0


def close_all(sinks: Sequence[Sink], timeout: float | None, *, tell: bool = True) -> int:
    """Close sinks, within a deadline for all.

    Args:
        sinks: The sinks.
        timeout: Seconds for all of them; None for what each was given (``flush_timeout``), or 5.
        tell: Report what they could not deliver: nobody looks at what this returns.

    Returns:
        How many records they could not deliver.
    """
    limits = [_patience(sink) if timeout is None else timeout for sink in sinks]
    deadline = time.monotonic() + max(limits, default=0.0)
    lost = 0
    for sink, limit in zip(sinks, limits, strict=True):
        try:
            left = sink.close(max(0.0, min(limit, deadline - time.monotonic()))) or 0
            lost += left
            if tell:
                report_undelivered(sink, left)
        except Exception as error:  # noqa: BLE001 - one sink's trouble is not another's
            report("sink %r failed while closing: %s: %s", sink_name(sink), type(error).__name__, error)
    return lost


def _make(spec: SinkSpec) -> Sink:
    make = factory(spec.name)
    try:
        made = make(**spec.options)
    except ConfigError:
        raise
    except TypeError as error:
        said, cause = _safely(error, spec.options)
        if (unknown := _unknown_option(make, spec.options)) is not None:
            raise ConfigError(f"sink {spec.name!r} has no option {unknown}") from cause
        given = ", ".join(spec.options) or "none"
        raise ConfigError(f"wrong options for sink {spec.name!r} ({given}): {said}") from cause
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        said, cause = _safely(error, spec.options)
        if not isinstance(error, OSError) or error.filename is None:  # these say all there is to say
            said = f"{type(error).__name__}: {said}"
        raise SinkLoadError(f"sink {_origin(spec.name)} cannot be made: {said}") from cause
    if not callable(getattr(made, "open", None)):
        raise SinkLoadError(f"sink {_origin(spec.name)} is broken: {sink_name(made)} has no method open(run)")
    if not getattr(made, "name", None):
        try:
            made.name = spec.name
        except AttributeError:
            pass
    return made  # type: ignore[no-any-return]


def _unknown_option(make: Any, options: Mapping[str, Any]) -> str | None:
    """The first option that a sink does not take, with what may be meant; None where it takes them all."""
    import inspect
    from difflib import get_close_matches

    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    for name in sorted(options.keys() - parameters.keys()):
        close = get_close_matches(name, parameters, 1)
        known = f"did you mean {close[0]!r}?" if close else f"options are {', '.join(parameters) or 'none'}"
        return f"{name!r}: {known}"
    return None


def _safely(error: Exception, options: Mapping[str, Any]) -> tuple[str, Exception | None]:
    """What a sink said of its options without the credentials among them, and the error where it holds none."""
    import traceback

    from .processors.redact import Redactor, sensitive_values

    texts = {name: value for name, value in options.items() if isinstance(value, str)}
    redact = Redactor(sensitive_values(texts)).text
    chain = "".join(traceback.format_exception(error))
    return redact(str(error)), error if redact(chain) == chain else None
