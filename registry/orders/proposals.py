"""Proposals: orders that would change what a protected variation serves, kept until a second named person approves.

A proposal is a document in the ledger. It contains the order and a digest of everything that the order would record and
of the state it would change. Approving it later does exactly that, or nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from sluicegate.registry.ledger.record import Applied, Changes, Receipt, Record
from sluicegate.registry.ledger.withdrawal import is_withdrawn
from sluicegate.registry.orders import order as orders
from sluicegate.registry.orders.answering import unrecorded
from sluicegate.registry.orders.connections_record import KIND as TRAFFIC
from sluicegate.registry.orders.connections_record import connections_of, read
from sluicegate.registry.orders.guarding import disturbed
from sluicegate.registry.orders.order import Act, ApplyAudience, ApplyDeployment, Order
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Approved, Fact, Jumped, Promoted, Undeployed, to_payload
from sluicegate.registry.rollout.rollout import Signature, is_same_person
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import Forbidden, NotFound
from sluicegate.registry.words.verdict import Answer

KIND = "proposal"
ENOUGH = 2
"""How many named people must stand behind a proposal."""
OPEN, APPROVED, REJECTED = "open", "approved", "rejected"
_WORD = re.compile(r"(?<!^)(?=[A-Z])")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A proposed order, and who stands behind it."""

    name: str
    order: Order
    targets: tuple[str, ...]
    """The protected variations whose serving it changes, as model/variation."""
    effect: str
    """Digest of what it would record."""
    asked_at: datetime
    people: tuple[Signature, ...] = ()
    """Named people who stand behind it, starting with the one who proposed it; two are needed."""
    state: str = OPEN
    closed_by: str = ""
    closed_why: str = ""

    @property
    def says(self) -> str:
        """The proposed order, in words."""
        return f"{_WORD.sub(' ', type(self.order.act).__name__).lower()}: {_in_words(self.order.act)}"


def guard(record: Record, order: Order, changes: Changes, now: datetime) -> Changes:
    """The changes, or if they would change what a protected variation serves, only their proposal."""
    targets = _targets(record, changes)
    if not targets:
        return changes
    effect = effect_of(record, changes)
    proposed = dataclasses.replace(order, act=applied_at(order.act, _NEVER), key=None, seen=None)
    name = hashlib.sha256(f"{proposed!r}{effect}".encode()).hexdigest()[:8]
    existing = record.applied(KIND, name)
    if existing is not None and existing.body["state"] == OPEN:
        return Changes(receipt=Receipt(changed=False, proposal=name))
    people = () if order.person is None else (Signature(step=0, person=order.person, actor=order.actor),)
    proposal = Proposal(name=name, order=proposed, targets=targets, effect=effect, asked_at=now, people=people)
    return Changes(documents=(recorded(proposal, order.actor, now),), receipt=Receipt(proposal=name))


