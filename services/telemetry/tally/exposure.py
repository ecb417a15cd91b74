"""Exposure: a request that was assigned to an arm, and how its result is attributed. Pure.

Every request counts for the arm that it was *assigned* to, even if another build answered:

- The assigned build failed (1) if the answer is 5xx, the request needed another attempt, another build answered
  instead, or the connection failed: timeout, reset, no connection. It did not fail (0) on a 4xx, which is the caller's
  fault, or if the client left after the answer had begun; such a request counts as closed, and has no duration.
- If the client left before the answer, the request is abandoned: its result is unknown, and it has no duration. It
  still counts as an error in both arms. Callers leave for their own reasons equally often in both arms, so a difference
  is caused by the build. Abandoned requests are the only sign of a build that hangs.
- The duration is the caller's total waiting time, including retries and fallbacks, whatever the status.
"""

from __future__ import annotations

from typing import NamedTuple

from sluicegate.registry.words.access_log import End, LogLine
from sluicegate.registry.words.units import FULL
from sluicegate.services.telemetry.tally.slicing import written

_REFUSED = 400
"""Answers with this status or a higher one are not predictions."""
FAR, _WIDE, _SMALL = 2**53, 2**31, 2**15


class Exposure(NamedTuple):
    """One request, in the order of the table's columns. A tuple, because tens of thousands are created each second."""

    rid: str | None
    at: int
    """Start of the request, microseconds since 1970."""
    model: str
    variation: str
    audience: str | None
    """None if the caller addressed the variation by its name."""
    rollout: str | None
    epoch: int
    bucket: int
    """Start of the time bucket, whole seconds since 1970."""
    weight: int
    arm: str
    assigned: str
    served: str | None
    unit: str | None
    status: int
    failed: int | None
    """None if the client left, unless another attempt had been needed before, which is a failure."""
    duration: int | None
    """Microseconds."""
    attempts: int
    prediction: str | None
    slices: str | None = None
    """The values of the headers by which its rollout is sliced, see `tally.slicing`."""

    def require_storable(self) -> None:
        """Raise ValueError for a text that some database cannot store: NUL, or half of a surrogate pair."""
        for text in self:
            if isinstance(text, str) and "\0" in text:
                raise ValueError("a text contains NUL")
            if isinstance(text, str):
                text.encode()

    @property
    def side(self) -> tuple[str, int, int, str, int]:
        """Rollout, epoch, bucket, arm and weight; only for exposures in a rollout."""
        return (self.rollout or "", self.epoch, self.bucket, self.arm, self.weight)

    @property
    def is_error(self) -> bool:
        """Whether the assigned build failed, or the client left before its answer: the value of `source: status`."""
        return self.failed != 0

    @property
    def has_stayed(self) -> bool:
        """Whether the client waited for the end of the answer, so that there is, or should be, a duration."""
        return self.failed == 1 or (self.failed == 0 and self.duration is not None)

    @property
    def is_answered(self) -> bool:
        """Whether the client got a prediction from the assigned build, so that it can be judged."""
        return self.failed == 0 and self.status < _REFUSED and self.served == self.assigned

    @property
    def is_timed(self) -> bool:
        """Whether its duration, if it has one, is the time that the client waited for an answer."""
        return self.failed is not None

    @property
    def is_judged(self) -> bool:
        """Whether its rollout's gates judge it: the candidate gets part of the requests or, after a switch, all of
        them. After a promotion the weight is 0."""
        return self.rollout is not None and self.weight > 0


def expose(line: LogLine, bucket_seconds: int) -> Exposure | None:
    """The exposure in a line; None for mirrored copies and for requests that were assigned to no build.

    Raises ValueError for numbers that no database can store, since one such line would stop the collector for ever.
    """
    assigned = line.assigned
    if line.is_shadow or assigned is None:
        return None
    is_sound = 0 <= line.ts_us < FAR and 0 <= (line.duration_us or 0) < FAR and 0 <= line.status < _SMALL
    if not (is_sound and 0 <= line.attempts < _SMALL and 0 <= assigned.epoch < _WIDE and 0 <= assigned.weight <= FULL):
        raise ValueError("a number is out of range")
    seconds = line.ts_us // 1_000_000
    return Exposure(
        line.request_id or None,
        line.ts_us,
        line.model or "",
        assigned.variation,
        line.audience,
        assigned.rollout,
        assigned.epoch,
        seconds - seconds % bucket_seconds,
        assigned.weight,
        assigned.arm.value,
        assigned.build,
        line.served,
        line.unit,
        line.status,
        _failed(line.end),
        line.duration_us,
        line.attempts,
        line.prediction,
        written(line.segments) if assigned.rollout is not None and assigned.weight > 0 else None,
    )


def _failed(end: End) -> int | None:
    """1 if the assigned build failed, 0 if it did not, None if the client left before that was known."""
    return None if end is End.LEFT else int(end.is_failure)
