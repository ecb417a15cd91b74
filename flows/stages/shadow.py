"""What only shadow rollouts do: end when stable changes, and start a canary when every gate has passed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Start
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Ending, Rollout
from sluicegate.registry.rollout.standing import trusted
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.outputs import output_differences


def overtaken(ledger: Ledger, rollout: Rollout) -> str | None:
    """Why a shadow has to end: stable is another build than when it began. None if stable is the same."""
    same_target = (each for each in ledger.current(rollout.requested.model) if each.target == rollout.target)
    stable = trusted(same_target)
    if stable is None or stable.requested.version == rollout.stable:
        return None
    return f"stable is v{stable.requested.version} now, but the shadow was compared with v{rollout.stable}"


def hand_over(ledger: Ledger, rollout: Rollout, now: datetime) -> Rollout | None:
    """Order the canary that follows a shadow, and return it; None if none follows. Repeated calls give the same one.

    The canary uses the plan with which the shadow was ordered. Raises Refused if the target cannot take it now.
    """
    if not follows(rollout):
        return None
    wanted = rollout.requested
    canary = Start(
        model=wanted.model, variation=wanted.variation, version=wanted.version, plan=Plan.recorded(wanted.plan),
        strategy=Strategy.CANARY, allow_older=True,
    )  # fmt: skip
    order = Order(
        act=canary, actor=wanted.actor, party=Party.POLICY, cause=f"shadow:{rollout.id}", follows=rollout.id
    )  # fmt: skip
    receipt = give(ledger, order, now)
    return ledger.rollout(receipt.rollout or rollout.id)


def follows(rollout: Rollout) -> bool:
    """Whether a canary follows: the shadow ended by itself, every gate passed, and the plan asks for a canary."""
    wanted = rollout.is_shadow and rollout.plan.shadow is not None and rollout.plan.shadow.then == "canary"
    return wanted and rollout.ending is Ending.CONCLUDED and rollout.has_passed and rollout.party is Party.POLICY


def note_outputs(ledger: Ledger, build: Callable[[BuildRef], Build], rollout: Rollout) -> None:
    """Remember how the output schemas of candidate and stable differ, for pages that show the comparison."""
    stable = BuildRef(model=rollout.requested.model, version=rollout.stable or "")
    try:
        differences = output_differences(build(stable), build(rollout.candidate))
    except NotFound:
        return
    ledger.remember(f"outputs:{rollout.id}", {"differences": list(differences)})


def declared_differences(ledger: Ledger, rollout: Rollout) -> tuple[str, ...]:
    """The differences that `note_outputs` remembered."""
    noted = (ledger.recall(f"outputs:{rollout.id}") or {}).get("differences")
    return tuple(str(each) for each in noted) if isinstance(noted, list) else ()
