"""From looks to the state of a gate: a fold over their rows. Pure; what was folded before is remembered.

A look's rows are new since the look before, so each (stratum, arm) of a look is a stratum of its own, and a late row of
an old stratum is a correction to it. With little traffic, rows wait until they can be compared (`strata`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate import unit_sums
from sluicegate.flows.gate.cells import Rows, Tallies, Totals, beyond, with_rows, with_totals
from sluicegate.flows.gate.design import Question, per_row
from sluicegate.flows.gate.labels import LabelTest, lacking
from sluicegate.flows.gate.remembered_fold import RememberedFold
from sluicegate.flows.gate.strata import split_waiting
from sluicegate.flows.gate.unit_sums import Cohorts, UnitTallies
from sluicegate.flows.stats.drift import DriftTest
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.rate_above import RateAboveTest
from sluicegate.flows.stats.rate_below import RateBelowTest
from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest
from sluicegate.flows.stats.trial import Design, Kind, Trial
from sluicegate.registry.words.metric import Arm, TallyRow, exceedance_name, level_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL

RATIO_ALPHA = 0.001
"""Chance that sound data are ever called mismatched."""
ROOM = 0.5
"""The share of a harm, or of a margin, that chance in the number of missing labels may take up."""


@dataclass(frozen=True, kw_only=True)
class GateState:
    """What a gate knows after its looks."""

    question: Question
    trial: Trial
    cells: Tallies = field(default_factory=dict)
    """What the sound rows of the looks add up to."""
    totals: Totals = field(default_factory=dict)
    """The same, all strata together."""
    waiting: Tallies = field(default_factory=dict)
    """Rows of strata that have too few rows to be compared yet."""
    cohorts: Cohorts = field(default_factory=Cohorts)
    """The same by unit, if units return and the first look has sums by unit."""
    ratio: SampleRatioTest | None = None
    """The test whether rows arrive in the shares of the weights, if requests, or units, are assigned one by one."""
    labels: LabelTest | None = None
    """The test whether labels arrive alike in both builds, if values arrive late."""
    unlike_at: int | None = None
    """The look that found that labels do not arrive alike."""
    failed_at: int | None = None
    """The look that found harm, drift or a broken limit; with late values, one at which outstanding labels left no
    doubt."""
    rate_below: RateBelowTest | None = None
    """The test that the candidate's rate is below a fixed share, if the gate asks for that."""
    rate_above: RateAboveTest | None = None
    """The test that the limit is broken, if the candidate is compared with the limit alone. Then only this test stops
    it."""
    drift: DriftTest | None = None
    """The comparison of the candidate's predictions with stable's, if the gate is about them. Then only this test
    decides."""
    information: float = 0.0
    """Sum of n1 n0 / n over the strata that were compared: the realised w (1 - w) n."""
    fresh: GateState | None = None
    """What the last step's own rows have shown, if the gate must also pass on them alone."""
    unsound: int = 0
    """Tally rows of the last look whose sums cannot be true: not finite, negative, or not counts of a 0/1 metric."""

    @classmethod
    def begin(cls, question: Question, *, by_unit: bool = False) -> GateState:
        """The state before the first look."""
        design = question.design
        is_drawn = question.assigns_rows or by_unit
        return cls(
            question=question,
            trial=Trial.begin(replace(design, by_cohort=by_unit)),
            rate_below=begin_rate_below(question),
            rate_above=begin_rate_above(question),
            ratio=SampleRatioTest.begin(RATIO_ALPHA, design.information) if is_drawn else None,
            labels=LabelTest.begin(design.information) if question.comes_late else None,
            drift=begin_drift(question, by_unit=by_unit),
            fresh=cls.begin(question.fresh, by_unit=by_unit) if question.fresh is not None else None,
        )

    @property
    def has_found(self) -> bool:
        """Whether the values so far showed harm, drift or a broken limit at some look."""
        if self.rate_above is not None:
            return self.rate_above.shown_at is not None
        return (self.trial.failed_at if self.drift is None else self.drift.found_at) is not None

    @property
    def spent(self) -> float:
        """Alpha spent on finding harm, or drift; a limit spends by rows, not by looks."""
        if self.rate_above is not None:
            return self.rate_above.alpha if self.has_found else 0.0
        return self.trial.harm.spent if self.drift is None else self.drift.spent

    @property
    def units(self) -> UnitTallies:
        """What the looks add up to by unit."""
        return self.cohorts.units

    @property
    def by_unit(self) -> bool:
        """Whether units are judged instead of rows."""
        return self.trial.design.by_cohort

    def counted(self, arm: Arm, metric: str | None = None) -> Tally:
        """The tally of one arm, all strata together; by default the metric's own."""
        return self.totals.get((metric or self.question.metric, arm), Tally())

    def counted_units(self, arm: Arm) -> int:
        """The metric's units of one arm, all strata together."""
        name = self.question.metric
        return sum(sums.size for (metric, _, whose), sums in self.units.items() if metric == name and whose is arm)

    def new_rows(self, cumulative: Iterable[TallyRow]) -> Rows:
        """What cumulative rows add to the looks, in order of metric, stratum and arm."""
        reads_units = self.by_unit or (not self.trial.looks and not self.question.assigns_rows)
        names = frozenset(self.question.names)
        new = (
            replace(row, units=unit_sums.units_beyond(self.units, row) if reads_units else None)
            for row in beyond(self.cells, (row for row in cumulative if row.metric in names))
        )
        return tuple(row for row in new if row.tally.n or row.tally.missing or row.units is not None)

    def information_with(self, rows: Rows) -> float:
        """The information there would be after a look at these new rows."""
        return self._with_rows(sound_rows(self.question, rows))[1].information

    def look(self, rows: Rows, *, at_most: float = math.inf) -> GateState:
        """The state after one more look, at these new rows. `at_most`: an upper limit of the information."""
        sound = sound_rows(self.question, rows)
        after, new = self._with_rows(sound)
        information = max(min(new.information, at_most), self.information)
        candidate = after.counted(Arm.CANDIDATE)
        after = replace(
            after,
            information=information,
            unsound=sum(not is_sound(self.question, row) for row in rows),
            trial=self.trial.look(new.increment(self.question, information)),
            ratio=self.ratio.look(_arrivals(sound, self.question.metric, by_unit=self.by_unit)) if self.ratio else None,
            labels=self.labels.look(
                self.question.metric,
                self.cells,
                after.cells,
                sound,
                have_returned=unit_sums.have_returned(after.units),
            )
            if self.labels is not None
            else None,
            drift=self.drift.look(new.at_levels(self.question, information)) if self.drift is not None else None,
            rate_below=self.rate_below.look(candidate.n, round(candidate.total)) if self.rate_below else None,
            rate_above=self.rate_above.look(candidate.n, round(candidate.total)) if self.rate_above else None,
            fresh=self._fresh_look(sound),
        )
        k = after.trial.looks
        has_failed = after.has_found and (after.rate_above is not None or after.is_harm_beyond_lacking)
        return replace(
            after,
            unlike_at=self.unlike_at or (k if after.are_labels_unlike else None),
            failed_at=self.failed_at or (k if has_failed else None),
        )

    def _with_rows(self, sound: Sequence[TallyRow]) -> tuple[GateState, _News]:
        """The state after these rows are counted, and what can be compared now."""
        cells, totals = with_rows(self.cells, sound), with_totals(self.totals, sound)
        if self.question.is_alone:
            counted = replace(self, cells=cells, totals=totals)
            return counted, _News(information=counted.counted(Arm.CANDIDATE).n * per_row(FULL // 2))
        if not self.by_unit:
            ready, waiting = split_waiting(with_rows(self.waiting, sound), self.question.metric)
            pairs = _pairs(ready, self.question.metric, self.question.metric)
            information = self.trial.sums.information + math.fsum(pair.information for pair in pairs)
            news = _News(ready=ready, information=information)
            return replace(self, cells=cells, totals=totals, waiting=waiting), news
        cohorts = self.cohorts.with_rows(sound, self.question.metric)
        changes = cohorts.changes_since(self.cohorts, self.question.metric, self.question.metric)
        grown = (change.now.rows.information - change.before.rows.information for change in changes)
        information = self.trial.sums.information + math.fsum(grown)
        news = _News(before=self.cohorts, now=cohorts, information=information)
        return replace(self, cells=cells, totals=totals, cohorts=cohorts), news

    @property
    def is_harm_beyond_lacking(self) -> bool:
        """Whether the candidate is worse even if all labels that stable lacks are bad, or all that the candidate lacks
        good."""
        readout, sign = estimate(self.trial), self.trial.design.sign
        doubt = self.doubt_of_lacking(Arm.STABLE, room=ROOM * abs(readout.value or 0.0))
        end = readout.low if sign > 0 else readout.high
        return doubt == 0 or (end is not None and sign * end > doubt)

    def doubt_of_lacking(self, bad: Arm, room: float = 0.0) -> float:
        """How far missing labels could move the difference between the builds: if all labels that `bad` lacks compared
        with the other build were bad, or all that the other lacks good; the larger of both.

        A standard deviation is added, up to `room`: while few labels have arrived, chance hides how many are missing.
        """
        if self.labels is None or not self.labels.is_countable:
            return 0.0
        design, both = self.question.design, lacking(self.question.metric, self.cells)
        of_bad, of_good = both if bad is Arm.STABLE else both[::-1]
        stable = self.counted(Arm.STABLE)
        return max(
            each * what.share + min(each * what.spread, room)
            for what, each in ((of_bad, _badness(design, stable)), (of_good, _goodness(design, stable)))
        )

    @property
    def are_labels_young(self) -> bool:
        """Whether most labels of the compared requests may still arrive."""
        return self.labels is not None and self.labels.is_countable and self.labels.are_young(self.cells)

    @property
    def are_labels_unlike(self) -> bool:
        """Whether labels arrive sooner, later or less often in one build, or out of the shares of the weights."""
        out_of_share = self.ratio is not None and self.ratio.mismatch
        return self.labels is not None and (out_of_share or self.labels.mismatch)

    def _fresh_look(self, sound: Sequence[TallyRow]) -> GateState | None:
        """What the last step's own rows have shown, this look included."""
        if self.fresh is None:
            return None
        new = tuple(row for row in sound if row.weight == self.fresh.question.weight)
        return self.fresh.look(new) if new else self.fresh


def begin_rate_below(question: Question) -> RateBelowTest | None:
    """The test that the rate is below a fixed share, if the gate names one."""
    if question.below is None or question.is_guardrail:
        return None
    return RateBelowTest(bound=question.below, beta=question.design.beta)


def begin_rate_above(question: Question) -> RateAboveTest | None:
    """The test that the limit is broken, if only that stops the candidate."""
    if question.below is None or not question.is_absolute:
        return None
    return RateAboveTest(bound=question.below, alpha=question.design.alpha)


def begin_drift(question: Question, *, by_unit: bool = False) -> DriftTest | None:
    """The comparison of predictions, if the gate is about them."""
    if question.tolerance is None:
        return None
    return DriftTest.begin(
        levels=question.levels, tolerance=question.tolerance, alpha=question.design.alpha,
        information=question.design.information, by_cohort=by_unit,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _News:
    """What has become comparable since the last look, by row or by unit."""

    information: float
    """The information of everything compared so far, this included."""
    ready: Tallies = field(default_factory=dict)
    before: Cohorts | None = None
    now: Cohorts | None = None

    def increment(self, question: Question, information: float) -> Increment:
        """The increment of the metric; for a latency quantile, also at each moved threshold."""
        name = question.metric
        margins = [rung.margin for rung in question.design.rungs if rung.margin > 0 and question.design.moves_threshold]
        moved = {m: self._between(name, exceedance_name(name, m), information) for m in margins}
        return replace(self._between(name, name, information), at_margin=moved)

    def at_levels(self, question: Question, information: float) -> dict[float, Increment]:
        """The increment of predictions above each level."""
        names = {level: level_name(question.metric, level) for level in question.levels}
        return {level: self._between(name, name, information) for level, name in names.items()}

    def _between(self, stable: str, candidate: str, information: float) -> Increment:
        """Stable's rows of one metric with the candidate's rows of another."""
        if self.before is not None and self.now is not None:
            changes = self.now.changes_since(self.before, stable, candidate)
            return Increment(information=information, changes=changes)
        return Increment(information=information, pairs=_pairs(self.ready, stable, candidate))


def is_sound(question: Question, row: TallyRow) -> bool:
    """Whether real values can have these sums; only zeros and ones, if the metric has no others."""
    is_true = row.tally.is_count if question.design.kind is Kind.COUNT else _is_of_values(question, row)
    return is_true and (row.units is None or unit_sums.is_possible(row.units))


def _is_of_values(question: Question, row: TallyRow) -> bool:
    """Whether real values can have these sums, and the metric's own ones lie within its bounds."""
    bounds, tally = question.design.bounds, row.tally
    if not tally.is_sound or bounds is None or row.metric != question.metric or not tally.n:
        return tally.is_sound
    return bounds.may_hold(tally)


def sound_rows(question: Question, rows: Rows) -> list[TallyRow]:
    """The rows of strata in which every row is sound. One arm without the other would look as if rows were lost."""
    doubted = {(row.stratum, row.weight) for row in rows if not is_sound(question, row)}
    return [row for row in rows if (row.stratum, row.weight) not in doubted]


def _pairs(tallies: Tallies, stable: str, candidate: str) -> tuple[Pair, ...]:
    """One pair for each stratum, in order: stable's rows of one metric with the candidate's rows of another."""
    sides = sorted({side for name, side, arm in tallies if name == (candidate if arm is Arm.CANDIDATE else stable)})
    return tuple(
        Pair(
            stable=tallies.get((stable, side, Arm.STABLE), Tally()),
            candidate=tallies.get((candidate, side, Arm.CANDIDATE), Tally()),
        )
        for side in sides
    )


def _arrivals(rows: Sequence[TallyRow], metric: str, *, by_unit: bool) -> tuple[Arrivals, ...]:
    """The metric's new units, or else its rows, by arm, missing values included. Rows whose weight is unknown, 0 or
    100 % are left out: chance did not assign them."""
    return tuple(
        Arrivals(
            share=row.weight / FULL, candidate=n if row.arm is Arm.CANDIDATE else 0,
            stable=0 if row.arm is Arm.CANDIDATE else n,
        )
        for row in rows
        if row.metric == metric and 0 < row.weight < FULL
        for n in [unit_sums.arrived_units(row) if by_unit else row.tally.n + row.tally.missing]
    )  # fmt: skip


def _badness(design: Design, stable: Tally) -> float:
    """How far from the mean a label lies that counts as bad: at the bad end for zeros and ones, else two standard
    deviations away."""
    mean = stable.mean or 0.0
    if design.kind is Kind.COUNT:
        return 1 - mean if design.worse_is_higher else mean
    return 2 * math.sqrt(max(stable.squares / stable.n - mean**2, 0.0)) if stable.n else 0.0


def _goodness(design: Design, stable: Tally) -> float:
    """The same for a label that counts as good."""
    return 1 - _badness(design, stable) if design.kind is Kind.COUNT else _badness(design, stable)


def _begun(question: Question, looks: Sequence[Rows]) -> GateState:
    """The state before the first look. Units are judged if the plan hashes them and the first look has sums by unit."""
    is_drawn = question.assigns_rows or question.is_alone
    by_unit = bool(looks) and unit_sums.has_units(looks[0]) and not is_drawn
    return GateState.begin(question, by_unit=by_unit)


fold = RememberedFold(_begun, GateState.look)
"""The state after looks with these rows."""
