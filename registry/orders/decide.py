"""What an order leads to: from the record and an order to everything to be recorded, or to a refusal. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sluicegate.registry.ledger.record import Changes, Receipt, Record
from sluicegate.registry.orders import steering, variations
from sluicegate.registry.orders.audience_store import apply_audience, delete_audience
from sluicegate.registry.orders.authority import need, refuse_beyond_role
from sluicegate.registry.orders.connections_record import connections_of, digest
from sluicegate.registry.orders.deployments import apply_deployment
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.experiments import conclude, promote_variation, start_experiment
from sluicegate.registry.orders.jumping import jump
from sluicegate.registry.orders.naming import find
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    ApplyAudience,
    ApplyDeployment,
    Approve,
    ApproveProposal,
    Arrange,
    Connect,
    DeleteAudience,
    Deploy,
    Disconnect,
    EndExperiment,
    Jump,
    OnRollout,
    OnTraffic,
    Order,
    OverrideFreeze,
    Pause,
    Promote,
    RejectProposal,
    Resume,
    Retry,
    RollBack,
    Scale,
    SeenConnections,
    SeenRollout,
    SetConnections,
    SetTerms,
    Start,
    StartExperiment,
    Undeploy,
)
from sluicegate.registry.orders.proposals import (
    APPROVED,
    ENOUGH,
    REJECTED,
    Proposal,
    applied_at,
    effect_of,
    find_proposal,
    guard,
    recorded,
    signed,
    supposed,
)
from sluicegate.registry.orders.readiness import must_be_ready
from sluicegate.registry.orders.scaling import scale
from sluicegate.registry.orders.starting import Started, override_freeze, roll_back, start
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import PreconditionFailed, Refused, UsageError
from sluicegate.registry.words.readiness import NOBODY_LOOKED, Readiness
from sluicegate.registry.words.roles import Role


def decide(record: Record, order: Order, now: datetime, readiness: Readiness = NOBODY_LOOKED) -> Changes:
    """Everything that the order records. Raises Forbidden, Refused, NotFound or UsageError; then nothing is recorded.

    `readiness`: the noted state of the builds' services, which is not part of the record.
    """
    refuse_beyond_role(order)
    _refuse_outdated(record, order)
    match order.act:
        case ApproveProposal(proposal=name):
            return _approved(record, order, find_proposal(record, name), now, readiness)
        case RejectProposal(proposal=name):
            return _rejected(order, find_proposal(record, name), now)
        case act:
            as_if_signed = replace(order, signed_by=supposed(order))
            return guard(record, order, _carried_out(record, as_if_signed, act, now, readiness), now)


def _carried_out(record: Record, order: Order, act: Act, now: datetime, readiness: Readiness) -> Changes:
    """Everything that the order records if nothing is protected."""
    draft = Draft(record, now, readiness)
    match act:
        case Start():
            return _started(draft, start(draft, order, act))
        case Deploy():
            return _started(draft, variations.deploy(draft, order, act))
        case ApplyDeployment():
            started = apply_deployment(draft, order, act)
            return draft.changes(None) if started is None else _started(draft, started)
        case RollBack():
            return _started(draft, roll_back(draft, order, act))
        case StartExperiment():
            comparisons = start_experiment(draft, order, act)
            return draft.changes(comparisons[0].rollout.id, created=any(each.created for each in comparisons))
        case EndExperiment(experiment=experiment):
            return draft.changes(conclude(draft, order, experiment)[0].id)
        case Pause() | Resume() | Approve() | Jump() | Promote() | Abort() | Retry() | OverrideFreeze():
            return _steered(draft, order, act)
        case (
            Undeploy()
            | Scale()
            | Connect()
            | Disconnect()
            | Arrange()
            | SetConnections()
            | SetTerms()
            | ApplyAudience()
            | DeleteAudience()
        ):
            return _redirected(draft, order, act)
        case ApproveProposal() | RejectProposal():
            raise UsageError("a proposal cannot change another proposal.")


def _approved(record: Record, order: Order, proposal: Proposal, now: datetime, readiness: Readiness) -> Changes:
    """Carry out a proposal, signed by both people, if it would still do what was proposed."""
    if proposal.state == APPROVED:
        return Changes(receipt=Receipt(changed=False))
    if proposal.state == REJECTED:
        raise Refused(f"proposal {proposal.name} was rejected by {proposal.closed_by}.", fix="ask for it again")
    signed_proposal = signed(proposal, order)
    if len(signed_proposal.people) < ENOUGH:
        return Changes(
            documents=(recorded(signed_proposal, order.actor, now),), receipt=Receipt(proposal=proposal.name)
        )
    original = proposal.order
    refuse_beyond_role(original)
    signed_order, act = replace(original, signed_by=signed_proposal.people), applied_at(original.act, now)
    changes = _carried_out(record, signed_order, act, now, readiness)
    if effect_of(record, changes) != proposal.effect:
        raise PreconditionFailed(
            f"proposal {proposal.name}: the traffic, a build or the rollout has changed since, so what "
            f"{original.actor} asked "
            "for would now do something else.",
            fix=f"{original.actor} asks again, or: sluice proposal reject {proposal.name}",
        )
    closed = replace(signed_proposal, state=APPROVED, closed_by=order.actor, closed_why=order.reason)
    return replace(changes, documents=(*changes.documents, recorded(closed, order.actor, now)))


def _rejected(order: Order, proposal: Proposal, now: datetime) -> Changes:
    if proposal.state == REJECTED:
        return Changes(receipt=Receipt(changed=False))
    if proposal.state == APPROVED:
        raise Refused(f"proposal {proposal.name} was approved by {proposal.closed_by} and has been carried out.")
    if not any(order.person == each.person for each in proposal.people):
        need(order, Role.APPROVER, f"to reject what {proposal.order.actor} asked for")
    closed = replace(proposal, state=REJECTED, closed_by=order.actor, closed_why=order.reason)
    return Changes(documents=(recorded(closed, order.actor, now),), receipt=Receipt())


def _started(draft: Draft, started: Started) -> Changes:
    return draft.changes(started.rollout.id, created=started.created)


def _steered(draft: Draft, order: Order, act: OnRollout) -> Changes:
    rollout = find(draft, act.rollout)
    match act:
        case Pause():
            after = steering.pause(draft, order, rollout)
        case Resume():
            after = steering.resume(draft, order, rollout)
        case Approve(step=step):
            after = steering.approve(draft, order, rollout, step)
        case Jump() as act:
            after = jump(draft, order if act.back else must_be_ready(draft, order, rollout, act), rollout, act)
        case Promote() as act if rollout.is_comparison:
            after = promote_variation(draft, must_be_ready(draft, order, rollout, act), rollout)
        case Promote() as act:
            order = must_be_ready(draft, order, rollout, act)
            after = steering.promote(draft, order, rollout)
        case Abort():
            after = steering.abort(draft, order, rollout)
        case OverrideFreeze():
            after = override_freeze(draft, rollout, actor=order.actor, reason=order.reason)
        case Retry():
            return _started(draft, steering.retry(draft, order, rollout))
    return draft.changes(after.id)


def _redirected(draft: Draft, order: Order, act: OnTraffic) -> Changes:
    match act:
        case Undeploy():
            return draft.changes(variations.undeploy(draft, order, act).id)
        case Scale():
            return draft.changes(scale(draft, order, act).id)
        case Connect():
            variations.connect(draft, order, act)
        case Disconnect():
            variations.disconnect(draft, order, act)
        case Arrange():
            variations.arrange(draft, order, act)
        case SetConnections():
            variations.set_connections(draft, order, act)
        case SetTerms():
            variations.set_terms(draft, order, act)
        case ApplyAudience(document=document):
            apply_audience(draft, order, document)
        case DeleteAudience(name=name):
            delete_audience(draft, order, name)
    return draft.changes(None)


def _refuse_outdated(record: Record, order: Order) -> None:
    """Raise PreconditionFailed if the record has changed since the giver of the order read it."""
    match order.seen:
        case None:
            return
        case SeenRollout(rollout=name, seq=seq):
            rollout = _steered_rollout(record, order)
            if (rollout.id, rollout.seq) != (name, seq):
                raise PreconditionFailed(
                    f"rollout {rollout.id} has changed since you looked: you saw {name} at fact {seq}; it is at fact "
                    f"{rollout.seq} now.",
                    fix="read it again, then decide.",
                )
        case SeenConnections(digest=seen):
            model = _redirected_model(order)
            if digest(connections_of(record, model)) != seen:
                raise PreconditionFailed(
                    f"the connections of {model} have changed since you read them.",
                    fix="read them again, then decide.",
                )


def _steered_rollout(record: Record, order: Order) -> Rollout:
    """The rollout that an order is about. Raises UsageError for orders on anything else."""
    match order.act:
        case Pause() | Resume() | Approve() | Jump() | Promote() | Abort() | Retry() | OverrideFreeze() as act:
            return find(record, act.rollout)
        case _:
            raise UsageError("If-Match: this is the entity tag of a rollout, but the order does not concern a rollout.")


def _redirected_model(order: Order) -> str:
    """The model whose connections an order is about. Raises UsageError for orders on anything else."""
    match order.act:
        case (
            Deploy()
            | ApplyDeployment()
            | Undeploy()
            | Connect()
            | Disconnect()
            | Arrange()
            | SetConnections()
            | SetTerms() as act
        ):
            return act.model
        case _:
            raise UsageError(
                "If-Match: this is the entity tag of connections, but the order does not change connections."
            )
