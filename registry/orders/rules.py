"""The rules behind orders: which is next, which are the same intent, which are refused, and what to do then. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import AtOnce
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.rollout.standing import Takeover, current
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.errors import Refused, TargetBusy

MOST_SHADOWS = 4
"""How many shadows a target may have at once, because each costs the host."""


def way_out(rollout: Rollout) -> str:
    """What a person can do with a rollout in this phase."""
    match rollout.phase:
        case Phase.QUEUED:
            return f"it waits for its turn; to take it out of the queue: sluice rollout abort {rollout.id}"
        case Phase.LAUNCHING:
            return f"wait until it is ready: sluice rollout show {rollout.id} --watch"
        case Phase.RUNNING:
            return f"to hold it where it is: sluice rollout pause {rollout.id}"
        case Phase.PAUSED:
            return f"to go on: sluice rollout resume {rollout.id}; to end it: sluice rollout abort {rollout.id}"
        case Phase.CONFIRMING | Phase.BAKING:
            return f"it is promoted already; to take it back: sluice rollout abort {rollout.id}"
        case Phase.ENDED if rollout.took_over:
            return f"to go back to the build before: sluice rollback {rollout.requested.model}"
        case Phase.ENDED:
            return f"to try it once more: sluice rollout retry {rollout.id}"


def is_next(rollouts: Sequence[Rollout], rollout: Rollout) -> bool:
    """Whether a queued rollout may begin: shadows and comparisons at once, others in the order of their requests.

    A newer build ends a confirmation, except where the target is protected, because its callers would get another
    build.
    """
    if rollout.is_aside:
        return rollout.phase is Phase.QUEUED
    queue = [r for r in rollouts if r.phase is Phase.QUEUED and not r.is_aside]
    holder = current(rollouts)
    is_free = holder is None or (holder.phase is Phase.CONFIRMING and not rollout.guarded)
    return is_free and bool(queue) and queue[0].id == rollout.id


def same_intent(of_version: Sequence[Rollout], digest: str, strategy: str) -> list[Rollout]:
    """A build's rollouts in a target with this plan and kind of strategy, oldest first."""
    return [
        r
        for r in of_version
        if r.requested.plan_digest == digest
        and r.requested.strategy not in (AtOnce.ROLLBACK, AtOnce.REPLACE)
        and r.is_shadow == (strategy == Strategy.SHADOW)
    ]


def refuse_strategy(plan: Plan, chosen: Strategy) -> None:
    """Refuse a strategy that the plan does not describe."""
    match chosen:
        case Strategy.CANARY if plan.steps:
            return
        case Strategy.BLUE_GREEN if plan.switches:
            return
        case Strategy.BLUE_GREEN:
            raise Refused(
                f"the plan of {plan.model}/{plan.variation} does not switch all requests at once: its strategy "
                "is not blue-green.",
                fix="write strategy: blue-green in it, and apply it",
            )
        case Strategy.CANARY if plan.switches:
            raise Refused(
                f"the plan of {plan.model}/{plan.variation} switches all requests at once: it has no steps.",
                fix="start it without --strategy; or write strategy: canary and steps, and apply it",
            )
        case Strategy.CANARY:
            raise Refused(
                f"the plan of {plan.model}/{plan.variation} describes a shadow only: it has no steps for a canary.",
                fix="add steps: [{weight: 10}, {weight: 50}] to it, and apply it",
            )
        case Strategy.SHADOW if plan.shadow is not None:
            return
        case Strategy.SHADOW:
            raise Refused(
                f"the plan of {plan.model}/{plan.variation} has no section shadow.",
                fix="add shadow: {sample: 20, max_time: 2h} to it, and apply it",
            )
        case Strategy.AB:
            raise Refused(
                "an experiment compares the builds that its variations hold already, so it takes no build.",
                fix=f"sluice experiment start {plan.model}; to roll a build out, use the strategy canary",
            )


def refuse_crowd(plan: Plan, rollouts: Sequence[Rollout]) -> None:
    """Refuse more shadows than the host should bear: each costs as many requests as it copies."""
    shadows = [r.id for r in rollouts if r.is_shadow and not r.is_ended]
    if len(shadows) >= MOST_SHADOWS:
        raise TargetBusy(
            f"{plan.model}/{plan.variation} has {len(shadows)} shadows under way: {', '.join(shadows)}.",
            fix=f"wait for one to end, or: sluice rollout abort {shadows[0]}",
        )


def is_new_to(last: Rollout, plan: Plan, sighting: Sighting | None) -> bool:
    """Whether a trigger sees a change since the version's last rollout."""
    if last.ended_at is None or sighting is None:
        return False
    is_replanned = plan.trigger is not None and plan.trigger.replan and last.requested.plan_digest != plan.digest
    return is_replanned or (sighting.at is not None and sighting.at > last.ended_at)


def former_build(over: Sequence[Takeover], stable: Rollout, version: str | None) -> str:
    """The id of the rollout that last brought in the build to return to."""
    candidates = [each for each in over if each.version != stable.requested.version]
    wanted = [each for each in candidates if version is None or each.version == version]
    if wanted:
        return wanted[-1].rollout
    known = ", ".join(sorted({f"v{each.version}" for each in candidates})) or "none"
    what = f"v{version} was never" if version else "no other build was ever"
    raise Refused(
        f"{what} stable for {'/'.join(stable.target)}; earlier stable builds: {known}.",
        fix=f"to bring in another build: sluice rollout start {stable.requested.model} --build VERSION --allow-older",
    )


def trusted_versions(over: Iterable[Takeover]) -> list[str]:
    """The versions that a target still trusts, in order, stable last. Builds that were rolled back are not trusted."""
    versions: list[str] = []
    for each in over:
        if each.version in versions and each.strategy == AtOnce.ROLLBACK:
            del versions[versions.index(each.version) + 1 :]
        else:
            versions.append(each.version)
    return versions


def is_older(version: str, stable: str) -> bool:
    """Whether a version was registered before stable."""
    return version.isdigit() and stable.isdigit() and int(version) < int(stable)
