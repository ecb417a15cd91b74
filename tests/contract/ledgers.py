"""Builders for ledger tests: one small plan, facts in their usual order, looks."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.rollout.facts import Begun, Fact, Packed, Ready, Requested, StepEntered
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Look, Verdict

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PLAN: dict[str, object] = {"kind": "plan", "model": "delays", "steps": [{"weight": 10}, {"weight": 50}]}
PACKED = Packed(bento="delays:v2", bento_digest="b" * 8, model_digest="m" * 8)


Reopen = Callable[[], Ledger]
"""Opens the same ledger once more, as another process would."""


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def requested(*, model: str = "delays", variation: str = "default", version: str = "2") -> Requested:
    return Requested(
        model=model,
        variation=variation,
        version=version,
        strategy="canary",
        plan=PLAN,
        plan_digest="d" * 8,
        actor="ada",
        cause="cli",
    )


def launched() -> list[Begun | Packed | Ready | StepEntered]:
    """Facts 1 to 4 of a rollout that reached its first step."""
    step = StepEntered(step=0, weight=1_000, actor="driver", reason="first step")
    return [Begun(stable="1"), PACKED, Ready(version="7"), step]


def look(k: int, *, rollout: str = "r1", metric: str = "log_loss", information: float = 0.1) -> Look:
    tally = Tally.from_values([0.1 + 0.2]) + Tally.from_values([1 / 3])
    empty = TallyRow(metric=metric, stratum=Stratum(epoch=1, bucket=60), weight=1_000, arm=Arm.STABLE, tally=Tally())
    full = TallyRow(metric=metric, stratum=Stratum(epoch=1, bucket=0), weight=1_000, arm=Arm.CANDIDATE, tally=tally)
    verdict = Verdict(
        metric=metric,
        answer=Answer.UNDECIDED,
        reason="goes on",
        step=0,
        k=k,
        margin=0.05,
        ruled_out=(math.inf, 1.0),
        estimate=-0.0,
        low=-math.inf,
        high=5e-324,
        information=information,
    )
    return Look(
        rollout=rollout, metric=metric, k=k, step=0, at=at(k), watermark=k * 100, rows=(full, empty), verdict=verdict
    )


def run(ledger: Ledger, rollout: str, *facts: Fact) -> None:
    """Append facts after those that are there."""
    for fact in facts:
        seq = ledger.rollout(rollout).seq + 1
        ledger.append(rollout, seq, fact, at(seq))


def document(name: str, digest: str, kind: str = "plan") -> Applied:
    return Applied(kind=kind, name=name, body={"steps": [1, 2.5, None]}, digest=digest, actor="ada", at=at(0))
