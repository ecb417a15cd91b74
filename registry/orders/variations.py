"""Variations: orders on a model's slots and on who is sent to them. Each checks the present state, then records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sluicegate.registry.audience.connections import FALLBACK, Connection, Connections, Copied, Weighted
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders import rollouts as orders
from sluicegate.registry.orders.audience_store import known_audience
from sluicegate.registry.orders.connections_record import change, connect, connections_of
from sluicegate.registry.orders.rollouts import Request, Started
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.experiment import of as experiment_of
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.errors import Refused, TargetBusy, UsageError
from sluicegate.registry.words.suggestions import suggestion


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An audience that a variation shall get requests of, or copies of them."""

    audience: str
    """Its name; `default` for the requests that no audience takes."""
    weight: int | None = None
    """Relative to the other variations of the audience; 0 takes the variation out of it."""
    sample: int | None = None
    """Copies, in basis points of the audience's requests."""

    def __post_init__(self) -> None:
        if (self.weight is None) == (self.sample is None):
            raise UsageError(f"{self.audience}: name a weight or a sample of copies, one of the two.")
        if self.weight is not None and self.weight < 0:
            raise UsageError(f"{self.audience}: a weight is a whole number from 0, got {self.weight}.")


def put(
    ledger: Ledger, *, plan: Plan, version: str, now: datetime, request: Request, at_once: str | None = None
) -> Started:
    """Put a build into a variation: the first one after probing; another one as a canary by the plan.

    A build for a slot without traffic takes it at once, as does one for which `at_once` gives a reason.
    """
    stable = orders.stable(ledger, plan.model, plan.variation)
    if stable is None or stable == version:
        _keep_fallback(ledger, plan, request, now)
        return orders.deploy(ledger, plan=plan, version=version, request=request, now=now)
    reason = at_once if has_traffic(ledger, plan.model, plan.variation) else at_once or "the variation has no traffic"
    if reason is not None:
        return orders.replace(ledger, plan=plan, version=version, reason=reason, request=request, now=now)
    return orders.start(ledger, plan=plan, version=version, request=request, now=now)


def send(
    ledger: Ledger, *, model: str, variation: str, to: Sequence[Sent], is_fallback: bool, actor: str, now: datetime
) -> Connections:
    """Send audiences to a variation, with its weight beside their other variations; the others keep theirs."""
    if variation not in _held(ledger, model):
        raise Refused(
            f"{model}/{variation} holds no build.",
            fix=f"sluice deploy {model} --build VERSION --variation {variation}",
        )

    def made() -> Connections:
        wanted = _present(ledger, model, variation if is_fallback else None)
        if is_fallback:
            wanted = replace(wanted, fallback=(Weighted(variation=variation),))
        for each in to:
            wanted = _sent(ledger, wanted, variation, each)
        _refuse_nobody(wanted)
        return wanted

    return change(ledger, model, made, actor, now)


def take_away(ledger: Ledger, *, model: str, variation: str, audience: str, actor: str, now: datetime) -> Connections:
    """Send an audience to this variation no longer. One without any variation goes on to the next that takes it."""
    _refuse_experiment(ledger, model, variation, audience)

    def made() -> Connections:
        there = _present(ledger, model, None)
        if audience == FALLBACK or variation not in _variations_of(there, audience):
            raise Refused(
                f"{model}/{variation} is not connected to the audience {audience}.",
                fix=f"sluice variation list {model}",
            )
        ordered = (_without(each, variation) if each.audience.name == audience else each for each in there.ordered)
        return replace(there, ordered=tuple(each for each in ordered if _weighs(each.weighted)))

    return change(ledger, model, made, actor, now)


