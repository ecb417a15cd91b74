"""Orders on a model's variations and on who is sent to them. Each adds to a draft or is refused. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sluicegate.registry.audience.connections import FALLBACK, Connection, Connections, Copied, StandIn, Weighted
from sluicegate.registry.ledger.record import Record
from sluicegate.registry.orders.answering import (
    filled,
    has_traffic,
    main_variation,
    others_serve,
    present_connections,
    unrecorded,
)
from sluicegate.registry.orders.applied_plan import plan_or_bare
from sluicegate.registry.orders.audience_store import known_audience
from sluicegate.registry.orders.authority import need, refuse_unjudged
from sluicegate.registry.orders.connecting import record_connections
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.orders.draft import Draft
from sluicegate.registry.orders.order import (
    Arrange,
    Connect,
    Deploy,
    Disconnect,
    Order,
    Routed,
    SetConnections,
    SetTerms,
    Share,
    Start,
    Undeploy,
)
from sluicegate.registry.orders.rules import way_out
from sluicegate.registry.orders.starting import Started, end_early, put_first, start
from sluicegate.registry.orders.starting import replace as replace_build
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import experiment_spec
from sluicegate.registry.rollout.facts import AtOnce, Undeployed
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import current, standings, trusted
from sluicegate.registry.words.errors import NotFound, Refused, TargetBusy, UsageError
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.suggestions import suggestion


def deploy(draft: Draft, order: Order, act: Deploy) -> Started:
    """Put a build into a variation: the first one after probing, a later one as a canary by the plan.

    A variation without traffic gets the build at once, and so does any variation if `at_once` gives a reason.
    """
    model, variation = act.model, act.variation
    stable = trusted(draft.target(model, variation))
    serves = stable is not None and has_traffic(draft, model, variation)
    started = _put(draft, order, act, None if stable is None else stable.requested.version, serves=serves)
    if act.shares or act.is_fallback:
        connect(draft, order, Connect(model=model, variation=variation, shares=act.shares, is_fallback=act.is_fallback))
    if act.routed or act.fallback is not None:
        _route(draft, order, act)
    if act.protected is not None:
        set_terms(draft, order, SetTerms(model=model, variation=variation, protected=act.protected))
    return started


def _route(draft: Draft, order: Order, act: Deploy) -> None:
    """Route a deployment's audiences as it says. Other audiences stay as they are, after the named ones."""
    model = act.model
    served = [part.variation for each in act.routed for part in each.weighted]
    copied = [part.variation for each in act.routed for part in each.copied]
    for variation in (*served, *copied, *filter(None, [act.fallback])):
        _refuse_empty(draft, model, variation)
    present = present_connections(draft, model, act.fallback)
    named = tuple(_routed(draft, present, each) for each in act.routed)
    routed = {each.audience for each in act.routed}
    rest = tuple(each for each in present.ordered if each.audience.name not in routed)
    fallback = present.fallback if act.fallback is None else (Weighted(variation=act.fallback),)
    wanted = replace(present, ordered=(*named, *rest), fallback=fallback)
    _refuse_nobody(wanted)
    if [each.audience for each in wanted.ordered] != [each.audience for each in present.ordered]:
        _refuse_other_order(draft, model)
    if others_serve(draft, model, act.variation):
        refuse_unjudged(order, connections_of(draft, model) or unrecorded(model), wanted)
    record_connections(draft, wanted, order.actor)


def _routed(draft: Draft, present: Connections, routed: Routed) -> Connection:
    """The connection of an audience with exactly the named variations."""
    before = next((each for each in present.ordered if each.audience.name == routed.audience), None)
    return replace(
        before or Connection(audience=known_audience(draft, routed.audience), weighted=()),
        weighted=tuple(part for part in routed.weighted if part.weight),
        copied=tuple(part for part in routed.copied if part.sample),
    )


