"""One tick of a rollout: read, judge, decide, append. The loop itself belongs to a driver or to the keeper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from sluicegate.flows.gate.judge import next_look, rows_read, verdict
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.flows.stages.experiment import read, shared_thresholds
from sluicegate.flows.stages.shadow import overtaken
from sluicegate.registry.ledger.external import read_samples
from sluicegate.registry.ledger.freezes import freezes
from sluicegate.registry.ledger.keeper_notes import readiness, sights
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.fields import (
    CAP_QUANTILE,
    MetricSpec,
    PredictionField,
    Source,
    thresholds_of,
)
from sluicegate.registry.rollout.decision import Choice, Decision, Progress, decide, decide_first
from sluicegate.registry.rollout.depending import unready
from sluicegate.registry.rollout.experiment import ExperimentState, experiment_state
from sluicegate.registry.rollout.external import external_verdicts
from sluicegate.registry.rollout.facts import (
    Aborted,
    Concluded,
    Confirmed,
    Fact,
    Frozen,
    Judged,
    Party,
    Paused,
    Promoted,
    StepEntered,
    Unconfirmed,
)
from sluicegate.registry.rollout.freeze import heeding
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.metric import LEVELS, Arm, TallyRow
from sluicegate.registry.words.verdict import Answer, Verdict

MIN_HISTORY = 200
"""Number of stable's requests or values needed before a threshold or a cap is frozen from them."""


class Authority(StrEnum):
    """What the caller of a tick may do: a driver may advance and promote, the keeper may only stop."""

    ADVANCE = "advance"
    STOP = "stop"


class Tallies(Protocol):
    """The telemetry that a tick reads."""

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        """The collector's position and the rollout's cumulative tallies at it."""
        ...

    def progress(self, rollout: str, epoch: int) -> int:
        """Requests assigned to the candidate in this epoch."""
        ...

    def stable_quantile(self, model: str, version: str, q: float) -> tuple[float, int] | None:
        """A quantile of a build's recent durations in seconds, and the number of requests it is based on."""
        ...

    def stable_predictions(
        self, model: str, version: str, field: PredictionField | None, levels: Sequence[float]
    ) -> tuple[tuple[float, ...], int] | None:
        """Quantiles of a build's recent predictions, and the number of predictions they are based on."""
        ...

    def stable_size(
        self, model: str, version: str, name: str, metric: MetricSpec, q: float
    ) -> tuple[float, int] | None:
        """A quantile of the magnitudes of a build's recent scores, and the number of scores it is based on."""
        ...


_ENOUGH = 20
"""Number of values that are no numbers, from which the verdict says so."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The result of one tick."""

    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    decision: Decision


def tick(ledger: Ledger, tallies: Tallies, rollout_id: str, now: datetime, authority: Authority) -> Tick:
    """Judge a rollout and append what follows. Safe to call from anywhere, at any time and any number of times.

    Raises LedgerConflict if somebody else appended meanwhile; then call it again.
    """
    rollout = _freeze(ledger, tallies, ledger.rollout(rollout_id), now)
    experiment = _experiment(ledger, rollout, now)
    if not rollout.is_tried:
        return _before_traffic(ledger, rollout, now, authority, experiment)
    overtaken_reason = overtaken(ledger, rollout) if rollout.is_shadow else None
    if overtaken_reason is not None:
        return _conclude(ledger, rollout, overtaken_reason, now)
    blind = sights(ledger).blindness(rollout.id, rollout.listeners, now)
    verdicts = _judge(ledger, tallies, rollout, now)
    if blind is not None:
        verdicts = tuple(each.withheld(str(blind)) for each in verdicts)
    verdicts += external_verdicts(rollout, read_samples(ledger, rollout), now)
    rollout = _record_changes(ledger, rollout, verdicts, now, is_blind=blind is not None)
    requests = tallies.progress(rollout.id, rollout.epoch)
    progress = Progress(
        candidate_requests=requests, experiment=experiment, blind=blind,
        unready=unready(rollout, readiness(ledger), now),
    )  # fmt: skip
    decision = heeding(decide(rollout, verdicts, progress, now), freezes(ledger), rollout, now)
    fact = _fact(rollout, verdicts, decision)
    if fact is None or not _is_allowed(decision, authority):
        return Tick(rollout=rollout, verdicts=verdicts, decision=decision)
    rollout = ledger.append(rollout.id, rollout.seq + 1, fact, now)
    return Tick(rollout=rollout, verdicts=verdicts, decision=decision)


def _experiment(ledger: Ledger, rollout: Rollout, now: datetime) -> ExperimentState | None:
    """The state of a comparison's experiment; None for other rollouts."""
    if not rollout.is_comparison:
        return None
    return experiment_state(rollout, ledger.current(rollout.requested.model), now)