def arrange(ledger: Ledger, *, model: str, audiences: Sequence[str], actor: str, now: datetime) -> Connections:
    """Ask a model's audiences in this order; those that are not named come after them, in the order they had.

    Raises UsageError for one that is named twice or is not connected, and TargetBusy while an experiment goes on: who
    belongs to its audience would change.
    """
    for rollout in ledger.rollouts(model=model):
        if rollout.is_comparison and not rollout.is_ended:
            name = rollout.requested.experiment
            fix = f"end it first: sluice experiment end {name}"
            raise TargetBusy(
                f"experiment {name} of {model} goes on: who belongs to its audience would change.", fix=fix
            )

    def made() -> Connections:
        there = _present(ledger, model, None)
        by_name = {each.audience.name: each for each in there.ordered}
        _refuse_unknown(model, audiences, list(by_name))
        rest = (each for name, each in by_name.items() if name not in audiences)
        return replace(there, ordered=(*(by_name[name] for name in audiences), *rest))

    return change(ledger, model, made, actor, now)


def _refuse_unknown(model: str, audiences: Sequence[str], known: Sequence[str]) -> None:
    twice = sorted({name for name in audiences if audiences.count(name) > 1})
    if twice:
        raise UsageError(
            f"{', '.join(twice)}: named twice.", fix="name each audience once, the first to be asked first"
        )
    for name in audiences:
        if name == FALLBACK:
            raise UsageError(f"{FALLBACK} is whom no other audience takes: it is always the last.")
        if name not in known:
            connected = ", ".join(known) or "none"
            raise UsageError(
                f"the audience {name} is not connected to {model}; connected are: {connected}.",
                fix=suggestion(name, known)
                if known
                else f"sluice variation connect {model} VARIATION --audience {name}",
            )


def undeploy(
    ledger: Ledger, *, model: str, variation: str, is_last: bool, actor: str, reason: str, now: datetime
) -> Rollout:
    """Empty a variation, its requests going to those that share its audiences.

    Refused where nobody would be left to answer them, and while a rollout is under way there.
    """
    orders.undeployable(ledger, model, variation)
    _refuse_experiment(ledger, model, variation)
    others = {each.variation for each in standings(ledger.rollouts(model=model))} - {variation}
    if others:
        change(ledger, model, lambda: _emptied(_present(ledger, model, None), variation, others), actor, now)
    elif is_last:

        def made() -> Connections:
            return replace(_present(ledger, model, None), ordered=(), fallback_copied=())

        change(ledger, model, made, actor, now)
    else:
        raise Refused(
            f"{model}/{variation} is the model's last variation: its requests would find nothing.",
            fix=f"sluice undeploy {model} --variation {variation} --last",
        )
    return orders.undeploy(ledger, model=model, variation=variation, actor=actor, reason=reason, now=now)


def _refuse_experiment(ledger: Ledger, model: str, variation: str, audience: str | None = None) -> None:
    """Who takes part in an experiment stays until it ends."""
    for rollout in ledger.rollouts(model=model):
        if not rollout.is_comparison or rollout.is_ended:
            continue
        ab = experiment_of(rollout.plan)
        if variation in ab.variations and audience in (None, ab.audience):
            name = rollout.requested.experiment
            raise TargetBusy(
                f"{model}/{variation} takes part in experiment {name}.",
                fix=f"end it first: sluice experiment end {name}",
            )


def has_traffic(ledger: Ledger, model: str, variation: str) -> bool:
    """Whether callers are answered by this variation."""
    there = _present(ledger, model, None)
    groups = [there.fallback, *(each.weighted for each in there.ordered)]
    return any(part.variation == variation and part.weight > 0 for group in groups for part in group)


def main_variation(ledger: Ledger, model: str) -> str:
    """The variation that takes the requests of no audience; of several the heaviest."""
    recorded = connections_of(ledger, model)
    return max(recorded.fallback, key=lambda part: part.weight).variation if recorded is not None else FALLBACK


