"""Users who return while weights rise, as telemetry tallies them: rows by stratum, units by the stratum they belong to.

Users differ in how often they come and in how often they have the event, so that rows of one user are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.units import FULL

BUCKET = 2_000
"""Rows of a time bucket."""
_NEW, _LEFT_OUT = -1_000, -2_000


@dataclass(frozen=True, kw_only=True)
class Returning:
    """A population of returning users."""

    rate: float
    concentration: float = 2.0
    """Beta distribution of the users' event rates; small is very unlike."""
    rows_each: float = 10.0
    harm: float = 1.0
    """Multiplies the rate where the candidate answers."""
    activity: float | None = None
    """The index of a Pareto law of how often users come; None: a gamma law, of which no user makes most requests."""
    often: float = 1.0
    """How many times as often users come where the candidate answers."""
    day: float = 0.0
    """How much the rate rises and falls over a day of 10,000 rows."""

    def rows(
        self, rng: Generator, metric: str, weights: Sequence[int], total: int, batch: int
    ) -> Iterator[tuple[int, list[TallyRow]]]:
        """The step and the cumulative rows after each batch; weights in basis points, equally long."""
        crowd = _Crowd(int(total / self.rows_each))
        slot, rate, activity = self._users(rng, crowd.size)
        known: dict[tuple[Stratum, int], list[TallyRow]] = {}
        for start in range(0, total, batch):
            epoch = min(start * len(weights) // total, len(weights) - 1)
            is_candidate = slot < weights[epoch] / FULL
            comes = np.cumsum(activity * np.where(is_candidate, self.often, 1.0))
            who = np.searchsorted(comes / comes[-1], rng.random(batch)).clip(max=crowd.size - 1)
            level = 1 + self.day * np.sin(2 * np.pi * start / 10_000)
            chance = np.minimum(rate[who] * level * np.where(is_candidate[who], self.harm, 1.0), 1.0)
            x = (rng.random(batch) < chance).astype(float)
            crowd.meet(who, x, epoch, start // BUCKET * BUCKET, is_candidate)
            now = Stratum(epoch=epoch + 1, bucket=start // BUCKET * BUCKET)
            side = known.setdefault((now, weights[epoch]), _empty(metric, now, weights[epoch]))
            for i, mask in enumerate((~is_candidate[who], is_candidate[who])):
                side[i] = replace(side[i], tally=side[i].tally + _tally(x[mask]))
            for bucket in crowd.buckets():
                stratum = Stratum(epoch=epoch + 1, bucket=bucket)
                side = known.setdefault((stratum, weights[epoch]), _empty(metric, stratum, weights[epoch]))
                for i, mask in enumerate((~is_candidate, is_candidate)):
                    side[i] = replace(side[i], units=crowd.sums(bucket, mask))
            yield epoch, [row for side in known.values() for row in side]

    def _users(self, rng: Generator, count: int) -> tuple[NDArray[np.float64], ...]:
        rate = rng.beta(self.rate * self.concentration, (1 - self.rate) * self.concentration, count)
        activity = rng.gamma(1.0, 1.0, count) if self.activity is None else 1 + rng.pareto(self.activity, count)
        return rng.random(count), rate, activity


class _Crowd:
    """What telemetry remembers of each unit: where it belongs in this epoch, and its rows there."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.epoch = 0
        self.bucket = np.full(size, _NEW)
        """Of this epoch: the bucket it belongs to, `_NEW` while it was not met."""
        self.met_in = np.full(size, _NEW)
        """The last epoch in which it was met."""
        self.met_candidate = np.zeros(size, dtype=bool)
        """In an epoch before this one."""
        self.x, self.n = np.zeros(size), np.zeros(size)

    def meet(
        self, who: NDArray[np.int64], x: NDArray[np.float64], epoch: int, bucket: int, is_candidate: NDArray[np.bool_]
    ) -> None:
        if epoch != self.epoch:
            self.epoch = epoch
            self.bucket[:] = _NEW
            self.x[:], self.n[:] = 0, 0
        for unit in np.unique(who[self.bucket[who] == _NEW]):
            before = self.met_in[unit]
            belongs = bucket if before == _NEW else -(before + 1)
            self.bucket[unit] = _LEFT_OUT if self.met_candidate[unit] else belongs
            self.met_in[unit] = epoch
        self.met_candidate |= is_candidate & (self.met_in == epoch)
        self.x += np.bincount(who, x, minlength=self.size)
        self.n += np.bincount(who, minlength=self.size)

    def buckets(self) -> list[int]:
        return [int(bucket) for bucket in np.unique(self.bucket) if bucket not in (_NEW, _LEFT_OUT)]

    def sums(self, bucket: int, mask: NDArray[np.bool_]) -> UnitSums:
        here = mask & (self.bucket == bucket)
        x, n = self.x[here], self.n[here]
        powers = (x, n, x * x, x * n, n * n, x * x * x, x * x * n, x * n * n, n * n * n)
        return UnitSums(x.size, *(float(power.sum()) for power in powers))


def _empty(metric: str, stratum: Stratum, weight: int) -> list[TallyRow]:
    return [TallyRow(metric=metric, stratum=stratum, weight=weight, arm=arm, tally=Tally()) for arm in Arm]


def _tally(x: NDArray[np.float64]) -> Tally:
    return Tally.from_events(x.size, float(x.sum()))
