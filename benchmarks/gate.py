"""The gate next to other ways of looking again and again. Prints the table of docs/why/gate.md; a run of all families
writes the gate's own figures to results/gate.md. `make bench-gate`.

Every method sees the same simulated rows at the same looks, those of a rollout's grid. `ratio` is the
median number of rows until harm is found, over what a two-sided z test needs that knows the effect and looks once
(alpha .05, power .80); `-` when more than half of the runs find nothing. `A/A` is the share of equal candidates called
worse. Two-sided anchors are used one-sided at alpha .05, as the gate is.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, geometric_mean
from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu

from benchmarks.results import Figure, report
from sluicegate.flows.gate.design import APART, FIRST_ROWS, grid_points
from sluicegate.flows.stats import scores
from sluicegate.flows.stats.bets import Bounds
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.lattice import Lattice
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.populations import Durations, Events, Population, Purchases, sample_size, split
from sluicegate.flows.stats.spending import Budget, Shape, obrien_fleming, pocock
from sluicegate.flows.stats.trial import Design, Kind, Trial

ALPHA = 0.05
FROZEN_CAP = 5.33
"""What a rollout freezes for these latencies if its plan names no cap: the value that 99.9 % do not exceed."""
_Z = NormalDist().inv_cdf


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the anchors see: the new stratum, the pooled z, and information time."""

    pair: Pair
    rows: int
    z: float
    time: float


Method = Callable[[Iterator[Look], float], float]


def gate(kind: Kind, *, worse_is_higher: bool = True, bounds: Bounds | None = None) -> Method:
    def run(looks: Iterator[Look], information: float) -> float:
        design = Design(
            kind=kind, worse_is_higher=worse_is_higher, alpha=ALPHA, beta=ALPHA, information=information, bounds=bounds
        )  # fmt: skip
        trial, seen = Trial.begin(design), 0.0
        for look in looks:
            seen += look.pair.information
            trial = trial.look(Increment(pairs=[look.pair], information=seen))
            if trial.failed_at:
                return look.rows
        return math.inf

    return run


def peeked(looks: Iterator[Look], _: float) -> float:
    return next((look.rows for look in looks if look.z > _Z(1 - ALPHA)), math.inf)


def spending(shape: Shape, count: int | None = None) -> Method:
    """A group-sequential boundary at every look, or at `count` evenly spaced ones."""

    def run(looks: Iterator[Look], _: float) -> float:
        lattice, seen, budget = Lattice(), 0.0, Budget(alpha=ALPHA, information=1.0, shape=shape)
        due = 1 / count if count else 0.0
        for look in looks:
            if look.time < due - 1e-9:
                continue
            due += 1 / count if count else 0.0
            lattice = scores.spread(lattice, look.time - seen, 0.0, look.time)
            seen = look.time
            lattice, edge = lattice.cut(budget.spent(look.time))
            if edge is not None and look.z * math.sqrt(look.time) > edge:
                return look.rows
        return math.inf

    return run


def msprt(effect: float) -> Method:
    """Johari, Pekelis & Walsh 2017, tuned to a harm of 5 %, given as z per root row."""

    def run(looks: Iterator[Look], _: float) -> float:
        for look in looks:
            r = look.rows * effect**2
            if look.z > 0 and -0.5 * math.log1p(r) + look.z**2 * r / (2 * (1 + r)) >= -math.log(2 * ALPHA):
                return look.rows
        return math.inf

    return run


