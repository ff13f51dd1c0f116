"""Settings and fixtures of the core's tests."""

from __future__ import annotations

import hypothesis

# A busy machine must not fail a property.
hypothesis.settings.register_profile(
    "subwatch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("subwatch")
