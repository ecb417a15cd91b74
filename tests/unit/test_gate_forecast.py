"""Forecast and certificate: what a plan's gates need, and whether they may be trusted."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.rehearsal import forecast as forecasts
from sluicegate.flows.rehearsal.certify import Certificate, certify
from sluicegate.flows.rehearsal.forecast import GateForecast, forecast
from sluicegate.flows.rehearsal.rehearsal import Baseline, assumed_baseline, caveats, rehearse
from sluicegate.registry.plan.fields import MetricSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.tally import Tally, UnitSums

METRICS: dict[str, dict[str, Any]] = {
    "errors": {"source": "status"},
    "p95": {"source": "latency", "quantile": 0.95},
    "cost": {"source": "outcome", "outcome": "cost", "score": "outcome"},
}


def plan(**changes: Any) -> Plan:
    document: dict[str, Any] = {
        "model": "m",
        "gates": [{"metric": "cost", "alpha": 0.03, "margin": "20%"}],
        "guardrails": [{"metric": "errors", "alpha": 0.01}],
        "steps": [{"weight": 10, "margins": {"cost": "100%"}}, {"weight": 50}],
        "expect": {"requests_per_day": 5000},
    } | changes
    used = {gate["metric"] for gate in (*document["gates"], *document["guardrails"])}
    return Plan.model_validate(document | {"metrics": {name: METRICS[name] for name in sorted(used)}})


COST = Baseline(mean=1.0, sd=1.0)


def failed(certificate: Certificate) -> set[tuple[str, str]]:
    return {(check.metric, check.name) for check in certificate.checks if not check.ok}


SEARCHED = 0.07


@pytest.fixture(scope="module")
def sheet() -> tuple[GateForecast, ...]:
    """A forecast without its search for the smallest harm, which is most of its work and has a test of its own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(forecasts, "smallest_harm", lambda *_: SEARCHED)
        return forecast(plan(), {"cost": COST}, runs=8)


def test_an_equal_candidate_passes_each_step_and_later_steps_later(sheet: tuple[GateForecast, ...]) -> None:
    (cost, errors) = sheet
    first, second = cost.steps
    assert first.requests is not None
    assert second.requests is not None
    assert first.requests < second.requests < 5000
    assert second.seconds == pytest.approx(second.requests / 5000 * 86_400)
    assert errors.steps == ()
    assert errors.guardrail


def test_worse_harm_is_stopped_sooner(sheet: tuple[GateForecast, ...]) -> None:
    cost, _ = sheet
    exposed = dict(cost.exposed)
    assert exposed[2.0] is not None
    assert exposed[5.0] is not None
    assert exposed[5.0] <= exposed[2.0] < 300


def test_the_smallest_harm_is_near_what_a_single_look_would_need() -> None:
    """One-sided alpha .03, power .80, 5,000 rows at 50 %, sd equal to the mean: (1.88 + .84) 2 / sqrt(5000) = 7.7 %."""
    found = forecasts.smallest_harm(plan(), plan().gates[0], COST, runs=10)
    assert found is not None
    assert 0.06 < found < 0.14


def test_every_gate_and_guardrail_tells_its_smallest_harm(sheet: tuple[GateForecast, ...]) -> None:
    assert [gate.smallest_harm for gate in sheet] == [SEARCHED, SEARCHED]


def test_a_metric_nobody_measured_is_assumed_and_says_so(sheet: tuple[GateForecast, ...]) -> None:
    cost, errors = sheet
    assert (cost.baseline.assumed, errors.baseline.assumed) == (False, True)


def test_a_baseline_comes_from_a_tally_with_enough_rows() -> None:
    assert Baseline.from_tally(Tally(n=99, total=50, squares=50)) is None
    known = Baseline.from_tally(Tally(n=200, total=100.0, squares=100.0))
    assert known == Baseline(mean=0.5, sd=0.5)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_metric_has_something_typical(metric: str) -> None:
    assert assumed_baseline(MetricSpec.model_validate(METRICS[metric])).mean > 0


