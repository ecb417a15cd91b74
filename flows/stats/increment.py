"""Increment: the rows that are new since the last look, and how each kind of test takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from sluicegate.flows.stats.bets import BetTest
from sluicegate.flows.stats.cohorts import Change, CohortTest
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.scores import score
from sluicegate.flows.stats.sequential import CountTest, ScoreTest
from sluicegate.registry.words.tally import Tally

SequentialTest = CountTest | BetTest | ScoreTest | CohortTest
Odds = Callable[[Draw], float]
"""The odds of the null in a stratum."""

_LEAST_RATIO = 1e-3
"""The null of a margin of 100 % and more where lower is worse: the candidate's rate is all but nothing."""
_CAREFUL = 2.0
"""Standard errors that are subtracted from the rate by which a margin's odds are computed."""


def even_odds(_: Draw) -> float:
    """Both arms are alike."""
    return 1.0


@dataclass(frozen=True, kw_only=True)
class Increment:
    """The rows new since the last look. `pairs` or `changes` hold them."""

    pairs: Sequence[Pair] = ()
    """One for each stratum that got any."""
    information: float
    """All information so far, in the design's unit. If it has not grown, nothing is tested."""
    changes: Sequence[Change] = ()
    """Where units return: the cohorts that got rows, instead of `pairs`."""
    at_margin: Mapping[float, Increment] = field(default_factory=dict)
    """Where margins move the candidate's threshold: for each margin, the same rows with the candidate counted there."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """The sums over strata from which estimates are computed."""

    information: float = 0.0
    """Sum of n1 n0 / n over the pairs."""
    difference: float = 0.0
    """Sum of n1 n0 / n (candidate mean - stable mean)."""
    level: float = 0.0
    """Sum of n1 n0 / n stable mean."""
    shares: float = 0.0
    """Sum of n1 n0 / n times the candidate's share of the rows."""
    stable: Tally = field(default_factory=Tally)
    candidate: Tally = field(default_factory=Tally)

    def change(self, changes: Sequence[Change]) -> Sums:
        """The sums after these changes of cohorts."""
        before, now = Sums().add([c.before.rows for c in changes]), Sums().add([c.now.rows for c in changes])
        pairs = [c.rows for c in changes]
        return Sums(
            information=self.information + now.information - before.information,
            difference=self.difference + now.difference - before.difference,
            level=self.level + now.level - before.level,
            shares=self.shares + now.shares - before.shares,
            stable=sum((pair.stable for pair in pairs), self.stable),
            candidate=sum((pair.candidate for pair in pairs), self.candidate),
        )

    def add(self, pairs: Sequence[Pair]) -> Sums:
        """The sums with these pairs."""
        information, difference, level, shares = self.information, self.difference, self.level, self.shares
        stable, candidate = self.stable, self.candidate
        for pair in pairs:
            stable, candidate = stable + pair.stable, candidate + pair.candidate
            weight = pair.information
            if weight > 0:
                mean = pair.stable.total / pair.stable.n
                information += weight
                difference += weight * (pair.candidate.total / pair.candidate.n - mean)
                level += weight * mean
                shares += weight * pair.candidate.n / pair.n
        return Sums(
            information=information, difference=difference, level=level, shares=shares, stable=stable,
            candidate=candidate,
        )  # fmt: skip

    def is_below_zero(self, origin: float) -> bool:
        """Whether stable's mean is below 0 by these sums. `origin`: what was subtracted from values."""
        return self.level + self.information * origin < 0

    @property
    def n(self) -> int:
        """Rows of both arms."""
        return self.stable.n + self.candidate.n

    @property
    def rate(self) -> float:
        """The mean of both arms' rows together; 0 without rows."""
        return (self.stable.total + self.candidate.total) / self.n if self.n else 0.0


def look_for_harm(test: SequentialTest, increment: Increment, sign: int) -> SequentialTest:
    """The harm test after the increment. `sign` is +1 where higher is worse."""
    return look(test, increment, against=sign)


