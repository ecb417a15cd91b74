"""Exposure: what is kept of a request that was assigned to an arm, and how its success is attributed. Pure.

Who is counted for what. Everything is by the arm that was *assigned*, whoever answered:

- The assigned build failed (1) when the answer is 5xx, when the request needed another try, when another build
  answered for it, or when the service broke off: timeout, reset, no connection. A 4xx is the caller's affair (0), and
  so is leaving once the answer has begun: it is counted as closed, without a duration.
- Where the client left before the answer, it is abandoned: nobody knows how it would have ended, and it has no
  duration. It is an error all the same, in the rates of both arms alike: callers leave for reasons of their own as
  often in one arm as in the other, so what differs is the build's doing. A build that hangs shows nothing else.
- The duration is what the caller waited in all, retries and fallbacks included, whatever the status.
"""

from __future__ import annotations

from typing import NamedTuple

from sluicegate.registry.words.access_log import End, LogLine
from sluicegate.registry.words.units import FULL
from sluicegate.services.telemetry.tally.slicing import written

_REFUSED = 400
"""Status codes from here on are no predictions."""
FAR, _WIDE, _SMALL = 2**53, 2**31, 2**15


class Exposure(NamedTuple):
    """One request, in the order of the table's columns. A tuple, because tens of thousands a second are made."""

    rid: str | None
    at: int
    """Start of the request, microseconds since 1970."""
    model: str
    variation: str
    audience: str | None
    """None where the caller asked for the variation by its name."""
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
    """None where the client left; unless another try was needed before, which is a failure."""
    duration: int | None
    """Microseconds."""
    attempts: int
    prediction: str | None
    slices: str | None = None
    """The values of the headers by which its rollout is sliced, see `tally.slicing`."""

    def require_storable(self) -> None:
        """Raise ValueError for a text that some database cannot keep: NUL, or half of a surrogate pair."""
        for text in self:
            if isinstance(text, str) and "\0" in text:
                raise ValueError("a text contains NUL")
            if isinstance(text, str):
                text.encode()

    @property
    def side(self) -> tuple[str, int, int, str, int]:
        """Rollout, epoch, bucket, arm and weight; only of exposures in a rollout."""
        return (self.rollout or "", self.epoch, self.bucket, self.arm, self.weight)

    @property
    def is_error(self) -> bool:
        """Whether the assigned build failed, or let the client wait until it left: the value of `source: status`."""
        return self.failed != 0

    @property
    def has_stayed(self) -> bool:
        """Whether the client waited for the answer's end, so that there is a duration to tell, or ought to be."""
        return self.failed == 1 or (self.failed == 0 and self.duration is not None)

    @property
    def is_answered(self) -> bool:
        """Whether the client got a prediction of the assigned build, which can be judged then."""
        return self.failed == 0 and self.status < _REFUSED and self.served == self.assigned

    @property
    def is_timed(self) -> bool:
        """Whether its duration, where it has one, tells how long the client waited for an answer."""
        return self.failed is not None

    @property
    def is_judged(self) -> bool:
        """Whether it is one that its rollout's gates judge: part of the requests, or after a switch all of them, are
        the candidate's. After a promotion nothing weighs anything."""
        return self.rollout is not None and self.weight > 0


def expose(line: LogLine, bucket_seconds: int) -> Exposure | None:
    """The exposure that a line tells of; None for mirrored copies and for requests assigned to nothing.

    Raises ValueError for numbers that no database can keep: one such line would stop the collector for ever.
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
    """1 where the assigned build failed, 0 where it did not, None where the client left before anyone could tell."""
    return None if end is End.LEFT else int(end.is_failure)