def test_the_same_seed_rehearses_the_same() -> None:
    runs = [rehearse(plan(), plan().gates[0], COST, np.random.default_rng(3), harm=1.1) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_sound_plan_is_certified() -> None:
    found = certify(plan(), {"cost": COST, "errors": Baseline(mean=0.02, sd=0.14)}, runs=3)
    assert found.ok, failed(found)
    assert {check.name for check in found.checks if check.metric == "cost"} == {
        "equal candidate", "planted harm", "harm not promoted", "swapped arms", "no data",
        "values that are not numbers",
        "equal candidate, labels that come late", "harm not promoted, with labels that come late",
        "equal candidate, a mean that rests on few rows", "equal candidate, heavy tails up to 6.90776",
        "harm not promoted, in few rows",
    }, "by the cap that stable's values would freeze"  # fmt: skip


def test_a_plan_that_cannot_catch_its_harm_is_refused_with_figures() -> None:
    gates = [{"metric": "cost", "alpha": 0.03, "margin": "1%"}]
    found = certify(plan(gates=gates, guardrails=[], steps=[{"weight": 50}]), {"cost": COST}, runs=3, seed=2)
    assert failed(found) == {("cost", "planted harm")}
    reason = next(check.reason for check in found.checks if not check.ok)
    assert "1% worse" in reason
    assert "5,000 requests" in reason


def test_a_rate_at_its_cap_is_what_a_gate_below_it_declares() -> None:
    gates = [{"metric": "errors", "below": "4%", "alpha": 0.03}]
    capped = plan(gates=gates, guardrails=[], steps=[{"weight": 50}])
    found = certify(capped, {"errors": Baseline(mean=0.01, sd=0.1)}, runs=12)
    said = {check.name: check.reason for check in found.checks}
    assert found.ok, failed(found)
    assert said["planted harm"].startswith("a candidate 300% worse is caught in 12 of 12")
    assert said["harm not promoted"].startswith("a candidate 300% worse passed every step in 0 of 12")


def test_what_a_rehearsal_does_not_know_of_returning_units_is_told() -> None:
    gates = [{"metric": "errors", "below": "2%", "alpha": 0.03}]
    changes: dict[str, Any] = {"gates": gates, "guardrails": [], "steps": [{"weight": 50}]}
    assert caveats(plan(**changes)) == ()
    returning, capped = caveats(plan(**changes, unit="x-user-id"))
    assert "gates judge by x-user-id" in returning
    assert capped.startswith("errors below 2% is counted by request, not by x-user-id")
    sheet = certify(plan(unit="x-user-id", guardrails=[]), {"cost": COST}, runs=1)
    assert sheet.caveats[1].startswith("cost: the plan declares no cap, so one is frozen from stable's values")
    assert sheet.caveats[2:] == (returning,)
    assert sheet.caveats[0].startswith("cost: forecast as if labels came at once")


def test_slower_by_the_margin_is_what_a_latency_gate_declares() -> None:
    latency = plan(gates=[{"metric": "p95", "alpha": 0.03, "margin": "50%"}], steps=[{"weight": 50}], guardrails=[])
    found = certify(latency, {}, runs=12)
    assert found.ok, failed(found)


BOUNDED = {"source": "outcome", "outcome": "cost", "score": "absolute_error", "cap": 8.0}


def test_a_certificate_rehearses_what_breaks_tests_of_tame_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "cost", BOUNDED)
    sheet = certify(plan(guardrails=[], steps=[{"weight": 50}]), {"cost": COST}, runs=4)
    assert sheet.ok, failed(sheet)
    assert {check.name for check in sheet.checks} >= {
        "equal candidate, a mean that rests on few rows", "equal candidate, heavy tails up to 8",
        "harm not promoted, in few rows", "equal candidate, labels that come late",
        "harm not promoted, with labels that come late",
    }  # fmt: skip
    by_user = certify(
        plan(unit="x-user-id", gates=[], guardrails=ERRORS, steps=[{"weight": 50}]), {"errors": RATE}, runs=4
    )
    assert "equal candidate, five requests of each x-user-id" in {check.name for check in by_user.checks}


ERRORS = [{"metric": "errors", "alpha": 0.01}]
RATE = Baseline(mean=0.05, sd=0.2)


def test_a_gate_that_calls_rows_of_one_user_many_is_not_certified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rehearsal, judged by row: what a certificate must catch."""
    by_row = partial(GateState.begin, by_unit=False)
    monkeypatch.setattr(GateState, "begin", lambda question, by_unit: by_row(question))
    loud = [{"metric": "errors", "alpha": 0.05}]
    sheet = certify(
        plan(unit="x-user-id", gates=[], guardrails=loud, steps=[{"weight": 50}]), {"errors": RATE}, runs=24
    )
    assert ("errors", "equal candidate, five requests of each x-user-id") in failed(sheet)


def test_a_forecast_knows_labels_that_mature_traffic_that_is_little_and_users_who_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecasts, "smallest_harm", lambda *_: None)
    changes: dict[str, Any] = {"guardrails": [], "steps": [{"weight": 50}], "expect": {"requests_per_day": 20_000}}

    def requests(baseline: Baseline = COST, **more: Any) -> float:
        step = forecast(plan(**changes | more), {"cost": baseline}, runs=9)[0].steps[0]
        assert step.requests is not None
        return step.requests

    alone = requests()
    assert requests(replace(COST, alike=2.0)) == pytest.approx(2 * alone, rel=0.02)
    little = requests(expect={"requests_per_day": 200}, deadline={"after": "100d", "then": "pause"})
    assert little == pytest.approx(alone / 0.95, rel=0.05)


def test_how_alike_the_requests_of_a_user_are_is_measured() -> None:
    rows = Tally.from_events(400, 200)
    twins = UnitSums.from_unit(2, 2).times(100) + UnitSums.from_unit(0, 2).times(100)
    assert Baseline.from_tally(rows, twins) == Baseline(mean=0.5, sd=0.5, alike=2.0)
    assert Baseline.from_tally(rows) == Baseline(mean=0.5, sd=0.5)


def test_a_forecast_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = list[str]()
    monkeypatch.setattr(forecasts, "smallest_harm", lambda *_: None)
    forecast(plan(), {"cost": COST}, runs=1, on_part=lambda metric, part: heard.append(f"{metric}: {part}"))
    assert heard == [
        "cost: how long a candidate as good as stable takes",
        "cost: how many requests a candidate gets that is 2 times as bad",
        "cost: how many requests a candidate gets that is 5 times as bad",
        "cost: the smallest harm that is found",
        "errors: how many requests a candidate gets that is 2 times as bad",
        "errors: how many requests a candidate gets that is 5 times as bad",
        "errors: the smallest harm that is found",
    ]
