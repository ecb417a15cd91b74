"""What of a plan cannot be done in a cluster, and what to do instead. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.registry.plan.fields import Serve


@dataclass(frozen=True)
class Impossible:
    """One thing that a plan asks for."""

    what: str
    fix: str


def impossible(serve: Serve) -> Impossible | None:
    """What no pod can do of what a plan asks for; None: all of it can be done."""
    if not serve.capture.has_bodies:
        return None
    return Impossible(
        what="the plan captures bodies of requests or answers, which is possible on one machine only: "
        "a pod has no file that outlives it.",
        fix="remove features, and predictions that are hashed or full, from serve: {capture: …} of the plan",
    )
