"""Monitored subprocesses: `subprocess.run` that says live what the child says, wherever you look.

``subwatch.run`` and ``subwatch.Popen`` are their namesakes of :mod:`subprocess`, ``subwatch.aio`` has those of
:mod:`asyncio`. What a child writes to stderr becomes records that go to sinks: Python logging by default,
Sentry, Grafana Loki, OpenTelemetry and a rich terminal display by distributions of their own.
"""

from __future__ import annotations

from ._plugins import sink
from ._popen import Popen
from ._run import run
from ._watch import Watch, add_sink, configure
from .errors import ConfigError, SinkLoadError, SinkNotFound, SubwatchError
from .records import Caller, Exit, Line, Lines, Progress, Run, Start, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import aio as aio
    from ._fleet import MapResult as MapResult
    from ._observe import Observation as Observation

    __version__: str

__all__ = [
    "Caller",
    "ConfigError",
    "Exit",
    "Line",
    "Lines",
    "MapResult",
    "Observation",
    "Popen",
    "Progress",
    "Run",
    "SinkLoadError",
    "SinkNotFound",
    "Start",
    "SubwatchError",
    "Usage",
    "Watch",
    "add_sink",
    "configure",
    "run",
    "sink",
]

# What is not needed by everyone, and where it is.
_LATER = {
    "MapResult": "_fleet",
    "Observation": "_observe",
    "aio": "aio",
    "sinks": "sinks",
    "testing": "testing",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("subwatch")
    if name in _LATER:
        from importlib import import_module

        from ._forks import importing

        with importing:
            module = import_module(f"{__name__}.{_LATER[name]}")
        return getattr(module, name, module)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
