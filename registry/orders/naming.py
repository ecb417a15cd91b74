"""Which rollout a name means: a rollout's id, or a model's name if only one of its rollouts is in progress. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.registry.ledger.record import Record
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.registry.words.suggestions import nearest

_SUGGESTED = 200
"""How many of the newest rollouts' ids are suggested for a misspelled one."""


def find(record: Record, name: str) -> Rollout:
    """The rollout with this id, or the one of the model with this name that is in progress.

    If none is in progress, the one that waits; if none waits, the last that ended. Raises NotFound, or Refused with the
    ids if the name could mean several.
    """
    try:
        return record.rollout(name)
    except NotFound:
        last = record.rollouts(Selection(model=name, newest=1))
        if not last:
            raise _unknown(record, name) from None
    of_model = record.current(name)
    under_way = [rollout for rollout in of_model if rollout.is_under_way]
    waiting = [rollout for rollout in of_model if not rollout.is_ended]
    return _only(name, under_way) or _only(name, waiting) or last[-1]


def _unknown(record: Record, name: str) -> NotFound:
    near = nearest(name, {*record.models(), *(each.id for each in record.rollouts(Selection(newest=_SUGGESTED)))})
    meant = f"did you mean {near}? " if near else ""
    return NotFound(
        f"there is no rollout {name!r}, and no model of this name has a rollout.",
        fix=f"{meant}`sluice rollout list` shows every rollout.",
    )


def _only(model: str, rollouts: Sequence[Rollout]) -> Rollout | None:
    """The only one; None if there is none. Raises Refused for several."""
    if len(rollouts) > 1:
        listed = "; ".join(_described(each) for each in rollouts)
        raise Refused(
            f"{model} has {len(rollouts)} rollouts and you may mean any of these: {listed}.", fix="give the id of one."
        )
    return rollouts[0] if rollouts else None


def _described(rollout: Rollout) -> str:
    requested = rollout.requested
    return f"{rollout.id} (v{requested.version}, {requested.variation}, {requested.strategy}, {rollout.phase})"