def asymptotic(tuned: float = 5000.0) -> Method:
    """Waudby-Smith et al. 2024, one-sided, as GrowthBook tunes it."""
    rho = math.sqrt((-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / tuned)

    def run(looks: Iterator[Look], _: float) -> float:
        for look in looks:
            r = look.rows * rho**2
            if look.z > 0 and look.z**2 >= (r + 1) / r * 2 * math.log(1 + math.sqrt(r + 1) / (2 * ALPHA)):
                return look.rows
        return math.inf

    return run


def kayenta(looks: Iterator[Look], _: float) -> float:
    """Mann-Whitney on the means of the looks' rows, 98 %, and a tolerance of a quarter of the shift; from 5 points."""
    stable, candidate = [], []
    for look in looks:
        if look.pair.stable.n and look.pair.candidate.n:
            stable.append(look.pair.stable.total / look.pair.stable.n)
            candidate.append(look.pair.candidate.total / look.pair.candidate.n)
        if len(stable) < 5 or (len(stable) > 60 and len(stable) % 5):
            continue
        shift = float(np.median(np.subtract.outer(candidate, stable)))
        moved = np.array(candidate) - 0.25 * abs(shift)
        if shift > 0 and mannwhitneyu(moved, stable, alternative="greater").pvalue < 0.01:
            return look.rows
    return math.inf


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A scenario: two populations, a weight, and the rows planned."""

    family: str
    name: str
    kind: Kind
    stable: Population
    candidate: Population
    rows: int
    weight: float = 0.5
    worse_is_higher: bool = True
    bounds: Bounds | None = None
    """Of means as a rollout judges them: values beyond count as the bound."""
    is_wide: bool = False
    """Whether the cap is much wider than the one that a rollout would freeze. Shown, and not part of the summary."""

    def looks(self, rng: np.random.Generator) -> Iterator[Look]:
        seen, total, planned = 0, Pair(), self.rows * self.weight * (1 - self.weight)
        sign = 1 if self.worse_is_higher else -1
        information = 0.0
        for end in grid_points(float(FIRST_ROWS), float(self.rows), APART[self.kind]):
            new = min(math.ceil(end), self.rows) - seen
            if new <= 0:
                return
            pair = split(rng, new, self.weight, self.stable, self.candidate)
            seen, total, information = seen + new, total + pair, information + pair.information
            score = scores.score([total])
            z = sign * score.value / math.sqrt(score.variance) if score.variance > 0 else 0.0
            yield Look(pair=pair, rows=seen, z=z, time=min(information / planned, 1.0))


def cells() -> list[Cell]:
    def events(family: str, rate: float, factor: float, rows: int, weight: float = 0.5, *, high: bool = True) -> Cell:
        return Cell(
            family=family, name=f"x{factor:g}" if high else f"{factor - 1:.0%}", kind=Kind.COUNT, rows=rows,
            weight=weight, stable=Events(rate=rate), candidate=Events(rate=rate * factor), worse_is_higher=high,
        )  # fmt: skip

    scenarios = [events("0.5 % errors", 0.005, x, 790_000) for x in (1, 1.1, 1.5, 2, 5)]
    scenarios += [events("2 % errors", 0.02, x, 200_000) for x in (1, 1.1, 1.5, 5)]
    scenarios += [events("0.5 % errors at 5 %", 0.005, x, 200_000, 0.05) for x in (1, 2, 5)]
    scenarios += [events("conversion 5 %", 0.05, x, 1_900_000, high=False) for x in (1, 0.98, 0.95)]
    scenarios += [
        Cell(
            family="latency mean", name=f"x{x:g}", kind=Kind.MEAN, rows=20_000, stable=Durations(mean=1, sigma=0.6),
            candidate=Durations(mean=x, sigma=0.6),
        )
        for x in (1, 1.05, 1.2)
    ]  # fmt: skip
    scenarios += [
        Cell(
            family=f"latency mean, cap {cap:g}", name=f"x{x:g}", kind=Kind.MEAN, rows=20_000, bounds=Bounds(0.0, cap),
            stable=Durations(mean=1, sigma=0.6, cap=cap), candidate=Durations(mean=x, sigma=0.6, cap=cap),
            is_wide=cap > FROZEN_CAP,
        )
        for cap in (5.0, 10.0) for x in (1, 1.05, 1.2, 1.5)
    ]  # fmt: skip
    revenue_cap = 20 * math.exp(-0.5)
    scenarios += [
        Cell(
            family="revenue, capped", name=f"{x - 1:.0%}", kind=Kind.MEAN, rows=1_000_000, worse_is_higher=False,
            stable=Purchases(rate=0.05), candidate=Purchases(rate=0.05 * x), bounds=Bounds(0.0, revenue_cap),
        )
        for x in (1, 0.95)
    ]  # fmt: skip
    scenarios += [
        Cell(
            family="revenue", name=f"{x - 1:.0%}", kind=Kind.MEAN, rows=1_000_000, worse_is_higher=False,
            stable=Purchases(rate=0.05), candidate=Purchases(rate=0.05 * x),
        )
        for x in (1, 0.95)
    ]  # fmt: skip
    return scenarios


def methods(cell: Cell) -> dict[str, Method]:
    stable = cell.stable.mean
    n = (2.8 / 0.05) ** 2 * (cell.stable.variance / stable**2) / (cell.weight * (1 - cell.weight))
    return {
        "gate": gate(cell.kind, worse_is_higher=cell.worse_is_higher, bounds=cell.bounds),
        "peeked z": peeked,
        "Pocock": spending(pocock),
        "O'Brien-Fleming": spending(obrien_fleming),
        "OBF, 5 looks": spending(obrien_fleming, 5),
        "mSPRT": msprt(2.8 / math.sqrt(n)),
        "asymptotic CS": asymptotic(),
        "Kayenta-like": kayenta,
    }


def measure(cell: Cell, method: Method, runs: int, seed: int) -> list[float]:
    """Rows until harm is found, in each run; every method gets the same rows."""
    information = cell.rows * cell.weight * (1 - cell.weight)
    return [method(cell.looks(np.random.default_rng((seed, i))), information) for i in range(runs)]


class Found(NamedTuple):
    """What one method found in one cell: the share of equal candidates it called worse, or its ratio."""

    cell: Cell
    is_equal: bool
    value: float

    def __str__(self) -> str:
        return f"{self.value:15.3f}" if self.is_equal else _ratio(self.value)


def find(cell: Cell, method: Method, runs: int, seed: int) -> Found:
    rows = measure(cell, method, runs, seed)
    if cell.stable.mean == cell.candidate.mean:
        return Found(cell, True, float(np.mean(np.isfinite(rows))))
    return Found(cell, False, float(np.median(rows)) / sample_size(cell.stable, cell.candidate, cell.weight))


def table(chosen: Sequence[Cell], names: Sequence[str], runs: int, seed: int) -> dict[str, list[Found]]:
    """What each method found, printed as it is known."""
    print(f"| {'cell':28s} | " + " | ".join(f"{name:>15s}" for name in names) + " |")
    print("|" + "-" * 30 + "|" + "|".join("-" * 17 for _ in names) + "|")
    found: dict[str, list[Found]] = {name: [] for name in names}
    for cell in chosen:
        for name in names:
            found[name].append(find(cell, methods(cell)[name], runs, seed))
        label = f"{cell.family}, {'A/A' if found[names[0]][-1].is_equal else cell.name}"
        print(f"| {label:28s} | " + " | ".join(str(found[name][-1]) for name in names) + " |", flush=True)
    for title, summary in SUMMARIES.items():
        line = (_ratio(summary([each.value for each in found[name] if not each.is_equal])) for name in names)
        print(f"| {title:28s} | " + " | ".join(line) + " |")
    return found


def figures(found: Sequence[Found], runs: int) -> list[Figure]:
    """The gate's, and what they should be."""
    alarms = [each for each in found if each.is_equal]
    allowed = ALPHA + 2.33 * math.sqrt(ALPHA * (1 - ALPHA) / runs)
    told = [
        Figure(name=f"{each.cell.family}: equal candidates stopped", value=each.value, at_most=round(allowed, 3))
        for each in alarms
    ]
    for title, kind, of_mean, of_worst in (("0/1", Kind.COUNT, 0.9, 1.15), ("means", Kind.MEAN, 1.1, 1.6)):
        ratios = [
            each.value for each in found if each.cell.kind is kind and not each.is_equal and not each.cell.is_wide
        ]
        told.append(Figure(name=f"{title}: ratio, geometric mean", value=_mean(ratios), at_most=of_mean))
        told.append(Figure(name=f"{title}: ratio, worst", value=max(ratios), at_most=of_worst))
    wide = [each.value for each in found if each.cell.is_wide and not each.is_equal]
    told.append(Figure(name="means with a cap twice as wide as a frozen one: ratio, worst", value=max(wide)))
    each_cell = (each for each in found if not each.is_equal)
    told += (Figure(name=f"{each.cell.family}, {each.cell.name}: ratio", value=each.value) for each in each_cell)
    return told


def _mean(ratios: Sequence[float]) -> float:
    return geometric_mean(ratios) if all(map(math.isfinite, ratios)) else math.inf


SUMMARIES: dict[str, Callable[[Sequence[float]], float]] = {"geometric mean": _mean, "worst": max}


def _ratio(value: float) -> str:
    return f"{value:15.2f}" if math.isfinite(value) else f"{'-':>15s}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", default="", help="only families whose name contains this")
    parser.add_argument("--alone", action="store_true", help="the gate without the others")
    arguments = parser.parse_args()
    chosen = [cell for cell in cells() if arguments.family in cell.family]
    names = ["gate"] if arguments.alone else list(methods(chosen[0]))

    def run() -> list[Figure]:
        found = table(chosen, names, arguments.runs, arguments.seed)
        return figures(found["gate"], arguments.runs)

    if arguments.family:
        table(chosen, names, arguments.runs, arguments.seed)
    else:
        print(report("gate", "Rows until the gate finds harm", run, is_timed=False))


if __name__ == "__main__":
    main()
