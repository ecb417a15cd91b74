"""What all tests share: Hypothesis draws the same examples everywhere and knows no time limits."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "sluice", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("sluice")
