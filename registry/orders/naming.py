"""Which rollout a name means: an id, or the name of a model of which one rollout alone is under way. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.registry.ledger.record import Record
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.registry.words.suggestions import nearest


def find(record: Record, name: str) -> Rollout:
    """The rollout with this id, or of the model with this name the one that has traffic or is under way.

    Where none is, the one that waits; where none waits, the last that ended. Raises NotFound, and Refused with their
    ids where several could be meant.
    """
    try:
        return record.rollout(name)
    except NotFound:
        of_model = record.rollouts(model=name)
        if not of_model:
            raise _unknown(record, name) from None
    under_way = [rollout for rollout in of_model if rollout.is_under_way]
    waiting = [rollout for rollout in of_model if not rollout.is_ended]
    return _only(name, under_way) or _only(name, waiting) or of_model[-1]


def _unknown(record: Record, name: str) -> NotFound:
    near = nearest(name, {known for each in record.rollouts() for known in (each.id, each.requested.model)})
    meant = f"did you mean {near}? Else see" if near else "see"
    return NotFound(
        f"there is no rollout {name!r}, and no model of this name has one.", fix=f"{meant} sluice rollout list"
    )


def _only(model: str, rollouts: Sequence[Rollout]) -> Rollout | None:
    """The only one; None for none. Raises Refused for several."""
    if len(rollouts) > 1:
        listed = "; ".join(_described(each) for each in rollouts)
        raise Refused(f"{model} has {len(rollouts)} rollouts that could be meant: {listed}.", fix="name one by its id.")
    return rollouts[0] if rollouts else None


def _described(rollout: Rollout) -> str:
    wanted = rollout.requested
    return f"{rollout.id} (v{wanted.version}, {wanted.variation}, {wanted.strategy}, {rollout.phase})"
