"""Recent requests of each build, counted by ten seconds and bin of duration. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sluicegate.services.telemetry.tally.batch import Batch, counted
from sluicegate.services.telemetry.tally.histogram import bins_of

SECONDS = 10
"""The length of an interval."""


def recent_rows(batch: Batch) -> list[tuple[Any, ...]]:
    """Rows for the table of recent requests."""
    requests: Counter[tuple[str, str, str, str, str, int, int]] = Counter()
    failures: Counter[tuple[str, str, str, str, str, int, int]] = Counter()
    interval = batch.at // (SECONDS * 1_000_000)
    for (kind, number, bin_), n in counted(batch.kind, interval, bins_of(batch.duration)):
        each = batch.kinds[kind]
        key = (each.model, each.variation, each.assigned, each.audience or "", each.arm, number * SECONDS, bin_)
        requests[key] += n
        failures[key] += n if each.is_error else 0
    return [(*key, n, failures[key]) for key, n in requests.items()]
