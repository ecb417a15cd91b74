"""Rollout specs: what the collector needs to know about a rollout, from the ledger."""

from __future__ import annotations

from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.plan.slice_rules import sliced_metrics
from sluicegate.registry.rollout.experiment import counted_for
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import NotFound
from sluicegate.services.telemetry.tally.spec import RolloutSpec


def rollout_spec(runtime: Runtime, name: str) -> RolloutSpec | None:
    """What the collector needs to know about a rollout; None while the ledger does not know it."""

    rollout = counted_for((*runtime.ledger.rollouts(Selection(experiment=name)), *_rollout(runtime, name)), name)
    if rollout is None:
        return None
    plan = rollout.judged_plan
    return RolloutSpec(
        rollout=name,
        metrics=dict(plan.metrics),
        thresholds=dict(rollout.thresholds),
        margins={gate.metric: plan.margins(gate) for gate in plan.gates},
        by_unit=plan.unit is not None,
        generates=plan.generate is not None,
        joins_more=plan.serve.capture.has_bodies,
        sliced=sliced_metrics(plan) if rollout.requested.strategy == "canary" else {},
    )


def _rollout(runtime: Runtime, name: str) -> tuple[Rollout, ...]:
    try:
        return (runtime.ledger.rollout(name),)
    except NotFound:
        return ()
