"""Metrics as they are tallied: by stratum and arm. Names of metrics that are derived from another one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sluicegate.registry.words.tally import Tally, UnitSums


class Arm(StrEnum):
    """The two sides of a comparison."""

    STABLE = "stable"
    CANDIDATE = "candidate"


class Worse(StrEnum):
    """The direction in which a metric gets worse."""

    HIGHER = "higher"
    LOWER = "lower"


class Stratum(NamedTuple):
    """One interval of constant weight and one time bucket. Within it, only chance decides which arm a unit gets."""

    epoch: int
    """Counts the rollout's weight changes."""
    bucket: int
    """Start of the time bucket, in whole seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class TallyRow:
    """What one arm contributes to one metric in one stratum. `weight` is the candidate's share in basis points."""

    metric: str
    stratum: Stratum
    weight: int
    arm: Arm
    tally: Tally
    units: UnitSums | None = None
    """Sums by unit, where units return. They cover the units of the stratum, so not the same rows as `tally`."""


def exceedance_name(metric: str, margin: float) -> str:
    """The derived 0/1 metric "duration above (1 + margin) x the frozen threshold" of a latency metric."""
    return metric if margin == 0 else f"{metric}>{margin:g}"


def capped_name(metric: str) -> str:
    """The derived 0/1 metric "value beyond the cap" of a metric that has one. Also the name of a frozen cap."""
    return f"{metric}{_CAPPED}"


def capped_metric(name: str) -> str | None:
    """The metric to whose cap or capped share this name belongs; None if it is no such name."""
    return name.removesuffix(_CAPPED) if name.endswith(_CAPPED) else None


_CAPPED = "^capped"


REQUESTS = "^requests"
"""The derived metric "a request for which a label may come". Its rows are counted and have no values."""
SEVERAL_ROWS = "^several-rows"
"""The derived metric "a label of a row other than its request's first". It reveals requests with several rows."""


def difference_name(metric: str) -> str:
    """The derived metric "candidate minus stable on the same request" of a metric that a shadow compares."""
    return f"{metric}~paired"


LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The quantiles of stable's predictions at which the candidate's are compared."""


def level_name(metric: str, level: float) -> str:
    """The derived 0/1 metric "prediction above stable's quantile" of a prediction metric. The quantile is frozen."""
    return f"{metric}@{level:g}"
