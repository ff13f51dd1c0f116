"""Errors of subwatch itself, named by whose fault they are.

A child that fails is no error of ours: it raises what the standard library raises,
:class:`subprocess.CalledProcessError`, :class:`subprocess.TimeoutExpired` or :class:`OSError`.
"""

from __future__ import annotations

__all__ = ["ConfigError", "SinkLoadError", "SinkNotFound", "SubwatchError"]


class SubwatchError(Exception):
    """Base of all errors that subwatch raises on its own account."""


class ConfigError(SubwatchError, ValueError):
    """An option has a wrong name, type or value; the message says which and what would be right."""


class SinkNotFound(SubwatchError, LookupError):  # noqa: N818 - as FileNotFoundError would be without Error
    """No installed distribution offers a sink of this name; the message has the install command."""


class SinkLoadError(SubwatchError):
    """An installed plugin is broken: it cannot be imported, or what it offers is no sink.

    The message names the entry point, its distribution and version; the cause is chained.
    """
