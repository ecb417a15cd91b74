"""Bets: tests of the mean of bounded values that hold whatever their shape, at every look, from the sums of tallies.

A gambler bets on z, whose mean is not above 0: each row multiplies the money at a stake l by 1 + l z, which is 1 on
average at most. Sums of tallies do not tell how large that product is. But a cubic below its logarithm needs only the
sums of z, its square and its cube, which add up over strata as tallies do. With l z between -u and v, u < 1,

    log(1 + x) >= x - (1/2 + e) x^2 + c x^3    for x in [-u, v],
    e = (K(-u) - K(v)) u v / (u + v),  c = K(v) + e / v,  K(x) = (log(1 + x) - x + x^2 / 2) / x^3,

because K(x) = integral of t^2 / (1 + t x) over t in [0, 1] falls in x, so K(x) + e / x is at least c for x in (0, v]
and at most c for x in [-u, 0); at both ends they are equal. As v grows without end this is the inequality of Fan, Grama
& Liu 2015 (lemma 4.1), exp(x + (log(1 - u) + u) x^2 / u^2) <= 1 + x, on which empirical Bernstein sequences rest
(Howard, Ramdas, McAuliffe & Sekhon 2021; Waudby-Smith & Ramdas 2024, section 3.2). So the exponential of the sums is on
average at most what the gambler owns. Each arm has bounds, and so a cubic, of its own. The mean over several stakes is
again 1 on average at most, and by Ville's inequality (1939) it ever reaches 1 / alpha with a chance of at most alpha.

Two arms. With the realised share p of the candidate's rows in a stratum, a row's z is (1 - p)(y - s) in the candidate
and - p (y - s) in stable; z sums to n1 n0 / n times the difference of the means, whatever s. Given who got which arm,
rows of means m1 and m0 have

    E product <= product (1 + l E z) <= exp(l sum E z) = exp(l n1 n0 / n (m1 - m0)),

which is at most 1 where m1 <= m0. So only the means must stay the same within a stratum; shapes, weights and other
strata may be anything. A margin is the same with stable's values times its factor. Pairs: z is the difference itself.

The centre s and the stakes' scale are taken from earlier strata, never from the rows that are bet on. Of the first
stratum the gambler knows only the number of rows. So he splits part of his money among guesses (a larger part for more
rows, `_WAITS`), and the rest waits until that stratum has shown where values lie.

Two tests in a row. With M the money when the first is stopped, E M <= 1 says P(rejected) / alpha + E(M, not rejected)
<= 1. So a second one with alpha min(M, 1), whose chance given the first is at most that, keeps P(either rejects) at
alpha; and so on. `spent` is the part of alpha that is then missing. For margins one stake is 0, so that M is never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.tally import Tally

Floats = NDArray[np.float64]

_STEP = 1.7
"""Ratio of neighbouring stakes."""
_GUESSES = 12
_ROUNDING = 1e-14
"""The share of a sum of squares that its arithmetic may have lost."""
_NEWTON = 50
_FLAT = 1e-3
"""The smallest slope of a Newton step, as a share of the steepest slope; it matters if next to no money is at stake."""
_WAITS = 200
"""With this many rows in the first stratum, half of the money waits for the next one; with 20 rows, as many as the
first look has, nine tenths wait."""


class Ladder(NamedTuple):
    """The effects that stakes are made for, from the boldest to the most cautious stake."""

    first: float
    """The boldest stake is made for an effect that shows in this share of the plan."""
    last: float = 1.0
    """The most cautious stake is made for an effect that shows in this share of the plan."""
    boldest: float = 0.6
    """The largest share of the gambler's money that one row may take. With a larger share, rare and distant values are
    ruled out sooner, but for other values the cubic lies further below the logarithm."""


OF_HARM = Ladder(first=0.005, last=0.3, boldest=0.9)
"""For harm of any size between builds. A cap far above the mean keeps these stakes low."""
OF_HARM_IN_PAIRS = Ladder(first=0.005)
OF_MARGIN = Ladder(first=0.03)


class Bounds(NamedTuple):
    """The bounds of values: by their nature, or because values beyond a bound count as the bound."""

    low: float
    high: float

    def may_hold(self, tally: Tally) -> bool:
        """Whether values between the bounds can have these sums."""
        slack = 1e-6 * (self.high - self.low)
        mean = tally.total / tally.n
        largest = max(abs(self.low), abs(self.high)) + slack
        return self.low - slack <= mean <= self.high + slack and tally.squares <= tally.n * largest**2

    def worse(self, factor: float, origin: float = 0.0) -> Bounds:
        """The bounds of values `factor` times as large. `origin` was subtracted from the values, and is again."""
        more = (factor - 1) * origin
        return Bounds(*sorted((self.low * factor + more, self.high * factor + more)))


class Side(NamedTuple):
    """The z of one arm's rows."""

    total: float
    squares: float
    cubes: float
    below: float
    """No z lies further below 0."""
    above: float
    """No z lies further above 0."""


