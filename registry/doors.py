"""Doors: which build a plan's trigger points at now. Pure; the order that follows is idempotent."""

from __future__ import annotations

from collections.abc import Iterable

from registry.build import Build
from registry.plan import Trigger


def triggered(trigger: Trigger, builds: Iterable[Build]) -> Build | None:
    """The newest build that the trigger points at, or None."""
    pointed = [build for build in builds if _points_at(trigger, build)]
    return max(pointed, key=_age, default=None)


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
