"""Selection: which rollouts are read of all that there ever were. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound

SEARCHED = 5_000
"""So many rollouts are searched for a text, the newest of all or of a model: the past may be of any length."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What rollouts must have in common; a field that is left out admits all."""

    ids: tuple[str, ...] | None = None
    model: str | None = None
    variation: str | None = None
    version: str | None = None
    plan_digest: str | None = None
    experiment: str | None = None
    follows: str | None = None
    """The rollout or experiment that they follow from."""
    comparisons: bool = False
    """Only those that belong to an experiment."""
    took_over: bool = False
    """Only those whose candidate became what the target trusts."""
    is_ended: bool | None = None
    state: str | None = None
    """The ending; of one that has not ended, the phase."""
    text: str = ""
    """Part of the id, the variation or the reason, in any case; looked for in the newest `SEARCHED`."""
    ended_since: datetime | None = None
    changed_after: int | None = None
    """Only those with a fact after this place of the feed."""
    before: str | None = None
    """Only those that were opened before this one."""
    newest: int | None = None
    """At most so many, the last that were opened."""

    def refuse_unknown(self, *, is_known: bool) -> None:
        """Raise NotFound where the rollout that they shall come before is not there."""
        if self.before is not None and not is_known:
            raise NotFound(
                f"there is no rollout {self.before} to list the earlier ones of.",
                fix="name an existing rollout, or leave it out to list the newest",
            )

    def admits(self, rollout: Rollout) -> bool:
        """Whether the rollout is one of them, as far as its own state tells."""
        return (
            (self.ids is None or rollout.id in self.ids)
            and _is(self.model, rollout.requested.model)
            and _is(self.variation, rollout.requested.variation)
            and _is(self.version, rollout.requested.version)
            and _is(self.plan_digest, rollout.requested.plan_digest)
            and _is(self.experiment, rollout.requested.experiment)
            and _is(self.follows, rollout.requested.follows)
            and _is(self.is_ended, rollout.is_ended)
            and _is(self.state, state_of(rollout))
            and (not self.comparisons or rollout.requested.experiment is not None)
            and (not self.took_over or rollout.took_over)
            and (self.ended_since is None or (rollout.ended_at is not None and rollout.ended_at >= self.ended_since))
            and self.text.lower() in searched_text(rollout)
        )

    def cut(self, rollouts: Iterable[Rollout]) -> tuple[Rollout, ...]:
        """The admitted ones among rollouts that come oldest first, no more than are wanted."""
        earlier = list(takewhile(lambda rollout: rollout.id != self.before, rollouts))
        of_model = [rollout for rollout in earlier if _is(self.model, rollout.requested.model)]
        admitted = [rollout for rollout in _last(of_model, SEARCHED if self.text else None) if self.admits(rollout)]
        return tuple(_last(admitted, self.newest))


ALL = Selection()
"""Every rollout that there ever was."""


def state_of(rollout: Rollout) -> str:
    """The ending; of one that has not ended, the phase."""
    return (rollout.ending or rollout.phase).value


def searched_text(rollout: Rollout) -> str:
    """What a search goes through."""
    return f"{rollout.id} {rollout.requested.variation} {rollout.reason}".lower()


def _last(rollouts: Sequence[Rollout], most: int | None) -> Sequence[Rollout]:
    return rollouts if most is None else rollouts[max(0, len(rollouts) - most) :]


def _is(wanted: object, value: object) -> bool:
    return wanted is None or wanted == value
