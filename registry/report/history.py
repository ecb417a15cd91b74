"""History: which builds of a model were stable, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.rollout.standing import took_over_at


@dataclass(frozen=True, kw_only=True)
class Tenure:
    """A period in which a build was the stable one of its variation."""

    variation: str
    build: str
    rollout: str
    how: str
    """The strategy that made it stable: deploy, canary, rollback, replace or ab; abort if an abort brought it
    back."""
    since: datetime
    until: datetime | None
    """None: it still is stable."""


def tenures(rollouts: Iterable[Rollout], emptied_at: Mapping[str, datetime]) -> tuple[Tenure, ...]:
    """Every stable build of a model, by variation, oldest first. `emptied_at`: undeployments by rollout."""
    by_variation: dict[str, list[Tenure]] = {}
    for rollout in sorted((each for each in rollouts if each.took_over or _was_taken_back(each)), key=took_over_at):
        at, requested = took_over_at(rollout), rollout.requested
        lane = by_variation.setdefault(requested.variation, [])
        if lane and lane[-1].until is None:
            lane[-1] = replace(lane[-1], until=at)
        lane.append(
            Tenure(
                variation=requested.variation, build=requested.version, rollout=rollout.id, how=requested.strategy,
                since=at, until=rollout.ended_at if _was_taken_back(rollout) else emptied_at.get(rollout.id),
            )
        )  # fmt: skip
        if _was_taken_back(rollout) and rollout.stable is not None and rollout.ended_at is not None:
            lane.append(
                Tenure(
                    variation=requested.variation, build=rollout.stable, rollout=rollout.id, how="abort",
                    since=rollout.ended_at, until=None,
                )
            )  # fmt: skip
    return tuple(each for lane in by_variation.values() for each in lane)


def _was_taken_back(rollout: Rollout) -> bool:
    """Whether it was promoted and then aborted."""
    return rollout.promoted_at is not None and rollout.ending is Ending.ABORTED
