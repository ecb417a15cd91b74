"""What can be proved of audiences in their order, each claim with the request that shows it. Pure.

A request is one cell for each header. A formula over cells is decided by trying headers one after the other and giving
up a branch as soon as what is known decides it: exact, and quick for conditions as people write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sluicegate.flows.prover.cells import Cell, by_header, cells
from sluicegate.flows.prover.languages import Undecided
from sluicegate.registry.audience.audience import AllOf, AnyOf, Audience, Condition, Match, Not, Present, Range

MOST_STEPS = 200_000
"""Cells that are tried for one question; beyond that it is called undecided."""


class Claim(StrEnum):
    """What is said of an audience."""

    NOBODY = "nobody"
    """No request at all meets its conditions."""
    UNREACHABLE = "unreachable"
    """Whoever meets its conditions is taken by audiences before it."""
    OVERLAP = "overlap"
    """Some requests meet this one's conditions and those of one before it, which takes them."""
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
    """Everything that is worth saying about audiences that are asked in this order."""
    findings = [finding for place in range(len(audiences)) for finding in _about(audiences, place)]
    return (*findings, _fallback(audiences))


def witness(condition: Condition) -> dict[str, str] | None:
    """Metadata of a request that meets a condition; None when none can. Raises Undecided."""
    search = _Search({header: cells(comparisons) for header, comparisons in by_header([condition]).items()})
    return search.find(condition)


def _about(audiences: Sequence[Audience], place: int) -> list[Finding]:
    audience, before = audiences[place], audiences[:place]
    try:
        if witness(audience.condition) is None:
            return [Finding(claim=Claim.NOBODY, audience=audience.name)]
        overlaps = [overlap for other in before if (overlap := _overlap(other, audience)) is not None]
        if overlaps and witness(_beyond(before, audience.condition)) is None:
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


def _beyond(audiences: Sequence[Audience], *conditions: Condition) -> Condition:
    """What is left of some conditions after these audiences."""
    return AllOf(conditions=(*conditions, *(Not(condition=audience.condition) for audience in audiences)))


def _fallback(audiences: Sequence[Audience]) -> Finding:
    try:
        request = witness(_beyond(audiences))
    except Undecided as error:
        return Finding(claim=Claim.UNDECIDED, audience="default", reason=str(error))
    claim = Claim.FALLBACK if request is not None else Claim.NO_FALLBACK
    return Finding(claim=claim, audience="default", witness=request)


class _Search:
    """Looks for one cell of each header so that a condition holds."""

    def __init__(self, known: Mapping[str, tuple[Cell, ...]]) -> None:
        self._cells = known
        self._headers = sorted(known, key=lambda header: len(known[header]))
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
    """Whether a condition holds of the cells chosen so far; None while that is open."""
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
    known = set(answers)
    return False if False in known else None if None in known else True


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer
