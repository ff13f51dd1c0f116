"""Sentry for subwatch: when a child fails, the error says why."""

from __future__ import annotations

from ._integration import SubwatchIntegration
from ._sink import SentrySink

__all__ = ["SentrySink", "SubwatchIntegration"]