def set_connections(draft: Draft, order: Order, act: SetConnections) -> None:
    """Route a model's requests exactly as the order says. Units whose variation does not change keep their slots."""
    model = act.model
    main = max(act.fallback, key=lambda part: part.weight).variation
    served = [part.variation for weighted in (act.fallback, *(r.weighted for r in act.routed)) for part in weighted]
    copied = [part.variation for parts in (act.fallback_copied, *(r.copied for r in act.routed)) for part in parts]
    for variation in (*served, *copied):
        _refuse_empty(draft, model, variation)
    present = present_connections(draft, model, main)
    named = tuple(_routed(draft, present, each) for each in act.routed)
    wanted = replace(present, ordered=named, fallback=act.fallback, fallback_copied=act.fallback_copied)
    _refuse_nobody(wanted)
    if wanted == present:
        return
    _refuse_other_order(draft, model)
    if others_serve(draft, model, main):
        refuse_unjudged(order, connections_of(draft, model) or unrecorded(model), wanted)
    record_connections(draft, wanted, order.actor)


def _put(draft: Draft, order: Order, act: Deploy, stable: str | None, *, serves: bool) -> Started:
    model, variation, version = act.model, act.variation, act.version
    if stable is None or stable == version:
        plan = act.plan or plan_or_bare(draft, model, variation)
        _keep_fallback(draft, plan, order)
        return put_first(draft, order, plan, version)
    holder = current(draft.target(model, variation))
    if holder is not None and holder.requested.version == version and holder.requested.strategy == AtOnce.REPLACE:
        return Started(rollout=holder, created=False)
    at_once = act.at_once if serves else act.at_once or "the variation has no traffic"
    if at_once is not None:
        return replace_build(draft, order, act.plan or plan_or_bare(draft, model, variation), version, at_once)
    return start(draft, order, Start(model=model, variation=variation, version=version, plan=act.plan))


def connect(draft: Draft, order: Order, act: Connect) -> None:
    """Send audiences to a variation, with its weight relative to their other variations, which keep theirs."""
    model, variation = act.model, act.variation
    _refuse_empty(draft, model, variation)
    wanted = present_connections(draft, model, variation if act.is_fallback else None)
    if act.is_fallback:
        wanted = replace(wanted, fallback=(Weighted(variation=variation),))
    for share in act.shares:
        wanted = _shared(draft, wanted, variation, share)
    _refuse_nobody(wanted)
    if others_serve(draft, model, variation):
        refuse_unjudged(order, connections_of(draft, model) or unrecorded(model), wanted)
    record_connections(draft, wanted, order.actor)


def disconnect(draft: Draft, order: Order, act: Disconnect) -> None:
    """No longer send an audience to this variation. An audience without variations goes to the next that matches."""
    model, variation, audience = act.model, act.variation, act.audience
    _refuse_experiment(draft, model, variation, audience)
    present = present_connections(draft, model, None)
    if audience == FALLBACK or variation not in _variations_of(present, audience):
        raise Refused(
            f"{model}/{variation} is not connected to the audience {audience}.",
            fix=f"sluice variation list {model}",
        )
    ordered = (_without(each, variation) if each.audience.name == audience else each for each in present.ordered)
    kept = tuple(each for each in ordered if _weighs(each.weighted))
    wanted = replace(present, ordered=kept)
    refuse_unjudged(order, present, wanted)
    record_connections(draft, wanted, order.actor)


def arrange(draft: Draft, order: Order, act: Arrange) -> None:
    """Try a model's audiences in this order; those that are not named come after them, in their present order.

    Raises UsageError for an audience that is named twice or not connected, and TargetBusy during an experiment, because
    the users of its audience would change.
    """
    model = act.model
    _refuse_other_order(draft, model)
    present = present_connections(draft, model, None)
    by_name = {each.audience.name: each for each in present.ordered}
    _refuse_unknown(model, act.audiences, list(by_name))
    rest = (each for name, each in by_name.items() if name not in act.audiences)
    ordered = (*(by_name[name] for name in act.audiences), *rest)
    wanted = replace(present, ordered=ordered)
    refuse_unjudged(order, present, wanted)
    record_connections(draft, wanted, order.actor)


def _refuse_other_order(draft: Draft, model: str) -> None:
    for rollout in draft.current(model):
        if rollout.is_comparison and not rollout.is_ended:
            name = rollout.requested.experiment
            fix = f"end it first: sluice experiment end {name}"
            raise TargetBusy(
                f"this would change the audience of experiment {name} of {model}, which is running.", fix=fix
            )


