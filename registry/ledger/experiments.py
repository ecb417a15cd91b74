"""Reading experiments: the last ones, or one by its name, without going through all of them."""

from __future__ import annotations

from contextlib import suppress

from sluicegate.registry.ledger.record import Record
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.experiment import experiments
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound

AT_ONCE = 50
"""How many comparisons are read at once."""


def last_experiments(
    record: Record, *, model: str | None = None, before: str | None = None, most: int
) -> tuple[tuple[Rollout, ...], ...]:  # fmt: skip
    """The comparisons of each of the last experiments, newest first: of all models or of one, optionally before a named
    experiment. Relies on the comparisons of one experiment being opened one after another."""
    later = record.rollouts(Selection(experiment=before)) if before is not None else ()
    oldest, comparisons = later[0].id if later else None, tuple[Rollout, ...]()
    while True:
        earlier = record.rollouts(Selection(model=model, comparisons=True, before=oldest, newest=AT_ONCE))
        comparisons = (*earlier, *comparisons)
        groups = experiments(comparisons)
        if len(earlier) < AT_ONCE or len(groups) > most:  # the earliest group may still lack comparisons
            return groups[:most]
        oldest = earlier[0].id


def find_experiment(record: Record, name: str) -> tuple[Rollout, ...]:
    """The comparisons of an experiment: by its id, by one of their ids, or the last of a model. Raises NotFound."""
    comparisons = record.rollouts(Selection(experiment=name))
    if not comparisons and (named := _named(record, name)) is not None:
        comparisons = record.rollouts(Selection(experiment=named))
    if not comparisons:
        raise NotFound(f"there is no experiment {name!r}.", fix="start one: sluice experiment start MODEL")
    return comparisons


def _named(record: Record, name: str) -> str | None:
    """The experiment of a comparison, or the last of a model, by its name."""
    for last in record.rollouts(Selection(model=name, comparisons=True, newest=1)):
        return last.requested.experiment
    with suppress(NotFound):
        return record.rollout(name).requested.experiment
    return None
