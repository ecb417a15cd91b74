"""Experiments as they are read: the last ones, and one by its name. What there ever was is not gone through."""

from __future__ import annotations

from contextlib import suppress

from sluicegate.registry.ledger.record import Record
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.experiment import experiments
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound

AT_ONCE = 50
"""Comparisons that are read at once."""


def last_experiments(
    record: Record, *, model: str | None = None, before: str | None = None, most: int
) -> tuple[tuple[Rollout, ...], ...]:  # fmt: skip
    """The comparisons of each of the last experiments, of all or of a model, newest first; of those before one that is
    named. Comparisons of one experiment were opened one after another."""
    later = record.rollouts(Selection(experiment=before)) if before is not None else ()
    oldest, known = later[0].id if later else None, tuple[Rollout, ...]()
    while True:
        earlier = record.rollouts(Selection(model=model, comparisons=True, before=oldest, newest=AT_ONCE))
        known = (*earlier, *known)
        groups = experiments(known)
        if len(earlier) < AT_ONCE or len(groups) > most:  # what was read last of the earliest may lack some
            return groups[:most]
        oldest = earlier[0].id


def find_experiment(record: Record, name: str) -> tuple[Rollout, ...]:
    """The comparisons of an experiment, by its id, by one of theirs, or the last of a model. Raises NotFound."""
    found = record.rollouts(Selection(experiment=name))
    if not found and (named := _named(record, name)) is not None:
        found = record.rollouts(Selection(experiment=named))
    if not found:
        raise NotFound(f"there is no experiment {name!r}.", fix="start one: sluice experiment start MODEL")
    return found


def _named(record: Record, name: str) -> str | None:
    """The experiment that a comparison's or a model's name stands for."""
    for last in record.rollouts(Selection(model=name, comparisons=True, newest=1)):
        return last.requested.experiment
    with suppress(NotFound):
        return record.rollout(name).requested.experiment
    return None
