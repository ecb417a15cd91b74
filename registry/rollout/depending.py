"""Depending: the builds whose services must be ready before a rollout sends more requests to its candidate. Pure."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.readiness import Readiness


def depends_on(rollout: Rollout) -> tuple[tuple[str, BuildRef], ...]:
    """Each with what it is to the rollout: the candidate, and stable where judged callers may be taken back to it.

    A candidate that is being launched is not among them: it is probed, and the record says when it is ready. Who goes
    back at once does so whatever became of the build that he leaves.
    """
    if not rollout.is_under_way or rollout.took_over:
        return ()
    is_there = rollout.ready or rollout.is_comparison
    candidate = (("the candidate", rollout.candidate),) if is_there else ()
    if rollout.stable is None or not rollout.is_judged or rollout.is_shadow:
        return candidate
    return (*candidate, ("stable", BuildRef(model=rollout.requested.model, version=rollout.stable)))


def unready(rollout: Rollout, readiness: Readiness, now: datetime) -> str | None:
    """Why its candidate may not get more requests now, in words; None: it may. An abort never waits for this."""
    found = ((what, build, readiness.unready(build, now)) for what, build in depends_on(rollout))
    said = [f"{what} v{build.version} {each}" for what, build, each in found if each is not None]
    return "; ".join(said) or None


def unready_candidate(rollout: Rollout, readiness: Readiness, now: datetime) -> str | None:
    """The same of the candidate alone, for who decides by name: if stable is down, he may be the one who heals it."""
    builds = [build for _, build in depends_on(rollout) if build == rollout.candidate]
    found = readiness.unready(rollout.candidate, now) if builds else None
    return None if found is None else f"the candidate v{rollout.candidate.version} {found}"


def waits_for_service(rollout: Rollout) -> bool:
    """Whether the next thing that may happen to it sends more requests to its candidate."""
    return rollout.phase in (Phase.LAUNCHING, Phase.RUNNING) and bool(depends_on(rollout))
