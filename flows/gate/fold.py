"""From looks to the state of a gate: a fold over their rows. Pure; what was folded before is remembered.

A look's rows are new since the look before, so each (stratum, arm) of a look is a stratum of its own, and a late row
to an old stratum becomes a correction there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate import units as gate_units
from sluicegate.flows.gate.design import Question
from sluicegate.flows.gate.folding import Folds, Rows
from sluicegate.flows.gate.units import Cell, Known, Side, cell
from sluicegate.flows.stats.cap import CapTest
from sluicegate.flows.stats.cohorts import Change
from sluicegate.flows.stats.drift import DriftTest
from sluicegate.flows.stats.news import News
from sluicegate.flows.stats.pair import Pair
from sluicegate.flows.stats.sample_ratio import Arrivals, SampleRatioTest
from sluicegate.flows.stats.trial import Kind, Trial
from sluicegate.registry.rollout.rollout import FULL
from sluicegate.registry.words.metric import Arm, TallyRow, exceedance_name, level_name
from sluicegate.registry.words.tally import Tally


@dataclass(frozen=True, kw_only=True)
class State:
    """What a gate knows after its looks."""

    asked: Question
    trial: Trial
    cells: Mapping[Cell, Tally]
    """What the sound rows of the looks add up to, by metric, stratum, weight and arm."""
    units: Known = field(default_factory=dict)
    """The same by unit, where units return and the first look told of them."""
    ratio: SampleRatioTest | None = None
    """Whether rows came in the shares that the weights ask for, where each request is assigned by itself."""
    cap: CapTest | None = None
    """The test of the candidate's rate against a fixed share, where the gate asks for one."""
    drift: DriftTest | None = None
    """The test of the candidate's predictions against stable's, where they are compared; then it alone decides."""
    information: float = 0.0
    """Sum over strata of n1 n0 / n: the realised w (1 - w) n."""
    unsound: int = 0
    """Tally rows of the last look whose sums cannot be true: not finite, negative, or no 0/1 counts where due."""

    @property
    def failed_at(self) -> int | None:
        """The look that found harm, or drift."""
        return self.trial.failed_at if self.drift is None else self.drift.found_at

    @property
    def spent(self) -> float:
        """Alpha spent on finding harm, or drift."""
        return self.trial.harm.spent if self.drift is None else self.drift.spent

    def counted(self, arm: Arm, metric: str | None = None) -> Tally:
        """The tally of one arm, all strata together; by default the metric's own."""
        name = metric or self.asked.metric
        found = (tally for (metric, _, whose), tally in self.cells.items() if metric == name and whose is arm)
        return sum(found, Tally())

    def counted_units(self, arm: Arm) -> int:
        """The metric's units of one arm, all strata together."""
        found = (
            sums for (metric, _, whose), sums in self.units.items() if metric == self.asked.metric and whose is arm
        )
        return sum(sums.size for sums in found)


def fold(asked: Question, looks: Iterable[Rows]) -> State:
    """The state after looks with these rows."""
    return _FOLDS.fold(asked, looks)


def _begin(asked: Question, told: tuple[Rows, ...]) -> State:
    """The state before the first look. Units are judged where the plan hashes them and the first look tells of them."""
    by_unit = bool(told) and gate_units.tells_units(told[0]) and not asked.assigns_rows
    design = replace(asked.design, by_cohort=by_unit)
    cap = CapTest(cap=asked.below, beta=asked.design.beta) if asked.below is not None else None
    drawn = asked.assigns_rows or by_unit
    ratio = SampleRatioTest.begin(_RATIO_ALPHA, asked.design.information) if drawn else None
    return State(
        asked=asked,
        trial=Trial.begin(design),
        cells={},
        cap=cap,
        ratio=ratio,
        drift=begin_drift(asked, by_unit=by_unit),
    )


def begin_drift(asked: Question, *, by_unit: bool) -> DriftTest | None:
    """The comparison of predictions, where that is what is asked."""
    if asked.tolerance is None:
        return None
    return DriftTest.begin(
        levels=asked.levels, tolerance=asked.tolerance, alpha=asked.design.alpha, information=asked.design.information,
        by_cohort=by_unit,
    )  # fmt: skip


_RATIO_ALPHA = 0.001
"""Chance that sound data are ever called mismatched."""


def _extend(state: State, rows: Rows) -> State:
    asked = state.asked
    sound = _sound(asked, rows)
    cells = _with(state.cells, sound)
    units = gate_units.plus(state.units, sound) if state.trial.design.by_cohort else state.units
    information = _information(asked, cells)
    trial = state.trial.look(_news(state, sound, units, information))
    after = State(
        asked=asked, trial=trial, cells=cells, units=units, information=information,
        unsound=sum(not is_sound(asked, row) for row in rows),
        ratio=state.ratio.look(_arrivals(state, sound)) if state.ratio is not None else None,
        drift=state.drift.look(_levels(state, sound, units, information)) if state.drift is not None else None,
    )  # fmt: skip
    if state.cap is None:
        return after
    candidate = after.counted(Arm.CANDIDATE)
    return replace(after, cap=state.cap.look(candidate.n, round(candidate.total)))


