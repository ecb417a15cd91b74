"""Do labels arrive alike in both builds? If not, those that have arrived prove nothing yet. Pure.

There are two answers. `LabelTest` is a sequential test of just this (the log-rank test); once it has found a mismatch,
the gate says NO DATA. That takes time, so until then `lacking` keeps a verdict from resting on missing labels. Before
the candidate passes, labels that it lacks compared with stable count as bad, and those that stable lacks as good;
before it fails, the other way round. The second half matters if bad outcomes get labels more often in both builds: a
worse candidate then has more labels than stable, and its additional labels are bad.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluicegate.flows.gate.cells import Rows, Side, Tallies
from sluicegate.flows.stats.counts import Draw
from sluicegate.flows.stats.log_rank import Events, LogRankTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words import figures
from sluicegate.registry.words.metric import REQUESTS, SEVERAL_ROWS, Arm, TallyRow
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL, format_duration

_ALPHA = 0.01
"""Chance that labels which arrive alike are ever called unlike. Then the gate only waits."""
_RESERVE = 0.1
_BUCKET = 300.0
_NEARLY_ALL = 0.999
"""The share of labels that should have arrived after `matures_after`."""
_MOST_COME = 0.9
"""The share of labels whose delay sets how old a request must be not to count as young."""
_SAME = 0.002
"""If the builds' shares of old requests with a label differ by less, the message treats them as equal."""
_NONE = Tally()


@dataclass(frozen=True, kw_only=True)
class LabelTest:
    """The state of the test after some looks. A mismatch that was found stays found."""

    many: LogRankTest
    """The test that the candidate gets too many labels, or gets them too soon."""
    few: LogRankTest
    """The test that the candidate gets too few labels, or gets them too late."""
    ages: Mapping[int, int] = field(default_factory=dict)
    """How many labels arrived how late, in seconds from the bucket of their request to the newest bucket."""
    newest: int = 0
    """The newest bucket with requests."""
    weighed: int = 0
    """The labels of both builds, each times both builds' weights, whichever build it belongs to."""
    is_countable: bool = True
    """Whether each request has one label. Labels of requests with several rows, or of returning units, are not separate
    draws."""

    @classmethod
    def begin(cls, information: float) -> LabelTest:
        """The test before its first look; `information` is the planned sum of w (1 - w) n."""
        side = LogRankTest(budget=Budget(alpha=_ALPHA / 2, information=information, reserve=_RESERVE))
        return cls(many=side, few=side)

    @property
    def mismatch(self) -> bool:
        """Whether labels do not come alike."""
        return self.many.rejected or self.few.rejected

    def look(
        self, metric: str, before: Tallies, now: Tallies, rows: Sequence[TallyRow], *, have_returned: bool
    ) -> LabelTest:
        """The test after a look at these rows, which changed the tallies from `before` to `now`. Only new labels are
        processed."""
        arrived = [row for row in rows if row.metric == metric]
        new = tuple(_new_labels(metric, before, now, {(row.stratum, row.weight) for row in arrived}))
        others = [events.mirrored for events in new]
        is_countable = self.is_countable and not have_returned and all(row.metric != SEVERAL_ROWS for row in rows)
        weighed = self.weighed + sum(_come(row.tally) * row.weight * (FULL - row.weight) for row in arrived)
        newest = max((row.stratum.bucket for row in rows if row.metric == REQUESTS), default=0)
        newest = max(newest, self.newest)
        if not is_countable or any(events.draw.mine > events.draw.size for events in (*new, *others)):
            return replace(self, newest=newest, weighed=weighed, is_countable=False)
        information = weighed / FULL**2
        return replace(
            self, newest=newest, weighed=weighed, many=self.many.look(new, information),
            few=self.few.look(others, information), ages=_with_ages(self.ages, arrived, newest),
        )  # fmt: skip

    def are_young(self, tallies: Tallies) -> bool:
        """Whether less than half of the compared requests are older than most labels were on arrival."""
        left, patience = _MOST_COME * sum(self.ages.values()), 0
        for age, n in sorted(self.ages.items()):
            left, patience = left - n, age
            if left <= 0:
                break
        weights = {side: _weight(tallies, side) for name, side, _ in tallies if name == REQUESTS}
        old = sum(weight for side, weight in weights.items() if side[0].bucket <= self.newest - patience)
        return old < sum(weights.values()) / 2


def _new_labels(metric: str, before: Tallies, now: Tallies, sides: Iterable[Side]) -> Iterable[Events]:
    """The new labels of these strata, among the requests that still lack one. A stratum without counted requests has
    none."""
    for side in sorted(sides):
        requests = [now.get((REQUESTS, side, arm), _NONE).n for arm in Arm]
        earlier = [labels(before, metric, side, arm) for arm in Arm]
        new = [labels(now, metric, side, arm) - labelled for arm, labelled in zip(Arm, earlier, strict=True)]
        if any(new) and any((REQUESTS, side, arm) in now for arm in Arm):
            draw = Draw(size=requests[1] - earlier[1], others=requests[0] - earlier[0], events=sum(new), mine=new[1])
            yield Events(draw=draw, rows=sum(requests))


