"""Switched on by ``sentry_sdk.init(integrations=[SubwatchIntegration()])``."""

from __future__ import annotations

import pytest
import sentry_sdk

import subwatch
from subwatch.errors import ConfigError
from subwatch.testing import RecordingSink
from subwatch_sentry import SubwatchIntegration

FAIL = ["/bin/sh", "-c", "exit 3"]


def test_every_run_is_told_of(sentry):
    """Whatever sinks a run has; those stay."""
    box = sentry(integrations=[SubwatchIntegration(fingerprint=["mine"])])
    seen = RecordingSink()
    subwatch.run(FAIL, sinks=[seen])
    subwatch.run(FAIL, sinks=[])
    subwatch.Watch(sinks=[seen]).run(FAIL)

    assert [event["fingerprint"] for event in box.events] == [["mine"]] * 3
    assert len(seen.exits) == 2


def test_configuration_stays(sentry, subwatch_records):
    """What `subwatch.configure` was told still holds."""
    box = sentry(integrations=[SubwatchIntegration()])
    subwatch.run(FAIL)

    assert subwatch_records.exit.returncode == 3
    assert len(box.events) == 1


def test_named_sink_besides(sentry):
    """A run that names the sink is told of once."""
    box = sentry(integrations=[SubwatchIntegration()])
    subwatch.run(FAIL, sinks=["sentry"])

    assert len(box.events) == 1


def test_client_without_it(sentry):
    """A client that does not have the integration is left alone, although it was set up before."""
    sentry(integrations=[SubwatchIntegration()])
    box = sentry()
    subwatch.run(FAIL, sinks=[])

    assert box.events == []


def test_switched_off_with_the_sdk(clean_sdk):
    """After the SDK is gone, runs go on without it."""
    sentry_sdk.get_client().close()

    assert subwatch.run(FAIL, sinks=[]).returncode == 3


def test_wrong_option():
    """Wrong options are told when the integration is made."""
    with pytest.raises(ConfigError, match="mode="):
        SubwatchIntegration(mode="x")