def _news(state: State, sound: Sequence[TallyRow], units: Known, information: float) -> News:
    """What the sound rows of a look say, by row or by unit; of a latency quantile, at each moved threshold too."""
    asked, name = state.asked, state.asked.metric
    margins = [rung.margin for rung in asked.design.rungs if rung.margin > 0 and asked.moves_threshold]
    moved = {margin: exceedance_name(name, margin) for margin in margins}
    if state.trial.design.by_cohort:

        def changed(candidate: str) -> tuple[Change, ...]:
            return gate_units.changes(state.units, units, sound, name, candidate)

        by_margin = {margin: changed(other) for margin, other in moved.items()}
        return News(pairs=(), information=information, changes=changed(name), moved=by_margin)
    return News(
        pairs=_pairs(sound, name, name), information=information,
        exceedances={margin: _pairs(sound, name, other) for margin, other in moved.items()},
    )  # fmt: skip


def _levels(state: State, sound: Sequence[TallyRow], units: Known, information: float) -> dict[float, News]:
    """What the sound rows of a look say of predictions above each level."""
    found: dict[float, News] = {}
    for level in state.asked.levels:
        name = level_name(state.asked.metric, level)
        if state.trial.design.by_cohort:
            changed = gate_units.changes(state.units, units, sound, name, name)
            found[level] = News(pairs=(), information=information, changes=changed)
        else:
            found[level] = News(pairs=_pairs(sound, name, name), information=information)
    return found


def information_with(state: State, rows: Rows) -> float:
    """The information there would be after a look at these new rows."""
    return _information(state.asked, _with(state.cells, _sound(state.asked, rows)))


def new_rows(state: State, rows: Iterable[TallyRow]) -> Rows:
    """What the cumulative rows hold beyond the looks, in order of metric, stratum and arm."""
    new: list[TallyRow] = []
    by_unit = state.trial.design.by_cohort or (not state.trial.looks and not state.asked.assigns_rows)
    for row in sorted(rows, key=cell):
        tally = row.tally - state.cells.get(cell(row), Tally())
        units = gate_units.minus(row.units, state.units.get(cell(row))) if by_unit else None
        if row.metric in state.asked.names and (tally.n or tally.missing or units is not None):
            new.append(replace(row, tally=tally, units=units))
    return tuple(new)


def is_sound(asked: Question, row: TallyRow) -> bool:
    """Whether the sums can be those of real values, or of zeros and ones where the metric has only these."""
    is_true = row.tally.is_count if asked.design.kind is Kind.COUNT else row.tally.is_sound
    return is_true and (row.units is None or gate_units.is_possible(row.units))


def _sound(asked: Question, rows: Rows) -> list[TallyRow]:
    """The rows of strata in which every row is sound: one arm alone would look like a lost one."""
    held = {(row.stratum, row.weight) for row in rows if not is_sound(asked, row)}
    return [row for row in rows if (row.stratum, row.weight) not in held]


def _with(cells: Mapping[Cell, Tally], rows: Iterable[TallyRow]) -> dict[Cell, Tally]:
    added = dict(cells)
    for row in rows:
        added[cell(row)] = added.get(cell(row), Tally()) + row.tally
    return added


def _information(asked: Question, cells: Mapping[Cell, Tally]) -> float:
    """Sum over strata of n1 n0 / n, the realised w (1 - w) n; summed exactly, so in any order the same."""
    sizes: dict[Side, list[int]] = {}
    for (metric, side, arm), tally in cells.items():
        if metric == asked.metric:
            sizes.setdefault(side, [0, 0])[arm is Arm.CANDIDATE] = tally.n
    return math.fsum(
        stable * candidate / (stable + candidate) for stable, candidate in sizes.values() if stable and candidate
    )


def _pairs(rows: Sequence[TallyRow], stable: str, candidate: str) -> tuple[Pair, ...]:
    """One pair for each stratum, in order: stable's rows of one metric with the candidate's rows of another."""
    found: dict[Side, Pair] = {}
    for row in rows:
        side = (row.stratum, row.weight)
        pair = found.get(side, Pair())
        match row.arm:
            case Arm.STABLE if row.metric == stable:
                found[side] = replace(pair, stable=pair.stable + row.tally)
            case Arm.CANDIDATE if row.metric == candidate:
                found[side] = replace(pair, candidate=pair.candidate + row.tally)
            case Arm.STABLE | Arm.CANDIDATE:
                pass
    return tuple(found[side] for side in sorted(found))


def _arrivals(state: State, rows: Sequence[TallyRow]) -> tuple[Arrivals, ...]:
    """The metric's new units, or else its rows by arm, missing values included."""
    asked = state.asked
    if state.trial.design.by_cohort:
        return gate_units.arrivals_of_units(row for row in rows if row.metric == asked.metric)
    return tuple(
        Arrivals(
            share=row.weight / FULL,
            candidate=row.tally.n + row.tally.missing if row.arm is Arm.CANDIDATE else 0,
            stable=row.tally.n + row.tally.missing if row.arm is Arm.STABLE else 0,
        )
        for row in rows
        if row.metric == asked.metric
    )


_FOLDS = Folds(_begin, _extend)
