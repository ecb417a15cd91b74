"""Judging: what an outcome adds to each metric, once its exposure is known. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sluicegate.registry.plan.fields import MetricSpec
from sluicegate.registry.words.metric import SEVERAL_ROWS, capped_name
from sluicegate.registry.words.slices import sliced_name
from sluicegate.services.telemetry.outcomes.outcome import State, read_value
from sluicegate.services.telemetry.store.counts import Count
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.scores import Missing, Summary, score_row
from sluicegate.services.telemetry.tally.slicing import slice_at, slices_by_metric
from sluicegate.services.telemetry.tally.spec import RolloutSpec, SpecSource
from sluicegate.services.telemetry.tally.tally_accumulator import TallyAccumulator
from sluicegate.services.telemetry.tally.unit_accumulator import Side


@dataclass(slots=True)
class Findings:
    """The results of a round of judging, which are written in one transaction."""

    tallies: TallyAccumulator = field(default_factory=TallyAccumulator)
    counts: Counter[str] = field(default_factory=Counter)
    states: list[dict[str, Any]] = field(default_factory=list)
    """Changes of outcomes' states: the key, the new state, and the id of the exposure if it is known."""
    maturing: list[dict[str, Any]] = field(default_factory=list)
    """Rows for the table of scores that are not old enough yet."""

    def move(self, pk: int, state: State, number: int | None, *counts: Count) -> None:
        self.states.append({"key": pk, "to": state.value, "number": number})
        self.counts.update(counts)

    def enter(
        self, outcome: int, metric: str, side: Side, unit: str | None, score: float | Missing, due: int | None
    ) -> None:
        """Add a score to the tallies, or store it until `due`. For `unit` see `TallyAccumulator.take_late`."""
        value = None if isinstance(score, Missing) else score
        self.counts[Count.SCORED] += 1
        self.counts[Count.MISSING] += value is None
        self.counts[Count.IMPLAUSIBLE] += score is Missing.RANGE
        self.counts[Count.TRUNCATED] += score is Missing.TRUNCATED
        self.keep(outcome, metric, side, unit, value, due)

    def keep(
        self, outcome: int, metric: str, side: Side, unit: str | None, value: float | None, due: int | None
    ) -> None:
        """Add a value to the tallies, or store it until `due`."""
        if due is None:
            self.tallies.take_late(side, unit, metric, value)
            return
        rollout, epoch, bucket, arm, weight = side
        self.maturing.append({
            "outcome": outcome, "metric": metric, "due": due, "rollout": rollout, "epoch": epoch, "bucket": bucket,
            "arm": arm, "weight": weight, "unit": unit, "value": value,
        })  # fmt: skip


def judge(
    findings: Findings, outcome: Mapping[str, Any], number: int, exposure: Exposure, spec_of: SpecSource, now: int
) -> None:
    """Add the findings for an outcome's row and its exposure; `number` is the exposure's id, `now` in microseconds."""
    pk, summary = outcome["pk"], Summary(exposure.prediction)
    if summary.size is not None and outcome["row"] >= summary.size:
        findings.move(pk, State.UNKNOWN, number, Count.UNKNOWN)
        return
    if not exposure.is_judged or exposure.rollout is None:
        findings.move(pk, State.UNCOMPARED, number, Count.JOINED, Count.UNCOMPARED)
        return
    spec = spec_of(exposure.rollout)
    if spec is None:
        findings.move(pk, State.UNJUDGED, number)
        return
    named = spec.scored_by(outcome["name"])
    metrics = tuple((name, metric) for name, metric in named if not metric.has_open_cap)
    if not metrics:
        state, count = (State.UNCOMPARED, Count.UNCOMPARED) if named else (State.UNNAMED, Count.UNNAMED)
        findings.move(pk, state, number, Count.JOINED, count)
        return
    unit = (exposure.unit or "") if spec.by_unit else None
    value = read_value(outcome["value"])
    if outcome["row"]:
        for each in (SEVERAL_ROWS, *_beside(spec, metrics, SEVERAL_ROWS, exposure)):
            findings.tallies.take(exposure.side, each, 1.0)
    for name, metric in metrics:
        matures = exposure.at + round(metric.matures_after * 1e6)
        due = matures if matures > now else None
        score = score_row(name, metric, summary, outcome["row"], value)
        findings.enter(pk, name, exposure.side, unit, score, due)
        for sliced in slices_by_metric(exposure.slices, spec.sliced, name):
            findings.keep(pk, sliced, exposure.side, unit, None if isinstance(score, Missing) else score, due)
        if metric.cap is not None and not isinstance(score, Missing):
            is_capped = float(abs(score) >= abs(metric.cap))
            findings.keep(pk, capped_name(name), exposure.side, unit, is_capped, due)
    findings.move(pk, State.SCORED, number, Count.JOINED)


def _beside(
    spec: RolloutSpec, metrics: Iterable[tuple[str, MetricSpec]], name: str, exposure: Exposure
) -> tuple[str, ...]:
    """The sliced variants of a counter's name, one for each header by which these metrics are sliced."""
    headers = dict.fromkeys(each for metric, _ in metrics for each in spec.sliced.get(metric, ()))
    return tuple(sliced_name(name, slice_at(exposure.slices, position, header)) for position, header in headers)
