"""Pulse: the recent past of each build, as counts by ten seconds and bin of duration. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sluicegate.services.telemetry.tally.bins import bin_of
from sluicegate.services.telemetry.tally.exposure import Exposure

SECONDS = 10
"""Length of one beat."""


def beats(exposures: Iterable[Exposure]) -> list[dict[str, Any]]:
    """Rows for the table of the pulse, in order of their keys."""
    requests: Counter[tuple[str, str, str, int, int]] = Counter()
    failures: Counter[tuple[str, str, str, int, int]] = Counter()
    for exposure in exposures:
        second = exposure.at // 1_000_000
        beat = second - second % SECONDS
        key = (exposure.model, exposure.variation, exposure.assigned, beat, bin_of(exposure.duration))
        requests[key] += 1
        if exposure.is_error:
            failures[key] += 1
    return [
        {
            "model": model, "variation": variation, "build": build, "at": at, "bin": number, "requests": n,
            "failed": failures[key],
        }
        for key, n in sorted(requests.items())
        for model, variation, build, at, number in (key,)
    ]  # fmt: skip
