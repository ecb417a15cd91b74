"""Replay before the first request: both builds answer requests of before; a worse candidate gets none of callers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_jsonable_python

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.rehearsal.before_first import Newest, Replaying
from sluicegate.flows.rehearsal.captures_file import write_captures
from sluicegate.flows.rehearsal.shadow_replay import Answering
from sluicegate.flows.stages.tick import Authority, tick
from sluicegate.registry.ledger.reading import read_for_views
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.facts import Fact, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase, Rollout
from sluicegate.registry.words.errors import IllegalMove, InvalidDocument, Unreachable
from sluicegate.services.bento.predictor.answer import summary
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.plans import read_plan
from tests.unit.test_six_doors import NoTallies

PAGE = Path(__file__).parents[2] / "docs/how-to/judge-before-the-first-request.md"
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
PACKED = Packed(bento="b", bento_digest="b", model_digest="m")
ANSWERS = {"model": "m", "metrics": {"answers": {"source": "disagreement"}}, "steps": [{"weight": 10}]}
REPLAY = {"requests": "captured", "gates": [{"metric": "answers", "below": "5%"}]}
SERVE = {"capture": {"features": "full"}}


def requests(many: int, **outcome: Callable[[int], object]) -> tuple[dict[str, Any], ...]:
    """Captures of requests that hold one number."""
    return tuple(
        {
            "rid": f"r{x}", "at": round((NOW - timedelta(hours=1)).timestamp() * 1e6), "copy": False,
            "headers": {}, "request": {"inputs": [{"x": x}]}, "answer": None,
            "outcomes": [{"name": name, "row": 0, "value": value(x), "at": 0} for name, value in outcome.items()],
        }
        for x in range(many)
    )  # fmt: skip


def answers(says: Callable[[int], object]) -> Answering:
    """A service that says something of each number, or fails where that is None."""

    def answer(body: bytes) -> tuple[int, str | None]:
        said = says(json.loads(body)["inputs"][0]["x"])
        return (500, None) if said is None else (200, summary([said], whole=True))

    return answer


class Stand:
    """A ledger with a stable build, a candidate whose service is ready, and requests to replay."""

    def __init__(
        self, stable: Answering, candidate: Answering, captured: Iterable[Mapping[str, Any]] = (), *,
        versions: tuple[str, str] = ("1", "2"), **plan: object,
    ) -> None:  # fmt: skip
        self.ledger, self.captured, self.versions = MemoryLedger(), tuple(captured), versions
        self.services, self.seconds = (stable, candidate), itertools.count()
        self.plan = Plan.model_validate(ANSWERS | {"serve": SERVE, "replay": REPLAY} | plan)
        bare = Plan.model_validate({"model": self.plan.model, "steps": [{"weight": 10}]})
        first = orders.deploy(self.ledger, plan=bare, version=versions[0], request=WHO, now=NOW).rollout
        self.facts(first.id, PACKED, Ready(version="1"))
        orders.complete(self.ledger, first.id, NOW)

    def facts(self, name: str, *facts: Fact) -> Rollout:
        for fact in facts:
            orders.append(self.ledger, name, lambda _, fact=fact: fact, NOW)
        return self.ledger.rollout(name)

    def ready(self, giver: Giver = WHO, strategy: Strategy = Strategy.CANARY) -> Rollout:
        started = orders.start(
            self.ledger, plan=self.plan, version=self.versions[1], request=giver, now=NOW, strategy=strategy
        )
        return self.facts(started.rollout.id, PACKED, Ready(version="2"))

    def replaying(self, newest: Newest | None = None) -> Replaying:
        return Replaying(
            ledger=self.ledger, newest=newest or (lambda model, variation, many: self.captured[-many:]),
            services=lambda rollout: self.services, kinds=lambda rollout: {}, clock=lambda: NOW,
            elapsed=lambda: float(next(self.seconds)) / 1000,
        )  # fmt: skip

    def replayed(self, strategy: Strategy = Strategy.CANARY) -> Rollout:
        return self.replaying().replay(self.ready(strategy=strategy))

    def tick(self, name: str) -> Rollout:
        return tick(self.ledger, NoTallies(), name, NOW, Authority.ADVANCE).rollout


EVEN = answers(lambda x: "even" if x % 2 == 0 else "odd")
TENTH = answers(lambda x: "?" if x % 10 == 0 else "even" if x % 2 == 0 else "odd")


@pytest.mark.parametrize("strategy", [Strategy.CANARY, Strategy.SHADOW])
def test_a_candidate_that_answers_otherwise_gets_no_request(strategy: Strategy) -> None:
    stand = Stand(EVEN, TENTH, requests(400), shadow={"sample": 20, "max_time": "1h"})
    after = stand.replayed(strategy)
    assert (after.ending, after.weight, after.epoch) == (Ending.ABORTED, 0, 0)
    assert after.reason == (
        "answers (replay) failed before the first request: on captured requests, answers differ in 10 % of 400 pairs, "
        "95 % CI 5.54 to 16.1 %; more than the 5 % that the plan allows"
    )
    assert not any(isinstance(entry.fact, StepEntered) for entry in stand.ledger.entries(after.id))
    view = rollout_view(read_for_views(stand.ledger, [after])[0], NOW)
    assert [(each.gate, each.verdict, each.candidate) for each in view.offline] == [("answers (replay)", "FAIL", 0.1)]


def test_one_that_answers_alike_goes_on_and_the_record_says_why() -> None:
    stand = Stand(EVEN, EVEN, requests(400))
    rollout = stand.ready()
    assert stand.tick(rollout.id).phase is Phase.LAUNCHING
    with pytest.raises(IllegalMove, match="every gate of the replay must pass"):
        stand.facts(rollout.id, StepEntered(step=0, weight=1000, actor="eve", reason="x"))
    after = stand.replaying().replay(rollout)
    assert after.assessments["answers (replay)"].answer == "pass"
    assert stand.tick(rollout.id).weight == 1000


def test_too_few_requests_and_none_at_all_are_no_pass_and_say_what_to_do() -> None:
    few = Stand(EVEN, EVEN, requests(20)).replayed()
    assert (few.ending, few.assessments["answers (replay)"].answer) == (Ending.FAILED, "undecided")
    assert "raise at_most and capture: {share: …}; then: sluice rollout start m --build 2" in few.reason
    none = Stand(EVEN, EVEN).replayed()
    assert (none.ending, none.assessments["answers (replay)"].answer) == (Ending.FAILED, "no_data")
    assert "on captured requests, none was sent to m/default" in none.reason
    assert "An approver may override it: sluice rollout start m --build 2 --override-assessment WHY" in none.reason


def test_a_candidate_that_breaks_where_stable_does_not_is_worse() -> None:
    breaks = answers(lambda x: None if x % 5 == 0 else "odd")
    plan = {"metrics": {"errors": {"source": "status"}},
            "replay": REPLAY | {"gates": [{"metric": "errors", "margin": "100%"}]}}  # fmt: skip
    after = Stand(EVEN, breaks, requests(300), **plan).replayed()
    assert after.ending is Ending.ABORTED
    assert "errors (replay) failed" in after.reason


def test_outcomes_that_were_captured_score_both_answers() -> None:
    plan = {
        "metrics": {"wrong": {"source": "outcome", "outcome": "label", "score": "zero_one"}},
        "replay": REPLAY | {"gates": [{"metric": "wrong", "margin": "10%"}]},
    }
    labelled = requests(400, label=lambda x: "even" if x % 2 == 0 else "odd")
    after = Stand(EVEN, TENTH, labelled, **plan).replayed()
    assert after.ending is Ending.ABORTED
    said = after.assessments["wrong (replay)"]
    assert (said.stable, said.candidate) == (0.0, 0.1)
    unripe = {"wrong": plan["metrics"]["wrong"] | {"matures_after": "2h"}}  # type: ignore[index]
    late = Stand(EVEN, TENTH, labelled, **(plan | {"metrics": unripe})).replayed()
    assert late.assessments["wrong (replay)"].answer == "no_data"


def test_a_file_is_replayed_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "requests.parquet"
    whole = [each | dict.fromkeys(("model", "build", "variation", "audience", "rollout", "arm", "unit"), "m")
             for each in requests(400)]  # fmt: skip
    write_captures([[each | {"at": NOW} for each in whole]], path)
    plan = {"serve": {}, "replay": REPLAY | {"requests": str(path), "at_most": 300}}
    after = Stand(EVEN, TENTH, **plan).replayed()
    assert "on requests.parquet, answers differ in 10 % of 300 pairs" in after.reason
    path.unlink()
    gone = Stand(EVEN, EVEN, **plan).replayed()
    assert (gone.ending, "cannot be read: No such file" in gone.reason) == (Ending.FAILED, True)


def test_a_service_that_is_not_here_is_no_data() -> None:
    stand = Stand(EVEN, EVEN, requests(400))

    def lost(rollout: Rollout) -> tuple[Answering, Answering]:
        raise Unreachable("the service of v1 is not on this machine")

    after = replace(stand.replaying(), services=lost).replay(stand.ready())
    assert (after.ending, "the service of v1 is not on this machine" in after.reason) == (Ending.FAILED, True)


def test_the_time_is_limited_and_what_was_answered_by_then_is_judged() -> None:
    stand = Stand(EVEN, TENTH, requests(400), replay=REPLAY | {"max_time": "1s"})
    assert "10 % of 260 pairs" in stand.replayed().reason


def test_an_approver_lets_it_past_by_name_unreplayed() -> None:
    stand = Stand(EVEN, TENTH, requests(400))
    rollout = stand.ready(Giver(actor="grace", override_assessment="these requests are of last year"))
    assert stand.tick(rollout.id).weight == 1000


def test_one_that_is_ended_meanwhile_stays_as_it_is() -> None:
    stand = Stand(EVEN, TENTH, requests(400))
    rollout = stand.ready()
    orders.abort(stand.ledger, rollout.id, actor="ada", reason="never mind", now=NOW)
    assert stand.replaying().replay(rollout).reason == "never mind"


def test_a_driver_that_died_between_two_answers_is_followed_by_one_that_records_each_once() -> None:
    plan = {"metrics": ANSWERS["metrics"] | {"errors": {"source": "status"}},  # type: ignore[operator]
            "replay": REPLAY | {"gates": [*REPLAY["gates"], {"metric": "errors", "margin": "100%", "alpha": 0.01}]}}  # type: ignore[misc]  # fmt: skip
    stand = Stand(EVEN, TENTH, requests(400), **plan)
    rollout = stand.ready()
    half = stand.replaying().replay(rollout)
    assert stand.replaying().replay(half).seq == half.seq
    names = [each.fact.gate for each in stand.ledger.entries(rollout.id) if type(each.fact).__name__ == "Assessed"]
    assert names == ["answers (replay)", "errors (replay)"]


def test_the_command_line_shows_it_beside_the_offline_gates() -> None:
    stand = Stand(EVEN, TENTH, requests(400))
    view = rollout_view(read_for_views(stand.ledger, [stand.replayed()])[0], NOW)
    assert "offline answers (replay) FAIL" in tree(to_jsonable_python(view))


# --- the plan --------------------------------------------------------------------------------------------------------

WRITTEN = """
kind: plan
model: m
serve: {capture: {features: full}}
metrics:
  answers: {source: disagreement}
