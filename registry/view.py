"""View: one rollout as it is shown to people and programs. CLI, console and reports all show this."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from registry.ledger import Ledger
from registry.plan import GateSpec
from registry.rollout import DEPLOY, ROLLBACK, Rollout
from registry.verdict import Answer, Verdict


@dataclass(frozen=True, kw_only=True)
class GateView:
    """One gate with the last verdict on record."""

    metric: str
    guardrail: bool
    verdict: str
    """PASS, FAIL, UNDECIDED or NO DATA."""
    reason: str
    k: int
    stable: float | None
    candidate: float | None
    estimate: float | None
    low: float | None
    high: float | None
    margin: float | None
    stable_n: int
    candidate_n: int


@dataclass(frozen=True, kw_only=True)
class RolloutView:
    """A rollout in words and numbers; weights in per cent, times in UTC, durations in seconds."""

    id: str
    model: str
    variation: str
    strategy: str
    stable: str | None
    candidate: str
    phase: str
    ending: str | None
    reason: str
    actor: str
    cause: str
    step: int
    """From 1; 0 before the first."""
    steps: int
    weight: float
    """Asked, in per cent."""
    observed: bool
    """Whether the data plane serves what is asked."""
    seen: float | None
    """The candidate's share of requests at this weight, in per cent."""
    candidate_requests: int
    stable_requests: int
    gates: tuple[GateView, ...]
    requested_at: datetime
    ended_at: datetime | None
    elapsed: float
    settled: bool
    seq: int

    def as_json(self) -> dict[str, object]:
        """The view as JSON values."""
        plain = dataclasses.asdict(self)
        plain["requested_at"] = self.requested_at.isoformat()
        plain["ended_at"] = self.ended_at.isoformat() if self.ended_at else None
        return plain


def rollout_view(
    ledger: Ledger, rollout: Rollout, now: datetime, *, requests: tuple[int, int] | None = None
) -> RolloutView:
    """The view of a rollout; `requests` are those assigned to (stable, candidate) at this weight, where known."""
    stable_n, candidate_n = (requests or (0, 0)) if rollout.has_exposure else (0, 0)
    total = stable_n + candidate_n
    return RolloutView(
        id=rollout.id,
        model=rollout.requested.model,
        variation=rollout.requested.variation,
        strategy=rollout.requested.strategy,
        stable=rollout.stable,
        candidate=rollout.requested.version,
        phase=rollout.phase.value,
        ending=rollout.ending.value if rollout.ending else None,
        reason=rollout.reason,
        actor=rollout.actor,
        cause=rollout.requested.cause,
        step=rollout.step + 1,
        steps=len(rollout.plan.steps),
        weight=rollout.weight / 100,
        observed=rollout.observed_epoch == rollout.epoch,
        seen=100 * candidate_n / total if total else None,
        candidate_requests=candidate_n,
        stable_requests=stable_n,
        gates=_gates(ledger, rollout),
        requested_at=rollout.requested_at,
        ended_at=rollout.ended_at,
        elapsed=((rollout.ended_at or now) - rollout.requested_at).total_seconds(),
        settled=rollout.settled,
        seq=rollout.seq,
    )


def _gates(ledger: Ledger, rollout: Rollout) -> tuple[GateView, ...]:
    if rollout.requested.strategy in (DEPLOY, ROLLBACK):
        return ()
    last: dict[str, Verdict] = {look.metric: look.verdict for look in ledger.looks(rollout.id)}
    return (
        *_views(rollout, rollout.plan.gates, last, guardrail=False),
        *_views(rollout, rollout.plan.guardrails, last, guardrail=True),
    )


def _views(
    rollout: Rollout, gates: Sequence[GateSpec], last: dict[str, Verdict], *, guardrail: bool
) -> tuple[GateView, ...]:
    return tuple(_view(rollout, gate, last.get(gate.metric), guardrail=guardrail) for gate in gates)


def _view(rollout: Rollout, gate: GateSpec, verdict: Verdict | None, *, guardrail: bool) -> GateView:
    judged = rollout.judgements.get(gate.metric)
    answer = Answer(judged.answer) if judged else Answer.NO_DATA
    return GateView(
        metric=gate.metric,
        guardrail=guardrail,
        verdict=answer.label,
        reason=_reason(judged.reason if judged else None, verdict),
        k=verdict.k if verdict else 0,
        stable=verdict.stable_mean if verdict else None,
        candidate=verdict.candidate_mean if verdict else None,
        estimate=verdict.estimate if verdict else None,
        low=verdict.low if verdict else None,
        high=verdict.high if verdict else None,
        margin=rollout.plan.margin(gate, max(rollout.step, 0)),
        stable_n=verdict.stable_n if verdict else 0,
        candidate_n=verdict.candidate_n if verdict else 0,
    )


def _reason(judged: str | None, verdict: Verdict | None) -> str:
    if verdict is not None:
        return verdict.reason
    return judged or "nothing judged yet"
