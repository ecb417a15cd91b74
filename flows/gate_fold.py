"""From looks to the state of a gate: a fold over their rows. Pure; what was folded before is remembered.

A look's rows are new since the look before, so each (stratum, arm) of a look is a stratum of its own, and a late row
to an old stratum becomes a correction there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from flows.gate_design import Question
from flows.stats.moments import Moments, Pair
from flows.stats.trial import Kind, Trial
from registry.metric import Arm, Stratum, Tally, TallyRow, exceedance_name
from registry.verdict import Look

Cell = tuple[Stratum, Arm]
Count = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class State:
    """What a gate knows after its looks."""

    trial: Trial
    cells: Mapping[Cell, Count]
    """Rows and missing rows of the metric, by stratum and arm."""
    unsound: int = 0
    """Tally rows of the last look whose sums cannot be true: not finite, negative, or no 0/1 counts where due."""

    @property
    def information(self) -> float:
        return _information(self.cells)

    def missing(self, arm: Arm) -> int:
        return sum(missing for (_, whose), (_, missing) in self.cells.items() if whose is arm)

    def rows(self, arm: Arm) -> int:
        return sum(n for (_, whose), (n, _) in self.cells.items() if whose is arm)


def fold(asked: Question, looks: Sequence[Look]) -> State:
    """The state after these looks."""
    key = (asked, looks[0].rollout if looks else "")
    known, state = _remembered.get(key, ((), None))
    told = tuple(look.rows for look in looks)
    if state is None or told[: len(known)] != known:
        known, state = (), State(trial=Trial.begin(asked.design), cells={})
    for rows in told[len(known) :]:
        state = extend(asked, state, rows)
    _remembered.pop(key, None)
    _remembered[key] = (told, state)
    while len(_remembered) > _REMEMBERED:
        del _remembered[next(iter(_remembered))]
    return state


_REMEMBERED = 64
_remembered: dict[tuple[Question, str], tuple[tuple[tuple[TallyRow, ...], ...], State]] = {}
"""The last folds, so that one more look costs one step. It never changes an answer: the looks are compared."""


def extend(asked: Question, state: State, rows: Sequence[TallyRow]) -> State:
    """The state after one more look at these new rows."""
    sound = [row for row in rows if is_sound(asked, row.tally)]
    cells = _counted(asked, state.cells, sound)
    moved = None
    if asked.moves_threshold:
        margins = (rung.margin for rung in asked.design.rungs if rung.margin > 0)
        moved = {m: _pairs(sound, asked.metric, exceedance_name(asked.metric, m)) for m in margins}
    trial = state.trial.look(_pairs(sound, asked.metric, asked.metric), _information(cells), moved)
    return State(trial=trial, cells=cells, unsound=len(rows) - len(sound))


def information_with(asked: Question, state: State, rows: Sequence[TallyRow]) -> float:
    """The information there would be after a look at these new rows."""
    return _information(_counted(asked, state.cells, [row for row in rows if is_sound(asked, row.tally)]))


def is_sound(asked: Question, tally: Tally) -> bool:
    """Whether the sums can be those of real values, or of zeros and ones where the metric has only these."""
    moments = _moments(tally)
    return tally.missing >= 0 and (moments.is_count if asked.design.kind is Kind.COUNT else moments.is_sound)


def _counted(asked: Question, cells: Mapping[Cell, Count], rows: Iterable[TallyRow]) -> dict[Cell, Count]:
    counted = dict(cells)
    for row in rows:
        if row.metric == asked.metric:
            n, missing = counted.get((row.stratum, row.arm), (0, 0))
            counted[row.stratum, row.arm] = (n + row.tally.n, missing + row.tally.missing)
    return counted


def _information(cells: Mapping[Cell, Count]) -> float:
    """Sum over strata of n1 n0 / n, the realised w (1 - w) n; in order of stratum, to be the same everywhere."""
    total = 0.0
    for stratum in sorted({stratum for stratum, _ in cells}):
        candidate = cells.get((stratum, Arm.CANDIDATE), (0, 0))[0]
        stable = cells.get((stratum, Arm.STABLE), (0, 0))[0]
        total += candidate * stable / (candidate + stable) if candidate + stable else 0.0
    return total


def new_rows(asked: Question, looks: Iterable[Look], rows: Iterable[TallyRow]) -> tuple[TallyRow, ...]:
    """What the cumulative rows hold beyond the sound rows of the looks, in order of metric, stratum and arm."""
    known: dict[tuple[str, Stratum, Arm], Tally] = {}
    for look in looks:
        for row in look.rows:
            if is_sound(asked, row.tally):
                key = (row.metric, row.stratum, row.arm)
                known[key] = known.get(key, Tally()) + row.tally
    new: list[TallyRow] = []
    for row in sorted(rows, key=lambda row: (row.metric, row.stratum, row.arm)):
        tally = _minus(row.tally, known.get((row.metric, row.stratum, row.arm), Tally()))
        if row.metric in asked.names and (tally.n or tally.missing):
            new.append(replace(row, tally=tally))
    return tuple(new)


def _minus(now: Tally, before: Tally) -> Tally:
    return Tally(
        n=now.n - before.n,
        missing=now.missing - before.missing,
        total=now.total - before.total,
        squares=now.squares - before.squares,
        cubes=now.cubes - before.cubes,
        low=now.low,
        high=now.high,
    )


def _moments(tally: Tally) -> Moments:
    return Moments(n=tally.n, total=tally.total, squares=tally.squares, cubes=tally.cubes)


def _pairs(rows: Sequence[TallyRow], stable: str, candidate: str) -> tuple[Pair, ...]:
    """One pair for each stratum, in order: stable's rows of one metric with the candidate's rows of another."""
    found: dict[Stratum, Pair] = {}
    for row in rows:
        pair = found.get(row.stratum, Pair())
        match row.arm:
            case Arm.STABLE if row.metric == stable:
                found[row.stratum] = replace(pair, stable=pair.stable + _moments(row.tally))
            case Arm.CANDIDATE if row.metric == candidate:
                found[row.stratum] = replace(pair, candidate=pair.candidate + _moments(row.tally))
            case Arm.STABLE | Arm.CANDIDATE:
                pass
    return tuple(found[stratum] for stratum in sorted(found))
