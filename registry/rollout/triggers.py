"""Triggers: which build a plan's trigger points at, since when, and whether it still does. Pure."""

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
"""Prefix of the tags that Sluicegate writes itself. Their changes are ignored."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """What a trigger was last seen to point at, and since when."""

    version: str = ""
    """The version that the trigger points at; empty: none."""
    fingerprint: str = ""
    """Changes when anything about the version changes that Sluicegate did not do itself."""
    since: str = ""
    """Time of the change that led to this; empty: it was so when the trigger was first read."""
    stages: dict[str, str] = field(default_factory=dict)
    """Stage triggers: the stage of every version."""
    former: dict[str, str] = field(default_factory=dict)
    """Stage triggers: the earlier stages of the versions that the change moved."""

    @classmethod
    def recorded(cls, note: Mapping[str, object] | None) -> Self | None:
        return None if note is None else cls(**note)  # type: ignore[arg-type]

    def note(self) -> dict[str, object]:
        """As JSON values."""
        return asdict(self)

    @property
    def at(self) -> datetime | None:
        return datetime.fromisoformat(self.since) if self.since else None


def sight(former: Sighting | None, trigger: Trigger, builds: Sequence[Build], now: datetime) -> Sighting:
    """What the trigger points at now. The same sighting while nothing about it changes."""
    build = triggered(trigger, builds)
    stages = {each.ref.version: each.stage for each in builds} if trigger.stage is not None else {}
    version, digest = (build.ref.version, fingerprint(build)) if build is not None else ("", "")
    if former is None:
        return Sighting(version=version, fingerprint=digest, stages=stages)
    if (former.version, former.fingerprint) == (version, digest):
        return replace(former, stages=stages)
    before = {each: former.stages.get(each, "None") for each in stages}
    moved = {each: stage for each, stage in before.items() if stage != stages[each]}
    return Sighting(version=version, fingerprint=digest, since=now.isoformat(), stages=stages, former=moved)


def fingerprint(build: Build) -> str:
    """Changes when somebody changes the version's tags or registers another version under its number."""
    tags = sorted((key, value) for key, value in build.tags.items() if not key.startswith(OWN_TAGS))
    born = build.created_at.isoformat() if build.created_at else ""
    return hashlib.sha256(json.dumps([build.source, born, tags]).encode()).hexdigest()[:16]


def triggered(trigger: Trigger, builds: Iterable[Build]) -> Build | None:
    """The newest build that the trigger points at, or None."""
    pointed = [build for build in builds if _points_at(trigger, build)]
    return max(pointed, key=_age, default=None)


class Withdrawal(StrEnum):
    """How a version in a rollout was taken back in the catalog."""

    DELETED = "deleted"
    LEFT = "left"
    """The rollout's trigger points neither at it nor at a newer version."""


def withdrawal(rollout: Rollout, builds: Sequence[Build], others: Iterable[Rollout]) -> Withdrawal | None:
    """How the version in a rollout was taken back; None if it was not. `others` are all rollouts of the version.

    A model without any build does not count as taken back, because the registry has probably lost it.
    """
    if not builds or rollout.is_ended or rollout.took_over:
        return None
    build = next((each for each in builds if each.ref == rollout.candidate), None)
    if build is None:
        return Withdrawal.DELETED
    trigger = rollout.plan.trigger
    if trigger is None or rollout.requested.party is not Party.CATALOG or _points_at(trigger, build):
        return None
    newest = triggered(trigger, builds)
    is_newer = newest is not None and _age(newest) > _age(build)
    return None if is_newer or _was_released(rollout, trigger, others) else Withdrawal.LEFT


def _was_released(rollout: Rollout, trigger: Trigger, others: Iterable[Rollout]) -> bool:
    """Whether Sluicegate itself moved the trigger's mark, when another variation's rollout of the version ended."""
    return any(
        other.candidate == rollout.candidate
        and other.id != rollout.id
        and other.plan.trigger == trigger
        and other.phase in (Phase.CONFIRMING, Phase.BAKING, Phase.ENDED)
        for other in others
    )


def cause(trigger: Trigger) -> str:
    """The trigger as one word, such as `alias:candidate`."""
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