def _conclude(ledger: Ledger, rollout: Rollout, why: str, now: datetime) -> Tick:
    """End a shadow whose stable build has changed. It has no verdict, so no canary follows."""
    rollout = ledger.append(rollout.id, rollout.seq + 1, Concluded(actor="sluice", party=Party.SLUICE, reason=why), now)
    return Tick(rollout=rollout, verdicts=(), decision=Decision(choice=Choice.CONCLUDE, reason=why))


def _before_traffic(
    ledger: Ledger, rollout: Rollout, now: datetime, authority: Authority, experiment: ExperimentState | None
) -> Tick:
    wait = experiment.begins_in if experiment else None
    hold = Decision(choice=Choice.HOLD, reason=f"{rollout.phase}: {rollout.reason}", wait=wait)
    if experiment is not None and experiment.changed is not None and rollout.is_under_way:
        return _called_off(ledger, rollout, now, experiment.changed)
    is_ready = rollout.ready if experiment is None else experiment.may_enter
    if rollout.phase is not Phase.LAUNCHING or not is_ready or not rollout.is_judged:
        return Tick(rollout=rollout, verdicts=(), decision=hold)
    what = "the candidate is" if experiment is None else "all variations are"
    ready = decide_first(rollout, f"{what} ready", unready(rollout, readiness(ledger), now))
    if ready.choice in (Choice.PAUSE, Choice.ABORT) and authority is Authority.ADVANCE:
        fact = _fact(rollout, (), ready)
        assert fact is not None
        return Tick(rollout=ledger.append(rollout.id, rollout.seq + 1, fact, now), verdicts=(), decision=ready)
    decision = heeding(ready, freezes(ledger), rollout, now)
    blind = sights(ledger).blindness(rollout.id, rollout.listeners, now)
    if blind is not None:
        decision = Decision(choice=Choice.HOLD, reason=str(blind))
    if decision.choice is not Choice.ADVANCE or authority is not Authority.ADVANCE:
        return Tick(rollout=rollout, verdicts=(), decision=decision)
    entered = StepEntered(
        step=0,
        weight=rollout.plan.steps[0].weight,
        actor="driver",
        party=Party.POLICY,
        reason=ready.reason,
        verdicts={},
    )
    rollout = ledger.append(rollout.id, rollout.seq + 1, entered, now)
    return Tick(rollout=rollout, verdicts=(), decision=ready)


def _called_off(ledger: Ledger, rollout: Rollout, now: datetime, why: str) -> Tick:
    """Abort a comparison because its builds changed before it could begin."""
    rollout = ledger.append(rollout.id, rollout.seq + 1, Aborted(actor="policy", party=Party.POLICY, reason=why), now)
    return Tick(rollout=rollout, verdicts=(), decision=Decision(choice=Choice.ABORT, reason=why))


def _freeze(ledger: Ledger, tallies: Tallies, rollout: Rollout, now: datetime) -> Rollout:
    """Freeze the thresholds that are still open, once stable has enough history."""
    if rollout.stable is None or not rollout.is_under_way or rollout.phase is Phase.BAKING:
        return rollout
    for name, metric in rollout.plan.metrics.items():
        names = thresholds_of(name, metric)
        if all(each in rollout.thresholds for each in names):
            continue
        limit = rollout.plan.time_limit(name)
        shared = ((limit,), 0) if limit is not None else shared_thresholds(ledger, rollout, names)
        values, rows = shared or _history(tallies, rollout, rollout.stable, name, metric)
        if limit is None and rows < MIN_HISTORY:
            continue
        for each, value in zip(names, values, strict=True):
            if each not in rollout.thresholds:
                fact = Frozen(metric=each, threshold=value, rows=rows)
                rollout = ledger.append(rollout.id, rollout.seq + 1, fact, now)
    return rollout


def _history(
    tallies: Tallies, rollout: Rollout, stable: str, name: str, metric: MetricSpec
) -> tuple[tuple[float, ...], int]:  # fmt: skip
    """The metric's thresholds from stable's recent requests, and the number of requests they are based on."""
    model = rollout.requested.model
    if metric.source is Source.PREDICTION:
        return tallies.stable_predictions(model, stable, metric.prediction, LEVELS) or ((), 0)
    if metric.quantile is not None:
        quantile = tallies.stable_quantile(model, stable, metric.quantile)
    else:
        quantile = tallies.stable_size(model, stable, name, metric, CAP_QUANTILE)
    return ((quantile[0],), quantile[1]) if quantile is not None else ((), 0)


