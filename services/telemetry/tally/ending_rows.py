"""EndingRows: what the status and the duration of requests add by unit, worked out once for requests that end alike."""

from __future__ import annotations

from bisect import bisect_left

from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.measurements import ending_values
from sluicegate.services.telemetry.tally.spec import Measures
from sluicegate.services.telemetry.tally.unit_accumulator import Sums, row_of


class EndingRows:
    """Rows for the sheet of units. Where a mean is taken of the durations themselves, no two requests end alike."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._limits = sorted(limit for _, limit in measures.limits)
        self._rows: dict[tuple[int | None, int | None], Sums] = {}

    def row(self, exposure: Exposure) -> Sums:
        """What a request adds, its answer aside."""
        if self._measures.means:
            return row_of(ending_values(exposure, self._measures))
        duration = exposure.duration
        kind = (exposure.failed, None if duration is None else bisect_left(self._limits, duration))
        row = self._rows.get(kind)
        if row is None:
            row = self._rows[kind] = row_of(ending_values(exposure, self._measures))
        return row
