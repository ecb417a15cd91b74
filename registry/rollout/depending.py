"""Depending: the builds that must have a ready service before a rollout sends its candidate more requests. Pure."""

from __future__ import annotations

from datetime import datetime

from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.readiness import Readiness


def depends_on(rollout: Rollout) -> tuple[tuple[str, BuildRef], ...]:
    """The candidate, and stable if an abort would return its callers to it; each build with its role.

    A candidate that is being launched is not included: it is probed, and the record says when it is ready. A rollback
    does not depend on the build that it leaves.
    """
    if not rollout.is_under_way or rollout.took_over:
        return ()
    is_there = rollout.ready or rollout.is_comparison
    candidate = (("the candidate", rollout.candidate),) if is_there else ()
    if rollout.stable is None or not rollout.is_judged or rollout.is_shadow:
        return candidate
    return (*candidate, ("stable", BuildRef(model=rollout.requested.model, version=rollout.stable)))


def unready(rollout: Rollout, readiness: Readiness, now: datetime) -> str | None:
    """Why the candidate may not get more requests now, in words; None: it may. An abort never waits for this."""
    reasons = ((role, build, readiness.unready(build, now)) for role, build in depends_on(rollout))
    texts = [f"{role} v{build.version} {reason}" for role, build, reason in reasons if reason is not None]
    return "; ".join(texts) or None


def unready_candidate(rollout: Rollout, readiness: Readiness, now: datetime) -> str | None:
    """As `unready`, for the candidate only: a person who decides by name may be healing a stable that is down."""
    builds = [build for _, build in depends_on(rollout) if build == rollout.candidate]
    reason = readiness.unready(rollout.candidate, now) if builds else None
    return None if reason is None else f"the candidate v{rollout.candidate.version} {reason}"


def waits_for_service(rollout: Rollout) -> bool:
    """Whether the rollout's next change would send more requests to its candidate."""
    return rollout.phase in (Phase.LAUNCHING, Phase.RUNNING) and bool(depends_on(rollout))