steps: [{weight: 10}]
replay:
  gates: [{metric: answers, below: 5%}]
"""


def test_the_shortest_form_replays_a_thousand_captured_requests() -> None:
    plan = read_plan(WRITTEN, "plan.yaml")
    assert plan.replay is not None
    assert (plan.replay.requests, plan.replay.at_most, plan.replay.max_time) == ("captured", 1000, 600.0)
    assert Plan.recorded(plan.document()) == plan


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("full}}", "off}}", "no request is captured in full, so there would be none to replay"),
        ("below: 5%}", "below: 5%, mode: watch}", "so it cannot have mode: watch"),
        ("below: 5%}", "below: 5%, then: pause}", "a shadow, a replay and an experiment end by themselves"),
        ("below: 5%}", "below: 5%, slices: [x-a]}", "a replay is judged as a whole, so it has no slices"),
        ("below: 5%}", "margin: 5%}", "answers needs the share of answers that may differ"),
        ("metric: answers", "metric: answer", "there is no metric answer"),
        ("replay:", "replay:\n  requests: requests.jsonl", "requests"),
        ("replay:", "replay:\n  at_most: 10", "at_most"),
        ("{source: disagreement}", "{source: latency, quantile: 0.9}", "says nothing about latency under traffic"),
    ],
)
def test_what_would_be_inert_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says):
        read_plan(WRITTEN.replace(old, new), "plan.yaml")


def test_the_how_to_shows_what_a_replay_says() -> None:
    section = PAGE.read_text("utf-8").split("## Replay captured requests")[1]
    plan = read_plan(section.split("```yaml\n")[1].split("```")[0], "page")
    score = answers(lambda x: round(x / 400))
    shifted = answers(lambda x: 7 if x % 8 == 0 else round(x / 400))
    stand = Stand(score, shifted, requests(400, late=lambda x: round(x / 400)), versions=("6", "7"), model="delays")
    stand.plan = plan
    shown = tree(to_jsonable_python(rollout_view(read_for_views(stand.ledger, [stand.replayed()])[0], NOW)))
    assert shown == section.split("```text\n")[1].split("\n```")[0]
