"""External gates: numbers of other systems let a step end, stop and pause a rollout, or hold it while they lack."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluicegate.flows.cli.tree import tree
from sluicegate.flows.stages.tick import Authority
from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.orders.give import give
from sluicegate.registry.orders.order import Order, Resume
from sluicegate.registry.plan.external import ExternalGate
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.overview import verdict_of
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.view import rollout_view
from sluicegate.registry.rollout.decision import Choice, Progress, decide
from sluicegate.registry.rollout.external import external_verdict, external_verdicts
from sluicegate.registry.rollout.facts import Judged, Party, Promoted, StepEntered
from sluicegate.registry.rollout.rollout import Ending, Phase
from sluicegate.registry.words.errors import IllegalMove
from sluicegate.registry.words.metric import Arm, Stratum
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.sample import Lacking, Measured, Reading, Sample
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.verdict import Answer, Verdict
from sluicegate.services.beside import Beside, at_once
from sluicegate.services.keeper.sampling import Sampling
from sluicegate.services.report.markdown import markdown
from sluicegate.services.report.page import page
from tests import giving as orders
from tests.acceptance.given import START, Given

PAGE = Path(__file__).parents[2] / "docs/how-to/write-a-plan.md"
MEMORY = {"name": "gpu_memory", "source": "prometheus", "promql": 'max(used{version="{build}"})', "below": 0.9}
ERRORS = {"metric": "errors", "alpha": 0.02, "below": "1%"}
MINUTE = timedelta(minutes=1)


def plan(*gates: dict[str, Any], **more: Any) -> dict[str, Any]:
    steps = [{"weight": 25}, {"weight": 50}]
    return {
        "model": "delays", "metrics": {"errors": {"source": "status"}}, "gates": [ERRORS], "external": list(gates),
        "steps": steps, **more,
    }  # fmt: skip


class Outside:
    """A rollout whose external gates are asked by a keeper; `says` is what the source answers now."""

    def __init__(self, document: dict[str, Any], says: Reading) -> None:
        self.given, self.says, self.asked = Given(document, errors=0.0, labels=False), says, list[Mapping[str, str]]()
        self.sampling = self._keeper()
        self.given.ticks()
        self.given.serves()

    def _keeper(self) -> Sampling:
        return Sampling(ledger=self.given.ledger, ask=self._ask, clock=lambda: self.given.now, beside=at_once)

    def _ask(self, gate: ExternalGate, values: Mapping[str, str]) -> Reading:
        self.asked.append(values)
        return self.says

    def restarts(self) -> None:
        self.sampling = self._keeper()

    def minutes(self, count: float, *, requests: int = 400, authority: Authority = Authority.ADVANCE) -> Outside:
        """Time with requests, looks of the keeper and ticks."""
        for _ in range(round(count * 6)):
            self.given.now += timedelta(seconds=10)
            if self.given.rollout.is_tried:
                self.given.serves()
                self._flow(requests // 6)
            self.sampling.look()
            self.given.ticks(authority)
        return self

    def _flow(self, requests: int) -> None:
        """Requests without an error, in the shares of the weight."""
        rollout, traffic = self.given.rollout, self.given.traffic
        stratum = Stratum(epoch=rollout.epoch, bucket=int(self.given.now.timestamp()) // 300 * 300)
        mine = requests * rollout.weight // 10_000
        for arm, count in ((Arm.CANDIDATE, mine), (Arm.STABLE, requests - mine)):
            key = ("errors", stratum, rollout.weight, arm)
            traffic.sums[key] = traffic.sums.get(key, Tally()) + Tally.from_values([0.0] * count)
        traffic.watermark += requests

    @property
    def why(self) -> str:
        return self.given.ticks().decision.reason

    @property
    def samples(self) -> tuple[Sample, ...]:
        return self.given.ledger.samples(self.given.name, "gpu_memory", most=1000)

    @property
    def answers(self) -> list[str]:
        facts = [entry.fact for entry in self.given.ledger.entries(self.given.name)]
        return [fact.answer for fact in facts if isinstance(fact, Judged) and fact.metric == "gpu_memory"]


# --- a rollout -------------------------------------------------------------------------------------------------------


def test_a_number_that_keeps_its_limit_lets_each_step_end_after_so_many_samples_of_it() -> None:
    outside = Outside(plan(MEMORY), Measured(value=0.71)).minutes(4, requests=6_000)
    assert "gpu_memory must still pass: 0.71 at 00:03:29 UTC, below 0.9; 4 of 5 samples at this step" in outside.why
    outside.minutes(2, requests=6_000)
    assert outside.given.rollout.step == 1
    outside.minutes(20, requests=6_000)
    assert outside.given.rollout.phase is Phase.BAKING
    assert outside.given.ledger.entries(outside.given.name)[-1].fact.verdicts == {  # type: ignore[union-attr]
        "errors": "pass", "gpu_memory": "pass"
    }  # fmt: skip
    assert outside.asked[0] == {"build": "2", "stable": "1", "model": "delays", "variation": "default", "step": "1"}
    assert outside.asked[-1]["step"] == "2"
    assert len(outside.samples) == len(outside.asked)


@pytest.mark.parametrize(
    "lacking", [None, "it cannot be reached", "it refuses the credentials (401)", "no series matches"]
)
def test_a_source_that_gives_nothing_holds_a_rollout_that_has_passed_all_else(lacking: str | None) -> None:
    outside = Outside(plan(MEMORY), Lacking(reason=str(lacking)))
    if lacking is None:
        outside.sampling = Sampling(  # nobody asks
            ledger=outside.given.ledger, ask=outside._ask, clock=lambda: START, beside=lambda *_: None
        )
    outside.minutes(30, requests=3_000)
    assert (outside.given.rollout.step, outside.given.rollout.phase) == (0, Phase.RUNNING)
    assert outside.given.rollout.judgements["errors"].answer == "pass"
    assert outside.answers == ["no_data"]
    assert (f"prometheus: {lacking}" if lacking else "no sample yet at this step") in outside.why
    assert verdict_of(outside.given.rollout) == "NO DATA"


def test_a_source_that_goes_away_takes_its_pass_with_it_and_comes_back() -> None:
    outside = Outside(plan(MEMORY, steps=[{"weight": 25, "soak": "20m"}]), Measured(value=0.5)).minutes(8)
    outside.says = Lacking(reason="it cannot be reached")
    outside.minutes(13, requests=3_000)
    assert outside.given.rollout.phase is Phase.RUNNING
    outside.says = Lacking(reason="no series matches the query")
    outside.minutes(2)
    outside.says = Measured(value=0.5)
    outside.minutes(8)
    assert outside.answers[:3] + outside.answers[-1:] == ["undecided", "pass", "no_data", "pass"]
    assert outside.given.rollout.phase is Phase.BAKING
    reasons = [each.fact.reason for each in outside.given.ledger.entries(outside.given.name)
               if isinstance(each.fact, Judged) and each.fact.answer == "no_data"]  # fmt: skip
    assert reasons[-2:] == ["prometheus: it cannot be reached", "prometheus: no series matches the query"]


def test_three_of_five_that_break_the_limit_abort_and_two_do_not() -> None:
    outside = Outside(plan(MEMORY), Measured(value=0.95)).minutes(2, requests=60)
    assert outside.given.rollout.phase is Phase.RUNNING
    assert "0.95 at 00:01:17 UTC, not below 0.9; 2 of 5 samples" in outside.why
    outside.minutes(2, requests=60)
    assert outside.given.rollout.ending is Ending.ABORTED
    assert outside.given.rollout.weight == 0
    assert outside.given.rollout.reason == (
        "gpu_memory failed: 3 of 3 samples break the limit (below 0.9): 0.95, 0.95, 0.95"
    )  # fmt: skip


def test_the_keeper_alone_stops_and_does_not_advance() -> None:
    good = Outside(plan(MEMORY), Measured(value=0.1)).minutes(10, requests=6_000, authority=Authority.STOP)
    assert good.given.rollout.step == 0
    bad = Outside(plan(MEMORY), Measured(value=2.0)).minutes(5, authority=Authority.STOP)
    assert bad.given.rollout.ending is Ending.ABORTED


def test_a_guardrail_from_outside_delays_nothing_and_stops() -> None:
    guard = MEMORY | {"guardrail": True}
    outside = Outside(plan(guard), Lacking(reason="away")).minutes(10, requests=6_000)
    assert outside.given.rollout.phase is Phase.BAKING
    outside = Outside(plan(guard), Measured(value=1.0)).minutes(5, requests=60)
    assert outside.given.rollout.ending is Ending.ABORTED


def test_one_that_watches_fails_and_nothing_follows() -> None:
    outside = Outside(plan(MEMORY | {"mode": "watch"}), Measured(value=1.0)).minutes(15, requests=1_200)
    assert outside.answers[-1] == "fail"
    assert outside.given.rollout.phase is Phase.BAKING


def test_one_that_pauses_is_overridden_by_name_and_judged_anew() -> None:
    outside = Outside(plan(MEMORY | {"then": "pause"}), Measured(value=1.0)).minutes(5, requests=60)
    given = outside.given
    assert (given.rollout.phase, given.rollout.weight, given.rollout.failures) == (Phase.PAUSED, 2500, ("gpu_memory",))
    outside.says = Measured(value=0.2)
    outside.minutes(10)
    assert given.rollout.phase is Phase.PAUSED  # failing is final until a person overrides it
    (unread,) = external_verdicts(given.rollout, {}, given.now)  # also once its samples are too many to be read
    assert (unread.answer, unread.reason) == (Answer.FAIL, given.rollout.judgements["gpu_memory"].reason)
    act = Resume(rollout=given.name)
    give(given.ledger, Order(act=act, actor="anna", cause="cli", role=Role.APPROVER, party=Party.PERSON, reason="r"),
         given.now)  # fmt: skip
    outside.minutes(2, requests=60)
    assert (given.rollout.phase, given.rollout.judgements["gpu_memory"].answer) == (Phase.RUNNING, "undecided")
    outside.says = Measured(value=1.0)
    outside.minutes(3, requests=60)
    assert given.rollout.phase is Phase.PAUSED


def test_limits_from_outside_alone_promote_nothing_without_a_person() -> None:
    document = plan(MEMORY) | {"metrics": {}, "gates": [], "steps": [{"weight": 25}]}
    outside = Outside(document, Measured(value=0.1)).minutes(10)
    assert "waiting for approval: no gate decides" in outside.why
    orders.approve(outside.given.ledger, outside.given.name, actor="ada", reason="well", now=outside.given.now)
    outside.says = Lacking(reason="away")
    outside.minutes(2)
    assert "gpu_memory must still pass: prometheus: away" in outside.why  # who approves does not override it
    outside.says = Measured(value=0.1)
    outside.minutes(8)
    assert outside.given.rollout.phase is Phase.BAKING


def test_no_step_ends_before_its_external_gates_were_judged() -> None:
    given = Outside(plan(MEMORY), Measured(value=0.1)).given
    passed = Verdict(metric="errors", answer=Answer.PASS, reason="r", step=0, k=1)
    seen = decide(given.rollout, [passed], Progress(candidate_requests=1), given.now)
    assert (seen.choice, seen.reason) == (Choice.HOLD, "gpu_memory has not been judged at 25 % yet")


def test_the_record_admits_no_promotion_without_its_pass() -> None:
    given = Outside(plan(MEMORY, steps=[{"weight": 25}]), Lacking(reason="away")).minutes(5, requests=6_000).given
    fact = Promoted(actor="policy", party=Party.POLICY, reason="r", override=False, verdicts={"errors": "pass"})
    with pytest.raises(IllegalMove, match="every gate must pass at the last step"):
        given.ledger.append(given.name, given.rollout.seq + 1, fact, given.now)


def test_another_keeper_goes_on_with_the_samples_on_record() -> None:
    outside = Outside(plan(MEMORY), Measured(value=0.71)).minutes(2.5)
    assert len(outside.samples) == 3
    for _ in range(3):
        outside.restarts()
        outside.minutes(0.2)
    assert len(outside.samples) == 3  # none sooner than the plan says
    assert [sample.k for sample in outside.minutes(1).samples] == [1, 2, 3, 4]


def test_the_first_sample_comes_after_the_time_that_the_plan_gives() -> None:
    outside = Outside(plan(MEMORY | {"after": "5m", "every": "30s"}), Measured(value=0.1)).minutes(4)
    assert outside.samples == ()
    assert len(outside.minutes(2).samples) == 3


def test_nothing_is_asked_before_traffic_and_after_the_end() -> None:
    outside = Outside(plan(MEMORY), Measured(value=0.1)).minutes(2)
    asked = len(outside.asked)
    orders.abort(outside.given.ledger, outside.given.name, actor="ada", reason="r", now=outside.given.now)
    outside.given.serves()
    assert len(outside.minutes(5).asked) == asked
    promoted = Outside(plan(MEMORY, bake="1h"), Measured(value=0.1)).minutes(15, requests=6_000)
    promoted.given.serves()
    asked = len(promoted.asked)
    assert promoted.given.rollout.phase is Phase.BAKING
    assert len(promoted.minutes(5).asked) == asked


def test_a_source_that_hangs_holds_up_no_other_no_tick_and_no_abort() -> None:
    other = MEMORY | {"name": "queue", "source": "broker"}
    outside, let_go, came = Outside(plan(MEMORY, other), Measured(value=0.1)), threading.Event(), threading.Event()

    def ask(gate: ExternalGate, values: Mapping[str, str]) -> Reading:
        if gate.name == "gpu_memory":
            let_go.wait(60)
        came.set()
        return Measured(value=0.1)

    given = outside.given
    hands = Beside()
    outside.sampling = Sampling(ledger=given.ledger, ask=ask, clock=lambda: given.now, beside=hands)
    try:
        for _ in range(4):
            came.clear()
            outside.minutes(1, requests=3_000)
            assert came.wait(30)  # the other source is asked each minute
        assert outside.samples == ()
        assert len(given.ledger.samples(given.name, "queue", most=99)) >= 3
        assert given.rollout.judgements["errors"].answer == "pass"  # its gates go on
        assert "gpu_memory must still pass: no sample yet" in outside.why
        assert sum(thread.name.endswith("gpu_memory") for thread in threading.enumerate()) == 1
        orders.abort(given.ledger, given.name, actor="ada", reason="r", now=given.now)
        assert (given.rollout.ending, given.rollout.weight) == (Ending.ABORTED, 0)
    finally:
        let_go.set()


# --- one verdict -----------------------------------------------------------------------------------------------------


def series(*readings: float | str | None, gate: ExternalGate, lag: timedelta = timedelta()) -> Iterator[Sample]:
    """A sample each minute; a text is what lacks."""
    for k, each in enumerate(readings, start=1):
        at = START + k * MINUTE
        reading: Reading = (
            Lacking(reason=each) if isinstance(each, str) else Measured(value=float(each or 0), at=at - lag)
        )
        yield Sample(rollout="r", gate=gate.name, k=k, epoch=1, at=at, reading=reading)


def judged(*readings: float | str | None, later: timedelta = timedelta(), lag: timedelta = timedelta(),
           began: datetime | None = START, since: int = 0, **keys: Any) -> Verdict:  # fmt: skip
    gate = ExternalGate.model_validate(MEMORY | keys)
    samples = tuple(series(*readings, gate=gate, lag=lag))
    now = START + len(readings) * MINUTE + later
    return external_verdict(gate, samples, step=0, began=began, now=now, since=since)


@pytest.mark.parametrize(
    ("readings", "keys", "answer"),
    [
        ([0.1] * 4, {}, Answer.UNDECIDED),
        ([0.1] * 5, {}, Answer.PASS),
        ([0.1] * 5, {"fails": "1 of 1"}, Answer.PASS),
        ([0.9], {"fails": "1 of 1"}, Answer.FAIL),  # at the limit is not below it
        ([0.1, 0.95, 0.1, 0.95, 0.1], {}, Answer.PASS),
        ([0.1, 0.1, 0.1, 0.95, 0.95], {}, Answer.UNDECIDED),  # the last must keep the limit
        ([0.95, 0.1, 0.95, 0.1, 0.95], {}, Answer.FAIL),
        ([0.95, 0.95, 0.1, 0.1, 0.1, 0.95], {}, Answer.UNDECIDED),  # three of six
        ([0.95, 0.95, 0.95] + [0.1] * 60, {}, Answer.FAIL),  # failing is final
        ([0.1] * 5 + ["away"], {}, Answer.NO_DATA),
        (["away"] * 5 + [0.1], {}, Answer.UNDECIDED),
        ([0.95, "away", 0.95, "away", "away", 0.95], {}, Answer.FAIL),  # what lacks makes nothing good
        ([0.1] * 5, {"below": None, "above": 0.2}, Answer.UNDECIDED),
        ([0.1] * 3, {"below": None, "above": 0.2}, Answer.FAIL),
        ([0.3] * 5, {"above": 0.2}, Answer.PASS),
        ([0.2] * 3, {"above": 0.2}, Answer.FAIL),
        ([-5.0] * 5, {"below": 0, "above": -10}, Answer.PASS),
        ([], {}, Answer.NO_DATA),
    ],
)
def test_a_verdict_follows_from_the_samples(readings: list[float | str], keys: dict[str, Any], answer: Answer) -> None:
    if answer is Answer.UNDECIDED and keys.get("above") == 0.2:
        readings = [0.3, 0.3]
    assert judged(*readings, **keys).answer is answer


def test_what_is_too_old_never_passes() -> None:
    assert judged(*[0.1] * 5, later=5 * MINUTE).answer is Answer.PASS
    silent = judged(*[0.1] * 5, later=5 * MINUTE + timedelta(seconds=1))
    assert (silent.answer, silent.k) == (Answer.NO_DATA, 0)
    assert silent.reason == "no answer from prometheus for more than 5m"
    stale = judged(*[0.1] * 30, lag=6 * MINUTE, began=START - timedelta(days=1))
    assert (stale.answer, stale.reason) == (Answer.NO_DATA, "the last value of prometheus is older than 5m")
    ahead = judged(*[0.1] * 5, lag=-6 * MINUTE)
    assert (ahead.answer, ahead.reason) == (
        Answer.NO_DATA,
        "the last value of prometheus has a time more than 5m in the future",
    )


def test_what_was_measured_before_the_step_lets_it_not_end() -> None:
    early = judged(*[0.1] * 5, lag=4 * MINUTE, began=START + 4 * MINUTE)
    assert (early.answer, early.reason) == (
        Answer.NO_DATA,
        "the last value of prometheus was measured before this step",
    )
    assert judged(*[0.1] * 9, began=START + 5 * MINUTE).reason.endswith("4 of 5 samples at this step") is False
    assert judged(*[0.1] * 9, began=START + 6 * MINUTE).answer is Answer.UNDECIDED


def test_what_a_source_measured_once_counts_once() -> None:
    gate = ExternalGate.model_validate(MEMORY)
    samples = tuple(
        dataclasses.replace(each, reading=Measured(value=0.95, at=START)) for each in series(*[0.95] * 5, gate=gate)
    )
    assert external_verdict(gate, samples, step=0, began=START, now=START + 5 * MINUTE).answer is Answer.UNDECIDED


def test_what_a_person_overrode_does_not_count() -> None:
    assert judged(*[0.95] * 5, since=2).answer is Answer.NO_DATA


# --- what people see -------------------------------------------------------------------------------------------------


def shown() -> tuple[str, str, str]:
    """A rollout in a terminal, as Markdown and as a page."""
    queue = MEMORY | {"name": "queue", "source": "broker", "guardrail": True, "below": 100}
    outside = Outside(plan(MEMORY, queue), Measured(value=0.71))
    for value in (0.71, 0.93, 0.68):
        outside.says = Measured(value=value)
        outside.minutes(1)
    given = outside.given
    view = dataclasses.asdict(rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now))
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    return tree(view), markdown(report), page(report)


def test_show_report_and_page_tell_the_verdict_the_limit_and_the_series() -> None:
    terminal, text, html = shown()
    line = "external gpu_memory   UNDECIDED  0.68 at 00:02:23 UTC, below 0.9; 3 of 5 samples at this step"
    assert line in terminal
    assert "guard queue        OK " in terminal
    assert "| gpu_memory | **UNDECIDED** | below 0.9 |" in text
    assert "gpu_memory against its limit, below 0.9" in html
    assert "3 samples from prometheus, last 0.68; 1 break the limit (below 0.9)." in html
    assert all(
        each in PAGE.read_text() for each in terminal.splitlines() if "gpu_memory  " in each or "queue  " in each
    )


def test_an_explanation_says_that_it_is_no_test() -> None:
    given = Outside(plan(MEMORY), Measured(value=0.71)).minutes(2).given
    explained = explanation(rollout_report(read_for_report(given.ledger, given.rollout), given.now)).gates[-1]
    assert (explained.metric, explained.kind, explained.verdict) == ("gpu_memory", "external gate", "UNDECIDED")
    assert "it has no p-value" in explained.interval
    assert explained.inputs == "2 values of prometheus, the last is 0.71"
    assert explained.threshold == "below 0.9: it fails once 3 of 5 samples break the limit"


def test_a_step_says_what_it_asks_from_outside() -> None:
    given = Outside(plan(MEMORY), Measured(value=0.1)).minutes(8, requests=6_000).given
    report = rollout_report(read_for_report(given.ledger, given.rollout), given.now)
    assert report.steps[0].asks == ("errors below 1%", "gpu_memory below 0.9")
    entered = [each.fact for each in given.ledger.entries(given.name) if isinstance(each.fact, StepEntered)]
    assert entered[-1].verdicts["gpu_memory"] == "pass"
