"""What the ticks of an experiment's comparisons need of each other and of the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.reading import read_for_readout
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.experiments import cause_of
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Promote
from sluicegate.registry.orders.progress import stable
from sluicegate.registry.report.readout import winner
from sluicegate.registry.rollout.experiment import experiment_spec
from sluicegate.registry.rollout.facts import Frozen, Party
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.metric import Arm, TallyRow

_TRIES = 5


class Counted(Protocol):
    """Cumulative tallies by the id under which requests are counted."""

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        """The collector's position and the tallies at it."""
        ...


def read(counted: Counted, rollout: Rollout) -> tuple[int, tuple[TallyRow, ...]]:
    """The collector's position and the rollout's tallies; of a comparison, its own and the control's at one position.

    While the collector is faster than two reads there is nothing to see; the next tick looks again.
    """
    experiment = rollout.requested.experiment
    if experiment is None:
        return counted.tallies(rollout.id)
    before, control = counted.tallies(experiment)
    for _ in range(_TRIES):
        _, own = counted.tallies(rollout.id)
        after, again = counted.tallies(experiment)
        if before == after:
            return after, pair(rollout, own, control)
        before, control = after, again
    return before, ()


def pair(rollout: Rollout, own: Sequence[TallyRow], control: Sequence[TallyRow]) -> tuple[TallyRow, ...]:
    """A comparison's rows: its variation's, and the control's as if they were counted for it alone.

    The control is counted once for all comparisons. Beside this one's variation it has the share that the weights of
    the two give it, in the same time buckets.
    """
    epoch, weight = rollout.epoch, rollout.weight
    mine = (row for row in own if row.arm is Arm.CANDIDATE and row.stratum.epoch == epoch)
    theirs = (
        replace(row, stratum=row.stratum._replace(epoch=epoch), weight=weight)
        for row in control
        if row.arm is Arm.STABLE
    )
    return (*mine, *theirs)


def shared_thresholds(ledger: Ledger, rollout: Rollout, names: Sequence[str]) -> tuple[tuple[float, ...], int] | None:
    """The thresholds that the experiment's first comparison froze, and from how many requests; () and 0 before it did.

    The control's requests are counted against one threshold, so all comparisons have it from the first. None for that
    one, and for other rollouts: they freeze their own.
    """
    if not rollout.is_comparison:
        return None
    group = ledger.rollouts(Selection(experiment=rollout.requested.experiment))
    first = min(group, key=lambda each: each.id, default=rollout)
    if first.id == rollout.id:
        return None
    if not all(name in first.thresholds for name in names):
        return (), 0
    frozen = (entry.fact for entry in ledger.entries(first.id))
    rows = next(fact.rows for fact in frozen if isinstance(fact, Frozen) and fact.metric == names[0])
    return tuple(first.thresholds[name] for name in names), rows


def follow(ledger: Ledger, rollout: Rollout, now: datetime) -> Rollout | None:
    """Once an experiment is over, put the winner in the control's place, if the plan says so; the rollout that does.

    Once and no more: a person who puts another build there, before or after, has the last word.
    """
    if not rollout.is_comparison:
        return None
    ab, group = experiment_spec(rollout.plan), ledger.rollouts(Selection(experiment=rollout.requested.experiment))
    best = winner(read_for_readout(ledger, group)) if all(each.is_ended for each in group) else None
    if ab.then != "promote" or best is None:
        return None
    model, control = rollout.requested.model, rollout.plan.variation
    is_done = ledger.count(Selection(model=model, follows=rollout.requested.experiment)) > 0
    if is_done or stable(ledger, model, control) != rollout.stable:
        return None
    reason = best.judgements[ab.goal.metric].reason
    order = Order(
        act=Promote(rollout=best.id), actor="policy", party=Party.POLICY, cause=cause_of(rollout), reason=reason
    )
    receipt = give(ledger, order, now)
    return ledger.rollout(receipt.rollout or best.id)