def _refuse_unknown(model: str, audiences: Sequence[str], known: Sequence[str]) -> None:
    twice = sorted({name for name in audiences if audiences.count(name) > 1})
    if twice:
        raise UsageError(
            f"{', '.join(twice)}: named twice.", fix="name each audience once, in the order in which they are tried"
        )
    for name in audiences:
        if name == FALLBACK:
            raise UsageError(f"{FALLBACK} stands for requests that no audience matches, so it is always last.")
        if name not in known:
            connected = ", ".join(known) or "none"
            raise UsageError(
                f"the audience {name} is not connected to {model}; connected are: {connected}.",
                fix=suggestion(name, known)
                if known
                else f"sluice variation connect {model} VARIATION --audience {name}",
            )


def set_terms(draft: Draft, order: Order, act: SetTerms) -> None:
    """Set properties of a variation that do not depend on the audience."""
    _refuse_empty(draft, act.model, act.variation)
    present = present_connections(draft, act.model, None)
    terms = present.terms_of(act.variation)
    if act.by_name is not None:
        terms = replace(terms, by_name=act.by_name)
    if act.stand_in is not None and act.stand_in is not terms.stand_in:
        need(order, Role.APPROVER, f"to change who answers when {act.model}/{act.variation} cannot")
        _refuse_own_stand_in(present, act)
        terms = replace(terms, stand_in=act.stand_in)
    if act.protected is not None and act.protected is not terms.protected:
        need(order, Role.APPROVER, f"to change whether {act.model}/{act.variation} is protected")
        terms = replace(terms, protected=act.protected)
    record_connections(draft, present.with_terms(terms), order.actor)


def _refuse_own_stand_in(present: Connections, act: SetTerms) -> None:
    is_fallback = present.fallback_variation == act.variation
    if is_fallback and act.stand_in is not StandIn.NEVER:
        raise Refused(
            f"{act.model}/{act.variation} is the fallback variation: it cannot stand in for itself.",
            fix=f"name another first: sluice variation connect {act.model} VARIATION --fallback",
        )


def _refuse_empty(record: Record, model: str, variation: str) -> None:
    if variation not in filled(record, model):
        raise Refused(
            f"{model}/{variation} holds no build.",
            fix=f"sluice deploy {model} --build VERSION --variation {variation}",
        )


def undeploy(draft: Draft, order: Order, act: Undeploy) -> Rollout:
    """Empty a variation: first its requests go to the others of its audiences, then its service stops.

    Refused if nobody would be left to answer them, or while a rollout of the variation is in progress.
    """
    model, variation = act.model, act.variation
    trusted_rollout = _undeployable(draft, model, variation)
    _refuse_experiment(draft, model, variation)
    if has_traffic(draft, model, variation):
        need(order, Role.APPROVER, f"to remove the variation {model}/{variation}, which has callers")
    others = {each.variation for each in standings(draft.current(model))} - {variation}
    if others:
        record_connections(draft, _emptied(present_connections(draft, model, None), variation, others), order.actor)
    elif act.is_last:
        emptied = replace(present_connections(draft, model, None), ordered=(), fallback_copied=())
        record_connections(draft, emptied, order.actor)
    else:
        raise Refused(
            f"{model}/{variation} is the model's last variation: nothing would answer its requests.",
            fix=f"sluice undeploy {model} --variation {variation} --last",
        )
    if not trusted_rollout.is_ended:
        end_early(draft, trusted_rollout, order.actor, f"undeployed by {order.actor}")
    return draft.append(trusted_rollout.id, Undeployed(actor=order.actor, party=order.party, reason=order.reason))


def _undeployable(draft: Draft, model: str, variation: str) -> Rollout:
    """The rollout whose build the variation trusts. Raises NotFound, or TargetBusy while another one is in progress."""
    of_target = draft.target(model, variation)
    trusted_rollout = trusted(of_target)
    if trusted_rollout is None:
        raise NotFound(f"{model}/{variation} holds no build.", fix=f"sluice variation list {model}")
    for rollout in of_target:
        if not rollout.is_ended and not rollout.took_over:
            raise TargetBusy(f"rollout {rollout.id} of {model}/{variation} is {rollout.phase}.", fix=way_out(rollout))
    return trusted_rollout


def _refuse_experiment(record: Record, model: str, variation: str, audience: str | None = None) -> None:
    """Variations of an experiment must stay until it ends."""
    for rollout in record.current(model):
        if not rollout.is_comparison or rollout.is_ended:
            continue
        ab = experiment_spec(rollout.plan)
        if variation in ab.variations and audience in (None, ab.audience):
            name = rollout.requested.experiment
            raise TargetBusy(
                f"{model}/{variation} takes part in experiment {name}.",
                fix=f"end it first: sluice experiment end {name}",
            )