def effect_of(record: Record, changes: Changes) -> str:
    """The digest of the changes and of the state they change: traffic, builds, and the rollouts that move.

    It does not include who approves, nor verdicts, which change with each look, unless a gate has failed.
    """
    models = {each.name for each in changes.documents if each.kind == TRAFFIC}
    moved = {}
    for entry in changes.entries:
        if entry.seq > 0 and entry.rollout not in moved and not _is_opened(changes, entry.rollout):
            rollout = record.rollout(entry.rollout)
            models.add(rollout.requested.model)
            moved[rollout.id] = (rollout.phase, rollout.step, rollout.weight, rollout.stable)
    builds = [(each.model, each.variation, each.stable.version) for m in sorted(models)
              for each in standings(record.current(m))]  # fmt: skip
    over = [(each.kind, each.name, _digest_of(record, each), each.digest) for each in changes.documents]
    facts = [
        (each.rollout, type(each.fact).__name__, to_payload(_without_passing_verdicts(each.fact)))
        for each in changes.entries
        if not isinstance(each.fact, Approved)
    ]
    text = json.dumps([over, facts, sorted(moved.items()), builds], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def proposals(record: Record, *, state: str | None = OPEN) -> tuple[Proposal, ...]:
    """The proposals in this state, oldest first; None: in any state."""
    stored = (_read(each) for each in record.all_applied(KIND))
    return tuple(sorted((p for p in stored if state in (None, p.state)), key=lambda p: (p.asked_at, p.name)))


def find_proposal(record: Record, name: str) -> Proposal:
    """The proposal with this name. Raises NotFound."""
    document = record.applied(KIND, name)
    if document is None:
        raise NotFound(f"there is no proposal {name!r}.", fix="sluice proposal list")
    return _read(document)


def signed(proposal: Proposal, order: Order) -> Proposal:
    """The proposal with the approver as its second person. Raises Forbidden for anybody who cannot be that."""
    what = f"proposal {proposal.name} changes what {', '.join(proposal.targets)} serves, which is protected"
    fix = (
        "somebody else with the role approver and a token of their own must run: sluice proposal approve "
        f"{proposal.name}"
    )
    if order.person is None:
        raise Forbidden(
            f"{what}: only a named person can approve it, and the token {order.actor} does not belong to one.",
            fix=fix,
        )
    approval = Signature(step=0, person=order.person, actor=order.actor)
    if any(is_same_person(approval, each) for each in proposal.people):
        raise Forbidden(
            f"{what}, and {proposal.people[0].actor} asked for it: the person who asked cannot approve.", fix=fix
        )
    return dataclasses.replace(proposal, people=(*proposal.people, approval))


def supposed(order: Order) -> tuple[Signature, ...]:
    """Imaginary signatures, for working out what an order would record once it is approved."""
    asker = Signature(step=0, person=order.person or " asker", actor=order.actor)
    return (asker, Signature(step=0, person=" approver", actor=" approver"))


def applied_at(act: Act, now: datetime) -> Act:
    """The act with its document applied now instead of when it was proposed."""
    match act:
        case ApplyAudience(document=document) | ApplyDeployment(document=document):
            return dataclasses.replace(act, document=dataclasses.replace(document, at=now))
        case _:
            return act


def recorded(proposal: Proposal, actor: str, now: datetime) -> Applied:
    """The document that stores a proposal."""
    act = proposal.order.act
    name = type(act).__name__
    body: dict[str, Any] = _adapter(Proposal).dump_python(proposal, mode="json", exclude={"order": {"act"}})
    body |= {"act": name, "fields": _adapter(getattr(orders, name)).dump_python(act, mode="json")}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return Applied(kind=KIND, name=proposal.name, body=body, digest=digest, actor=actor, at=now)


def _read(document: Applied) -> Proposal:
    body: dict[str, Any] = document.body
    act = _adapter(getattr(orders, body["act"])).validate_python(body["fields"])
    proposal: Proposal = _adapter(Proposal).validate_python(body | {"order": body["order"] | {"act": act}})
    return proposal


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _in_words(value: object) -> str:
    """A value of an order in words. Missing and empty values are left out."""
    match value:
        case Applied(kind=kind, name=name, body=body):
            return f"{kind} {name} as {json.dumps(body)}"
        case Plan():
            return f"by the plan {value.digest[:12]}"
        case tuple():
            return "; ".join(map(_in_words, value))
        case StrEnum() | str() | int() | float():
            return str(value)
        case _ if dataclasses.is_dataclass(value):
            fields = ((each.name, getattr(value, each.name)) for each in dataclasses.fields(value))
            return ", ".join(_field(name, field) for name, field in fields if field is not None and field != ())
        case _:
            return str(value)


def _field(name: str, value: object) -> str:
    word = name.removeprefix("is_").replace("_", " ")
    return f"{word} {'yes' if value else 'no'}" if isinstance(value, bool) else f"{word} {_in_words(value)}"


def _targets(record: Record, changes: Changes) -> tuple[str, ...]:
    """The protected variations that the changes affect. New rollouts are left out: they wait for their own approval."""
    targets = {
        f"{each.name}/{variation}"
        for each in changes.documents
        if each.kind == TRAFFIC
        for before in (connections_of(record, each.name) or unrecorded(each.name),)
        for variation in disturbed(before, unrecorded(each.name) if is_withdrawn(each) else read(each.body))
    }
    for entry in changes.entries:
        if _is_opened(changes, entry.rollout):
            continue
        rollout = record.rollout(entry.rollout)
        connections = connections_of(record, rollout.requested.model) or unrecorded(rollout.requested.model)
        is_promoted = isinstance(entry.fact, Promoted) and rollout.guarded
        is_emptied = isinstance(entry.fact, Undeployed) and rollout.requested.variation in connections.protected
        is_risen = isinstance(entry.fact, Jumped) and rollout.guarded and entry.fact.step > entry.fact.former
        if is_promoted or is_emptied or is_risen:
            targets.add("/".join(rollout.target))
    return tuple(sorted(targets))


def _is_opened(changes: Changes, rollout: str) -> bool:
    return any(each.rollout == rollout and each.seq == 0 for each in changes.entries)


def _without_passing_verdicts(fact: Fact) -> Fact:
    """A fact that does not change with later looks, unless a gate has failed in it."""
    if not isinstance(fact, Promoted):
        return fact
    failed = {metric: answer for metric, answer in fact.verdicts.items() if answer == Answer.FAIL}
    return dataclasses.replace(fact, verdicts=failed)


def _digest_of(record: Record, document: Applied) -> str:
    latest = record.applied(document.kind, document.name)
    return "" if latest is None else latest.digest
