"""Three audiences of one model, each with a variation and a rollout of its own: one good, one held, one harmful."""

from __future__ import annotations

from datetime import datetime

from sluicegate.flows.stages.tick import Authority, Tallies, tick
from sluicegate.registry.documents.documents import document_from_values
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.orders.give import apply_document
from sluicegate.registry.orders.order import Share
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import Decision
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import LedgerConflict
from sluicegate.registry.words.roles import Role
from tests import giving as orders
from tests.giving import Giver

WHO = Giver(actor="ada", cause="cli")
MODEL = "fraud"
STATES = {"ny": "New York", "ca": "California", "tx": "Texas"}
STABLE = {"default": "1", "ny": "2", "ca": "3", "tx": "4"}
CANDIDATE = {"ny": "5", "ca": "6", "tx": "7"}
"""Texas' candidate fails; California's waits for a person."""


def plan(variation: str) -> Plan:
    """Two steps; California's second one needs an approval."""
    return Plan.model_validate(
        {
            "model": MODEL,
            "variation": variation,
            "unit": "x-user-id",
            "metrics": {"errors": {"source": "status"}},
            "gates": [{"metric": "errors", "alpha": 0.05, "below": "30%"}],
            "steps": [{"weight": 20}, {"weight": 50, "approval": variation == "ca"}],
            "expect": {"requests_per_day": 1000},
            "bake": "1h",
        }
    )


class Three:
    """The story on a ledger. Whoever uses it lets a keeper look and requests flow in between."""

    def __init__(self, ledger: Ledger, tallies: Tallies) -> None:
        self.ledger = ledger
        self._tallies = tallies
        self.rollouts: dict[str, str] = {}

    def deploy(self, now: datetime) -> None:
        """Order the four first builds and connect the audiences, before anything runs."""
        for name, state in STATES.items():
            document = document_from_values({"kind": "audience", "name": name, "when": {"state": state}}, "test")
            apply_document(
                self.ledger,
                Applied(kind="audience", name=name, body=document.body, digest=document.digest, actor="ada", at=now),
                Role.ADMIN,
            )
        for variation, version in STABLE.items():
            started = orders.deploy(self.ledger, plan=plan(variation), version=version, now=now, request=WHO)
            self._pack(started.rollout, now)
            if variation in STATES:
                to = [Share(audience=variation, weight=1)]
                orders.send(
                    self.ledger, model=MODEL, variation=variation, to=to, is_fallback=False, actor="ada", now=now
                )

    def roll_out(self, now: datetime) -> None:
        """Put a new build into each audience's variation: a canary, as the slots have traffic."""
        for variation, version in CANDIDATE.items():
            started = orders.deploy(self.ledger, plan=plan(variation), version=version, now=now, request=WHO)
            self._pack(started.rollout, now)
            self.rollouts[variation] = started.rollout.id

    def drive(self, now: datetime) -> None:
        """What drivers do: one tick of each rollout with authority to advance."""
        for name in self.rollouts.values():
            if not self.ledger.rollout(name).is_ended and self.ledger.rollout(name).phase is not Phase.BAKING:
                self.judge(name, now, Authority.ADVANCE)

    def judge(self, name: str, now: datetime, authority: Authority = Authority.STOP) -> tuple[Rollout, Decision]:
        """One tick. By the keeper, without a word, with authority to stop."""
        try:
            seen = tick(self.ledger, self._tallies, name, now, authority)
        except LedgerConflict:
            seen = tick(self.ledger, self._tallies, name, now, authority)
        return seen.rollout, seen.decision

    def rollout(self, variation: str) -> Rollout:
        """An audience's rollout as it stands."""
        return self.ledger.rollout(self.rollouts[variation])

    @property
    def is_over(self) -> bool:
        """Whether New York is promoted, Texas has ended, and California waits at its last step."""
        last = self.rollout("ca").step == 1 and self.rollout("ca").judgements.get("errors")
        return (
            self.rollout("ny").took_over
            and self.rollout("tx").is_ended
            and bool(last and last.answer == "pass" and last.step == 1)
        )

    def _pack(self, rollout: Rollout, now: datetime) -> None:
        fact = Packed(bento=f"{MODEL}:{rollout.requested.version}", bento_digest="b", model_digest="m")
        orders.append(self.ledger, rollout.id, lambda _: fact, now)
