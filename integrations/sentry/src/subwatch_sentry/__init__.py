"""Sentry for subwatch: when a child fails, the error says why."""

from __future__ import annotations

from ._sink import SentrySink

__all__ = ["SentrySink"]
