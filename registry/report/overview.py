"""Overview: which builds answer which audience, one row for each build that an audience gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.verdict import OK, Answer


@dataclass(frozen=True, kw_only=True)
class Served:
    """A build that requests of an audience get. Shares are per cent of the audience's requests."""

    model: str
    audience: str
    """`default` for the requests that no audience matches; audiences come in the order in which they are asked."""
    taken: float | None
    """The audience's share of the model's requests of the last minute; None without requests."""
    variation: str
    build: str
    arm: str
    """stable or candidate."""
    asked: float
    """The share that the ledger asks for."""
    seen: float | None
    """The share of the last minute; None without requests, and while the split is younger than that."""
    rollout: str | None
    """The rollout under way in this variation."""
    verdict: str | None
    """The candidate's: FAIL, UNDECIDED, NO DATA, or PASS when every gate passed; OK where only guardrails judge."""
    requests_per_second: float | None
    """Of this build in this variation, all audiences together, over the last minute; None: it had none."""
    error_rate: float | None
    """In per cent."""
    p95: float | None
    """Milliseconds, to within 12 %."""
    spent: Mapping[str, float]
    """Mean milliseconds of an answered request in each stage of the service, since it started."""
    since: datetime | None
    """When it got this share: stable its trust, a candidate its step."""


def verdict_of(rollout: Rollout) -> str:
    """One word for all gates of a rollout: the worst. Of a guardrail only the harm that it has found counts."""
    watched = {name for name, rule in rollout.plan.rules.items() if not rule.decides}
    judged = {metric: each for metric, each in rollout.judgements.items() if metric not in watched}
    answers = {metric: Answer(each.answer) for metric, each in judged.items()}
    if Answer.FAIL in answers.values():
        return Answer.FAIL.label
    deciding: Iterable[str] = rollout.plan.must_pass
    if rollout.phase is Phase.CONFIRMING and rollout.confirms is not None:
        deciding = (rollout.confirms.metric,)
    of_gates = [answers.get(name, Answer.NO_DATA) for name in deciding]
    for answer in (Answer.UNDECIDED, Answer.NO_DATA):
        if answer in of_gates:
            return answer.label
    if of_gates:
        return Answer.PASS.label
    return OK if {Answer.PASS, Answer.UNDECIDED} & set(answers.values()) else Answer.NO_DATA.label