def _judge(ledger: Ledger, tallies: Tallies, rollout: Rollout, now: datetime) -> tuple[Verdict, ...]:
    watermark, rows = read(tallies, rollout)
    verdicts = []
    for gate, guardrail in gates_of_attempt(ledger, rollout):
        if rollout.took_over and rollout.plan.metrics[gate.metric].source is Source.LATENCY:
            continue  # a build that bears nearly all of the load is slower for that alone
        looks = ledger.looks(rollout.id, gate.metric)
        look = next_look(
            rollout=rollout.id,
            plan=rollout.judged_plan,
            gate=gate,
            guardrail=guardrail,
            step=rollout.step,
            looks=looks,
            rows=rows_read(rollout.judged_plan, gate, rows),
            watermark=watermark,
            at=now,
            beside=rollout.stable_name,
            since=rollout.overridden.get(gate.metric, 0),
        )
        if look is not None:
            looks = (*looks, ledger.record_look(look))
        judged = verdict(
            plan=rollout.judged_plan, gate=gate, guardrail=guardrail, step=rollout.step, looks=looks,
            beside=rollout.stable_name, since=rollout.overridden.get(gate.metric, 0),
        )  # fmt: skip
        lacking = None if looks else _unfrozen(rollout, gate.metric) or _lacking(rows, gate.metric)
        verdicts.append(judged if lacking is None else judged.withheld(lacking))
    return tuple(verdicts)


def _unfrozen(rollout: Rollout, name: str) -> str | None:
    """Why there is no look yet: the cap for the values of a mean is not frozen. None if it is."""
    if not rollout.judged_plan.metrics[name].has_open_cap:
        return None
    return (
        f"no look yet: its cap is frozen once {MIN_HISTORY} of stable's values are known, not all of them 0, and only "
        "later values are compared; a cap in the plan needs no history"
    )


def _lacking(rows: Sequence[TallyRow], metric: str) -> str | None:
    """Why there is no look although values came: none of a build's values is a number.

    The count is rounded down, so that the reason does not change at every tick.
    """
    for arm in Arm:
        tallies = [row.tally for row in rows if row.metric == metric and row.arm is arm]
        missing = sum(tally.missing for tally in tallies)
        if missing >= _ENOUGH and not any(tally.n for tally in tallies):
            size = 10 ** (len(str(missing)) - 1)
            return (
                f"no look yet: {missing // size * size:,} values of {arm} came, but none is a number "
                "(NaN, no prediction in the answer, or a summary that was cut)"
            )
    return None


def _record_changes(
    ledger: Ledger, rollout: Rollout, verdicts: Sequence[Verdict], now: datetime, *, is_blind: bool
) -> Rollout:
    """Append Judged for each gate whose answer differs from the ledger's; before its first look, also its reason."""
    for judged in verdicts:
        recorded = rollout.judgements.get(judged.metric)
        is_same_answer = recorded is not None and (recorded.answer, recorded.step) == (judged.answer.value, judged.step)
        if recorded is not None and is_same_answer and (judged.k or is_blind or recorded.reason == judged.reason):
            continue
        fact = Judged(
            metric=judged.metric, answer=judged.answer.value, k=judged.k, step=judged.step, reason=judged.reason
        )
        rollout = ledger.append(rollout.id, rollout.seq + 1, fact, now)
    return rollout


def _is_allowed(decision: Decision, authority: Authority) -> bool:
    return authority is Authority.ADVANCE or decision.choice not in (Choice.ADVANCE, Choice.PROMOTE)


def _fact(rollout: Rollout, verdicts: Sequence[Verdict], decision: Decision) -> Fact | None:
    answers = {v.metric: v.answer.value for v in verdicts}
    gates = {metric: answer for metric, answer in answers.items() if metric in rollout.plan.must_pass}
    match decision.choice:
        case Choice.HOLD:
            return None
        case Choice.PAUSE:
            return Paused(actor="policy", party=Party.POLICY, reason=decision.reason)
        case Choice.ABORT:
            return Aborted(actor="policy", party=Party.POLICY, reason=decision.reason, verdicts=answers)
        case Choice.ADVANCE:
            step = rollout.step + 1
            weight = rollout.plan.steps[step].weight
            return StepEntered(
                step=step, weight=weight, actor="policy", party=Party.POLICY, reason=decision.reason, verdicts=answers
            )
        case Choice.CONCLUDE:
            was_paused = rollout.is_shadow and rollout.phase is Phase.PAUSED  # a person's pause: no canary follows
            party = Party.SLUICE if was_paused else Party.POLICY
            return Concluded(actor=party.value, party=party, reason=decision.reason)
        case Choice.CONFIRM:
            return Confirmed(reason=decision.reason)
        case Choice.UNCONFIRM:
            return Unconfirmed(actor="policy", party=Party.POLICY, reason=decision.reason)
        case Choice.PROMOTE:
            return _promoted(rollout, gates, decision)


def _promoted(rollout: Rollout, gates: dict[str, str], decision: Decision) -> Promoted:
    """Promoted by passing verdicts or, for a plan without gates, by the person who approved the last step."""
    if rollout.plan.deciding_gates and set(gates.values()) == {Answer.PASS.value}:
        return Promoted(actor="policy", party=Party.POLICY, reason=decision.reason, override=False, verdicts=gates)
    approver = rollout.approvals[rollout.step]
    return Promoted(actor=approver, reason=f"approved by {approver}; no gate decides", override=True, verdicts={})
