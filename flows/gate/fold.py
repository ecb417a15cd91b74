"""From looks to the state of a gate: a fold over their rows. Pure; what was folded before is remembered.

A look's rows are new since the look before, so each (stratum, arm) of a look is a stratum of its own, and a late row
to an old stratum becomes a correction there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate import unit_sums
from sluicegate.flows.gate.cells import Rows, Side, Tallies, beyond, with_rows
from sluicegate.flows.gate.design import Question
from sluicegate.flows.gate.labels import LabelTest, lacking
from sluicegate.flows.gate.remembered_fold import RememberedFold
from sluicegate.flows.gate.unit_sums import UnitTallies
from sluicegate.flows.stats.drift import DriftTest
from sluicegate.flows.stats.increment import Increment
from sluicegate.flows.stats.intervals import estimate
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.rate_below import RateBelowTest
from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest
from sluicegate.flows.stats.trial import Design, Kind, Trial
from sluicegate.registry.words.metric import Arm, TallyRow, exceedance_name, level_name
from sluicegate.registry.words.tally import Tally
from sluicegate.registry.words.units import FULL

RATIO_ALPHA = 0.001
"""Chance that sound data are ever called mismatched."""
_ROOM = 0.25
"""The share of a harm that chance may take up in how many labels stable lacks."""


@dataclass(frozen=True, kw_only=True)
class GateState:
    """What a gate knows after its looks."""

    question: Question
    trial: Trial
    cells: Tallies = field(default_factory=dict)
    """What the sound rows of the looks add up to."""
    units: UnitTallies = field(default_factory=dict)
    """The same by unit, where units return and the first look told of them."""
    ratio: SampleRatioTest | None = None
    """Whether rows came in the shares of the weights, where each request is assigned by itself."""
    labels: LabelTest | None = None
    """Whether labels come alike in both builds, where values come late."""
    unlike_at: int | None = None
    """The look that found that labels do not come alike."""
    failed_at: int | None = None
    """The look that found harm, or drift; of late values one at which the labels that are outstanding left no doubt."""
    rate_below: RateBelowTest | None = None
    """The test of the candidate's rate against a fixed share, where the gate wants one shown."""
    drift: DriftTest | None = None
    """The test of the candidate's predictions against stable's, where they are compared; then it alone decides."""
    information: float = 0.0
    """Sum over strata of n1 n0 / n: the realised w (1 - w) n."""
    fresh: GateState | None = None
    """What the last step's own rows have shown, where the gate must pass on them besides."""
    unsound: int = 0
    """Tally rows of the last look whose sums cannot be true: not finite, negative, or no 0/1 counts where due."""

    @classmethod
    def begin(cls, question: Question, looks: tuple[Rows, ...] = ()) -> GateState:
        """The state before the first look. Units are judged where the plan hashes them and the first look tells of
        them."""
        return cls._begin(question, by_unit=bool(looks) and unit_sums.has_units(looks[0]) and not question.assigns_rows)

    @classmethod
    def _begin(cls, question: Question, *, by_unit: bool) -> GateState:
        design = question.design
        is_drawn = question.assigns_rows or by_unit
        return cls(
            question=question,
            trial=Trial.begin(replace(design, by_cohort=by_unit)),
            rate_below=begin_rate_below(question),
            ratio=SampleRatioTest.begin(RATIO_ALPHA, design.information) if is_drawn else None,
            labels=LabelTest.begin(design.information) if question.comes_late else None,
            drift=begin_drift(question, by_unit=by_unit),
            fresh=cls._begin(question.fresh, by_unit=by_unit) if question.fresh is not None else None,
        )

    @property
    def has_found(self) -> bool:
        """Whether the values that have come showed harm, or drift, at some look."""
        return (self.trial.failed_at if self.drift is None else self.drift.found_at) is not None

    @property
    def spent(self) -> float:
        """Alpha spent on finding harm, or drift."""
        return self.trial.harm.spent if self.drift is None else self.drift.spent

    @property
    def by_unit(self) -> bool:
        """Whether units are judged instead of rows."""
        return self.trial.design.by_cohort

    def counted(self, arm: Arm, metric: str | None = None) -> Tally:
        """The tally of one arm, all strata together; by default the metric's own."""
        name = metric or self.question.metric
        return sum((tally for (of, _, whose), tally in self.cells.items() if of == name and whose is arm), Tally())

    def counted_units(self, arm: Arm) -> int:
        """The metric's units of one arm, all strata together."""
        name = self.question.metric
        return sum(sums.size for (of, _, whose), sums in self.units.items() if of == name and whose is arm)

    def new_rows(self, cumulative: Iterable[TallyRow]) -> Rows:
        """What cumulative rows hold beyond the looks, in order of metric, stratum and arm."""
        may_tell_units = self.by_unit or (not self.trial.looks and not self.question.assigns_rows)
        names = self.question.names
        new = (
            replace(row, units=unit_sums.units_beyond(self.units, row) if may_tell_units else None)
            for row in beyond(self.cells, cumulative)
            if row.metric in names
        )
        return tuple(row for row in new if row.tally.n or row.tally.missing or row.units is not None)

    def information_with(self, rows: Rows) -> float:
        """The information there would be after a look at these new rows."""
        return _information(self.question, with_rows(self.cells, _sound(self.question, rows)))

    def look(self, rows: Rows) -> GateState:
        """The state after one more look, at these new rows."""
        sound = _sound(self.question, rows)
        cells = with_rows(self.cells, sound)
        units = unit_sums.with_units(self.units, sound) if self.by_unit else self.units
        after = replace(
            self, cells=cells, units=units, information=_information(self.question, cells),
            unsound=sum(not is_sound(self.question, row) for row in rows),
        )  # fmt: skip
        new = _NewRows(before=self, after=after, rows=sound)
        candidate = after.counted(Arm.CANDIDATE)
        after = replace(
            after,
            trial=self.trial.look(new.increment()),
            ratio=self.ratio.look(new.arrivals()) if self.ratio is not None else None,
            labels=self.labels.look(
                self.question.metric, self.cells, cells, have_returned=unit_sums.have_returned(units)
            )
            if self.labels is not None
            else None,
            drift=self.drift.look(new.at_levels()) if self.drift is not None else None,
            rate_below=self.rate_below.look(candidate.n, round(candidate.total)) if self.rate_below else None,
            fresh=self._fresh_look(sound),
        )
        k = after.trial.looks
        has_failed = after.has_found and after.is_harm_beyond_lacking
        return replace(
            after,
            unlike_at=self.unlike_at or (k if after.are_labels_unlike else None),
            failed_at=self.failed_at or (k if has_failed else None),
        )

    @property
    def is_harm_beyond_lacking(self) -> bool:
        """Whether the candidate is worse even if the labels that stable lacks are bad."""
        readout, sign = estimate(self.trial), self.trial.design.sign
        doubt = self.harm_lacking(Arm.STABLE, room=_ROOM * abs(readout.value or 0.0))
        end = readout.low if sign > 0 else readout.high
        return doubt == 0 or (end is not None and sign * end > doubt)

    def harm_lacking(self, arm: Arm, room: float = 0.0) -> float:
        """By how much a build's mean would be worse if the labels that it lacks beside the other's were all bad.

        As far as `room` goes, by a standard deviation more: where few have come, chance hides what is lacking.
        """
        if self.labels is None or not self.labels.is_countable:
            return 0.0
        each = _badness(self.question.design, self.counted(Arm.STABLE))
        what = lacking(self.question.metric, self.cells, arm)
        return each * what.share + min(each * what.spread, room)

    @property
    def are_labels_young(self) -> bool:
        """Whether most labels of what is compared may still come."""
        return self.labels is not None and self.labels.is_countable and self.labels.are_young(self.cells)

    @property
    def are_labels_unlike(self) -> bool:
        """Whether labels come sooner, later or less often in one build: too few arrive, or others than chance gives."""
        out_of_share = self.ratio is not None and self.ratio.mismatch
        return self.labels is not None and (out_of_share or self.labels.mismatch)

    def _fresh_look(self, sound: Sequence[TallyRow]) -> GateState | None:
        """What the last step's own rows have shown with those of this look."""
        if self.fresh is None:
            return None
        new = tuple(row for row in sound if row.weight == self.fresh.question.weight)
        return self.fresh.look(new) if new else self.fresh


