"""Metrics as they are tallied: by stratum and arm, and the names of those derived from another."""

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
    """One interval of constant weight and one time bucket: inside it only chance tells the arms apart."""

    epoch: int
    """Counts the rollout's weight changes."""
    bucket: int
    """Start of the time bucket, in whole seconds since 1970."""


@dataclass(frozen=True, kw_only=True)
class TallyRow:
    """What one arm adds to one metric in one stratum; `weight` is the candidate's share in basis points."""

    metric: str
    stratum: Stratum
    weight: int
    arm: Arm
    tally: Tally
    units: UnitSums | None = None
    """The same by unit, where units return; of the units that belong to the stratum, so not of the same rows."""


def exceedance_name(metric: str, margin: float) -> str:
    """The derived 0/1 metric "duration above (1 + margin) x the frozen threshold" of a latency metric."""
    return metric if margin == 0 else f"{metric}>{margin:g}"


def capped_name(metric: str) -> str:
    """The derived 0/1 metric "value beyond the cap" of a metric that has one; of a cap that is frozen, its name too."""
    return f"{metric}{_CAPPED}"


def capped_metric(name: str) -> str | None:
    """The metric whose cap or capped share this name is of; None: of none."""
    return name.removesuffix(_CAPPED) if name.endswith(_CAPPED) else None


_CAPPED = "^capped"


REQUESTS = "^requests"
"""The derived metric "a request", of which a label may come: its rows are counted, and have no values."""
SEVERAL_ROWS = "^several-rows"
"""The derived metric "a label of a row that is not its request's first", by which several rows a request are known."""


def difference_name(metric: str) -> str:
    """The derived metric "candidate minus stable on the same request" of a metric that a shadow compares."""
    return f"{metric}~paired"


LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""The quantiles of stable's predictions at which the candidate's are compared."""


def level_name(metric: str, level: float) -> str:
    """The derived 0/1 metric "prediction above stable's quantile", frozen at the start, of a prediction metric."""
    return f"{metric}@{level:g}"