class Gain(NamedTuple):
    """The z of some rows."""

    sides: tuple[Side, ...]
    information: float

    @property
    def below(self) -> float:
        """No z lies further below 0."""
        return max(side.below for side in self.sides)


class Opening(NamedTuple):
    """The bets on the first stratum, by guess and by stake."""

    made: tuple[tuple[float, ...], ...] = ()
    """The logarithm of what each bet makes of its money."""
    rises: tuple[tuple[float, ...], ...] = ()
    """How much that logarithm rises for each unit by which the candidate's mean is larger."""
    waits: float = 1.0
    """The share of the money that is not bet."""

    def logs(self, more: float) -> tuple[Floats, Floats]:
        """The logarithm of what each stake would have made of the money, waiting money included, if the means had been
        `more` further apart; and how fast it rises."""
        rises = np.array(self.rises)
        made = np.array(self.made) + rises * more
        of_bets = math.log1p(-self.waits) + _log_mean(made)
        money = np.logaddexp(of_bets, math.log(self.waits))
        return money, np.exp(of_bets - money) * _weighed(rises, made)


@dataclass(frozen=True, kw_only=True)
class BetTest:
    """Whether the candidate's mean is above the stable one's, after the caller's scaling. Valid for every shape."""

    budget: Budget
    bounds: Bounds
    ladder: Ladder
    saves: bool = False
    """Whether one stake is 0, so that some money is left for one more test of the same."""
    logs: tuple[float, ...] = ()
    """The logarithm of what each stake has made of the money."""
    opening: Opening = field(default_factory=Opening)
    rises: tuple[float, ...] = ()
    """How much each of these rises for each unit by which the means are further apart, without the first stratum."""
    past: Tally = field(default_factory=Tally)
    """The values so far, stable's after the caller's scaling. They give the centre for later values."""
    squares: float = 0.0
    """The sum of z squared over all strata. With `weight`, their information, it gives the scale of later stakes."""
    weight: float = 0.0
    information: float = 0.0
    rejected: bool = False

    @property
    def spent(self) -> float:
        """The alpha that one more test of the same may not use: alpha times the share of the money that was lost."""
        return self.budget.alpha * (1.0 if self.rejected else max(0.0, 1 - self.e_value))

    @property
    def e_value(self) -> float:
        """The money, of which one unit was there at the start."""
        return math.exp(min(self._log(), 700.0)) if self.logs else 1.0

    @property
    def reach(self) -> float | None:
        """How much larger the sum of z would have to be for a rejection now, if the means had been further apart by the
        same in every stratum. None before any row; not above 0 if the test rejects."""
        if not self.logs:
            return None
        missing = self._missing()
        return self.weight * (min(missing, 0.0) if self._log() >= self._wanted else missing)

    def look(
        self, pairs: Iterable[Pair], information: float, *, against: int, factor: float = 1.0, origin: float = 0.0
    ) -> BetTest:
        """The test after these strata. `against`: +1 asks whether the candidate is above `factor` times stable.
        `origin`: what was subtracted from values."""
        test, of_stable = self, self.bounds.worse(factor, origin)
        for pair in pairs:
            if pair.stable.n and pair.candidate.n:
                worse = Pair(stable=pair.stable.worse(factor, origin), candidate=pair.candidate)
                seen = test.past + worse.stable + worse.candidate
                squares = _squares(worse, seen.mean or 0.0)
                test = test._bet(test._guesses(worse, of_stable, against), pair.n, squares, past=seen)
        return test.judge(information)

    def look_at_sample(self, z: Tally, information: float) -> BetTest:
        """The test after these values of one sample. Without an upper bound their cubes are not needed; without a lower
        one nothing can be bet."""
        if not math.isfinite(self.bounds.low):
            return self
        cubes = z.cubes if math.isfinite(self.bounds.high) else 0.0
        gain = Gain((Side(z.total, z.squares, cubes, -self.bounds.low, self.bounds.high),), float(z.n))
        test = self._bet([gain], z.n, z.squares, past=self.past) if z.n else self
        return test.judge(information)

    def _bet(self, guesses: Sequence[Gain], rows: int, squares: float, *, past: Tally) -> BetTest:
        """The test after the rows of a stratum. The money is divided among the guesses; at the first stratum some of it
        waits.

        `squares`, `past`: what these rows tell about later ones.
        """
        bets = [(self._stakes(gain, scale), gain) for gain in guesses for scale in self._scales(gain)]
        made = tuple(tuple(_at_least(stake, gain.sides) for stake in stakes) for stakes, gain in bets)
        rises = tuple(tuple(stake * gain.information for stake in stakes) for stakes, gain in bets)
        if not self.weight:
            opening = Opening(made, rises, _WAITS / (rows + _WAITS))
            logs = opening.logs(0.0)[0]
            risen = np.zeros_like(logs)
        else:
            opening = self.opening
            logs = np.array(self.logs) + _log_mean(np.array(made))
            risen = np.array(self.rises) + _weighed(np.array(rises), np.array(made))
        return replace(
            self, opening=opening, logs=tuple(logs.tolist()), rises=tuple(risen.tolist()), past=past,
            squares=self.squares + squares, weight=self.weight + guesses[0].information,
        )  # fmt: skip

    def _guesses(self, pair: Pair, of_stable: Bounds, against: int) -> list[Gain]:
        """The stratum's z about the centre of earlier values; without any, about guesses over the whole range."""
        if self.past.n:
            return [_gain(pair, self.bounds, of_stable, against, self.past.total / self.past.n)]
        low, high = min(self.bounds.low, of_stable.low), max(self.bounds.high, of_stable.high)
        centres = (low + (high - low) * 2.0**-k for k in range(1, _GUESSES))
        return [_gain(pair, self.bounds, of_stable, against, centre) for centre in centres]

    def _scales(self, gain: Gain) -> Iterator[float]:
        """The standard deviation of values in the strata so far; before the first, guesses below the bounds."""
        if self.weight > 0 and self.squares > 0:
            yield math.sqrt(self.squares / self.weight)
        else:
            yield from (gain.below * 4.0**-k for k in range(6))

    def _stakes(self, gain: Gain, scale: float) -> tuple[float, ...]:
        """The best stake for each effect, limited so that no row can ruin the gambler."""
        effects = _effects(self.budget.information, self.ladder, self.budget.alpha, saves=self.saves)
        return tuple(min(effect / scale, self.ladder.boldest / gain.below) for effect in effects)

    @property
    def _wanted(self) -> float:
        return -math.log(self.budget.alpha)

    def _log(self) -> float:
        """The logarithm of all the money."""
        top = max(self.logs)
        return top + math.log(sum(math.exp(log - top) for log in self.logs) / len(self.logs))

    def _missing(self) -> float:
        """How much further apart the means would have to be for a rejection.

        The logarithm of the money is convex in this distance and rises. So Newton's first step goes to the right of the
        root, and the next ones come down to it. They begin where the fastest stake alone would yield all that is
        missing.
        """
        later, fixed = np.array(self.rises), np.array(self.logs) - self.opening.logs(0.0)[0]
        fastest = float((later + np.array(self.opening.rises).max(axis=0)).max())
        if fastest <= 0:
            return math.inf
        more = (self._wanted - self._log()) / fastest
        for _ in range(_NEWTON):
            opened, rises = self.opening.logs(more)
            made = opened + fixed + later * more
            slope = float(_weighed(rises + later, made))
            down = (float(_log_mean(made)) - self._wanted) / max(slope, _FLAT * fastest)
            more -= down
            if abs(down) <= 1e-12 * abs(more):
                break
        return more

    def judge(self, information: float) -> BetTest:
        """The test after a look. Without more information nothing is rejected."""
        if information <= self.information:
            return self
        is_won = bool(self.logs) and self._log() >= self._wanted
        return replace(self, information=information, rejected=self.rejected or is_won)


