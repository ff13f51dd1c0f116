"""`SubwatchIntegration`: the sink, switched on the way Sentry users switch things on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations import Integration

import subwatch

from ._sink import NOTHING, SentrySink

if TYPE_CHECKING:
    from subwatch.records import Run
    from subwatch.sinks import Stream

__all__ = ["SubwatchIntegration"]


class SubwatchIntegration(Integration):
    """Tells Sentry of every child that subwatch runs, besides the sinks that a run has anyway.

    ``sentry_sdk.init(integrations=[SubwatchIntegration()])`` leaves `subwatch.configure` as it is: the runs
    of clients that have this integration get a `SentrySink` in addition. A run that has one of its own, by
    ``sinks=["sentry"]``, is told of by that one alone.

    Args:
        options: Options of `SentrySink`, except `dsn`.

    Raises:
        subwatch.errors.ConfigError: An option has a wrong value.
    """

    identifier = "subwatch"

    def __init__(self, **options: Any) -> None:
        self.sink: SentrySink = SentrySink(**options)

    @staticmethod
    def setup_once() -> None:
        """Add the sink to all runs of this process; it asks the client of each run whether it is wanted."""
        subwatch.add_sink(_Wanted())


class _Wanted:
    name = "sentry"

    def open(self, run: Run) -> Stream:
        integration = sentry_sdk.get_client().get_integration(SubwatchIntegration)
        return NOTHING if integration is None else integration.sink.open(run)

    def close(self, timeout: float) -> int:
        integration = sentry_sdk.get_client().get_integration(SubwatchIntegration)
        return 0 if integration is None else integration.sink.close(timeout)
