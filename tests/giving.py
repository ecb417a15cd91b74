"""Orders as tests give them: one function each, which makes the order, gives it, and reads what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied, Changes, Record
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.connecting import record_connections
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.naming import find
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    Approve,
    Arrange,
    Connect,
    DeleteAudience,
    Deploy,
    Disconnect,
    EndExperiment,
    Jump,
    Order,
    OverrideFreeze,
    Pause,
    Promote,
    Resume,
    Retry,
    RollBack,
    Scale,
    Share,
    Start,
    StartExperiment,
    Undeploy,
)
from sluicegate.registry.orders.progress import append, begin, complete, stable
from sluicegate.registry.orders.starting import Started, rollout_id
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.roles import Role

__all__ = ["append", "begin", "complete", "find", "rollout_id", "stable"]


@dataclass(frozen=True, kw_only=True)
class Giver:
    """Who gives an order, and through which door."""

    actor: str = "ada"
    cause: str = "cli"
    by_name: bool = True
    sighting: Sighting | None = None
    override_freeze: str | None = None
    override_assessment: str | None = None
    follows: str | None = None


def start(
    ledger: Ledger, *, plan: Plan, version: str, request: Giver, now: datetime, allow_older: bool = False,
    strategy: Strategy | None = None,
) -> Started:  # fmt: skip
    act = Start(
        model=plan.model, variation=plan.variation, version=version, plan=plan, strategy=strategy,
        allow_older=allow_older, by_name=request.by_name, sighting=request.sighting,
    )  # fmt: skip
    return _started(ledger, act, request, now)


def deploy(
    ledger: Ledger, *, plan: Plan, version: str, request: Giver, now: datetime, at_once: str | None = None
) -> Started:  # fmt: skip
    act = Deploy(model=plan.model, variation=plan.variation, version=version, plan=plan, at_once=at_once)
    return _started(ledger, act, request, now)


def roll_back(
    ledger: Ledger, *, model: str, variation: str, version: str | None, reason: str, request: Giver, now: datetime
) -> Started:
    return _started(ledger, RollBack(model=model, variation=variation, version=version), request, now, reason)


def undeploy(
    ledger: Ledger, *, model: str, variation: str, actor: str, reason: str, now: datetime, is_last: bool = False
) -> Rollout:
    return _steered(ledger, Undeploy(model=model, variation=variation, is_last=is_last), actor, reason, now)


def scale(
    ledger: Ledger, *, model: str, variation: str, replicas: int, actor: str, reason: str, now: datetime
) -> Rollout:
    return _steered(ledger, Scale(model=model, variation=variation, replicas=replicas), actor, reason, now)


def pause(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    return _steered(ledger, Pause(rollout=name), actor, reason, now)


def resume(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    return _steered(ledger, Resume(rollout=name), actor, reason, now)


def approve(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    """Approve the step that the rollout is at."""
    return _steered(ledger, Approve(rollout=name, step=ledger.rollout(name).step), actor, reason, now)


def jump(
    ledger: Ledger, name: str, *, step: int, back: bool = False, although_not_ready: bool = False, actor: str,
    reason: str, now: datetime,
) -> Rollout:  # fmt: skip
    """To a step, from 0."""
    act = Jump(rollout=name, step=step, back=back, although_not_ready=although_not_ready)
    return _steered(ledger, act, actor, reason, now)


def promote(
    ledger: Ledger, name: str, *, although_not_ready: bool = False, actor: str, reason: str, now: datetime
) -> Rollout:  # fmt: skip
    return _steered(ledger, Promote(rollout=name, although_not_ready=although_not_ready), actor, reason, now)


def abort(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    return _steered(ledger, Abort(rollout=name), actor, reason, now)


def retry(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    return _steered(ledger, Retry(rollout=name), actor, reason, now)


def override_freeze(ledger: Ledger, name: str, *, actor: str, reason: str, now: datetime) -> Rollout:
    return _steered(ledger, OverrideFreeze(rollout=name), actor, reason, now)


def start_experiment(ledger: Ledger, *, plan: Plan, request: Giver, now: datetime) -> tuple[Started, ...]:
    """The comparisons of the experiment that was started or found."""
    act = StartExperiment(model=plan.model, variation=plan.variation, plan=plan)
    first = _started(ledger, act, request, now)
    experiment = first.rollout.requested.experiment
    group = [each for each in ledger.rollouts(Selection(model=plan.model)) if each.requested.experiment == experiment]
    return tuple(Started(rollout=each, created=first.created) for each in group)


def conclude(ledger: Ledger, experiment: str, *, actor: str, reason: str, now: datetime) -> tuple[Rollout, ...]:
    """The comparisons of an experiment, which has been ended."""
    give(
        ledger,
        Order(act=EndExperiment(experiment=experiment), actor=actor, cause="cli", role=Role.ADMIN, reason=reason),
        now,
    )
    return tuple(each for each in ledger.rollouts() if each.requested.experiment == experiment)


def send(
    ledger: Ledger, *, model: str, variation: str, to: Sequence[Share], is_fallback: bool, actor: str, now: datetime
) -> Connections:
    act = Connect(model=model, variation=variation, shares=tuple(to), is_fallback=is_fallback)
    return _redirected(ledger, act, model, actor, now)


def take_away(
    ledger: Ledger, *, model: str, variation: str, audience: str, actor: str, now: datetime
) -> Connections:  # fmt: skip
    return _redirected(ledger, Disconnect(model=model, variation=variation, audience=audience), model, actor, now)


def arrange(ledger: Ledger, *, model: str, audiences: Sequence[str], actor: str, now: datetime) -> Connections:
    return _redirected(ledger, Arrange(model=model, audiences=tuple(audiences)), model, actor, now)


def delete_audience(ledger: Ledger, name: str, *, actor: str, now: datetime) -> None:
    give(ledger, Order(act=DeleteAudience(name=name), actor=actor, cause="cli", role=Role.ADMIN), now)


def _started(ledger: Ledger, act: Act, giver: Giver, now: datetime, reason: str = "no reason given") -> Started:
    order = Order(
        follows=giver.follows,
        act=act, actor=giver.actor, role=Role.ADMIN, cause=giver.cause, reason=reason,
        override_freeze=giver.override_freeze, override_assessment=giver.override_assessment,
    )  # fmt: skip
    receipt = give(ledger, order, now)
    return Started(rollout=ledger.rollout(receipt.rollout or ""), created=receipt.created)


def _steered(ledger: Ledger, act: Act, actor: str, reason: str, now: datetime) -> Rollout:
    receipt = give(ledger, Order(act=act, actor=actor, cause="cli", role=Role.ADMIN, reason=reason), now)
    return ledger.rollout(receipt.rollout or "")


def _redirected(ledger: Ledger, act: Act, model: str, actor: str, now: datetime) -> Connections:
    give(ledger, Order(act=act, actor=actor, cause="cli", role=Role.ADMIN), now)
    return connections_of(ledger, model) or Connections(model=model)


def apply_plan(ledger: Ledger, plan: Plan, at: datetime) -> None:
    """Let a plan count for its target."""
    name = f"{plan.model}/{plan.variation}"
    ledger.apply(Applied(kind="plan", name=name, body=plan.document(), digest=plan.digest, actor="ada", at=at))


def connect(ledger: Ledger, wanted: Connections, actor: str, at: datetime) -> bool:
    """Record connections as they are, without an order."""

    def decided(record: Record) -> Changes:
        draft = Draft(record, at)
        record_connections(draft, wanted, actor)
        return draft.changes(None)

    return ledger.commit(decided).changed