@lru_cache(maxsize=256)
def _effects(planned: float, ladder: Ladder, alpha: float, *, saves: bool) -> tuple[float, ...]:
    """The ladder's effects in standard deviations, the smallest first."""
    least = math.sqrt(-2 * math.log(alpha) / (ladder.last * planned))
    count = 1 + max(1, math.ceil(math.log(math.sqrt(ladder.last / ladder.first)) / math.log(_STEP)))
    effects = (least * _STEP ** np.arange(count)).tolist()
    return (0.0, *effects) if saves else tuple(effects)


def _gain(pair: Pair, bounds: Bounds, of_stable: Bounds, against: int, centre: float) -> Gain:
    share = pair.candidate.n / pair.n
    sides = (
        _side(pair.candidate, bounds, against * (1 - share), centre),
        _side(pair.stable, of_stable, -against * share, centre),
    )
    return Gain(sides, pair.information)


def _squares(pair: Pair, centre: float) -> float:
    """The sum of z squared about a centre."""
    share = pair.candidate.n / pair.n
    return (1 - share) ** 2 * _moments(pair.candidate, centre)[1] + share**2 * _moments(pair.stable, centre)[1]


def _side(arm: Tally, bounds: Bounds, times: float, centre: float) -> Side:
    """The z = times (y - centre) of one arm."""
    total, squares, cubes = _moments(arm, centre)
    low, high = sorted((times * (bounds.low - centre), times * (bounds.high - centre)))
    lost = _ROUNDING * abs(arm.cubes)
    return Side(times * total, times**2 * squares, times**3 * cubes - lost, -low, high)


