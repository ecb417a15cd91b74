"""What can be proved of audiences in their order, each claim with the request that shows it. Pure.

A request is one cell for each header. A formula over cells is decided by trying headers one after the other and giving
up a branch as soon as what is known decides it: exact, and quick for conditions as people write them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    search = _Search({header: cells(asked) for header, asked in by_header([condition]).items()})
    return search.find(condition)


def _about(audiences: Sequence[Audience], place: int) -> list[Finding]:
    audience, before = audiences[place], audiences[:place]
    try:
        if witness(audience.condition) is None:
            return [Finding(claim=Claim.NOBODY, audience=audience.name)]
        overlaps = [found for other in before if (found := _overlap(other, audience)) is not None]
        if overlaps and witness(_left(audience, before)) is None:
            others = tuple(finding.others[0] for finding in overlaps)
            return [
                Finding(claim=Claim.UNREACHABLE, audience=audience.name, others=others, witness=overlaps[0].witness)
            ]
        return overlaps
    except Undecided as error:
        return [Finding(claim=Claim.UNDECIDED, audience=audience.name, reason=str(error))]


def _overlap(first: Audience, second: Audience) -> Finding | None:
    found = witness(AllOf(conditions=(first.condition, second.condition)))
    if found is None:
        return None
    return Finding(claim=Claim.OVERLAP, audience=second.name, others=(first.name,), witness=found)


def _left(audience: Audience, before: Sequence[Audience]) -> Condition:
    """What is left for an audience after those before it."""
    return AllOf(conditions=(audience.condition, *(Not(condition=other.condition) for other in before)))


def _fallback(audiences: Sequence[Audience]) -> Finding:
    try:
        found = witness(AllOf(conditions=tuple(Not(condition=each.condition) for each in audiences)))
    except Undecided as error:
        return Finding(claim=Claim.UNDECIDED, audience="default", reason=str(error))
    claim = Claim.FALLBACK if found is not None else Claim.NO_FALLBACK
    return Finding(claim=claim, audience="default", witness=found)


class _Search:
    """Looks for one cell of each header so that a condition holds."""

    def __init__(self, known: Mapping[str, tuple[Cell, ...]]) -> None:
        self._cells = known
        self._headers = sorted(known, key=lambda header: len(known[header]))
        self._steps = 0

    def find(self, condition: Condition) -> dict[str, str] | None:
        found = self._extend(condition, {}, 0)
        return None if found is None else {name: cell.value for name, cell in found.items() if cell.value is not None}

    def _extend(self, condition: Condition, chosen: dict[str, Cell], at: int) -> dict[str, Cell] | None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise Undecided("the conditions of these audiences are too many to be decided together")
        is_met = holds(condition, chosen)
        if is_met is not None:
            return dict(chosen) if is_met else None
        header = self._headers[at]
        for cell in self._cells[header]:
            found = self._extend(condition, {**chosen, header: cell}, at + 1)
            if found is not None:
                return found
        return None


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
            is_met = holds(inner, chosen)
            return None if is_met is None else not is_met
        case AllOf(conditions=conditions):
            return _every([holds(each, chosen) for each in conditions])
        case AnyOf(conditions=conditions):
            none_holds = _every([_turned(holds(each, chosen)) for each in conditions])
            return _turned(none_holds)


def _every(answers: Sequence[bool | None]) -> bool | None:
    if any(answer is False for answer in answers):
        return False
    return None if any(answer is None for answer in answers) else True


def _turned(answer: bool | None) -> bool | None:
    return None if answer is None else not answer
