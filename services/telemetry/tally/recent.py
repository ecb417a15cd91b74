"""The recent past of each build: counts by ten seconds and bin of duration. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.histogram import bin_of

SECONDS = 10
"""Length of an interval."""


def recent_rows(exposures: Iterable[Exposure]) -> list[tuple[Any, ...]]:
    """Rows for the table of recent requests."""
    requests: Counter[tuple[str, str, str, str, str, int, int]] = Counter()
    failures: Counter[tuple[str, str, str, str, str, int, int]] = Counter()
    for exposure in exposures:
        second = exposure.at // 1_000_000
        start = second - second % SECONDS
        key = (
            exposure.model, exposure.variation, exposure.assigned, exposure.audience or "", exposure.arm, start,
            bin_of(exposure.duration),
        )  # fmt: skip
        requests[key] += 1
        if exposure.is_error:
            failures[key] += 1
    return [(*key, n, failures[key]) for key, n in requests.items()]
