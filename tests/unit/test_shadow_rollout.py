"""A shadow's rollout: it holds nobody back, ends by itself, and never gives a caller to its candidate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluicegate.flows.stages.settle import settle
from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.orders.rules import MOST_SHADOWS
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.decision import Choice, Decision, Progress, decide
from sluicegate.registry.rollout.facts import Concluded, Judged, Observed, Packed, Party, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import IllegalMove, InvalidDocument, Refused, TargetBusy
from sluicegate.registry.words.verdict import Answer, Verdict
from sluicegate.services.console.pages.effects import effect, possible
from tests import giving as orders
from tests.doubles.catalog import MemoryCatalog
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver, connect
from tests.plans import plan_from_values

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = Giver(actor="ada", cause="cli")
SHADOW = {
    "sample": 20, "max_time": "2h", "soak": "10m", "slices": ["X-State"], "then": "canary",
    "gates": [{"metric": "flips", "below": "2%"}],
}  # fmt: skip
PLAN = {
    "kind": "plan", "model": "m", "strategy": "shadow", "metrics": {"flips": {"source": "disagreement"}},
    "shadow": SHADOW, "steps": [{"weight": 10}, {"weight": 50}],
}  # fmt: skip

ALONE = {"steps": [], "shadow": {key: value for key, value in SHADOW.items() if key != "then"}}
"""A plan that ends in the shadow."""


def plan(**changes: object) -> Plan:
    return plan_from_values(PLAN | changes, where="plan")


def serving(ledger: MemoryLedger | None = None) -> MemoryLedger:
    ledger = ledger or MemoryLedger()
    first = orders.deploy(ledger, plan=plan(), version="1", request=ADA, now=NOW).rollout
    launched(ledger, first.id)
    orders.complete(ledger, first.id, NOW)
    return ledger


def launched(ledger: MemoryLedger, name: str) -> None:
    ledger.append(name, ledger.rollout(name).seq + 1, Packed(bento="b", bento_digest="b", model_digest="m"), NOW)
    ledger.append(name, ledger.rollout(name).seq + 1, Ready(version=ledger.rollout(name).requested.version), NOW)


def start(ledger: MemoryLedger, version: str, **more: object) -> Rollout:
    more.setdefault("plan", plan())
    return orders.start(ledger, version=version, request=ADA, now=NOW, **more).rollout


def copying(ledger: MemoryLedger, version: str = "2") -> Rollout:
    """A shadow whose copies are being served."""
    name = start(ledger, version).id
    launched(ledger, name)
    entered = StepEntered(step=0, weight=2_000, actor="driver", reason="ready")
    rollout = ledger.append(name, ledger.rollout(name).seq + 1, entered, NOW)
    return ledger.append(name, rollout.seq + 1, Observed(epoch=rollout.epoch, version="t"), NOW)


def verdict(answer: Answer) -> Verdict:
    return Verdict(metric="flips", answer=answer, reason="as seen", step=0, k=1)


def decided(rollout: Rollout, answer: Answer, after: timedelta) -> Decision:
    return decide(rollout, [verdict(answer)], Progress(candidate_requests=0), NOW + after)


def test_a_shadow_follows_its_own_part_of_the_plan() -> None:
    rollout = copying(serving())
    assert [step.weight for step in rollout.plan.steps] == [2_000]
    assert [gate.metric for gate in rollout.plan.gates] == ["flips"]
    assert rollout.plan.shadow is not None
    assert rollout.plan.shadow.slices == ("x-state",)


def test_a_shadow_keeps_no_canary_away_and_is_not_kept_away() -> None:
    ledger = serving()
    canary = start(ledger, "3", strategy=Strategy.CANARY)
    assert canary.phase is Phase.LAUNCHING
    assert [start(ledger, version).phase for version in ("2", "3")] == [Phase.LAUNCHING] * 2
    other = start(ledger, "4", strategy=Strategy.CANARY)
    assert (canary.holds_target, other.phase) == (True, Phase.QUEUED)


def test_shadows_get_copies_while_a_canary_gets_callers() -> None:
    ledger = serving()
    shadows = [copying(ledger, version) for version in ("2", "3")]
    canary = start(ledger, "4", strategy=Strategy.CANARY).id
    launched(ledger, canary)
    seq = ledger.rollout(canary).seq + 1
    ledger.append(canary, seq, StepEntered(step=0, weight=1_000, actor="driver", reason="ready"), NOW)
    (standing,) = standings(ledger.rollouts())
    assert (standing.rollout, standing.weight, str(standing.candidate)) == (canary, 1_000, "m v4")
    assert sorted(shadow.rollout for shadow in standing.shadows) == sorted(each.id for each in shadows)
    assert {build.version for build in standing.needed} == {"1", "2", "3", "4"}


def test_the_same_build_may_be_shadow_and_then_canary() -> None:
    ledger = serving()
    shadow, canary = start(ledger, "2"), start(ledger, "2", strategy=Strategy.CANARY)
    assert shadow.id != canary.id
    assert start(ledger, "2").id == shadow.id
    assert [step.weight for step in canary.plan.steps] == [1_000, 5_000]


def test_no_more_shadows_than_the_host_is_meant_for() -> None:
    ledger = serving()
    names = [start(ledger, str(2 + number)).id for number in range(MOST_SHADOWS)]
    with pytest.raises(TargetBusy, match=f"{MOST_SHADOWS} shadows"):
        start(ledger, "9")
    orders.abort(ledger, names[0], actor="ada", reason="enough", now=NOW)
    assert start(ledger, "9").phase is Phase.LAUNCHING


def test_a_plan_without_a_shadow_part_cannot_be_shadowed() -> None:
    with pytest.raises(Refused, match="has no section shadow"):
        start(serving(), "2", plan=plan(strategy="canary", shadow=None, metrics={}), strategy=Strategy.SHADOW)


def test_a_shadow_is_never_promoted() -> None:
    ledger = serving()
    rollout = copying(ledger)
    with pytest.raises(IllegalMove, match="is a shadow"):
        orders.promote(ledger, rollout.id, actor="ada", reason="why not", now=NOW)


@pytest.mark.parametrize(
    ("answer", "after", "choice"),
    [
        (Answer.PASS, timedelta(minutes=9), Choice.HOLD),
        (Answer.PASS, timedelta(minutes=10), Choice.CONCLUDE),
        (Answer.UNDECIDED, timedelta(minutes=119), Choice.HOLD),
        (Answer.UNDECIDED, timedelta(hours=2), Choice.CONCLUDE),
        (Answer.NO_DATA, timedelta(hours=2), Choice.CONCLUDE),
        (Answer.FAIL, timedelta(seconds=1), Choice.ABORT),
    ],
)
def test_when_a_shadow_ends(answer: Answer, after: timedelta, choice: Choice) -> None:
    assert decided(copying(serving()), answer, after).choice is choice


def test_a_shadow_without_gates_ends_when_its_time_is_over_and_nobody_waits_for_it() -> None:
    ledger = serving()
    bare = plan(shadow={"sample": 20, "max_time": "2h"}, metrics={})
    name = start(ledger, "2", plan=bare).id
    launched(ledger, name)
    entered = StepEntered(step=0, weight=2_000, actor="driver", reason="ready")
    rollout = ledger.append(name, ledger.rollout(name).seq + 1, entered, NOW)
    rollout = ledger.append(name, rollout.seq + 1, Observed(epoch=rollout.epoch, version="t"), NOW)
    waiting = decide(rollout, [], Progress(candidate_requests=0), NOW + timedelta(hours=1))
    assert (waiting.choice, waiting.person, waiting.wait) == (Choice.HOLD, False, timedelta(hours=1))
    over = decide(rollout, [], Progress(candidate_requests=0), NOW + timedelta(hours=2))
    assert over.choice is Choice.CONCLUDE


def test_a_plan_that_ends_in_the_shadow_needs_no_steps() -> None:
    alone = plan(**ALONE)
    assert Plan.model_validate(alone.document()) == alone
    ledger = MemoryLedger()
    first = orders.deploy(ledger, plan=alone, version="1", request=ADA, now=NOW).rollout
    launched(ledger, first.id)
    assert orders.complete(ledger, first.id, NOW).ending is Ending.ESTABLISHED
    shadow = start(ledger, "2", plan=alone)
    assert (shadow.is_shadow, [step.weight for step in shadow.plan.steps]) == (True, [2_000])
    with pytest.raises(Refused, match="describes a shadow only: it has no steps for a canary"):
        start(ledger, "2", plan=alone, strategy=Strategy.CANARY)


def test_a_pause_does_not_lengthen_a_shadow_and_nothing_follows_from_it() -> None:
    ledger = serving()
    name = copying(ledger).id
    paused = orders.pause(ledger, name, actor="ada", reason="lunch", now=NOW)
    assert decided(paused, Answer.PASS, timedelta(minutes=119)).choice is Choice.HOLD
    over = decided(paused, Answer.PASS, timedelta(hours=2))
    assert (over.choice, over.reason) == (Choice.CONCLUDE, "its max_time of 2h ended while it was paused: lunch")
    assert decided(paused, Answer.FAIL, timedelta(hours=2)).choice is Choice.ABORT


def test_audiences_that_reach_no_request_of_the_model_are_refused() -> None:
    ledger = serving()
    condition = Match(header="x-state", operator=Operator.EXACT, operands=("NY",))
    ny = Connection(
        audience=Audience(name="ny", condition=condition, description=""),
        weighted=(Weighted(variation="default", weight=1),),
    )
    connect(ledger, Connections(model="m", ordered=(ny,)), "ada", NOW)
    known = plan(shadow=SHADOW | {"audiences": ["ny", "default"]})
    assert start(ledger, "2", plan=known).is_shadow
    wrong = plan(shadow=SHADOW | {"audiences": ["ny", "nj"]})
    before = ledger.position()
    with pytest.raises(Refused, match="audience nj is not connected to m") as refused:
        start(ledger, "3", plan=wrong)
    assert refused.value.fix == "choose from ny, default; default means the requests that no audience matches"
    assert ledger.position() == before


def test_ending_takes_the_copies_back_and_changes_nothing_that_is_trusted() -> None:
    ledger = serving()
    rollout = copying(ledger)
    judged = ledger.append(
        rollout.id, rollout.seq + 1, Judged(metric="flips", answer="pass", k=1, step=0, reason="as seen"), NOW
    )
    assert judged.has_passed
    ended = ledger.append(
        rollout.id, judged.seq + 1, Concluded(actor="policy", party=Party.POLICY, reason="every gate passed"), NOW
    )
    assert (ended.ending, ended.weight) == (Ending.CONCLUDED, 0)
    (standing,) = standings(ledger.rollouts())
    assert (standing.stable.version, standing.shadows, standing.warm) == ("1", (), frozenset())


def problems(**changes: object) -> str:
    with pytest.raises(InvalidDocument) as error:
        plan(**changes)
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shadow": SHADOW | {"gates": [{"metric": "flips"}]}}, "shadow.gates.0: flips needs the share"),
        ({"shadow": SHADOW | {"gates": []}}, "shadow.then: the shadow has no gate"),
        ({"shadow": SHADOW | {"max_time": "5m"}}, "shadow.max_time: the shadow would end before"),
        ({"shadow": SHADOW | {"gates": [{"metric": "flip", "below": "2%"}]}}, "did you mean flips?"),
        ({"shadow": None, "metrics": {}}, "strategy: strategy: shadow needs to know"),
        ({"gates": [{"metric": "flips", "below": "1%"}]}, "gates.0.metric: flips compares two answers"),
        (
            {
                "metrics": {"x": {"source": "outcome", "outcome": "late", "score": "outcome"}},
                "shadow": SHADOW | {"gates": [{"metric": "x", "margin": "5%"}]},
            },
            "shadow.gates.0.metric: x is the outcome itself",
        ),
        (
            {
                "metrics": {"x": {"source": "prediction"}},
                "shadow": SHADOW | {"gates": [], "then": None, "guardrails": [{"metric": "x"}]},
            },
            "shadow.guardrails.0.metric: x compares predictions on different requests",
        ),
        (
            {"shadow": SHADOW | {"gates": [], "then": None, "guardrails": [{"metric": "flips"}]}},
            "shadow.guardrails.0.metric: a limit on how many answers may differ",
        ),
        ({"shadow": SHADOW | {"then": "promote"}}, "known are canary"),
        ({"steps": []}, "steps: steps is missing"),
        ({"steps": [], "strategy": "canary"}, "steps: steps is missing"),
        (
            {**ALONE, "metrics": {**PLAN["metrics"], "e": {"source": "status"}}, "guardrails": [{"metric": "e"}]},
            "guardrails: this belongs to a canary",
        ),
        ({**ALONE, "deadline": {"after": "3d"}}, "deadline: this belongs to a canary"),
    ],
)
def test_what_a_shadow_may_not_say(changes: dict[str, object], said: str) -> None:
    assert said in problems(**changes)


@pytest.mark.parametrize(("answer", "kept"), [("pass", {"candidate"}), ("undecided", set())])
def test_the_alias_that_asked_stays_for_the_canary_that_follows(answer: str, kept: set[str]) -> None:
    catalog, ledger = MemoryCatalog(), serving()
    for _ in range(2):
        catalog.register("m")
    catalog.set_alias(BuildRef(model="m", version="2"), "candidate")
    name = start(ledger, "2", plan=plan(trigger={"alias": "candidate"})).id
    launched(ledger, name)
    for fact in (
        StepEntered(step=0, weight=2_000, actor="driver", reason="ready"),
        Judged(metric="flips", answer=answer, k=1, step=0, reason="as seen"),
        Concluded(actor="policy", party=Party.POLICY, reason="over"),
    ):
        ended = ledger.append(name, ledger.rollout(name).seq + 1, fact, NOW)
    settle(catalog, ended, "champion")
    assert catalog.build(BuildRef(model="m", version="2")).aliases == kept


def test_the_console_offers_a_shadow_no_traffic() -> None:
    rollout = copying(serving())
    assert possible(rollout) == ("pause", "abort")
    assert effect("abort", rollout) == "v2 gets no more copies and is stopped. No caller ever got an answer from it."
    assert "copies of 20 %" in effect("pause", rollout)