def _present(ledger: Ledger, model: str, fallback: str | None) -> Connections:
    """The model's connections. Raises Refused where it has none, several variations and no telling fallback."""
    recorded = connections_of(ledger, model)
    if recorded is not None:
        return recorded
    there = _held(ledger, model)
    chosen = fallback or (there[0] if len(there) == 1 else FALLBACK)
    if there and chosen not in there:
        raise Refused(
            f"{model} has the variations {', '.join(there)}, and none takes the requests of no audience yet.",
            fix=f"sluice variation connect {model} {there[0]} --fallback",
        )
    return Connections(model=model, fallback=(Weighted(variation=chosen),))


def _keep_fallback(ledger: Ledger, plan: Plan, request: Request, now: datetime) -> None:
    """A model's first variation takes every request, whatever it is called, also when others come."""
    if not _held(ledger, plan.model) and main_variation(ledger, plan.model) != plan.variation:
        first = Connections(model=plan.model, fallback=(Weighted(variation=plan.variation),))
        connect(ledger, first, request.actor, now)


def _held(ledger: Ledger, model: str) -> list[str]:
    """The variations that hold a build or are getting their first one, by name."""
    rollouts = ledger.rollouts(model=model)
    getting = {each.requested.variation for each in rollouts if each.is_under_way and not each.is_aside}
    return sorted(getting | {each.variation for each in standings(rollouts)})


def _sent(ledger: Ledger, there: Connections, variation: str, sent: Sent) -> Connections:
    if sent.audience == FALLBACK:
        return replace(
            there,
            fallback=_weighted(there.fallback, variation, sent.weight),
            fallback_copied=_copied(there.fallback_copied, variation, sent.sample),
        )
    audience = known_audience(ledger, sent.audience)
    before = next((each for each in there.ordered if each.audience.name == sent.audience), None)
    base = before or Connection(audience=audience, weighted=())
    after = replace(
        base,
        weighted=_weighted(base.weighted, variation, sent.weight),
        copied=_copied(base.copied, variation, sent.sample),
    )
    if before is None:
        return replace(there, ordered=(*there.ordered, after))
    return replace(there, ordered=tuple(after if each is before else each for each in there.ordered))


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
                f"the audience {name} would have no variation that answers.",
                fix="give a variation a weight above 0; copies alone answer nobody",
            )


def _emptied(there: Connections, variation: str, others: set[str]) -> Connections:
    if variation in {part.variation for part in there.fallback} and not _weighs(
        _rest(there.fallback, variation), others
    ):
        raise Refused(
            f"{there.model}/{variation} takes the requests that no audience takes.",
            fix=f"name another first: sluice variation connect {there.model} {min(others)} --fallback",
        )
    for each in there.ordered:
        names = {part.variation for part in each.weighted}
        if variation in names and not _weighs(_rest(each.weighted, variation), others):
            raise Refused(
                f"the audience {each.audience.name} is answered by {there.model}/{variation} alone.",
                fix=f"connect another, or send it to the fallback: sluice variation disconnect {there.model} "
                f"{variation} --audience {each.audience.name}",
            )
    return replace(
        there,
        ordered=tuple(_without(each, variation) for each in there.ordered),
        fallback=_rest(there.fallback, variation),
        fallback_copied=tuple(part for part in there.fallback_copied if part.variation != variation),
    )


def _without(connection: Connection, variation: str) -> Connection:
    copied = tuple(part for part in connection.copied if part.variation != variation)
    return replace(connection, weighted=_rest(connection.weighted, variation), copied=copied)


def _rest(parts: tuple[Weighted, ...], variation: str) -> tuple[Weighted, ...]:
    return tuple(part for part in parts if part.variation != variation)


def _weighs(parts: Iterable[Weighted], there: set[str] | None = None) -> bool:
    return any(part.weight > 0 and (there is None or part.variation in there) for part in parts)


def _variations_of(connections: Connections, audience: str) -> set[str]:
    found = [each for each in connections.ordered if each.audience.name == audience]
    served = {part.variation for each in found for part in each.weighted}
    return served | {part.variation for each in found for part in each.copied}
