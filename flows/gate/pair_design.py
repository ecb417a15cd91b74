"""From a plan to the design of a shadow's tests on pairs: their kind, their budgets, the grid of looks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from sluicegate.flows.gate.design import bounds_of, declared_beta, grid_points
from sluicegate.flows.stats.bets import Bounds
from sluicegate.registry.plan.fields import GateSpec, MetricSpec, Source
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.reason import Wording, wording
from sluicegate.registry.words.metric import capped_name, difference_name, exceedance_name
from sluicegate.registry.words.units import FULL

_DAY = 86_400.0
_PAIRS = 10_000
"""Pairs a shadow is planned for when the plan does not say what traffic to expect."""
_FIRST_PAIRS = 10
"""Pairs between the first looks."""
_APART = 0.1
"""The distance between later looks, as a share of the pairs so far."""
_LEAST_PAIRS = 50
"""The smallest number of pairs that a shadow is planned for."""


class PairedKind(StrEnum):
    """What the two values of a request are."""

    DISAGREEMENT = "disagreement"
    """1 where the answers differ: the rate is tested against a cap."""
    BINARY = "binary"
    """Zeros and ones on both sides: only pairs that differ inform."""
    THRESHOLD = "threshold"
    """Like binary, but a margin moves the candidate's threshold."""
    REAL = "real"
    """Real values on both sides: their difference is one sample."""


@dataclass(frozen=True, kw_only=True)
class PairedQuestion:
    """What a shadow's gate tests about its metric, fixed with the plan."""

    metric: str
    words: Wording
    """The wording of the verdict's sentence."""
    kind: PairedKind
    alpha: float
    beta: float
    margin: float | None
    below: float | None
    planned: float
    """The number of pairs that the shadow is expected to yield."""
    is_guardrail: bool = False
    """Whether the gate may only stop."""
    agree_within: float | None = None
    """For disagreements: numbers that differ by no more than this agree."""
    declared_beta: float | None = None
    """The plan's beta, if earlier tries of the build have spent some of it."""
    bounds: Bounds | None = None
    """The bounds of both builds' values, as they are counted. For a mean, None until its cap is frozen."""
    is_capped: bool = False
    """Whether values beyond a cap count as the cap; the verdict says how many do."""
    origin: float = 0.0
    """What is subtracted from values when they are counted."""

    @property
    def grid(self) -> tuple[float, ...]:
        """The fixed grid of pairs: where looks are taken."""
        return grid_points(_FIRST_PAIRS, self.planned, _APART)

    @property
    def difference(self) -> str:
        """The name of the tally of candidate minus stable on the same request."""
        return difference_name(self.metric)

    @property
    def moved(self) -> str:
        """The same with the candidate's threshold moved by the margin; without one, the difference itself."""
        is_moved = self.kind is PairedKind.THRESHOLD and self.margin is not None
        return difference_name(exceedance_name(self.metric, self.margin or 0.0)) if is_moved else self.difference

    @property
    def names(self) -> tuple[str, ...]:
        """The tally metrics that the gate reads."""
        capped = (capped_name(self.metric),) if self.is_capped else ()
        return tuple(dict.fromkeys((self.metric, self.difference, self.moved, *capped)))


def paired_question(plan: Plan, gate: GateSpec, *, guardrail: bool, beside: str = "stable") -> PairedQuestion:
    """The question of `gate` under this plan, for a shadow."""
    kind, words = _kind(plan, gate), replace(wording(plan, gate, beside), counted="pairs")
    return PairedQuestion(
        metric=gate.metric,
        words=words if kind is PairedKind.REAL else replace(words, confidence=1 - gate.alpha),
        agree_within=plan.metrics[gate.metric].agree_within,
        kind=kind,
        alpha=gate.alpha,
        beta=gate.beta,
        margin=None if guardrail else gate.margin,
        below=plan.limit(gate),
        planned=_planned_pairs(plan),
        is_guardrail=guardrail,
        declared_beta=declared_beta(plan, gate),
        bounds=_bounds(plan.metrics[gate.metric]),
        is_capped=plan.metrics[gate.metric].cap is not None,
        origin=plan.metrics[gate.metric].origin,
    )


def _planned_pairs(plan: Plan) -> float:
    """The number of pairs that a shadow is expected to yield in its time. The guarantees hold whether or not it
    does."""
    if plan.expect is None or plan.shadow is None:
        return _PAIRS
    requests = plan.expect.requests_per_day * plan.shadow.max_time / _DAY
    return max(requests * plan.shadow.sample / FULL, _LEAST_PAIRS)


def _bounds(spec: MetricSpec) -> Bounds | None:
    if spec.is_binary:
        return Bounds(0.0, 1.0)
    return bounds_of(spec)


def _kind(plan: Plan, gate: GateSpec) -> PairedKind:
    spec = plan.metrics[gate.metric]
    match spec.source:
        case Source.DISAGREEMENT:
            return PairedKind.DISAGREEMENT
        case Source.LATENCY if spec.quantile is not None:
            return PairedKind.THRESHOLD
        case Source.STATUS | Source.CONTRACT:
            return PairedKind.BINARY
        case Source.OUTCOME | Source.LATENCY | Source.PREDICTION:
            return PairedKind.BINARY if spec.is_binary else PairedKind.REAL
