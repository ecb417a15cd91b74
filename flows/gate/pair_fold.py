"""From looks to the state of a shadow's gate: a fold over their rows. Pure.

Both answers are to the same request, so nothing that changes from hour to hour can tell the arms apart: strata are
added up. Harm is tested at every look, and so is the margin; what was rejected stays rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate.folding import Folds, Rows
from sluicegate.flows.gate.pair_design import PairedKind, PairedQuestion
from sluicegate.flows.stats.cap import CapTest
from sluicegate.flows.stats.matched import CoinTest, difference_score
from sluicegate.flows.stats.sequential import ScoreTest
from sluicegate.flows.stats.spending import Budget
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally

Cell = tuple[str, Stratum, int, Arm]
_RESERVE = 0.1


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Sums over pairs."""

    stable: Tally = field(default_factory=Tally)
    candidate: Tally = field(default_factory=Tally)
    difference: Tally = field(default_factory=Tally)
    moved: Tally = field(default_factory=Tally)

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(
            stable=self.stable + other.stable,
            candidate=self.candidate + other.candidate,
            difference=self.difference + other.difference,
            moved=self.moved + other.moved,
        )


@dataclass(frozen=True, kw_only=True)
class PairedState:
    """What a shadow's gate knows after its looks."""

    asked: PairedQuestion
    harm: CoinTest | ScoreTest
    within: CoinTest | ScoreTest | None = None
    """The test that the harm is smaller than the margin."""
    cap: CapTest | None = None
    pairs: Pairs = field(default_factory=Pairs)
    cells: Mapping[Cell, Tally] = field(default_factory=dict)
    looks: int = 0
    failed_at: int | None = None
    within_at: int | None = None

    @property
    def n(self) -> int:
        """Pairs with both values."""
        return self.pairs.difference.n


def begin(asked: PairedQuestion, _: tuple[Rows, ...] = ()) -> PairedState:
    """The state before the first look."""
    return PairedState(
        asked=asked,
        harm=_test(asked, asked.alpha, asked.below if asked.kind is PairedKind.DISAGREEMENT else None),
        within=_margin_test(asked) if asked.margin is not None else None,
        cap=CapTest(cap=asked.below, beta=asked.beta) if asked.below is not None else None,
    )


def fold_pairs(asked: PairedQuestion, looks: Iterable[Rows]) -> PairedState:
    """The state after looks with these rows."""
    return _FOLDS.fold(asked, looks)


def new_pairs(state: PairedState, rows: Sequence[TallyRow]) -> Rows:
    """What the cumulative rows hold beyond the looks, in order."""
    wanted = (row for row in sorted(rows, key=_cell) if row.metric in state.asked.names)
    new = (replace(row, tally=row.tally - state.cells.get(_cell(row), Tally())) for row in wanted)
    return tuple(row for row in new if row.tally.n or row.tally.missing)


def pairs_with(state: PairedState, rows: Rows) -> int:
    """The pairs there would be after a look at these new rows."""
    return state.n + sum(row.tally.n for row in rows if row.metric == state.asked.difference)


def extend(state: PairedState, rows: Rows) -> PairedState:
    """The state after one more look, at these new rows."""
    new = _pairs(state.asked, rows)
    pairs, k = state.pairs + new, state.looks + 1
    cells = dict(state.cells)
    for row in rows:
        cells[_cell(row)] = cells.get(_cell(row), Tally()) + row.tally
    harm = _look_for_harm(state, new, pairs.difference.n)
    within = _look_within(state, new, pairs.difference.n)
    cap = state.cap.look(pairs.candidate.n, round(pairs.candidate.total)) if state.cap is not None else None
    return replace(
        state, harm=harm, within=within, cap=cap, pairs=pairs, cells=cells, looks=k,
        failed_at=state.failed_at or (k if harm.rejected else None),
        within_at=state.within_at or (k if within is not None and within.rejected else None),
    )  # fmt: skip


def _look_for_harm(state: PairedState, new: Pairs, n: int) -> CoinTest | ScoreTest:
    match state.harm:
        case CoinTest() if state.asked.kind is PairedKind.DISAGREEMENT:
            return state.harm.look(round(new.candidate.total), new.candidate.n, n)
        case CoinTest():
            candidate_only, stable_only = discordant(new.difference)
            return state.harm.look(candidate_only, candidate_only + stable_only, n)
        case ScoreTest():
            return state.harm.look(difference_score(new.difference), n)


def _look_within(state: PairedState, new: Pairs, n: int) -> CoinTest | ScoreTest | None:
    """Whether the candidate is better than stable made worse by the margin."""
    match state.within:
        case None:
            return None
        case CoinTest():
            candidate_only, stable_only = discordant(new.moved)
            return state.within.look(stable_only, candidate_only + stable_only, n)
        case ScoreTest():
            return state.within.look(difference_score(_excess(state.asked, new).scaled(-1)), n)


def discordant(difference: Tally) -> tuple[int, int]:
    """Of 0/1 values: pairs in which only the candidate had the event, and only stable."""
    both, net = round(difference.squares), round(difference.total)
    return (both + net) // 2, (both - net) // 2


def _excess(asked: PairedQuestion, new: Pairs) -> Tally:
    """The sums of y1 - (1 + m) y0: what the candidate has above stable's value made worse by the margin.

    Of 0/1 values all three are exact. Of others the third is that of the difference, which is close for small margins.
    """
    m, d = asked.margin or 0.0, new.difference
    y0, y1 = new.stable, new.candidate
    product = (y0.squares + y1.squares - d.squares) / 2
    total = d.total - m * y0.total
    squares = y1.squares - 2 * (1 + m) * product + (1 + m) ** 2 * y0.squares
    cubes = d.cubes
    if asked.kind is PairedKind.BINARY:
        candidate_only, stable_only = discordant(d)
        cubes = candidate_only - (1 + m) ** 3 * stable_only - m**3 * product
    return Tally(n=d.n, total=total, squares=max(squares, 0.0), cubes=cubes)


def _margin_test(asked: PairedQuestion) -> CoinTest | ScoreTest:
    if asked.kind is PairedKind.THRESHOLD:
        return _test(asked, asked.beta, None)
    return ScoreTest(budget=_budget(asked, asked.beta))


def _test(asked: PairedQuestion, alpha: float, share: float | None) -> CoinTest | ScoreTest:
    if asked.kind is PairedKind.REAL:
        return ScoreTest(budget=_budget(asked, alpha))
    return CoinTest(budget=_budget(asked, alpha), share=share if share is not None else 0.5)


def _budget(asked: PairedQuestion, alpha: float) -> Budget:
    return Budget(alpha=alpha, information=asked.planned, reserve=_RESERVE)


def _pairs(asked: PairedQuestion, rows: Rows) -> Pairs:
    def total(name: str, arm: Arm) -> Tally:
        return sum((row.tally for row in rows if row.metric == name and row.arm is arm), Tally())

    return Pairs(
        stable=total(asked.metric, Arm.STABLE),
        candidate=total(asked.metric, Arm.CANDIDATE),
        difference=total(asked.difference, Arm.CANDIDATE),
        moved=total(asked.moved, Arm.CANDIDATE),
    )


def _cell(row: TallyRow) -> Cell:
    return row.metric, row.stratum, row.weight, row.arm


_FOLDS = Folds(begin, extend)
