"""A guardrail that looks at the whole traffic and at slices of it: a fold over the rows of its looks. Pure.

The whole and each slice are judged as any guardrail is, on their own rows and with their own part of alpha; looks are
taken on the grid of the whole's information. `sluicegate.flows.stats.slices` proves that the parts of alpha add up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sluicegate.flows.gate import unit_sums
from sluicegate.flows.gate.cells import Rows
from sluicegate.flows.gate.design import OF_WHOLE, Question, gate_question
from sluicegate.flows.gate.fold import GateState
from sluicegate.flows.gate.remembered_fold import RememberedFold
from sluicegate.flows.stats.slices import share_of_rank
from sluicegate.registry.plan.fields import GateSpec
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import TallyRow
from sluicegate.registry.words.slices import MOST_SLICES, Slice, read_sliced, sliced_name

_PLANNED = 0.1
"""The share of the plan's information that is planned for a slice. Alpha is spent by it; the promise does not rest on
it."""


@dataclass(frozen=True, kw_only=True)
class SlicedQuestion:
    """What a guardrail tests about the whole and about each slice, fixed with the plan."""

    whole: Question
    headers: tuple[str, ...]
    alpha: float
    """Alpha of all slices together."""

    @property
    def grid(self) -> tuple[float, ...]:
        """The fixed information grid: where looks are taken."""
        return self.whole.grid

    def of_slice(self, part: Slice, rank: int) -> Question:
        """The question about the slice that appeared as the rank-th."""
        design = self.whole.design
        alpha = self.alpha * share_of_rank(rank, len(self.headers) * MOST_SLICES)
        planned = design.information * _PLANNED
        rungs = tuple(replace(rung, information=rung.information * _PLANNED) for rung in design.rungs)
        words = replace(self.whole.words, part=str(part), confidence=1 - alpha - design.beta)
        return replace(self.whole, words=words, design=replace(design, alpha=alpha, information=planned, rungs=rungs))

    def reads(self, name: str) -> bool:
        """Whether a tally metric is read: one of the whole, or the same of a slice by one of the headers."""
        sliced = read_sliced(name)
        if sliced is None:
            return name in self.whole.names
        return sliced[0] in self.whole.names and sliced[1].header in self.headers


def sliced_question(plan: Plan, gate: GateSpec, *, beside: str = "stable") -> SlicedQuestion:
    """The question of a guardrail with slices under this plan."""
    whole = gate_question(plan, gate, guardrail=True, beside=beside)
    return SlicedQuestion(whole=whole, headers=gate.slices, alpha=gate.alpha * (1 - OF_WHOLE))


@dataclass(frozen=True, kw_only=True)
class SliceState:
    """What is known of one slice."""

    state: GateState
    failed_at: int | None = None
    """The guardrail's look at which harm was found in it."""

    def look(self, rows: Rows, k: int, *, may_fail: bool) -> SliceState:
        """The state after one more look, at these new rows of its own."""
        state = self.state.look(rows)
        unlike, failed = state.unlike_at, state.failed_at
        has_failed = may_fail and failed is not None and (unlike is None or unlike > failed)
        return SliceState(state=state, failed_at=self.failed_at or (k if has_failed else None))


@dataclass(frozen=True, kw_only=True)
class SlicedState:
    """What the guardrail knows after its looks."""

    question: SlicedQuestion
    whole: GateState
    slices: Mapping[Slice, SliceState] = field(default_factory=dict)
    """In the order in which they appeared."""

    @classmethod
    def begin(cls, question: SlicedQuestion, looks: tuple[Rows, ...]) -> SlicedState:
        """The state before the first look, whose rows tell whether units are judged."""
        by_unit = bool(looks) and unit_sums.has_units(looks[0]) and not question.whole.assigns_rows
        return cls(question=question, whole=GateState.begin(question.whole, by_unit=by_unit))

    @property
    def information(self) -> float:
        """The whole's information."""
        return self.whole.information

    def information_with(self, rows: Rows) -> float:
        """The whole's information there would be after a look at these new rows."""
        return self.whole.information_with(_split(rows)[0])

    def new_rows(self, cumulative: Iterable[TallyRow]) -> Rows:
        """What cumulative rows add to the looks: the whole's rows, and those of each slice."""
        own, by_slice = _split(row for row in cumulative if self.question.reads(row.metric))
        new = [*self.whole.new_rows(own)]
        for part, rows in sorted(by_slice.items()):
            known = self.slices.get(part)
            state = known.state if known is not None else self._begun(part, rank=1)
            new += (replace(row, metric=sliced_name(row.metric, part)) for row in state.new_rows(rows))
        return tuple(new)

    def look(self, rows: Rows) -> SlicedState:
        """The state after one more look, at these new rows."""
        own, by_slice = _split(rows)
        whole = self.whole.look(own)
        slices = dict(self.slices)
        for part in _in_order(by_slice, whole.question.metric):
            known = slices.get(part)
            if known is None:
                known = SliceState(state=self._begun(part, rank=len(slices) + 1))
            slices[part] = known.look(by_slice[part], whole.trial.looks, may_fail=whole.unlike_at is None)
        return replace(self, whole=whole, slices=slices)

    def _begun(self, part: Slice, rank: int) -> GateState:
        return GateState.begin(self.question.of_slice(part, rank), by_unit=self.whole.by_unit)


def _split(rows: Iterable[TallyRow]) -> tuple[Rows, dict[Slice, Rows]]:
    """The rows of the whole, and those of each slice under the whole's metric names."""
    own: list[TallyRow] = []
    parts: defaultdict[Slice, list[TallyRow]] = defaultdict(list)
    for row in rows:
        sliced = read_sliced(row.metric)
        if sliced is None:
            own.append(row)
        else:
            parts[sliced[1]].append(replace(row, metric=sliced[0]))
    return tuple(own), {part: tuple(each) for part, each in parts.items()}


def _in_order(by_slice: Mapping[Slice, Rows], metric: str) -> Iterator[Slice]:
    """The slices of a look, largest first (rows of both builds together), then by name."""

    def place(part: Slice) -> tuple[int, Slice]:
        return -sum(row.tally.n + row.tally.missing for row in by_slice[part] if row.metric == metric), part

    return iter(sorted(by_slice, key=place))


fold_slices = RememberedFold(SlicedState.begin, SlicedState.look)
"""The state after looks with these rows."""