def _at_least(stake: float, sides: Sequence[Side]) -> float:
    """A lower bound of the logarithm of what a stake makes of the money with the rows of the arms."""
    made = 0.0
    for total, squares, cubes, below, above in sides:
        second, third = _cubic(stake * below, stake * above)
        made += stake * (total - stake * (second * squares - third * stake * cubes))
    return made


def _moments(arm: Tally, centre: float) -> tuple[float, float, float]:
    """The sums of y - centre, of its square (at least what the mean alone implies) and of its cube."""
    n, s = arm.n, centre
    total = arm.total - n * s
    squares = arm.squares - 2 * s * arm.total + n * s**2
    cubes = arm.cubes - 3 * s * arm.squares + 3 * s**2 * arm.total - n * s**3
    return total, max(squares, total**2 / n) + _ROUNDING * arm.squares, cubes


def _cubic(u: float, v: float) -> tuple[float, float]:
    """1/2 + e and c of the cubic below log(1 + x) for x in [-u, v]; without an upper bound c is 0."""
    low = _remainder(-u)
    if not math.isfinite(v):
        return 0.5 + low * u, 0.0
    high = _remainder(v)
    part = (low - high) * u / max(u + v, 1e-300)
    return 0.5 + part * v, high + part


def _remainder(x: float) -> float:
    """K(x) = (log(1 + x) - x + x^2 / 2) / x^3, by its series near 0."""
    if abs(x) < 1e-2:
        return 1 / 3 - x * (1 / 4 - x * (1 / 5 - x * (1 / 6 - x * (1 / 7 - x / 8))))
    return (math.log1p(x) - x + x * x / 2) / (x * x * x)


def _weighed(values: Floats, logs: Floats) -> Floats:
    """The mean over the first axis, each value weighted by the money whose logarithm is given."""
    if len(values) == 1:
        return np.asarray(values[0])
    money = np.exp(logs - logs.max(axis=0))
    return np.asarray((money * values).sum(axis=0) / money.sum(axis=0))


def _log_mean(logs: Floats) -> Floats:
    """log of the mean of exp, over the first axis."""
    if len(logs) == 1:
        return np.asarray(logs[0])
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).mean(axis=0)))
