"""Pairs next to requests split in halves: how many are needed until the same harm is found. `make bench-pairs`.

A pair is one request that both builds answer; unpaired, each request is answered by one of them, drawn by chance. Both
are looked at every 50, later every 2.5 % more, with alpha .05, and planned for the largest number tried.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from sluicegate.flows.gate.design import passes_grid_point
from sluicegate.flows.gate.pair_design import PairedKind, PairedQuestion
from sluicegate.flows.gate.pair_fold import PairedState
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.trial import Design, Kind, Trial
from sluicegate.registry.report.reason import Wording
from sluicegate.registry.words.figures import Unit
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow, Worse
from sluicegate.registry.words.tally import Tally

ALPHA = 0.05
_AT = Stratum(epoch=1, bucket=0)


@dataclass(frozen=True, kw_only=True)
class Case:
    """Errors that both builds make at the same requests, and those that only one makes."""

    name: str
    both: float
    stable_only: float
    candidate_only: float
    most: int


CASES = (
    Case(name="16.4 % -> 17.6 % wrong, 2 % differ", both=0.16, stable_only=0.004, candidate_only=0.016, most=40_000),
    Case(name="20 % -> 22 % wrong, 6 % differ", both=0.18, stable_only=0.02, candidate_only=0.04, most=40_000),
    Case(name="20 % -> 22 % wrong, independent", both=0.044, stable_only=0.156, candidate_only=0.176, most=40_000),
    Case(name="0.5 % -> 1 % errors, none in common", both=0.0, stable_only=0.005, candidate_only=0.01, most=40_000),
)  # fmt: skip

WORDS = Wording(
    subject="y", unit=Unit.SHARE, worse=Worse.HIGHER, beside="stable", is_named=False, confidence=1 - ALPHA,
    counted="pairs", units="units",
)  # fmt: skip


def paired(stable: np.ndarray, candidate: np.ndarray) -> float:
    """Pairs until harm is found; infinite where it is not."""
    question = PairedQuestion(
        metric="y",
        words=WORDS,
        kind=PairedKind.BINARY,
        alpha=ALPHA,
        beta=ALPHA,
        margin=None,
        below=None,
        planned=stable.size,
    )
    state, seen = PairedState.begin(question), 0
    for n in range(50, stable.size + 1, 50):
        if passes_grid_point(question.grid, seen, n):
            state, seen = state.look(state.new_rows(_rows(question, stable[:n], candidate[:n]))), n
            if state.failed_at is not None:
                return n
    return math.inf


def unpaired(rng: np.random.Generator, stable: np.ndarray, candidate: np.ndarray) -> float:
    """Requests until harm is found where each is answered by one build."""
    trial = Trial.begin(Design(kind=Kind.COUNT, alpha=ALPHA, beta=ALPHA, information=stable.size / 4))
    mine, start, step = rng.random(stable.size) < 0.5, 0, 50.0
    while start < stable.size:
        stop = min(start + int(step), stable.size)
        here, done = slice(start, stop), stop
        pair = Pair(stable=_moments(stable[here][~mine[here]]), candidate=_moments(candidate[here][mine[here]]))
        trial = trial.look(Increment(pairs=(pair,), information=mine[:done].sum() * (~mine[:done]).sum() / done))
        if trial.failed_at is not None:
            return stop
        start, step = stop, max(step, 0.025 * stop)
    return math.inf


def draw(rng: np.random.Generator, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Which requests each build gets wrong."""
    u = rng.random(case.most)
    first, second = case.both + case.stable_only, case.both + case.stable_only + case.candidate_only
    return (u < first).astype(float), ((u < case.both) | ((u >= first) & (u < second))).astype(float)


def _rows(question: PairedQuestion, stable: np.ndarray, candidate: np.ndarray) -> tuple[TallyRow, ...]:
    named = (("y", Arm.STABLE, stable), ("y", Arm.CANDIDATE, candidate))
    named = (*named, (question.difference, Arm.CANDIDATE, candidate - stable))
    return tuple(TallyRow(metric=m, stratum=_AT, weight=1, arm=arm, tally=_tally(v)) for m, arm, v in named)


def _tally(values: np.ndarray) -> Tally:
    total, squares = float(values.sum()), float((values**2).sum())
    return Tally(n=values.size, total=total, squares=squares, cubes=total)


def _moments(values: np.ndarray) -> Tally:
    total = float(values.sum())
    return Tally.from_events(values.size, total)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    print("| harm | pairs | requests, unpaired | gain |\n| --- | --- | --- | --- |")
    for number, case in enumerate(CASES):
        counts = []
        for run in range(runs):
            rng = np.random.default_rng((number, run))
            stable, candidate = draw(rng, case)
            counts.append((paired(stable, candidate), unpaired(rng, stable, candidate)))
        pairs, requests = (float(np.median(column)) for column in zip(*counts, strict=True))
        gain = f"x{requests / pairs:.1f}" if math.isfinite(requests) else f"more than x{case.most / pairs:.1f}"
        print(f"| {case.name} | {_shown(pairs, case)} | {_shown(requests, case)} | {gain} |")


def _shown(n: float, case: Case) -> str:
    return f"{n:,.0f}" if math.isfinite(n) else f"more than {case.most:,}"


if __name__ == "__main__":
    main()
