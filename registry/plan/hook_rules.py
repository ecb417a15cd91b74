"""Rules of hooks: hooks that would never be notified, or twice. Pure; each fault names its fix."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import PlanFields

Fault = tuple[tuple[str | int, ...], str, str]
"""Where, what is wrong, how to fix it."""


def hook_faults(plan: PlanFields) -> Iterator[Fault]:
    """What is wrong with a plan's hooks."""
    earlier: set[tuple[str, str]] = set()
    for position, hook in enumerate(plan.hooks):
        at = ("hooks", position)
        if plan.ends_in_shadow and hook.after != "abort":
            message = f"this plan ends in the shadow, so no {hook.after} ever follows from it"
            yield (*at, "after"), message, "write after: abort, or remove the hook"
        if (hook.after, str(hook)) in earlier:
            yield (*at, "after"), f"{hook} is named twice for after: {hook.after}", "keep one of them"
        earlier.add((hook.after, str(hook)))
