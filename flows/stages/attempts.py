"""Attempts: how much of a plan's beta is left for another rollout of a build that was tried before.

Each rollout may pass a build that is worse than the margin with probability beta; six rollouts, with up to six times
that. So all rollouts of a build by one plan share beta: each gets what the earlier ones have not spent. A test spends
beta as it collects information, so a rollout that ended early leaves most of it. Alpha is not shared: it protects the
candidate, and a person who tries the build again knows that it was stopped.
"""

from __future__ import annotations

from sluicegate.flows.gate.design import gates_of
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.orders.rules import same_intent
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.rollout.rollout import Rollout

_LEAST = 1e-9


def gates_of_attempt(ledger: Ledger, rollout: Rollout) -> tuple[tuple[GateSpec, bool], ...]:
    """The gates and guardrails of a rollout, each with whether it is a guardrail. Gates have the beta that is left."""
    spent: dict[str, float] = {}
    for each in _before(ledger, rollout):
        for look in ledger.last_looks(each.id):
            spent[look.metric] = spent.get(look.metric, 0.0) + (look.verdict.beta_spent or 0.0)
    return tuple((_with_remaining_beta(gate, spent), guardrail) for gate, guardrail in gates_of(rollout.plan))


def _before(ledger: Ledger, rollout: Rollout) -> tuple[Rollout, ...]:
    """Earlier rollouts of the same build by the same plan."""
    wanted = rollout.requested
    of_version = Selection(model=wanted.model, variation=wanted.variation, version=wanted.version, before=rollout.id)
    return tuple(same_intent(ledger.rollouts(of_version), wanted.plan_digest, wanted.strategy))


def _with_remaining_beta(gate: GateSpec, spent: dict[str, float]) -> GateSpec:
    if not spent.get(gate.metric) or not gate.decides:
        return gate
    return gate.model_copy(update={"beta": max(gate.beta - spent[gate.metric], _LEAST)})
