"""What can be proved about audiences in their order, each claim with a request that shows it. Pure.

A request is one cell for each header. The search tries headers one after the other and leaves a branch as soon as the
cells chosen so far decide the condition. It is exact, and fast for conditions that people write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.flows.prover.cells import Cell, by_header, cells
from sluicegate.flows.prover.languages import Undecided
from sluicegate.registry.audience.audience import AllOf, AnyOf, Audience, Condition, Match, Not, Present, Range

MOST_STEPS = 200_000
"""Most cells to try for one question. Beyond that it counts as undecided."""


class Claim(StrEnum):
    """A claim about an audience."""

    NOBODY = "nobody"
    """No request meets its conditions."""
    UNREACHABLE = "unreachable"
    """Audiences before it take every request that meets its conditions."""
    OVERLAP = "overlap"
    """Some requests that meet its conditions are taken by an audience before it."""
    FALLBACK = "fallback"
    """Some requests are taken by no audience."""
    NO_FALLBACK = "no fallback"
    """Every request is taken by an audience."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A claim, and the request that shows it."""

    claim: Claim
    audience: str
    others: tuple[str, ...] = ()
    """The audiences before it that the claim is about."""
    witness: Mapping[str, str] | None = None
    """Metadata of a request that meets the audience's conditions and those of the others."""
    reason: str = ""


def prove(audiences: Sequence[Audience]) -> tuple[Finding, ...]:
    """All findings about audiences that are tried in this order."""
    findings = [finding for index in range(len(audiences)) for finding in _about(audiences, index)]
    return (*findings, _fallback(audiences))


def witness(condition: Condition) -> dict[str, str] | None:
    """Metadata of a request that meets a condition; None if no request can. Raises Undecided."""
    search = _Search({header: cells(comparisons) for header, comparisons in by_header([condition]).items()})
    return search.find(condition)


def _about(audiences: Sequence[Audience], index: int) -> list[Finding]:
    audience, before = audiences[index], audiences[:index]
    try:
        if witness(audience.condition) is None:
            return [Finding(claim=Claim.NOBODY, audience=audience.name)]
        overlaps = [overlap for other in before if (overlap := _overlap(other, audience)) is not None]
        if overlaps and witness(_not_taken_by(before, audience.condition)) is None:
            others = tuple(finding.others[0] for finding in overlaps)
            return [
                Finding(claim=Claim.UNREACHABLE, audience=audience.name, others=others, witness=overlaps[0].witness)
            ]
        return overlaps
    except Undecided as error:
        return [Finding(claim=Claim.UNDECIDED, audience=audience.name, reason=str(error))]


def _overlap(first: Audience, second: Audience) -> Finding | None:
    request = witness(AllOf(conditions=(first.condition, second.condition)))
    if request is None:
        return None
    return Finding(claim=Claim.OVERLAP, audience=second.name, others=(first.name,), witness=request)


def _not_taken_by(audiences: Sequence[Audience], *conditions: Condition) -> Condition:
    """The conditions, restricted to requests that none of these audiences takes."""
    return AllOf(conditions=(*conditions, *(Not(condition=audience.condition) for audience in audiences)))


def _fallback(audiences: Sequence[Audience]) -> Finding:
    try:
        request = witness(_not_taken_by(audiences))
    except Undecided as error:
        return Finding(claim=Claim.UNDECIDED, audience="default", reason=str(error))
    claim = Claim.FALLBACK if request is not None else Claim.NO_FALLBACK
    return Finding(claim=claim, audience="default", witness=request)


class _Search:
    """Searches for one cell of each header such that a condition holds."""

    def __init__(self, cells_by_header: Mapping[str, tuple[Cell, ...]]) -> None:
        self._cells = cells_by_header
        self._headers = sorted(cells_by_header, key=lambda header: len(cells_by_header[header]))
        self._steps = 0

    def find(self, condition: Condition) -> dict[str, str] | None:
        chosen = self._extend(condition, {}, 0)
        return None if chosen is None else {name: cell.value for name, cell in chosen.items() if cell.value is not None}

    def _extend(self, condition: Condition, chosen: dict[str, Cell], at: int) -> dict[str, Cell] | None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Undecided("the conditions of these audiences are too many to be decided together")
        is_met = holds(condition, chosen)
        if is_met is not None:
            return chosen if is_met else None
        header = self._headers[at]
        branches = (self._extend(condition, {**chosen, header: cell}, at + 1) for cell in self._cells[header])
        return next((branch for branch in branches if branch is not None), None)


def holds(condition: Condition, chosen: Mapping[str, Cell]) -> bool | None:
    """Whether a condition holds for the cells chosen so far; None if they do not decide it."""
    match condition:
        case Present(header=header):
            cell = chosen.get(header.lower())
            return None if cell is None else cell.value is not None
        case Match(header=header) | Range(header=header):
            cell = chosen.get(header.lower())
            return None if cell is None else condition in cell.met
        case Not(condition=inner):
            return _not(holds(inner, chosen))
        case AllOf(conditions=conditions):
            return _all(holds(part, chosen) for part in conditions)
        case AnyOf(conditions=conditions):
            return _not(_all(_not(holds(part, chosen)) for part in conditions))


def _all(answers: Iterable[bool | None]) -> bool | None:
    distinct = set(answers)
    return False if False in distinct else None if None in distinct else True


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer
