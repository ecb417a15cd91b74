"""Overview: which builds answer which audience, one row for each build that an audience gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.verdict import OK, Answer


@dataclass(frozen=True, kw_only=True)
class Served:
    """A build that answers requests of an audience. Shares are in per cent of the audience's requests."""

    model: str
    audience: str
    """`default` for requests that no audience matches. Audiences are in the order in which they are tried."""
    taken: float | None
    """The audience's share of the model's requests in the last minute; None without requests."""
    variation: str
    build: str
    arm: str
    """stable or candidate."""
    desired: float
    """The desired share."""
    observed: float | None
    """The observed share in the last minute; None without requests, and until the split is a minute old."""
    rollout: str | None
    """The rollout in progress in this variation."""
    verdict: str | None
    """The candidate's: FAIL, UNDECIDED, NO DATA, or PASS if every gate passed; OK if only guardrails judge."""
    requests_per_second: float | None
    """Requests to this build in this variation, all audiences together, in the last minute; None: it had none."""
    error_rate: float | None
    """In per cent."""
    p95: float | None
    """Milliseconds, to within 12 %."""
    spent: Mapping[str, float]
    """Mean milliseconds of an answered request in each stage of the service, since it started."""
    since: datetime | None
    """When it got this share: when stable became stable, or when the candidate's step began."""


def verdict_of(rollout: Rollout) -> str:
    """The worst verdict of all gates of a rollout, in one word. A guardrail counts only if it has found harm."""
    watched = {name for name, rule in rollout.plan.rules.items() if not rule.decides}
    judged = {metric: each for metric, each in rollout.judgements.items() if metric not in watched}
    answers = {metric: Answer(each.answer) for metric, each in judged.items()}
    if Answer.FAIL in answers.values():
        return Answer.FAIL.label
    deciding: Iterable[str] = rollout.plan.must_pass
    if rollout.phase is Phase.CONFIRMING and rollout.confirms is not None:
        deciding = (rollout.confirms.metric,)
    of_gates = [_at_this_step(rollout, answers, name) for name in deciding]
    for answer in (Answer.UNDECIDED, Answer.NO_DATA):
        if answer in of_gates:
            return answer.label
    if of_gates:
        return Answer.PASS.label
    return OK if {Answer.PASS, Answer.UNDECIDED} & set(answers.values()) else Answer.NO_DATA.label


def _at_this_step(rollout: Rollout, answers: Mapping[str, Answer], name: str) -> Answer:
    """A gate's answer. One that passed at an earlier step must still pass at this one."""
    return Answer.UNDECIDED if rollout.must_pass_again(name) else answers.get(name, Answer.NO_DATA)