def _with_ages(ages: Mapping[int, int], arrived: Iterable[TallyRow], newest: int) -> Mapping[int, int]:
    """How late labels arrived, these included, as precisely as buckets tell."""
    after = dict(ages)
    for row in arrived:
        if row.stratum.bucket >= 0:
            age = newest - row.stratum.bucket
            after[age] = after.get(age, 0) + _come(row.tally)
    return after


def _weight(tallies: Tallies, side: Side) -> float:
    """n1 n0 / n of a stratum's requests."""
    n, others = (tallies.get((REQUESTS, side, arm), _NONE).n for arm in Arm)
    return n * others / (n + others) if n and others else 0.0


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """The share of a build's labels that is missing, compared with the other build's."""

    share: float = 0.0
    """0 if no fewer have arrived, or if requests were not counted."""
    spread: float = 0.0
    """The standard deviation of that share by chance."""


def lacking(metric: str, tallies: Tallies) -> tuple[Lacking, Lacking]:
    """What stable, and what the candidate, lacks compared with the other build, over all strata."""
    stable = candidate = variance = 0.0
    for side in sorted({side for name, side, _ in tallies if name == REQUESTS}):
        weight = _weight(tallies, side)
        if weight:
            sizes = [tallies[REQUESTS, side, arm].n for arm in Arm]
            arrived = [labels(tallies, metric, side, arm) for arm in Arm]
            share = sum(arrived) / sum(sizes)
            stable, candidate = stable + weight * arrived[0] / sizes[0], candidate + weight * arrived[1] / sizes[1]
            variance += weight * share * (1 - share)
    spread = math.sqrt(max(variance, 0.0))
    return _beside(stable, candidate, spread), _beside(candidate, stable, spread)


def _beside(mine: float, theirs: float, spread: float) -> Lacking:
    return Lacking(share=max(1 - mine / theirs, 0.0), spread=spread / theirs) if theirs else Lacking()


def labels(tallies: Tallies, metric: str, side: Side, arm: Arm) -> int:
    """The number of labels that have arrived, those without a usable value included."""
    return _come(tallies.get((metric, side, arm), _NONE))


def _come(tally: Tally) -> int:
    return tally.n + tally.missing


def unlike(metric: str, tallies: Tallies) -> str:
    """The message that labels do not arrive alike."""
    shares = [_share(metric, tallies, arm) for arm in Arm]
    if None in shares:
        return "labels do not come in the shares that the weights ask for"
    stable, candidate = (figures.share(share or 0.0) for share in shares)
    return f"labels arrive at different rates: {stable} of stable's requests have one, {candidate} of the candidate's"


def _share(metric: str, tallies: Tallies, arm: Arm, *, until: float = math.inf) -> float | None:
    """The share of a build's requests whose label has arrived, in strata that began before `until`."""
    sides = {side for name, side, _ in tallies if name == REQUESTS and side[0].bucket < until}
    requests = sum(tallies.get((REQUESTS, side, arm), _NONE).n for side in sides)
    return sum(labels(tallies, metric, side, arm) for side in sides) / requests if requests else None


def mending(metric: str, tallies: Tallies, looks: Sequence[tuple[datetime, Rows]]) -> str:
    """What to do about labels that do not arrive alike: how long to wait for them, or that they are lost. Empty if no
    label has a known delay."""
    delays = [delay for arm in Arm if (delay := _delay(metric, looks, arm)) is not None]
    if not delays:
        return ""
    wait = _rounded_up(max(delays))
    old = looks[-1][0].timestamp() - wait - _BUCKET
    stable, candidate = (_share(metric, tallies, arm, until=old) for arm in Arm)
    if stable is not None and candidate is not None and abs(stable - candidate) > _SAME:
        shares = f"{figures.share(stable)} and {figures.share(candidate)}"
        return f"; of requests older than {format_duration(wait)} {shares} have one: labels are lost, find out where"
    return f"; write matures_after: {format_duration(wait)}, by then nearly all have come"


def _delay(metric: str, looks: Sequence[tuple[datetime, Rows]], arm: Arm) -> float | None:
    """Seconds within which nearly all of a build's labels so far arrived, as precisely as looks tell; None without
    labels."""
    ages = sorted(
        (at.timestamp() - row.stratum.bucket, _come(row.tally))
        for at, rows in looks
        for row in rows
        if row.metric == metric and row.arm is arm and row.stratum.bucket >= 0
    )
    left = _NEARLY_ALL * sum(n for _, n in ages)
    for age, n in ages:
        left -= n
        if left <= 0:
            return max(age, 0.0)
    return None


def _rounded_up(seconds: float) -> float:
    """Rounded up to whole minutes, from two hours on to whole hours, from two days on to whole days."""
    unit = 60.0 if seconds <= 7_200 else 3_600.0 if seconds <= 172_800 else 86_400.0
    return max(math.ceil(seconds / unit), 1) * unit
