"""From looks to the state of a shadow's gate: a fold over their rows. Pure.

Both answers belong to the same request, so changes from hour to hour affect both arms alike, and strata are simply
added up. Harm and the margin are tested at every look; what was rejected stays rejected.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import add
from typing import NamedTuple

from sluicegate.flows.gate.cells import Rows, Tallies, beyond, with_rows
from sluicegate.flows.gate.pair_design import PairedKind, PairedQuestion
from sluicegate.flows.gate.remembered_fold import RememberedFold
from sluicegate.flows.stats.bets import OF_HARM_IN_PAIRS, OF_MARGIN, BetTest, Bounds
from sluicegate.flows.stats.matched import CoinTest
from sluicegate.flows.stats.rate_below import RateBelowTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.flows.stats.trial import LEAST_VALUES
from sluicegate.registry.words.metric import Arm, TallyRow
from sluicegate.registry.words.tally import Tally

PairedTest = CoinTest | BetTest

_RESERVE = 0.1
_UNKNOWN = Bounds(-math.inf, math.inf)
"""Until a mean's cap is frozen, no pair is counted: nothing could be bet on values without bounds."""


class Pairs(NamedTuple):
    """Sums over pairs. They add."""

    stable: Tally = Tally()
    candidate: Tally = Tally()
    difference: Tally = Tally()
    moved: Tally = Tally()

    def __add__(self, other: Pairs) -> Pairs:  # type: ignore[override]
        return Pairs(*map(add, self, other))


@dataclass(frozen=True, kw_only=True)
class PairedState:
    """What a shadow's gate knows after its looks."""

    question: PairedQuestion
    harm: PairedTest
    within: PairedTest | None = None
    """The test that the harm is smaller than the margin."""
    better: PairedTest | None = None
    """The test that the candidate is better. It decides nothing, but gives the harmful end of the interval."""
    rate_below: RateBelowTest | None = None
    pairs: Pairs = field(default_factory=Pairs)
    cells: Tallies = field(default_factory=dict)
    looks: int = 0
    failed_at: int | None = None
    within_at: int | None = None

    @classmethod
    def begin(cls, question: PairedQuestion, _: tuple[Rows, ...] = ()) -> PairedState:
        """The state before the first look."""
        below = question.below
        return cls(
            question=question,
            harm=_test(question, question.alpha, below if question.kind is PairedKind.DISAGREEMENT else None),
            within=_margin_test(question) if question.margin is not None else None,
            better=_test(question, question.beta, None) if question.kind is not PairedKind.DISAGREEMENT else None,
            rate_below=RateBelowTest(bound=below, beta=question.beta) if below is not None else None,
        )

    @property
    def information(self) -> int:
        """Pairs with both values."""
        return self.pairs.difference.n

    def counted(self, metric: str, arm: Arm) -> Tally:
        """What the looks add up to for one arm of a metric."""
        return sum((tally for (name, _, whose), tally in self.cells.items() if (name, whose) == (metric, arm)), Tally())

    def new_rows(self, cumulative: Iterable[TallyRow]) -> Rows:
        """What cumulative rows add to the looks, in order."""
        new = beyond(self.cells, (row for row in cumulative if row.metric in self.question.names))
        return tuple(row for row in new if row.tally.n or row.tally.missing)

    def information_with(self, rows: Rows) -> int:
        """The pairs there would be after a look at these new rows."""
        return self.information + _total(rows, self.question.difference, Arm.CANDIDATE).n

    def look(self, rows: Rows) -> PairedState:
        """The state after one more look, at these new rows."""
        new = _pairs(self.question, rows)
        pairs, k = self.pairs + new, self.looks + 1
        candidate, n = pairs.candidate, pairs.difference.n
        is_few = self.question.kind is PairedKind.REAL and n < LEAST_VALUES
        harm = _look_for_harm(self, new, 0 if is_few else n)
        within = _look_within(self, new, 0 if is_few else n)
        better = _look_for_better(self, new, n)
        return replace(
            self, harm=harm, within=within, better=better, pairs=pairs, cells=with_rows(self.cells, rows), looks=k,
            rate_below=self.rate_below.look(candidate.n, round(candidate.total)) if self.rate_below else None,
            failed_at=self.failed_at or (k if harm.rejected else None),
            within_at=self.within_at or (k if within is not None and within.rejected else None),
        )  # fmt: skip


def _look_for_harm(state: PairedState, new: Pairs, n: int) -> PairedTest:
    match state.harm:
        case CoinTest() if state.question.kind is PairedKind.DISAGREEMENT:
            return state.harm.look(round(new.candidate.total), new.candidate.n, n)
        case CoinTest():
            candidate_only, stable_only = discordant(new.difference)
            return state.harm.look(candidate_only, candidate_only + stable_only, n)
        case BetTest():
            return state.harm.look_at_sample(new.difference, n)


