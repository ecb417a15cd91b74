"""From a plan to the design of its trials: planned information, ladder of margins, grid of looks. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.trial import Design, Kind, Rung
from sluicegate.registry.plan.fields import GateSpec, MetricSpec, Source
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.reason import Wording, wording
from sluicegate.registry.words.metric import (
    LEVELS,
    REQUESTS,
    SEVERAL_ROWS,
    Worse,
    capped_name,
    exceedance_name,
    level_name,
)
from sluicegate.registry.words.units import FULL

_DAY = 86_400.0
_REQUESTS = 50_000
"""Requests a rollout is planned for when the plan does not say what traffic to expect."""
FIRST_ROWS = 20
"""Rows between the first looks."""
_LEAST_ROWS = 100
"""The smallest number of requests that a rollout is planned for."""
APART = {Kind.COUNT: 0.05, Kind.MEAN: 0.1}
"""The distance between later looks, as a share of the information so far. A mean is judged by strata, and small strata
cost it a little information."""
_WIDEST = 5
"""Looks are at most this many times as far apart as the first ones, until 2.5 % of the information is more."""
_MOST_POINTS = 4_000
OF_WHOLE = 0.5
"""The share of alpha that the whole gets if a guardrail also looks at slices."""
_GENEROUS = 4.0
"""A wider margin is planned with this multiple of the information that its effect size alone needs."""


def planned_requests(plan: Plan, during: float | None = None) -> float:
    """The requests that the plan's rollout may take: those expected until its deadline (one day without a deadline), or
    within `during` seconds.

    To plan for too many costs little, because most of alpha is spent early; to plan for too few costs more. The
    guarantees hold either way.
    """
    if plan.expect is None:
        return _REQUESTS
    whole = plan.deadline.after if plan.deadline is not None else _DAY
    seconds = whole if during is None else during
    return max(plan.expect.requests_per_day * seconds / _DAY, _LEAST_ROWS)


def planned_information(plan: Plan) -> float:
    """w (1 - w) n with all planned requests at the plan's most informative weight."""
    most = max((per_row(step.weight) for step in plan.steps), default=0.0)
    return planned_requests(plan) * (most or per_row(FULL // 2))


def _confirms(plan: Plan, gate: GateSpec) -> bool:
    """Whether late labels must confirm this gate after the promotion."""
    return plan.confirm is not None and plan.confirm.metric == gate.metric


def _information_of_confirming(plan: Plan) -> float:
    """w (1 - w) n of the requests that arrive while a holdout is kept, early enough for their labels to count."""
    assert plan.confirm is not None
    left = plan.confirm.max_time - plan.metrics[plan.confirm.metric].matures_after
    return planned_requests(plan, during=left) * per_row(plan.confirm.holdout)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a gate tests about its metric, fixed with the plan."""

    metric: str
    words: Wording
    """The wording of the verdict's sentence."""
    design: Design
    first_look: float
    """Information at the first point of the grid."""
    margins: tuple[float | None, ...] = ()
    """The relative harm to rule out at each step; None: the step asks for no margin. Empty: the gate only stops."""
    declared_beta: float | None = None
    """The plan's beta, if earlier tries of the build have spent some of it."""
    assigns_rows: bool = False
    """Whether each request is assigned by itself, so that rows must arrive in the shares of the weights."""
    below: float | None = None
    """The share that the candidate's rate must be shown to stay below."""
    is_absolute: bool = False
    """Whether the candidate is compared with `below` alone, and not with stable."""
    tolerance: float | None = None
    """For predictions: how far the share above one of stable's quantiles may move. Then the gate judges nothing
    else."""
    is_alone: bool = False
    """Whether stable has no requests to compare with. Then a row of the candidate counts as much information as a row
    of an even split."""
    is_capped: bool = False
    """Whether values beyond a declared cap count as the cap; the verdict says how many do."""
    comes_late: bool = False
    """Whether values arrive as labels, some time after their requests. Then the gate also tests whether labels arrive
    alike in both builds."""
    weight: int | None = None
    """The only weight whose rows count, in basis points; None: all."""
    fresh: Question | None = None
    """What the last step's own rows must show before the candidate is promoted, if there was a step before it."""

    @property
    def is_guardrail(self) -> bool:
        """Whether the gate may only stop."""
        return not self.margins

    @property
    def grid(self) -> tuple[float, ...]:
        """The fixed information grid: where looks are taken."""
        return grid_points(self.first_look, self.design.information, APART[self.design.kind])

    def margin(self, step: int) -> float | None:
        """The relative harm to rule out at a step; after the last step, that of the last step."""
        return self.margins[min(step, len(self.margins) - 1)] if self.margins else None

    def fresh_at(self, step: int) -> Question | None:
        """What the last step's own rows must show before this step passes; None for earlier steps."""
        return self.fresh if step >= len(self.margins) - 1 else None

    @property
    def levels(self) -> tuple[float, ...]:
        """The quantiles of stable's predictions at which the candidate's are compared."""
        return LEVELS if self.tolerance is not None else ()

    @property
    def moved_by(self) -> tuple[float, ...]:
        """The margins by which the candidate's threshold is moved, widest first."""
        rungs = (*self.design.rungs, *(self.fresh.design.rungs if self.fresh is not None else ()))
        moved = {rung.margin for rung in rungs if self.design.moves_threshold and rung.margin > 0}
        return tuple(sorted(moved, reverse=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The tally metrics that the gate reads: the metric itself, those at its levels, and the candidate's at each
        moved threshold."""
        levels = (level_name(self.metric, level) for level in self.levels)
        capped = (capped_name(self.metric),) if self.is_capped else ()
        late = (REQUESTS, SEVERAL_ROWS) if self.comes_late else ()
        moved = (exceedance_name(self.metric, margin) for margin in self.moved_by)
        return (self.metric, *capped, *levels, *moved, *late)


def gates_of(plan: Plan) -> tuple[tuple[GateSpec, bool], ...]:
    """The plan's gates and guardrails in order, each with whether it is a guardrail."""
    return (*((gate, False) for gate in plan.gates), *((gate, True) for gate in plan.guardrails))


def gate_question(plan: Plan, gate: GateSpec, *, guardrail: bool = False, beside: str = "stable") -> Question:
    """The question of `gate` under this plan."""
    spec, is_late = plan.metrics[gate.metric], _confirms(plan, gate)
    information = _information_of_confirming(plan) if is_late else planned_information(plan)
    design = Design(
        kind=Kind.COUNT if spec.is_binary else Kind.MEAN,
        worse_is_higher=spec.worse is Worse.HIGHER,
        alpha=gate.alpha * (OF_WHOLE if gate.slices else 1),
        beta=gate.beta,
        information=information,
        rungs=_rungs(_margins(plan, gate), information),
        moves_threshold=moves_threshold(spec),
        bounds=bounds_of(spec),
        origin=spec.origin,
    )
    question = Question(
        metric=gate.metric,
        words=wording(plan, gate, beside),
        design=design,
        first_look=FIRST_ROWS * _least_per_row(plan),
        assigns_rows=plan.unit is None,
        below=plan.limit(gate),
        is_absolute=plan.is_absolute(gate),
        is_alone=plan.switches,
        tolerance=spec.tolerated if spec.source is Source.PREDICTION else None,
        is_capped=spec.cap is not None,
        comes_late=spec.source is Source.OUTCOME,
        margins=() if guardrail else tuple(plan.margin(gate, step) for step in range(len(plan.steps))),
        declared_beta=declared_beta(plan, gate),
    )
    if guardrail or is_late or len(plan.steps) < 2:
        return question
    return replace(question, fresh=fresh_question(question, plan.fresh_margin(gate), plan.steps[-1].weight))


def fresh_question(question: Question, margin: float | None, weight: int) -> Question:
    """The same question about the rows of the last step's weight, with the margin that they must rule out.

    These rows are new, whatever came before, so beta is the chance that they rule it out wrongly. No more is asked of
    them than of all rows together, for which every margin is tested from the first row on.
    """
    information = question.design.information
    rungs = () if margin is None else tuple(Rung(margin=each, information=information) for each in (margin, 0.0))
    return replace(question, design=replace(question.design, rungs=rungs), weight=weight, margins=(margin,))


def declared_beta(plan: Plan, gate: GateSpec) -> float | None:
    """The beta that the plan declares, if the gate has less because earlier tries of the build spent some; else
    None."""
    declared = next((each.beta for each in plan.gates if each.metric == gate.metric), gate.beta)
    return declared if gate.beta < declared else None


def bounds_of(spec: MetricSpec) -> Bounds | None:
    """The bounds of a mean's values as they are counted, minus their origin."""
    return Bounds(*(end - spec.origin for end in spec.bounds)) if spec.bounds is not None else None


def moves_threshold(spec: MetricSpec) -> bool:
    """Whether margins move the candidate's threshold: latency quantiles."""
    return spec.source is Source.LATENCY and spec.quantile is not None


def _margins(plan: Plan, gate: GateSpec) -> tuple[float, ...]:
    """The relative harms that the steps must rule out, widest first."""
    margins = {plan.margin(gate, step) for step in range(len(plan.steps))}
    return tuple(sorted((margin for margin in margins if margin is not None), reverse=True))


def _rungs(margins: tuple[float, ...], information: float) -> tuple[Rung, ...]:
    """The ladder, with the rung 0 (superiority) that also gives the interval's end.

    The information to rule out a harm m grows as 1 / m^2, so wider margins are planned for the earlier part.
    """
    least = min((margin for margin in margins if margin > 0), default=0.0)
    return tuple(
        Rung(margin=m, information=information * (min(1.0, _GENEROUS * (least / m) ** 2) if m > 0 else 1.0))
        for m in (*(m for m in margins if m > 0), 0.0)
    )


def per_row(weight: int) -> float:
    """Information of one row at a weight in basis points; at full weight nothing is compared."""
    share = weight / FULL
    return share * (1 - share)


def _least_per_row(plan: Plan) -> float:
    """Information of one row at the plan's smallest weight."""
    return min((per_row(step.weight) for step in plan.steps if step.weight < FULL), default=per_row(FULL // 2))


def passes_grid_point(grid: Sequence[float], before: float, now: float) -> bool:
    """Whether a point of the grid lies above `before` and not above `now`."""
    return bisect_right(grid, now) > bisect_right(grid, before)


@lru_cache(maxsize=64)
def grid_points(first: float, planned: float, apart: float) -> tuple[float, ...]:
    """Points `first` apart, then the share `apart` of the information so far, but at most five times `first` until
    2.5 % of the information is more. They end at a hundred times the plan.

    Large harm shows in some dozens of rows, so the first looks are close. Forty more rows add a third there, and next
    to nothing to some thousands.
    """
    points = [first]
    while points[-1] < 100 * planned and len(points) < _MOST_POINTS:
        last = points[-1]
        points.append(last + max(first, min(apart * last, _WIDEST * first), 0.025 * last))
    return tuple(points)
