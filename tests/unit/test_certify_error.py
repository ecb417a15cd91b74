"""What a certificate is worth: how often a gate that breaks its promise gets one."""

from __future__ import annotations

import pytest
from scipy.stats import binom

from sluicegate.flows.rehearsal import certify


def test_three_times_the_false_alarms_are_certified_one_time_in_twenty_at_most() -> None:
    assert binom.cdf(certify._most(certify.RUNS, 0.05), certify.RUNS, 0.15) <= 0.05


@pytest.mark.parametrize("alpha", [0.05, 0.035, 0.01, 0.001])
def test_a_gate_that_keeps_its_budget_is_certified_nineteen_times_in_twenty(alpha: float) -> None:
    assert binom.cdf(certify._most(certify.RUNS, alpha), certify.RUNS, alpha) >= 0.95


def test_a_power_of_six_tenths_is_certified_one_time_in_twenty_at_most() -> None:
    least = certify._least(certify.RUNS, 0.8)
    assert binom.sf(least - 1, certify.RUNS, 0.6) <= 0.05
    assert binom.sf(least - 1, certify.RUNS, 0.8) >= 0.95


@pytest.mark.parametrize("runs", [1, 30, 110])
def test_the_error_that_a_check_states_is_its_own(runs: int) -> None:
    most, least = certify._most(runs, 0.05), certify._least(runs, 0.8)
    let_through = float(certify._blind_to(most, runs).split("rate of ")[1].split()[0])
    assert binom.cdf(most, runs, let_through) == pytest.approx(0.05, rel=0.15)
    passing = certify._passing(least, runs)
    assert not least or binom.sf(least - 1, runs, passing) == pytest.approx(0.05)
