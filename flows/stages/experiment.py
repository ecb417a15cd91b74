"""What the ticks of an experiment's comparisons need from each other and from the control."""

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
    """Gives cumulative tallies by the id under which requests are counted."""

    def tallies(self, rollout: str) -> tuple[int, tuple[TallyRow, ...]]:
        """The collector's position and the tallies at it."""
        ...


def read(counted: Counted, rollout: Rollout) -> tuple[int, tuple[TallyRow, ...]]:
    """The collector's position and the rollout's tallies. For a comparison, its own and the control's at one position.

    Returns no tallies if the collector moved on during every attempt to read both; the next tick tries again.
    """
    experiment = rollout.requested.experiment
    if experiment is None:
        return counted.tallies(rollout.id)
    before, control = counted.tallies(experiment)
    for _ in range(_TRIES):
        _, own = counted.tallies(rollout.id)
        after, control_after = counted.tallies(experiment)
        if before == after:
            return after, pair(rollout, own, control)
        before, control = after, control_after
    return before, ()


def pair(rollout: Rollout, own: Sequence[TallyRow], control: Sequence[TallyRow]) -> tuple[TallyRow, ...]:
    """A comparison's rows: its variation's, and the control's as if they were counted for this comparison alone.

    The control is counted once for all comparisons. In this one it gets the share that the two weights give it, in the
    same time buckets.
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
    """The thresholds that the experiment's first comparison froze, and from how many requests; () and 0 before that.

    The control's requests are counted against one threshold, so all comparisons take it from the first one. None for
    the first one and for rollouts without an experiment, which freeze their own.
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
    """Once an experiment is over, promote the winner over the control if the plan says so. Returns the new rollout.

    Acts at most once, and not if the control's build has changed: a person who deploys another build has the last word.
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
