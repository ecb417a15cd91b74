"""Count: the telemetry's counters besides tallies. Nothing is dropped without being counted here."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Count(StrEnum):
    """The names of the counters. Each is exact, because it is written in the transaction of what it counts."""

    meaning: str
    """What is counted."""

    def __new__(cls, value: str, meaning: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    LINES = "lines", "Complete lines read from access logs."
    EXPOSURES = "exposures", "Lines stored as a request that was assigned to an arm."
    LEFT_OUT = (
        "left_out",
        "Exposures that were counted but not stored, because no plan of their model asks for outcomes or bodies.",
    )
    BY_NAME = (
        "by_name",
        (
            "Exposures whose caller addressed a variation by its name. They count as traffic of its "
            "build, and are not compared."
        ),
    )
    STOOD_IN = (
        "stood_in",
        "Exposures that the model's fallback variation answered because the assigned variation's stable could not.",
    )
    SHADOWS = "shadows", "Lines of mirrored copies."
    GENERATED = (
        "generated",
        "Lines of requests that Sluicegate generated. They are not exposures, and nothing is joined to them.",
    )
    REPEATED = "repeated", "Lines that repeat an earlier line of the same request and shadow."
    UNASSIGNED = (
        "unassigned",
        "Lines of requests that were assigned to no build, such as unknown paths and health checks.",
    )
    QUARANTINED = "quarantined", "Lines that could not be read."
    ABANDONED = (
        "abandoned",
        (
            "Exposures whose caller left before the answer. They count as errors of the assigned "
            "build, without a duration."
        ),
    )
    UNTALLIED = "untallied", "Exposures that were deleted by age before their rollout's metrics became known."
    OUTCOMES = "outcomes", "Outcomes that were accepted."
    DUPLICATE = "duplicate", "Outcomes that repeat an earlier one."
    CONTRADICTORY = "contradictory", "Outcomes that contradict an earlier one; the earlier one counts."
    REFUSED = "refused", "Malformed outcomes."
    FUTURE = "future", "Outcomes refused because their time is more than five minutes in the future."
    JOINED = "joined", "Outcomes that were joined to their exposure."
    UNKNOWN = "unknown", "Outcomes whose exposure never arrived."
    UNASKED = (
        "unasked",
        (
            "Outcomes whose exposure was not stored, because no plan asks for outcomes of its model; "
            "or whose exposure never arrived while that was so."
        ),
    )
    UNNAMED = "unnamed", "Joined outcomes whose name belongs to no metric of their rollout."
    UNCOMPARED = (
        "uncompared",
        "Joined outcomes whose exposure was not compared: there was no rollout, or all traffic went to one arm.",
    )
    SCORED = "scored", "Values that outcomes added to tallies; one outcome may add to several metrics."
    MISSING = "missing", "Scored values that are missing."
    IMPLAUSIBLE = "implausible", "Missing values whose outcome was outside the metric's range."
    TRUNCATED = "truncated", "Missing values whose prediction summary was cut."
    TOO_LATE = "too_late", "Outcomes that arrived after their requests had been deleted by age."
    BODIES = "bodies", "Requests whose body a service captured."
    BODIES_LEFT_OUT = "bodies_left_out", "Bodies that a service could not capture, or had no space for."
