"""Doors: which build a plan's trigger points at, since when, and whether it still does. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from sluicegate.registry.plan.fields import Trigger
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.build import Build

OWN_TAGS = "sluice."
"""Prefix of the tags that sluice writes itself: a change of these is no change."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a look saw through one trigger, and since when it looks like this."""

    version: str = ""
    """The version that the trigger points at; empty: none."""
    fingerprint: str = ""
    """Changes with everything about that version that is not sluice's own doing."""
    since: str = ""
    """Time of the change that led here; empty: it was so when the trigger was first looked through."""
    stages: dict[str, str] = field(default_factory=dict)
    """Stage triggers: the stage of every version."""
    former: dict[str, str] = field(default_factory=dict)
    """Stage triggers: the stages before the change, of the versions that it moved."""

    @classmethod
    def recorded(cls, note: Mapping[str, object] | None) -> Self | None:
        return None if note is None else cls(**note)  # type: ignore[arg-type]

    def note(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)

    @property
    def at(self) -> datetime | None:
        return datetime.fromisoformat(self.since) if self.since else None


def sight(known: Sighting | None, trigger: Trigger, builds: Sequence[Build], now: datetime) -> Sighting:
    """What the trigger points at now; the same sighting as long as nothing about it changes."""
    build = triggered(trigger, builds)
    stages = {each.ref.version: each.stage for each in builds} if trigger.stage is not None else {}
    version, seen = (build.ref.version, fingerprint(build)) if build is not None else ("", "")
    if known is None:
        return Sighting(version=version, fingerprint=seen, stages=stages)
    if (known.version, known.fingerprint) == (version, seen):
        return replace(known, stages=stages)
    before = {each: known.stages.get(each, "None") for each in stages}
    former = {each: stage for each, stage in before.items() if stage != stages[each]}
    return Sighting(version=version, fingerprint=seen, since=now.isoformat(), stages=stages, former=former)


def fingerprint(build: Build) -> str:
    """Changes when somebody changes the version's tags, or registers another under its number."""
    tags = sorted((key, value) for key, value in build.tags.items() if not key.startswith(OWN_TAGS))
    born = build.created_at.isoformat() if build.created_at else ""
    return hashlib.sha256(json.dumps([build.source, born, tags]).encode()).hexdigest()[:16]


def triggered(trigger: Trigger, builds: Iterable[Build]) -> Build | None:
    """The newest build that the trigger points at, or None."""
    pointed = [build for build in builds if _points_at(trigger, build)]
    return max(pointed, key=_age, default=None)


class Withdrawal(StrEnum):
    """How a version that is being rolled out was taken back in the catalog."""

    DELETED = "deleted"
    LEFT = "left"
    """The rollout's trigger does not point at it any more, nor at a newer one."""


def withdrawal(rollout: Rollout, builds: Sequence[Build], others: Iterable[Rollout]) -> Withdrawal | None:
    """Whether the version under way was taken back. `others` are all rollouts of the version.

    A model without any build says nothing: a registry that lost it is more likely than that somebody meant it.
    """
    if not builds or rollout.is_ended or rollout.took_over:
        return None
    mine = next((build for build in builds if build.ref == rollout.candidate), None)
    if mine is None:
        return Withdrawal.DELETED
    trigger = rollout.plan.trigger
    if trigger is None or rollout.requested.party is not Party.CATALOG or _points_at(trigger, mine):
        return None
    newest = triggered(trigger, builds)
    is_newer = newest is not None and _age(newest) > _age(mine)
    return None if is_newer or _was_released(rollout, trigger, others) else Withdrawal.LEFT


def _was_released(rollout: Rollout, trigger: Trigger, others: Iterable[Rollout]) -> bool:
    """Whether sluice itself took the trigger's mark away, when another variation's rollout of the version ended."""
    return any(
        other.candidate == rollout.candidate
        and other.id != rollout.id
        and other.plan.trigger == trigger
        and other.phase in (Phase.CONFIRMING, Phase.BAKING, Phase.ENDED)
        for other in others
    )


def cause(trigger: Trigger) -> str:
    """The trigger in a word, such as `alias:candidate`."""
    if trigger.alias is not None:
        return f"alias:{trigger.alias}"
    if trigger.stage is not None:
        return f"stage:{trigger.stage}"
    tags = trigger.tag or {}
    return "tag:" + ",".join(f"{key}={value}" for key, value in tags.items())


def _points_at(trigger: Trigger, build: Build) -> bool:
    if trigger.alias is not None:
        return trigger.alias in build.aliases
    if trigger.stage is not None:
        return build.stage == trigger.stage
    return trigger.tag is not None and all(build.tags.get(key) == value for key, value in trigger.tag.items())


def _age(build: Build) -> tuple[int, str]:
    version = build.ref.version
    return (int(version) if version.isdigit() else 0, version)
