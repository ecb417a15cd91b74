"""Settle: write to the catalog how a rollout ended. The catalog reads each write back; all of it can be repeated."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from sluicegate.flows.stages.shadow import follows
from sluicegate.registry.audience.connections import FALLBACK
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound

TAG = "sluice"
"""Prefix of every tag that is written."""
PRODUCTION, ARCHIVED = "Production", "Archived"
"""The stage of the stable version, and the stage to which MLflow moves the versions that it replaces."""


class Shelf(Protocol):
    """What settling needs from the catalog."""

    def build(self, ref: BuildRef) -> Build: ...

    def set_alias(self, ref: BuildRef, alias: str) -> None: ...

    def delete_alias(self, model: str, alias: str) -> None: ...

    def set_tag(self, ref: BuildRef, key: str, value: str) -> None: ...

    def transition_stage(self, ref: BuildRef, stage: str, *, archive_existing: bool) -> None: ...


def settle(
    shelf: Shelf, rollout: Rollout, champion: str, *, fallback: str = FALLBACK,
    seen_at: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:  # fmt: skip
    """Set aliases, stages and tags according to the rollout's ending. Returns the changes in words.

    `champion` and stages follow the model's variation `fallback`. `seen_at` maps places to URLs that show the rollout.
    Raises CatalogUnavailable; the writes done so far stay, and the next call repeats them. Writes nothing if the
    version was deleted meanwhile.
    """
    try:
        candidate = shelf.build(rollout.candidate)
    except NotFound:
        return (f"{rollout.candidate} is not in MLflow any more; nothing was written",)
    if rollout.is_comparison:
        return tuple(_tags(shelf, rollout, seen_at))
    is_main = rollout.requested.variation == fallback
    alias = champion if is_main else f"{champion}-{rollout.requested.variation}"
    changes = _move_champion(shelf, rollout, candidate, alias)
    if rollout.took_over and not rollout.undeployed and is_main:
        changes += _stage(shelf, rollout, candidate)
    if not rollout.took_over and not follows(rollout):
        changes += _former_stages(shelf, rollout)
    if not follows(rollout):
        changes += _release_trigger(shelf, rollout, candidate)
    changes += _tags(shelf, rollout, seen_at)
    return tuple(changes)


def _move_champion(shelf: Shelf, rollout: Rollout, candidate: Build, alias: str) -> list[str]:
    """Put the champion alias on the version that is stable now, and remove it from one that was undeployed."""
    if rollout.undeployed and alias in candidate.aliases:
        shelf.delete_alias(candidate.ref.model, alias)
        return [f"alias {alias} removed"]
    if rollout.took_over and not rollout.undeployed:
        shelf.set_alias(candidate.ref, alias)
        return [f"alias {alias} -> v{candidate.ref.version}"]
    if rollout.ending is Ending.ABORTED and alias in candidate.aliases and rollout.stable is not None:
        stable = BuildRef(model=candidate.ref.model, version=rollout.stable)
        shelf.set_alias(stable, alias)
        return [f"alias {alias} -> v{stable.version}"]
    return []


def _stage(shelf: Shelf, rollout: Rollout, candidate: Build) -> list[str]:
    trigger = rollout.plan.trigger
    if trigger is None or trigger.stage is None:
        return []
    shelf.transition_stage(candidate.ref, PRODUCTION, archive_existing=True)
    return [f"v{candidate.ref.version} in Production, the versions before it archived"]


def _former_stages(shelf: Shelf, rollout: Rollout) -> list[str]:
    """Move versions back to the stages they had before this rollout, unless somebody has moved them again."""
    trigger, changes = rollout.plan.trigger, []
    if trigger is None or trigger.stage is None:
        return []
    former, was_promoted = dict(rollout.requested.former_stages), rollout.promoted_at is not None
    if was_promoted and rollout.stable is not None:
        former.setdefault(rollout.stable, PRODUCTION)
    for version, stage in former.items():
        ref = BuildRef(model=rollout.requested.model, version=version)
        moved_to = {ARCHIVED} if ref != rollout.candidate else {trigger.stage, *([PRODUCTION] if was_promoted else [])}
        if _stage_of(shelf, ref) in moved_to - {stage}:
            shelf.transition_stage(ref, stage, archive_existing=False)
            changes.append(f"v{version} back in {stage}")
    return changes


def _stage_of(shelf: Shelf, ref: BuildRef) -> str | None:
    """The version's stage; None if the version was deleted."""
    try:
        return shelf.build(ref).stage
    except NotFound:
        return None


def _release_trigger(shelf: Shelf, rollout: Rollout, candidate: Build) -> list[str]:
    """Remove the trigger's alias from a version that is no candidate any more."""
    trigger = rollout.plan.trigger
    if trigger is None or trigger.alias is None:
        return []
    if trigger.alias not in shelf.build(candidate.ref).aliases:  # read again: it may have moved on meanwhile
        return []
    shelf.delete_alias(candidate.ref.model, trigger.alias)
    return [f"alias {trigger.alias} removed"]


def _tags(shelf: Shelf, rollout: Rollout, seen_at: Mapping[str, str]) -> list[str]:
    ending = rollout.ending or Ending.PROMOTED
    tags = {
        f"{TAG}.rollout": rollout.id,
        f"{TAG}.ending": ending.value,
        f"{TAG}.reason": rollout.reason,
        f"{TAG}.actor": rollout.actor,
        **{f"{TAG}.verdict.{metric}": judged.answer for metric, judged in rollout.judgements.items()},
        **{f"{TAG}.{place}": url for place, url in seen_at.items() if place != "mlflow"},
    }
    for key, value in tags.items():
        shelf.set_tag(rollout.candidate, key, value)
    return [f"{len(tags)} tags on v{rollout.candidate.version}"]
