"""Do labels come alike in both builds? Where they do not, what has come says nothing yet. Pure.

Two answers. `LabelTest` is a sequential test of just this (the log-rank test); once it has found a mismatch the gate
says NO DATA. That takes its time, so until then `lacking` keeps a gate from resting on labels that are not there.
Before the candidate passes, those that it lacks beside stable are taken for bad ones, and those that stable lacks for
good ones; before it fails, the other way round. The second half matters where bad outcomes get labels more often in
both builds: a worse candidate then has more labels than stable, and all that it has more of are bad.
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
"""Chance that labels which come alike are ever called unlike. The gate then waits, no more."""
_RESERVE = 0.1
_BUCKET = 300.0
_NEARLY_ALL = 0.999
"""The share of labels that `matures_after` should let come."""
_MOST_COME = 0.9
"""The share of labels that were no later than what must be waited for."""
_SAME = 0.002
"""Shares of old requests with a label that differ by less are the same in words."""
_NONE = Tally()


@dataclass(frozen=True, kw_only=True)
class LabelTest:
    """The state of the test after some looks. What was found stays found."""

    many: LogRankTest
    """Of too many labels of the candidate's, or too soon."""
    few: LogRankTest
    """Of too few, or too late."""
    ages: Mapping[int, int] = field(default_factory=dict)
    """How many labels came how late, in seconds by the buckets of their requests and of the newest ones."""
    newest: int = 0
    """The newest bucket with requests."""
    weighed: int = 0
    """Labels of both builds, times both weights: whose they are plays no part."""
    is_countable: bool = True
    """Whether requests have one label each: those of several rows, and of units that return, are no single draws."""

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
        """The test after a look at these rows, which changed the tallies so. Only what is new is gone through."""
        come = [row for row in rows if row.metric == metric]
        new = tuple(_new_labels(metric, before, now, {(row.stratum, row.weight) for row in come}))
        others = [events.mirrored for events in new]
        is_countable = self.is_countable and not have_returned and all(row.metric != SEVERAL_ROWS for row in rows)
        weighed = self.weighed + sum(_come(row.tally) * row.weight * (FULL - row.weight) for row in come)
        newest = max((row.stratum.bucket for row in rows if row.metric == REQUESTS), default=0)
        newest = max(newest, self.newest)
        if not is_countable or any(events.draw.mine > events.draw.size for events in (*new, *others)):
            return replace(self, newest=newest, weighed=weighed, is_countable=False)
        information = weighed / FULL**2
        return replace(
            self, newest=newest, weighed=weighed, many=self.many.look(new, information),
            few=self.few.look(others, information), ages=_with_ages(self.ages, come, newest),
        )  # fmt: skip

    def are_young(self, tallies: Tallies) -> bool:
        """Whether less than half of what is compared is older than most labels were when they came."""
        left, patience = _MOST_COME * sum(self.ages.values()), 0
        for age, n in sorted(self.ages.items()):
            left, patience = left - n, age
            if left <= 0:
                break
        weights = {side: _weight(tallies, side) for name, side, _ in tallies if name == REQUESTS}
        old = sum(weight for side, weight in weights.items() if side[0].bucket <= self.newest - patience)
        return old < sum(weights.values()) / 2


def _new_labels(metric: str, before: Tallies, now: Tallies, sides: Iterable[Side]) -> Iterable[Events]:
    """The new labels of these strata among their requests at risk. A stratum whose requests were not told has none."""
    for side in sorted(sides):
        seen = [now.get((REQUESTS, side, arm), _NONE).n for arm in Arm]
        had = [labels(before, metric, side, arm) for arm in Arm]
        new = [labels(now, metric, side, arm) - known for arm, known in zip(Arm, had, strict=True)]
        if any(new) and any((REQUESTS, side, arm) in now for arm in Arm):
            draw = Draw(size=seen[1] - had[1], others=seen[0] - had[0], events=sum(new), mine=new[1])
            yield Events(draw=draw, rows=sum(seen))


def _with_ages(ages: Mapping[int, int], come: Iterable[TallyRow], newest: int) -> Mapping[int, int]:
    """How late labels came, these included, as far as buckets tell."""
    after = dict(ages)
    for row in come:
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
    """The share of a build's labels that would have come by now, had they come as the other build's did."""

    share: float = 0.0
    """0 where no fewer have come, and where requests were not told."""
    spread: float = 0.0
    """How far chance moves it, in standard deviations."""


def lacking(metric: str, tallies: Tallies) -> tuple[Lacking, Lacking]:
    """What stable, and what the candidate, lacks beside the other, over strata."""
    stable = candidate = variance = 0.0
    for side in sorted({side for name, side, _ in tallies if name == REQUESTS}):
        weight = _weight(tallies, side)
        if weight:
            sizes = [tallies[REQUESTS, side, arm].n for arm in Arm]
            come = [labels(tallies, metric, side, arm) for arm in Arm]
            share = sum(come) / sum(sizes)
            stable, candidate = stable + weight * come[0] / sizes[0], candidate + weight * come[1] / sizes[1]
            variance += weight * share * (1 - share)
    spread = math.sqrt(max(variance, 0.0))
    return _beside(stable, candidate, spread), _beside(candidate, stable, spread)


def _beside(mine: float, theirs: float, spread: float) -> Lacking:
    return Lacking(share=max(1 - mine / theirs, 0.0), spread=spread / theirs) if theirs else Lacking()


def labels(tallies: Tallies, metric: str, side: Side, arm: Arm) -> int:
    """Labels that have come, those whose value could not be had included."""
    return _come(tallies.get((metric, side, arm), _NONE))


def _come(tally: Tally) -> int:
    return tally.n + tally.missing


def unlike(metric: str, tallies: Tallies) -> str:
    """That labels do not come alike, in words."""
    shares = [_share(metric, tallies, arm) for arm in Arm]
    if None in shares:
        return "labels do not come in the shares that the weights ask for"
    stable, candidate = (figures.share(share or 0.0) for share in shares)
    return f"labels arrive at different rates: {stable} of stable's requests have one, {candidate} of the candidate's"


def _share(metric: str, tallies: Tallies, arm: Arm, *, until: float = math.inf) -> float | None:
    """The share of a build's requests whose label has come, of those in strata that began before `until`."""
    sides = {side for name, side, _ in tallies if name == REQUESTS and side[0].bucket < until}
    requests = sum(tallies.get((REQUESTS, side, arm), _NONE).n for side in sides)
    return sum(labels(tallies, metric, side, arm) for side in sides) / requests if requests else None


def mending(metric: str, tallies: Tallies, looks: Sequence[tuple[datetime, Rows]]) -> str:
    """What would mend labels that do not come alike: how long to wait for them; nothing, where they are lost."""
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
    """Seconds within which nearly all labels of a build came that have come by now, as far as looks can tell."""
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
    """To whole minutes, from two hours on to whole hours, from two days on to whole days."""
    unit = 60.0 if seconds <= 7_200 else 3_600.0 if seconds <= 172_800 else 86_400.0
    return max(math.ceil(seconds / unit), 1) * unit
