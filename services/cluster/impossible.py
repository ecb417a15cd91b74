"""The parts of a plan that a cluster cannot carry out, and what to do instead. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.registry.plan.fields import Serve


@dataclass(frozen=True)
class Impossible:
    """A part of a plan that cannot be carried out."""

    what: str
    fix: str


def impossible(serve: Serve) -> Impossible | None:
    """The part of a plan that no pod can carry out; None if pods can do all of it."""
    if not serve.capture.has_bodies:
        return None
    return Impossible(
        what="the plan captures bodies of requests or answers, which is possible on one machine only: "
        "a pod has no file that outlives it.",
        fix="remove features, and predictions that are hashed or full, from serve: {capture: …} of the plan",
    )
