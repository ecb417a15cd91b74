"""Judging: what an outcome adds to which metric, once its exposure is known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sluicegate.registry.plan.fields import MetricSpec
from sluicegate.registry.words.metric import capped_name
from sluicegate.services.telemetry.outcomes.intake import State, read_value
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.scores import Missing, Summary, needs_prediction, score
from sluicegate.services.telemetry.tally.spec import RolloutSpec, score_of
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator
from sluicegate.services.telemetry.tally.unit_accumulator import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What judging needs of a row of the table of outcomes."""

    pk: int
    row: int
    name: str
    value: str
    """JSON."""
    number: int
    """Id of its exposure."""


@dataclass(slots=True)
class Findings:
    """What a round of judging adds up to; written in one transaction."""

    sheet: TallyAccumulator = field(default_factory=TallyAccumulator)
    counts: Counter[str] = field(default_factory=Counter)
    states: list[dict[str, Any]] = field(default_factory=list)
    """Moves of outcomes: their key, the state they go to, and the id of their exposure where it is known."""
    maturing: list[dict[str, Any]] = field(default_factory=list)
    """Rows for the table of scores that are not old enough."""

    def move(self, pk: int, state: State, number: int | None, *counts: Count) -> None:
        self.states.append({"key": pk, "to": state.value, "number": number})
        self.counts.update(counts)

    def enter(
        self, outcome: int, metric: str, side: Side, unit: str | None, result: float | Missing, due: int | None
    ) -> None:
        """Add a score to the tallies, or keep it until `due`; `unit`: see `TallyAccumulator.take_late`."""
        value = None if isinstance(result, Missing) else result
        self.counts[Count.SCORED] += 1
        self.counts[Count.MISSING] += value is None
        self.counts[Count.TRUNCATED] += result is Missing.TRUNCATED
        self.keep(outcome, metric, side, unit, value, due)

    def keep(
        self, outcome: int, metric: str, side: Side, unit: str | None, value: float | None, due: int | None
    ) -> None:
        """Add a value to the tallies, or keep it until `due`."""
        if due is None:
            self.sheet.take_late(side, unit, metric, value)
            return
        rollout, epoch, bucket, arm, weight = side
        self.maturing.append({
            "outcome": outcome, "metric": metric, "due": due, "rollout": rollout, "epoch": epoch, "bucket": bucket,
            "arm": arm, "weight": weight, "unit": unit, "value": value,
        })  # fmt: skip


def judge(
    found: Findings, outcome: Outcome, exposure: Exposure, spec_of: Callable[[str], RolloutSpec | None], now: int
) -> None:
    """Add to the findings what follows from one outcome and its exposure at a time in microseconds."""
    summary = Summary(exposure.prediction)
    if summary.size is not None and outcome.row >= summary.size:
        found.move(outcome.pk, State.UNKNOWN, outcome.number, Count.UNKNOWN)
        return
    if not exposure.is_compared or exposure.rollout is None:
        found.move(outcome.pk, State.UNCOMPARED, outcome.number, Count.JOINED, Count.UNCOMPARED)
        return
    spec = spec_of(exposure.rollout)
    if spec is None:
        found.move(outcome.pk, State.UNJUDGED, outcome.number)
        return
    metrics = spec.scored_by(outcome.name)
    if not metrics:
        found.move(outcome.pk, State.UNNAMED, outcome.number, Count.JOINED, Count.UNNAMED)
        return
    unit = (exposure.unit or "") if spec.by_unit else None
    for name, metric in metrics:
        matures = exposure.at + round(metric.matures_after * 1e6)
        due = matures if matures > now else None
        result = _score(name, metric, summary, outcome)
        found.enter(outcome.pk, name, exposure.side, unit, result, due)
        if metric.cap is not None and not isinstance(result, Missing):
            is_capped = float(abs(result) >= abs(metric.cap))
            found.keep(outcome.pk, capped_name(name), exposure.side, unit, is_capped, due)
    found.move(outcome.pk, State.SCORED, outcome.number, Count.JOINED)


def _score(name: str, metric: MetricSpec, summary: Summary, outcome: Outcome) -> float | Missing:
    kind = score_of(name, metric)
    prediction = summary.cell(outcome.row, metric.prediction) if needs_prediction(kind) else None
    return score(kind, metric, prediction, read_value(outcome.value))
