"""External gates for display: the last verdict, the limit, and the samples. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.rollout.external import external_verdicts
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.sample import Lacking, Measured, Sample
from sluicegate.registry.words.verdict import OK, Answer, Verdict


@dataclass(frozen=True, kw_only=True)
class SampleView:
    """One sample."""

    k: int
    at: datetime
    """When the source measured it, or was queried."""
    value: float | None
    keeps: bool | None
    """Whether the value is within the limit; None without a value."""
    lacking: str | None
    """Why there is no value."""


@dataclass(frozen=True, kw_only=True)
class ExternalGateView:
    """A limit for a number that another system measures."""

    gate: str
    source: str
    """The name of the source; its address is a setting."""
    guardrail: bool
    """Whether it can only stop the rollout."""
    then: str
    """What follows when it fails: abort, pause, or nothing if it only watches."""
    verdict: str
    """PASS, FAIL, UNDECIDED or NO DATA; OK for a guardrail whose limit is not broken."""
    reason: str
    limit: str
    """In words, such as below 0.9."""
    below: float | None
    above: float | None
    fails: str
    """How many of the last samples break the limit before it fails, such as 3 of 5."""
    samples: tuple[SampleView, ...]
    """The last samples, in order."""


def external_views(
    rollout: Rollout, samples: Mapping[str, Sequence[Sample]], now: datetime
) -> tuple[ExternalGateView, ...]:
    """Every external gate: while they are judged, as the next tick will judge them; otherwise as recorded."""
    if not rollout.is_judged:
        return ()
    is_open = rollout.phase in (Phase.RUNNING, Phase.PAUSED, Phase.CONFIRMING) and rollout.is_tried
    verdicts = external_verdicts(rollout, samples, now) if is_open else _recorded(rollout)
    pairs = zip(rollout.plan.external, verdicts, strict=True)
    return tuple(_view(gate, verdict, samples.get(gate.name, ())) for gate, verdict in pairs)


def _recorded(rollout: Rollout) -> tuple[Verdict, ...]:
    judgements = [(gate, rollout.judgements.get(gate.name)) for gate in rollout.plan.external]
    return tuple(
        Verdict(
            metric=gate.name, answer=Answer(judged.answer) if judged else Answer.NO_DATA, step=rollout.step,
            reason=judged.reason if judged else "nothing judged yet", k=0, guardrail=gate.guardrail,
        )
        for gate, judged in judgements
    )  # fmt: skip


def _view(gate: ExternalGate, verdict: Verdict, samples: Sequence[Sample]) -> ExternalGateView:
    is_unbroken = gate.guardrail and verdict.answer in (Answer.PASS, Answer.UNDECIDED)
    return ExternalGateView(
        gate=gate.name,
        source=gate.source,
        guardrail=gate.guardrail,
        then=gate.then if gate.decides else "nothing",
        verdict=OK if is_unbroken else verdict.answer.label,
        reason=verdict.reason,
        limit=gate.limit,
        below=gate.below,
        above=gate.above,
        fails=str(gate.fails),
        samples=tuple(_sample(gate, sample) for sample in samples),
    )


def _sample(gate: ExternalGate, sample: Sample) -> SampleView:
    match sample.reading:
        case Measured(value=value):
            return SampleView(
                k=sample.k, at=sample.measured_at, value=value, keeps=gate.keeps(value), lacking=None
            )  # fmt: skip
        case Lacking(reason=reason):
            return SampleView(k=sample.k, at=sample.at, value=None, keeps=None, lacking=reason)