def _look_within(state: PairedState, new: Pairs, n: int) -> PairedTest | None:
    """Whether the candidate is better than stable made worse by the margin."""
    match state.within:
        case None:
            return None
        case CoinTest():
            candidate_only, stable_only = discordant(new.moved)
            return state.within.look(stable_only, candidate_only + stable_only, n)
        case BetTest():
            return state.within.look_at_sample(_excess(state.question, new).scaled(-1), n)


def _look_for_better(state: PairedState, new: Pairs, n: int) -> PairedTest | None:
    match state.better:
        case None:
            return None
        case CoinTest():
            candidate_only, stable_only = discordant(new.difference)
            return state.better.look(stable_only, candidate_only + stable_only, n)
        case BetTest():
            return state.better.look_at_sample(new.difference.scaled(-1), n)


def lacking(test: PairedTest | None) -> float | None:
    """By how much the sum of differences falls short of the test's boundary; None if it has no boundary yet.

    At a given number of pairs that differ, one more of them on the candidate's side changes the sum by two.
    """
    match test:
        case None:
            return None
        case CoinTest():
            return None if test.lacking is None else 2 * test.lacking
        case BetTest():
            return test.reach


def discordant(difference: Tally) -> tuple[int, int]:
    """For 0/1 values: in how many pairs only the candidate had the event, and in how many only stable."""
    both, net = round(difference.squares), round(difference.total)
    return (both + net) // 2, (both - net) // 2


def _excess(question: PairedQuestion, new: Pairs) -> Tally:
    """The sums of y1 - (1 + m) y0: by how much the candidate exceeds stable's value made worse by the margin.

    For 0/1 values all three are exact. For others the third is that of the difference, which is close for small
    margins.
    """
    m, d = question.margin or 0.0, new.difference
    y0, y1 = new.stable, new.candidate
    product = (y0.squares + y1.squares - d.squares) / 2
    total = d.total - m * y0.total
    squares = y1.squares - 2 * (1 + m) * product + (1 + m) ** 2 * y0.squares
    cubes = d.cubes
    if question.kind is PairedKind.BINARY:
        candidate_only, stable_only = discordant(d)
        cubes = candidate_only - (1 + m) ** 3 * stable_only - m**3 * product
    return Tally(n=d.n, total=total, squares=max(squares, 0.0), cubes=cubes).moved(-m * question.origin)


def _margin_test(question: PairedQuestion) -> PairedTest:
    """The test that stable's value, made worse by the margin, exceeds the candidate's. The third powers of this
    difference are known for zeros and ones only."""
    budget = _budget(question, question.beta)
    if question.kind is PairedKind.THRESHOLD:
        return CoinTest(budget=budget)
    bounds = question.bounds or _UNKNOWN
    worse = bounds.worse(1 + (question.margin or 0.0), question.origin)
    highest = worse.high - bounds.low if question.kind is PairedKind.BINARY else math.inf
    return BetTest(budget=budget, bounds=Bounds(worse.low - bounds.high, highest), ladder=OF_MARGIN)


def _test(question: PairedQuestion, alpha: float, share: float | None) -> PairedTest:
    if question.kind is PairedKind.REAL:
        return _of_differences(question, alpha)
    return CoinTest(budget=_budget(question, alpha), share=share if share is not None else 0.5)


def _of_differences(question: PairedQuestion, alpha: float) -> BetTest:
    bounds = question.bounds or _UNKNOWN
    width = bounds.high - bounds.low
    return BetTest(budget=_budget(question, alpha), bounds=Bounds(-width, width), ladder=OF_HARM_IN_PAIRS)


def _budget(question: PairedQuestion, alpha: float) -> Budget:
    return Budget(alpha=alpha, information=question.planned, reserve=_RESERVE)


def _pairs(question: PairedQuestion, rows: Rows) -> Pairs:
    return Pairs(
        stable=_total(rows, question.metric, Arm.STABLE),
        candidate=_total(rows, question.metric, Arm.CANDIDATE),
        difference=_total(rows, question.difference, Arm.CANDIDATE),
        moved=_total(rows, question.moved, Arm.CANDIDATE),
    )


def _total(rows: Rows, metric: str, arm: Arm) -> Tally:
    return sum((row.tally for row in rows if row.metric == metric and row.arm is arm), Tally())


fold_pairs = RememberedFold(PairedState.begin, PairedState.look)
"""The state after looks with these rows."""