def begin_rate_below(question: Question) -> RateBelowTest | None:
    """The test against a fixed share, where the gate names one."""
    return RateBelowTest(bound=question.below, beta=question.design.beta) if question.below is not None else None


def begin_drift(question: Question, *, by_unit: bool = False) -> DriftTest | None:
    """The comparison of predictions, where the gate is about them."""
    if question.tolerance is None:
        return None
    return DriftTest.begin(
        levels=question.levels, tolerance=question.tolerance, alpha=question.design.alpha,
        information=question.design.information, by_cohort=by_unit,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _NewRows:
    """What the sound rows of a look add, by row or by unit."""

    before: GateState
    after: GateState
    rows: Sequence[TallyRow]

    def increment(self) -> Increment:
        """The metric itself; of a latency quantile, at each moved threshold too."""
        question = self.after.question
        name = question.metric
        margins = [rung.margin for rung in question.design.rungs if rung.margin > 0 and question.moves_threshold]
        moved = {margin: self._between(name, exceedance_name(name, margin)) for margin in margins}
        return replace(self._between(name, name), at_margin=moved)

    def at_levels(self) -> dict[float, Increment]:
        """Predictions above each level."""
        names = {level: level_name(self.after.question.metric, level) for level in self.after.question.levels}
        return {level: self._between(name, name) for level, name in names.items()}

    def arrivals(self) -> tuple[Arrivals, ...]:
        """The metric's new units, or else its rows by arm, missing values included."""
        return tuple(
            _arrivals(row, by_unit=self.after.by_unit) for row in self.rows if row.metric == self.after.question.metric
        )

    def _between(self, stable: str, candidate: str) -> Increment:
        """Stable's rows of one metric with the candidate's rows of another."""
        information = self.after.information
        if self.after.by_unit:
            changes = unit_sums.changes(self.before.units, self.after.units, self.rows, stable, candidate)
            return Increment(information=information, changes=changes)
        return Increment(information=information, pairs=_pairs(self.rows, stable, candidate))


def is_sound(question: Question, row: TallyRow) -> bool:
    """Whether the sums can be those of real values, or of zeros and ones where the metric has only these."""
    is_true = row.tally.is_count if question.design.kind is Kind.COUNT else row.tally.is_sound
    return is_true and (row.units is None or unit_sums.is_possible(row.units))


def _sound(question: Question, rows: Rows) -> list[TallyRow]:
    """The rows of strata in which every row is sound: one arm alone would look like a lost one."""
    doubted = {(row.stratum, row.weight) for row in rows if not is_sound(question, row)}
    return [row for row in rows if (row.stratum, row.weight) not in doubted]


def _information(question: Question, cells: Tallies) -> float:
    """Sum over strata of n1 n0 / n, the realised w (1 - w) n; summed exactly, so in any order the same."""
    sizes: dict[Side, list[int]] = {}
    for (metric, side, arm), tally in cells.items():
        if metric == question.metric:
            sizes.setdefault(side, [0, 0])[arm is Arm.CANDIDATE] = tally.n
    return math.fsum(
        stable * candidate / (stable + candidate) for stable, candidate in sizes.values() if stable and candidate
    )


def _pairs(rows: Sequence[TallyRow], stable: str, candidate: str) -> tuple[Pair, ...]:
    """One pair for each stratum, in order: stable's rows of one metric with the candidate's rows of another."""
    pairs: dict[Side, Pair] = {}
    for row in rows:
        side = (row.stratum, row.weight)
        pair = pairs.get(side, Pair())
        match row.arm:
            case Arm.STABLE if row.metric == stable:
                pairs[side] = replace(pair, stable=pair.stable + row.tally)
            case Arm.CANDIDATE if row.metric == candidate:
                pairs[side] = replace(pair, candidate=pair.candidate + row.tally)
            case Arm.STABLE | Arm.CANDIDATE:
                pass
    return tuple(pairs[side] for side in sorted(pairs))


def _arrivals(row: TallyRow, *, by_unit: bool) -> Arrivals:
    n = unit_sums.arrived_units(row) if by_unit else row.tally.n + row.tally.missing
    is_candidate = row.arm is Arm.CANDIDATE
    return Arrivals(share=row.weight / FULL, candidate=n if is_candidate else 0, stable=0 if is_candidate else n)


def _badness(design: Design, stable: Tally) -> float:
    """How far from the mean a label lies that is taken for a bad one: at the bad end of zeros and ones, two standard
    deviations off of others."""
    mean = stable.mean or 0.0
    if design.kind is Kind.COUNT:
        return 1 - mean if design.worse_is_higher else mean
    return 2 * math.sqrt(max(stable.squares / stable.n - mean**2, 0.0)) if stable.n else 0.0


fold = RememberedFold(GateState.begin, GateState.look)
"""The state after looks with these rows."""