def look_within_margin(
    test: SequentialTest, increment: Increment, sign: int, margin: float, sums: Sums, origin: float = 0.0,
    *, below_zero: bool = False,
) -> SequentialTest:  # fmt: skip
    """The test that the candidate is not worse by `margin`, after the increment; rejecting rules the margin out.

    A margin is a share of the size of stable's mean s: if higher is worse, the null is that the candidate's mean is at
    least s + m |s|, and so at least (1 + m) s and (1 - m) s alike. Either may be tested. `below_zero`: whether s was
    below 0 before this increment; then the second is tested.
    """
    if margin in increment.at_margin:
        return look(test, increment.at_margin[margin], against=-sign)
    ratio = 1 - sign * margin if below_zero else 1 + sign * margin
    of_arm = 1 / ratio if sign > 0 else max(ratio, _LEAST_RATIO)
    odds = partial(odds_of_ratio, of_arm, less=_CAREFUL * _error_of_rate(sums))
    return look(test, increment, against=-sign, factor=ratio, odds=odds, origin=origin)


def _error_of_rate(sums: Sums) -> float:
    """The standard error of the rate of zeros and ones, all strata together."""
    return math.sqrt(max(sums.rate * (1 - sums.rate), 0.0) / max(sums.n, 1))


def look(
    test: SequentialTest, increment: Increment, *, against: int, factor: float = 1.0, odds: Odds = even_odds,
    origin: float = 0.0,
) -> SequentialTest:  # fmt: skip
    """The test after the increment.

    `against`: +1 asks whether the candidate is higher than `factor` times stable, -1 whether it is lower. `odds` gives
    the same null for counted values in a stratum, as odds of the arm in question. `origin`: what was subtracted from
    values.
    """
    match test:
        case CountTest():
            return test.look(draws(increment.pairs, against, odds), increment.information)
        case BetTest():
            return test.look(increment.pairs, increment.information, against=against, factor=factor, origin=origin)
        case ScoreTest():
            new = score(increment.pairs if factor == 1 else _scaled(increment.pairs, factor, origin))
            return test.look(new if against > 0 else -new, increment.information)
        case CohortTest():
            rows = draws([change.rows for change in increment.changes], against, odds)
            return test.look(
                increment.changes, increment.information, rows, against=against, factor=factor, origin=origin
            )  # fmt: skip


def _scaled(pairs: Sequence[Pair], factor: float, origin: float) -> Iterator[Pair]:
    """The pairs with stable's values times `factor`, without pairs whose values are all the same: they do not show how
    values vary."""
    varied = (pair for pair in pairs if score([pair]).variance > 0)
    return (replace(pair, stable=pair.stable.worse(factor, origin)) for pair in varied)


def draws(pairs: Sequence[Pair], sign: int, odds: Odds = even_odds) -> tuple[Draw, ...]:
    """The events of one arm among all: the candidate's for +1, stable's for -1."""
    arms = ((pair.candidate, pair.stable) if sign > 0 else (pair.stable, pair.candidate) for pair in pairs)
    strata = (
        Draw(size=mine.n, others=other.n, mine=round(mine.total), events=round(mine.total) + round(other.total))
        for mine, other in arms
    )
    return tuple(replace(draw, odds=odds(draw)) for draw in strata)


def odds_of_ratio(ratio: float, draw: Draw, less: float = 0.0) -> float:
    """The odds ratio in a stratum that corresponds to a ratio of the arm's rate to the other arm's.

    With the other arm's rate p it is ratio (1 - p) / (1 - ratio p). p is taken from the stratum's own events, on which
    the test conditions anyway; not from those of other strata, because p changes with hour and weight, and with weight
    the arms' sizes. Of e events in n rows the rate of both arms is taken as (e - 1) / (n - 1): then the events
    expected of the arm are e ratio n1 / (ratio n1 + n0), whose mean is right whatever p is (enumerated in
    tests/unit/stats/test_increment.py; e / n would expect more, in strata of twenty rows by a fortieth of the margin).

    But e varies too: over all strata p is known up to a standard error. `less` is two of these and is subtracted from
    p, which makes passing harder; for rare events p hardly matters.
    """
    n = draw.size + draw.others
    rate = max((draw.events - 1) / max(n - 1, 1) - less, 0.0)
    other = min(rate / (1 + (ratio - 1) * draw.size / n) if n else 0.0, 0.98, 0.98 / ratio)
    return ratio * (1 - other) / (1 - ratio * other)