def _keep_fallback(draft: Draft, plan: Plan, order: Order) -> None:
    """A model's first variation gets every request, whatever its name, even after others are added."""
    if not filled(draft, plan.model) and main_variation(draft, plan.model) != plan.variation:
        before = connections_of(draft, plan.model) or Connections(model=plan.model)
        first = replace(before, ordered=(), fallback=(Weighted(variation=plan.variation),), fallback_copied=())
        record_connections(draft, first, order.actor)


def _shared(record: Record, connections: Connections, variation: str, sent: Share) -> Connections:
    if sent.audience == FALLBACK:
        return replace(
            connections,
            fallback=_weighted(connections.fallback, variation, sent.weight),
            fallback_copied=_copied(connections.fallback_copied, variation, sent.sample),
        )
    audience = known_audience(record, sent.audience)
    before = next((each for each in connections.ordered if each.audience.name == sent.audience), None)
    base = before or Connection(audience=audience, weighted=())
    after = replace(
        base,
        weighted=_weighted(base.weighted, variation, sent.weight),
        copied=_copied(base.copied, variation, sent.sample),
    )
    if before is None:
        return replace(connections, ordered=(*connections.ordered, after))
    return replace(connections, ordered=tuple(after if each is before else each for each in connections.ordered))


def _weighted(before: tuple[Weighted, ...], variation: str, weight: int | None) -> tuple[Weighted, ...]:
    if weight is None:
        return before
    parts = {part.variation: part.weight for part in before} | {variation: weight}
    return tuple(Weighted(variation=name, weight=parts[name]) for name in parts if parts[name] > 0)


def _copied(before: tuple[Copied, ...], variation: str, sample: int | None) -> tuple[Copied, ...]:
    if sample is None:
        return before
    parts = {part.variation: part.sample for part in before} | {variation: sample}
    return tuple(Copied(variation=name, sample=parts[name]) for name in parts if parts[name] > 0)


def _refuse_nobody(wanted: Connections) -> None:
    for name, group in (*((each.audience.name, each.weighted) for each in wanted.ordered), (FALLBACK, wanted.fallback)):
        if not _weighs(group):
            raise Refused(
                f"no variation would answer the audience {name}.",
                fix="give a variation a weight above 0; a variation that only gets copies answers no caller",
            )


def _emptied(connections: Connections, variation: str, others: set[str]) -> Connections:
    if variation in {part.variation for part in connections.fallback} and not _weighs(
        _rest(connections.fallback, variation), others
    ):
        raise Refused(
            f"{connections.model}/{variation} is the fallback: it answers the requests that no audience matches.",
            fix=f"choose another fallback first: sluice variation connect {connections.model} {min(others)} --fallback",
        )
    for each in connections.ordered:
        names = {part.variation for part in each.weighted}
        if variation in names and not _weighs(_rest(each.weighted, variation), others):
            raise Refused(
                f"only {connections.model}/{variation} answers the audience {each.audience.name}.",
                fix="connect another variation, or let the fallback answer: "
                f"sluice variation disconnect {connections.model} {variation} --audience {each.audience.name}",
            )
    return replace(
        connections,
        ordered=tuple(_without(each, variation) for each in connections.ordered),
        fallback=_rest(connections.fallback, variation),
        fallback_copied=tuple(part for part in connections.fallback_copied if part.variation != variation),
    )


def _without(connection: Connection, variation: str) -> Connection:
    copied = tuple(part for part in connection.copied if part.variation != variation)
    return replace(connection, weighted=_rest(connection.weighted, variation), copied=copied)


def _rest(parts: tuple[Weighted, ...], variation: str) -> tuple[Weighted, ...]:
    return tuple(part for part in parts if part.variation != variation)


def _weighs(parts: Iterable[Weighted], among: set[str] | None = None) -> bool:
    return any(part.weight > 0 and (among is None or part.variation in among) for part in parts)


def _variations_of(connections: Connections, audience: str) -> set[str]:
    taking = [each for each in connections.ordered if each.audience.name == audience]
    served = {part.variation for each in taking for part in each.weighted}
    return served | {part.variation for each in taking for part in each.copied}
