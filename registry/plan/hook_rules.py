"""Rules of hooks: one that would never be told, or told twice. Pure; each says its fix."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import PlanFields

Found = tuple[tuple[str | int, ...], str, str]
"""Where, what, and how to mend it."""


def wrong_hooks(plan: PlanFields) -> Iterator[Found]:
    """What is wrong with a plan's hooks."""
    seen: set[tuple[str, str]] = set()
    for position, hook in enumerate(plan.hooks):
        at = ("hooks", position)
        if plan.ends_in_shadow and hook.after != "abort":
            message = f"this plan ends in the shadow, so no {hook.after} ever follows from it"
            yield (*at, "after"), message, "write after: abort, or remove the hook"
        if (hook.after, str(hook)) in seen:
            yield (*at, "after"), f"{hook} is named twice for after: {hook.after}", "keep one of them"
        seen.add((hook.after, str(hook)))
