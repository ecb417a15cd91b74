"""A whole ramp, closed loop: how often an equal candidate is stopped, how often one at the last margin is promoted, and
how many requests a promotion takes. `make bench-ramp`; writes benchmarks/results/ramp.json and .md.

The plan is rehearsed as `sluice certify` does it, with the gate, looks and fresh last step of a rollout.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from statistics import fmean, median

import numpy as np

from benchmarks.results import Figure, report
from sluicegate.flows.rehearsal.rehearsal import Baseline, Rehearsal, rehearse
from sluicegate.registry.plan.plan import Plan

PLAN = Plan.model_validate(
    {
        "model": "m",
        "metrics": {"errors": {"source": "status"}},
        "gates": [{"metric": "errors", "alpha": 0.05, "beta": 0.05, "margin": "25%"}],
        "steps": [
            {"weight": 1, "margins": {"errors": "300%"}},
            {"weight": 5, "margins": {"errors": "100%"}},
            {"weight": 25, "margins": {"errors": "40%"}},
            {"weight": 50},
        ],
        "expect": {"requests_per_day": 90_000},
    }
)
RATE = 0.02
STABLE = Baseline(mean=RATE, sd=math.sqrt(RATE * (1 - RATE)))
BUDGET = 0.04
"""A fifth less than alpha and beta."""


def rehearsed(harm: float, runs: int, seed: int) -> list[Rehearsal]:
    """Rollouts of candidates `harm` times as bad."""
    drawn = (np.random.default_rng((seed, round(1000 * harm), run)) for run in range(runs))
    return [rehearse(PLAN, PLAN.gates[0], STABLE, rng, harm=harm) for rng in drawn]


def is_promoted(run: Rehearsal) -> bool:
    """Whether every step passed."""
    return len(run.passed) == len(PLAN.steps)


def figures(runs: int, seed: int) -> list[Figure]:
    """Both errors, the requests until a promotion, and what a candidate with five times the errors meets."""
    equal, at_margin, broken = (rehearsed(harm, runs, seed) for harm in (1.0, 1.25, 5.0))
    promoted = [run.passed[-1] for run in equal if is_promoted(run)]
    return [
        Figure(name="rollouts of each kind", value=runs),
        Figure(name="equal candidates stopped", value=_share(run.failed is not None for run in equal), at_most=BUDGET),
        Figure(name="those at the last margin promoted", value=_share(map(is_promoted, at_margin)), at_most=BUDGET),
        Figure(name="requests until an equal candidate is promoted, median", value=median(promoted), at_most=33_000),
        Figure(name="equal candidates promoted within 90,000 requests", value=len(promoted) / runs),
        Figure(
            name="requests to a candidate with five times the errors, median",
            value=median(run.candidate for run in broken), at_most=60,
        ),
    ]  # fmt: skip


def _share(are_so: Iterable[bool]) -> float:
    return fmean(are_so)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(report("ramp", "A whole ramp", lambda: figures(chosen.runs, chosen.seed), is_timed=False))


if __name__ == "__main__":
    main()
