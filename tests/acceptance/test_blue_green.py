"""Given a plan that says blue-green, all requests switch at once, are on trial, and switch back at once."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.rehearsal.certify import certify
from sluicegate.flows.rehearsal.forecast import forecast
from sluicegate.flows.rehearsal.rejudge import rejudge
from sluicegate.flows.stages.attempts import gates_of_attempt
from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Approved, Assessed, Checked, Promoted, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.rollout.standing import standings
from sluicegate.registry.words.build import Endpoint
from sluicegate.registry.words.errors import IllegalMove, NotFound, Refused
from sluicegate.registry.words.metric import Arm, Stratum
from sluicegate.registry.words.tally import Tally
from sluicegate.services.client.asking import question
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import ModelRoute
from tests import giving as orders
from tests.acceptance.given import WHO, Given, Traffic
from tests.doubles.plane import by_name
from tests.integration.traffic_rig import build
from tests.unit.console_office import MemoryDesk
from tests.unit.test_console_pages import signed_in

PAGE = Path(__file__).parents[2] / "docs/how-to/switch-all-at-once.md"
WORD: dict[str, Any] = {"model": "delays", "strategy": "blue-green"}
PLAN: dict[str, Any] = WORD | {
    "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
    "gates": [{"metric": "errors", "alpha": 0.02, "below": "2%"}],
    "guardrails": [{"metric": "p99", "alpha": 0.01, "below": "300ms"}],
    "approval": True,
    "bake": "30m",
}
GATED = {key: value for key, value in PLAN.items() if key != "approval"}


class Timed(Traffic):
    """No request of the candidate is slow."""

    def flow(self, rollout: Rollout, requests: int, now: datetime) -> None:
        super().flow(rollout, requests, now)
        if rollout.weight == 10_000:
            key = ("p99", Stratum(epoch=rollout.epoch, bucket=0), rollout.weight, Arm.CANDIDATE)
            self.sums[key] = self.sums.get(key, Tally()) + Tally.from_events(requests, 0)


class Switch(Given):
    """Two builds behind a gateway in memory."""

    def __init__(self, plan: dict[str, Any] | None = None, *, errors: float = 0.001) -> None:
        super().__init__(plan, errors=errors)
        same = self.traffic
        self.traffic = Timed(loss=same.loss, errors=same.errors, chance=same.chance, labels=False)

    @property
    def route(self) -> ModelRoute:
        ends = {build(v): (Endpoint(build=build(v), host="127.0.0.1", port=8000 + int(v)),) for v in "12"}
        return routes(standings(self.ledger.rollouts()), ends).model("delays")

    @property
    def shares(self) -> dict[str, float]:
        """Who would answer how many of the units, in per cent."""
        found: dict[str, float] = defaultdict(float)
        for part in self.route.audiences[-1].slices:
            found[part.target.assigned.build] += part.size / 100
        return dict(found)

    @property
    def shown(self) -> str:
        view = rollout_view(read_for_views(self.ledger, [self.rollout])[0], self.now, (0, self.traffic.watermark))
        return tree(dataclasses.asdict(view))

    def switched(self) -> Switch:
        self.ticks()
        self.serves()
        return self

    def after(self, **time: float) -> Switch:
        self.now += timedelta(**time)
        self.ticks()
        return self


# --- the story -------------------------------------------------------------------------------------------------------


def test_one_word_is_a_plan_everything_switches_bakes_ten_minutes_and_a_person_promotes() -> None:
    given = Switch(WORD)
    assert given.shares == {"1": 100}
    given.switched()
    assert (given.shares, given.rollout.phase, given.rollout.weight) == ({"2": 100}, Phase.RUNNING, 10_000)
    assert build("1") in standings(given.ledger.rollouts())[0].needed
    assert "baking, stable v1 keeps running, 9m59s left" in given.ticks().decision.reason
    given.after(minutes=10)
    assert given.rollout.phase is Phase.RUNNING
    assert "waiting for approval: no gate decides" in given.ticks().decision.reason
    orders.approve(given.ledger, given.name, actor="ada", reason="fine", now=given.now)
    given.ticks()
    promoted = given.ledger.entries(given.name)[-1].fact
    assert isinstance(promoted, Promoted)
    assert (promoted.override, promoted.actor, given.shares) == (True, "ada", {"2": 100})


def test_gates_judge_on_all_requests_and_promote_on_their_verdicts_once_the_bake_is_over() -> None:
    given = Switch(GATED, errors=0.0).switched()
    given.runs(3_000)
    assert given.rollout.judgements["errors"].answer == "pass"
    assert given.rollout.phase is Phase.RUNNING, "the bake is not over"
    given.after(minutes=30)
    promoted = given.ledger.entries(given.name)[-1].fact
    assert isinstance(promoted, Promoted)
    assert (promoted.override, promoted.verdicts) == (False, {"errors": "pass"})


def test_time_alone_never_promotes() -> None:
    given = Switch(GATED, errors=0.0).switched().after(days=365)
    assert given.rollout.phase is Phase.RUNNING
    assert "errors must still pass" in given.ticks().decision.reason


@pytest.mark.parametrize("authority", list(Authority))
def test_a_broken_limit_switches_back_at_once_whoever_judges(authority: Authority) -> None:
    given = Switch(GATED, errors=0.2)
    before = given.route
    given.switched().runs(5_000, authority=authority)
    assert (given.rollout.ending, given.rollout.weight) == (Ending.ABORTED, 0)
    assert "shown not to stay below 2 %" in given.rollout.reason
    assert given.traffic.watermark <= 500
    assert given.shares == {"1": 100}
    assert [each.target for each in given.route.named] == [each.target for each in before.named if each.target is None]


def test_the_keeper_does_not_switch() -> None:
    given = Switch(WORD)
    given.ticks(Authority.STOP)
    assert given.rollout.weight == 0


def test_a_person_switches_back_during_the_bake() -> None:
    given = Switch(GATED, errors=0.0).switched()
    orders.abort(given.ledger, given.name, actor="ada", reason="complaints", now=given.now)
    assert (given.rollout.ending, given.shares) == (Ending.ABORTED, {"1": 100})


def test_a_candidate_that_fails_is_answered_for_by_stable() -> None:
    [part] = Switch(WORD).switched().route.audiences[-1].slices
    assert (part.target.assigned.build, part.target.fallback) == ("2", "1")


def test_every_verdict_is_given_again_bit_for_bit() -> None:
    given = Switch(GATED, errors=0.004).switched()
    given.runs(2_000)
    gates = gates_of_attempt(given.ledger, given.rollout)
    again = list(
        rejudge(
            given.rollout.judged_plan, lambda m: given.ledger.looks(given.name, m), gates, given.rollout.stable_name
        )
    )
    assert len(again) > 3
    assert all(each.is_same for each in again)


# --- before the switch -----------------------------------------------------------------------------------------------


def test_a_candidate_is_previewed_by_name_until_it_is_trusted_or_taken_back() -> None:
    given = Switch(GATED, errors=0.0)
    assert by_name(given.route, "default/preview") == build("2")
    assert given.shares == {"1": 100}, "callers get stable"
    target = next(each.target for each in given.route.named if each.variation == "default/preview")
    assert target is not None
    assert (target.assigned.rollout, target.assigned.weight, target.fallback) == (None, 0, None)
    given.switched()
    assert by_name(given.route, "default/preview") == build("2")
    given.runs(3_000)
    given.after(minutes=30)
    assert given.rollout.took_over
    with pytest.raises(NotFound):
        by_name(given.route, "default/preview")


def test_a_canary_has_no_preview() -> None:
    given = Switch()
    with pytest.raises(NotFound):
        by_name(given.route, "default/preview")


def test_the_client_asks_for_it_as_for_a_variation() -> None:
    asked = question(
        "delays", [{"x": 1}], metadata=None, unit=None, hashed=None, variation="default/preview", params=None
    )
    assert asked.ask.path == "/delays/variations/default/preview/predict"


@pytest.mark.parametrize("plan", [PLAN, {"model": "delays", "approval": True, "steps": [{"weight": 10}]}])
def test_the_first_request_waits_for_a_person_where_the_plan_says_so(plan: dict[str, Any]) -> None:
    given = Switch(plan)
    waiting = given.ticks().decision
    assert waiting.person
    assert waiting.reason.endswith(f"; sluice rollout approve {given.name}")
    weight = given.rollout.plan.steps[0].weight
    entered = StepEntered(step=0, weight=weight, actor="driver", reason="eager")
    with pytest.raises(IllegalMove, match="the first step needs a person's approval"):
        given.ledger.append(given.name, given.rollout.seq + 1, entered, given.now)
    orders.approve(given.ledger, given.name, actor="ada", reason="looked at the preview", now=given.now)
    given.ticks()
    assert given.rollout.weight == weight


def test_the_replay_must_pass_before_the_switch() -> None:
    replay = {"requests": "/srv/requests.jsonl", "gates": [{"metric": "same", "below": "2%"}]}
    given = Switch(WORD | {"metrics": {"same": {"source": "disagreement"}}, "replay": replay})
    assert "replaying requests before the first one" in given.ticks().decision.reason
    passed = Assessed(gate="same (replay)", answer="pass", reason="they agree")
    given.ledger.append(given.name, given.rollout.seq + 1, passed, given.now)
    given.ticks()
    assert given.rollout.weight == 10_000


def test_nobody_approves_a_first_request_of_which_the_plan_asks_nothing() -> None:
    given = Switch(WORD)
    with pytest.raises(IllegalMove, match="the first request cannot be approved"):
        given.ledger.append(
            given.name, given.rollout.seq + 1, Approved(step=-1, actor="ada", reason="why not"), given.now
        )


def test_the_check_is_asked_before_the_switch() -> None:
    given = Switch(WORD | {"check": {"url": "https://ci.example.com/ok"}})
    assert given.ticks().decision.asks
    said = Checked(step=-1, answer="yes", actor="ci", reason="looks fine")
    given.ledger.append(given.name, given.rollout.seq + 1, said, given.now)
    given.ticks()
    assert given.rollout.weight == 10_000


# --- the plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [{"weight": 50}]}, r"steps: blue-green switches all requests at once.*strategy: canary"),
        ({"gates": [{"metric": "errors", "margin": "5%"}]}, r"gates.0.metric: errors has a margin relative to stable"),
        ({"guardrails": [{"metric": "errors"}], "gates": []},
         r"guardrails.0.metric: errors is compared with stable, and after a switch stable has no requests.*below: 1%"),
        ({"guardrails": [{"metric": "p99", "alpha": 0.01}]}, r"write below: 300ms, or strategy: canary"),
        ({"guardrails": [{"metric": "p99", "alpha": 0.01, "below": "300ms", "slices": ["x-state"]}]}, "slices"),
        ({"metrics": {"loss": {"source": "outcome", "outcome": "late", "score": "zero_one"}}, "guardrails": [],
          "gates": [{"metric": "loss", "below": "5%"}]}, r"loss can only be judged in comparison with stable"),
        ({"bake": "0s"}, r"bake: without a bake nothing would be judged"),
        ({"deadline": {"after": "20m"}}, r"deadline.after: the bake alone lasts 30m"),
        ({"confirm": {"metric": "errors", "margin": "5%", "max_time": "9d"}}, "the former stable has no callers"),
        ({"shadow": {"sample": 10, "max_time": "1h"}}, "shadow has no effect with strategy: blue-green"),
    ],
)  # fmt: skip
def test_what_a_switch_cannot_do_is_refused_with_the_fix(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Plan.model_validate(PLAN | changes)


def test_approval_of_requests_that_never_come_is_refused() -> None:
    with pytest.raises(ValueError, match="approval: by this plan no caller"):
        Plan.model_validate(
            {"model": "m", "strategy": "shadow", "shadow": {"sample": 10, "max_time": "1h"}, "approval": True}
        )


def test_no_other_strategy_is_read_into_it_nor_it_into_another() -> None:
    given = Switch(GATED, errors=0.0)
    for plan, strategy, message in (
        (given.plan, Strategy.CANARY, "switches all requests at once: it has no steps"),
        (
            Plan.model_validate({"model": "delays", "steps": [{"weight": 10}]}),
            Strategy.BLUE_GREEN,
            "does not switch all requests at once",
        ),
    ):
        with pytest.raises(Refused, match=message):
            orders.start(given.ledger, plan=plan, version="3", request=WHO, now=given.now, strategy=strategy)


def test_it_is_read_back_from_the_record_as_it_was_written() -> None:
    plan = Plan.model_validate(PLAN)
    assert Plan.model_validate(plan.document()) == plan
    assert plan.digest == Plan.recorded(plan.document()).digest


def test_its_limits_are_certified_and_forecast() -> None:
    plan = Plan.model_validate({**GATED, "metrics": {"errors": {"source": "status"}}, "guardrails": []})
    checks = certify(plan, {}, runs=6).checks
    assert [f"{check.metric}: {check.name}: {check.reason}" for check in checks if not check.ok] == []
    [errors] = forecast(plan, {}, runs=5)
    assert [(step.weight, step.margin) for step in errors.steps] == [(10_000, None)]
    assert errors.steps[0].requests is not None
    assert 100 <= errors.steps[0].requests <= 1_000


# --- how it is shown -------------------------------------------------------------------------------------------------


def told(given: Switch) -> list[str]:
    """The lines of `rollout show` without the time that it took."""
    return [re.sub(r"  \S+ elapsed.*", "", line) for line in given.shown.splitlines()]


def test_the_page_shows_what_a_rollout_says() -> None:
    page = PAGE.read_text()
    block = page.split("```yaml\n", 1)[1].split("```", 1)[0]
    assert Plan.model_validate(yaml.safe_load(block)) == Plan.model_validate(PLAN)
    waiting = Switch(PLAN, errors=0.001)
    waiting.ticks()
    baking = Switch(GATED, errors=0.001).switched()
    baking.runs(1_000)
    failed = Switch(GATED, errors=0.2).switched()
    failed.runs(5_000)
    for given in (waiting, baking, failed):
        for line in told(given):
            assert line in page, given.shown


def test_everything_that_shows_a_rollout_says_that_it_is_on_trial() -> None:
    given = Switch(GATED, errors=0.001).switched()
    given.runs(1_000)
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    explained = explanation(report)
    assert explained.next.startswith("baking, stable v1 keeps running")
    assert explained.next.endswith("then promotion")
    [errors, _] = explained.gates
    assert errors.interval.startswith("no comparison: stable has no requests")
    assert errors.threshold.startswith("a limit: it fails once the candidate's rate is shown not to stay below 2 %")
    client = signed_in(MemoryDesk(ledger=given.ledger)).client
    page = client.get(f"/rollouts/{given.name}").text
    assert "POST /delays/variations/default/preview/predict" in page
    assert "v1 gets every request back at once (v2 has 100 %)" in page
