"""Selection: which of all past and present rollouts to read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile

from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound

SEARCHED = 5_000
"""How many rollouts are searched for a text: the newest of all or of a model, because the past may be long."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What rollouts must have in common. A field that is left out admits all."""

    ids: tuple[str, ...] | None = None
    model: str | None = None
    variation: str | None = None
    version: str | None = None
    plan_digest: str | None = None
    experiment: str | None = None
    follows: str | None = None
    """The rollout or experiment that they follow."""
    comparisons: bool = False
    """Only those that belong to an experiment."""
    took_over: bool = False
    """Only those whose candidate the target began to trust."""
    is_ended: bool | None = None
    state: str | None = None
    """The ending, or the phase of a rollout that has not ended."""
    text: str = ""
    """Part of the id, the variation or the reason, ignoring case; searched in the newest `SEARCHED`."""
    ended_since: datetime | None = None
    """Only those that ended since then; they come in the order in which they ended, not in that of their opening."""
    changed_after: int | None = None
    """Only those with a fact after this place of the feed."""
    before: str | None = None
    """Only those opened before this rollout."""
    newest: int | None = None
    """At most this many, the last ones opened or, with `ended_since`, the last ones that ended."""

    def refuse_unknown(self, *, is_known: bool) -> None:
        """Raise NotFound if the rollout in `before` does not exist."""
        if self.before is not None and not is_known:
            raise NotFound(
                f"there is no rollout {self.before} to list the earlier ones of.",
                fix="name an existing rollout, or leave it out to list the newest",
            )

    def admits(self, rollout: Rollout) -> bool:
        """Whether the selection admits the rollout, as far as its own state tells."""
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
        """The admitted ones of these rollouts, which come oldest first; at most `newest`."""
        earlier = list(takewhile(lambda rollout: rollout.id != self.before, rollouts))
        of_model = [rollout for rollout in earlier if _is(self.model, rollout.requested.model)]
        admitted = [rollout for rollout in _last(of_model, SEARCHED if self.text else None) if self.admits(rollout)]
        if self.ended_since is not None:
            admitted.sort(key=lambda rollout: rollout.ended_at or rollout.requested_at)
        return tuple(_last(admitted, self.newest))


ALL = Selection()
"""Every rollout."""


def state_of(rollout: Rollout) -> str:
    """The ending, or the phase of a rollout that has not ended."""
    return (rollout.ending or rollout.phase).value


def searched_text(rollout: Rollout) -> str:
    """The text that a search looks through."""
    return f"{rollout.id} {rollout.requested.variation} {rollout.reason}".lower()


def _last(rollouts: Sequence[Rollout], most: int | None) -> Sequence[Rollout]:
    return rollouts if most is None else rollouts[max(0, len(rollouts) - most) :]


def _is(wanted: object, value: object) -> bool:
    return wanted is None or wanted == value
