"""Why a rollout is where it is: inputs, interval, threshold, and what would change it; and it is true."""

from __future__ import annotations

import re

from sluicegate.registry.ledger.reading import read_for_report, read_for_views
from sluicegate.registry.report.explanation import Explanation, GateExplanation, explanation
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.view import rollout_view
from sluicegate.services.report.markdown import markdown
from tests import giving as orders
from tests.acceptance.given import PLAN, Given


def told(given: Given) -> Explanation:
    return explanation(rollout_report(read_for_report(given.ledger, given.rollout), given.now))


def gate(given: Given, metric: str = "log_loss") -> GateExplanation:
    return next(each for each in told(given).gates if each.metric == metric)


def test_an_undecided_gate_says_how_many_rows_would_do_and_is_about_right() -> None:
    given = Given(PLAN | {"steps": [{"weight": 50}]}, candidate=0.55)
    given.ticks()
    given.runs(2_000)
    said = gate(given)
    assert said.verdict == "UNDECIDED"
    more = int(re.findall(r"about ([\d,]+) more values of the candidate", said.change)[0].replace(",", ""))
    before = given.ledger.looks(given.name, "log_loss")[-1].verdict.candidate_n
    given.runs(60_000)
    needed = given.ledger.looks(given.name, "log_loss")[-1].verdict.candidate_n - before
    assert given.rollout.took_over
    assert 0.2 < more / needed < 5


def test_inputs_interval_and_threshold_are_told() -> None:
    given = Given()
    given.ticks()
    given.runs(500)
    said = gate(given)
    assert re.match(
        r"stable 0\.\d+ over [\d,]+ values, candidate 0\.\d+ over [\d,]+ values; higher is worse", said.inputs
    )
    assert re.match(
        r"candidate minus stable [+-]0\.\d+, CI -?\d\.\d+ to -?\d\.\d+; .* of alpha 0.03 is spent after \d+ looks",
        said.interval,
    )
    assert said.threshold.startswith("a margin of ")


def test_failing_is_final() -> None:
    given = Given(candidate=0.72).runs(30_000)
    assert gate(given).change.startswith("nothing: a failure is final")
    assert told(given).next == "nothing: the rollout has ended"


def test_a_guardrail_never_passes() -> None:
    given = Given()
    given.ticks()
    given.runs(500)
    assert gate(given, "errors").change == "an interval that shows harm would fail it; a guardrail never passes"


def test_a_gate_without_a_margin_is_no_guardrail_and_says_what_it_must_show() -> None:
    below = {"metric": "errors", "alpha": 0.01, "below": "1%"}
    only = {"metrics": {"errors": PLAN["metrics"]["errors"]}, "gates": [below], "guardrails": []}
    given = Given(PLAN | only | {"steps": [{"weight": 50}]}, errors=0.008)
    given.ticks()
    given.runs(400)
    said = gate(given, "errors")
    assert (said.kind, said.verdict) == ("gate", "UNDECIDED")
    assert said.threshold.endswith("and passes once the candidate's rate is shown to be below 1 %")
    assert said.change.startswith("more data: errors: not yet shown to stay below 1 %")
    assert "| below 1 % |" in markdown(rollout_report(read_for_report(given.ledger, given.rollout), given.now))


def test_what_comes_next_is_as_new_as_the_evidence_beside_it() -> None:
    given = Given(PLAN | {"steps": [{"weight": 50}]}, candidate=0.55)
    given.ticks()
    given.runs(300)
    reasons = set()
    for _ in range(4):
        given.runs(700)
        view = rollout_view(read_for_views(given.ledger, [given.rollout])[0], given.now)
        (judged,) = (each for each in view.gates if each.metric == "log_loss")
        assert (judged.verdict, judged.reason in (view.waits_for or "")) == ("UNDECIDED", True)
        reasons.add(judged.reason)
    assert len(reasons) > 1


def test_what_waits_for_a_person_says_so() -> None:
    given = Given()
    given.ticks()
    orders.pause(given.ledger, given.name, actor="ada", reason="let me look", now=given.now)
    found = told(given)
    assert (found.state, found.next) == ("paused", "a person must act: let me look")


def test_before_any_look_nothing_is_made_up() -> None:
    given = Given()
    given.ticks()
    assert gate(given).interval == "none yet: no look has compared both builds"
