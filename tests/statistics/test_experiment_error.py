"""However often one looks at however many variations, the chance of calling any wrongly better stays below alpha.

And of calling any wrongly worse. The comparisons share the control's rows, so their errors come together; dividing
alpha holds for any dependence.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.random import Generator

from sluicegate.flows.gate.design import gate_question
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Events, Losses, Population
from sluicegate.flows.stats.trial import Trial
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from tests.statistics.montecarlo import Share
from tests.statistics.scenarios import rows_at_looks

ALPHA = 0.05
ROWS = 2_500
OTHERS = tuple("bcdefg")


def plan(score: str) -> Plan:
    return Plan.model_validate(
        {
            "model": "m",
            "metrics": {"loss": {"source": "outcome", "outcome": "loss", "score": score}},
            "steps": [{"weight": 10}],
            "strategy": "ab",
            "ab": {
                "variations": {"default": 1} | dict.fromkeys(OTHERS, 1),
                "goal": {"metric": "loss", "alpha": ALPHA},
                "max_time": "1d",
            },
            "expect": {"requests_per_day": ROWS},
        }
    )


def trials(asked: Plan) -> dict[str, Trial]:
    compared = {name: staged(asked, "ab", name) for name in OTHERS}
    return {name: Trial.begin(gate_question(each, each.gates[0]).design) for name, each in compared.items()}


def looked(rng: Generator, asked: Plan, drawn: dict[str, Population]) -> dict[str, Trial]:
    """The trials after looks all along until the planned end."""
    known, information = trials(asked), dict.fromkeys(OTHERS, 0.0)
    for new in rows_at_looks(ROWS):
        sizes = rng.multinomial(new, [1 / (len(OTHERS) + 1)] * (len(OTHERS) + 1))
        control = drawn["default"].draw(rng, int(sizes[0]))
        for name, size in zip(OTHERS, sizes[1:], strict=True):
            pair = Pair(stable=control, candidate=drawn[name].draw(rng, int(size)))
            information[name] += pair.information
            known[name] = known[name].look(Increment(pairs=[pair], information=information[name]))
    return known


def errors(score: str, same: Population, runs: int) -> dict[str, Share]:
    """How often any of equal variations was called better, and worse."""
    asked, everybody = plan(score), dict.fromkeys(("default", *OTHERS), same)
    found = [looked(np.random.default_rng((11, run)), asked, everybody).values() for run in range(runs)]
    better = sum(any(trial.ruled_out(0.0) for trial in trials) for trials in found)
    worse = sum(any(trial.failed_at for trial in trials) for trials in found)
    return {"better": Share(better, runs), "worse": Share(worse, runs)}


LONG = (pytest.mark.soak, pytest.mark.timeout(900))


@pytest.mark.parametrize(
    ("score", "same", "runs"),
    [
        pytest.param("outcome", Losses(mean=0.55, sd=0.44), 60, id="means"),
        pytest.param("outcome", Losses(mean=0.55, sd=0.44), 1_000, id="means, long", marks=LONG),
        pytest.param("zero_one", Events(rate=0.3), 1_000, id="rates, long", marks=LONG),
    ],
)
def test_among_equals_hardly_any_is_ever_called_better_or_worse(score: str, same: Population, runs: int) -> None:
    seen = errors(score, same, runs)
    assert all(each.at_least <= ALPHA for each in seen.values()), {name: str(each) for name, each in seen.items()}


def test_one_that_is_better_is_found_and_the_others_are_not() -> None:
    drawn: dict[str, Population] = dict.fromkeys(("default", *OTHERS), Losses(mean=0.55, sd=0.44))
    drawn["c"] = Losses(mean=0.45, sd=0.44)
    known = looked(np.random.default_rng(3), plan("outcome"), drawn)
    assert known["c"].ruled_out(0.0)
    assert not any(known[name].ruled_out(0.0) for name in OTHERS if name != "c")


def test_the_parts_of_alpha_are_alpha() -> None:
    alphas = [trial.design.alpha for trial in trials(plan("outcome")).values()]
    assert sum(alphas) == pytest.approx(ALPHA)
    assert all(one == other for one, other in pairwise(alphas))
