"""The prover agrees with brute force, and every witness is a request that shows what is claimed."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from sluicegate.flows.prover.prover import Claim, Finding, prove, witness
from sluicegate.registry.audience.audience import (
    AllOf,
    AnyOf,
    Audience,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
    matches,
)

TEXTS = ["".join(signs) for length in range(6) for signs in itertools.product("abc", repeat=length)]
NUMBERS = ["", "-", "x", "1.", *(f"{n / 4:g}" for n in range(-24, 25)), "007", "00", "-0", "2.0", "1e3", "+1", "5.0001"]
RULE_SETS = 1_000


def condition(chance: random.Random, depth: int = 2) -> Condition:
    """A condition over two headers of texts and one of numbers."""
    kind = chance.choice(
        ["text", "text", "text", "number", "present", "not", "all", "any"] if depth else ["text", "number"]
    )
    match kind:
        case "text":
            operator = chance.choice(list(Operator))
            words = ["".join(chance.choices("ab", k=chance.randint(1, 2))) for _ in range(chance.randint(1, 2))]
            texts = [pattern(chance, words[0])] if operator is Operator.REGEX else words
            operands = tuple(dict.fromkeys(texts))
            return Match(header=chance.choice("pq"), operator=operator, operands=operands)
        case "number":
            low, high = sorted(chance.choice([-3, -1, 0, 0.5, 1, 2, 5]) for _ in range(2))
            return Range(header="n", low=chance.choice([low, None]), high=high)
        case "present":
            return Present(header=chance.choice("pqn"))
        case "not":
            return Not(condition=condition(chance, depth - 1))
        case _:
            inner = tuple(condition(chance, depth - 1) for _ in range(2))
            return AllOf(conditions=inner) if kind == "all" else AnyOf(conditions=inner)


def pattern(chance: random.Random, word: str) -> str:
    return chance.choice([word, f"^{word}.*$", f"{word[0]}+", f"[^{word[0]}]{word}?", f"(?:{word}|c)*"])


def holds(condition: Condition, request: dict[str, str]) -> bool:
    """What a condition means, in plain Python and apart from the evaluator."""
    match condition:
        case Not(condition=inner):
            return not holds(inner, request)
        case AllOf(conditions=inner):
            return all(holds(each, request) for each in inner)
        case AnyOf(conditions=inner):
            return any(holds(each, request) for each in inner)
        case Present(header=header):
            return header in request
        case Match(header=header) | Range(header=header):
            return header in request and compares(condition, request[header])


def compares(condition: Match | Range, value: str) -> bool:
    if isinstance(condition, Range):
        if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value) is None:
            return False
        return (condition.low is None or float(value) >= condition.low) and float(value) <= (condition.high or 0)
    test = {
        Operator.EXACT: str.__eq__, Operator.PREFIX: str.startswith, Operator.SUFFIX: str.endswith,
        Operator.CONTAINS: str.__contains__, Operator.REGEX: lambda value, pattern: re.fullmatch(pattern, value),
    }[condition.operator]  # fmt: skip
    return any(test(value, operand) for operand in condition.operands)


class Brute:
    """Tries every value of each header; values that no comparison tells apart are tried once."""

    def __init__(self, audiences: list[Audience]) -> None:
        self._audiences = audiences
        leaves = [leaf for each in audiences for leaf in self._leaves(each.condition)]
        values = {"p": TEXTS, "q": TEXTS, "n": NUMBERS}
        self._requests = [
            {name: value for name, value in zip("pqn", chosen, strict=True) if value is not None}
            for chosen in itertools.product(*(self._distinct(leaves, name, values[name]) for name in "pqn"))
        ]

    def _leaves(self, condition: Condition) -> list[Match | Range]:
        match condition:
            case Not(condition=inner):
                return self._leaves(inner)
            case AllOf(conditions=inner) | AnyOf(conditions=inner):
                return [leaf for each in inner for leaf in self._leaves(each)]
            case Present():
                return []
            case Match() | Range():
                return [condition]

    @staticmethod
    def _distinct(leaves: list[Match | Range], header: str, values: list[str]) -> list[str | None]:
        mine = [leaf for leaf in leaves if leaf.header == header]
        kinds = {tuple(compares(leaf, value) for leaf in mine): value for value in (values if mine else [""])}
        return [None, *kinds.values()]

    def claims(self) -> set[tuple[Claim, str, tuple[str, ...]]]:
        """What the prover should say."""
        met = [[holds(each.condition, request) for each in self._audiences] for request in self._requests]
        found = set()
        for place, audience in enumerate(self._audiences):
            rows = [row for row in met if row[place]]
            earlier = [self._audiences[i].name for i in range(place) if any(row[i] for row in rows)]
            if not rows:
                found.add((Claim.NOBODY, audience.name, ()))
            elif all(any(row[:place]) for row in rows):
                found.add((Claim.UNREACHABLE, audience.name, tuple(earlier)))
            else:
                found |= {(Claim.OVERLAP, audience.name, (other,)) for other in earlier}
        is_left = any(not any(row) for row in met)
        return found | {(Claim.FALLBACK if is_left else Claim.NO_FALLBACK, "default", ())}


def shows(finding: Finding, audiences: list[Audience]) -> bool:
    """Whether the witness is a request that shows the claim."""
    conditions = {each.name: each.condition for each in audiences}
    if finding.witness is None:
        return finding.claim in (Claim.NOBODY, Claim.NO_FALLBACK)
    if finding.claim is Claim.FALLBACK:
        return not any(matches(each, finding.witness) for each in conditions.values())
    named = (finding.audience, finding.others[0])
    return all(matches(conditions[name], finding.witness) for name in named)


def test_it_agrees_with_brute_force_on_a_thousand_rule_sets() -> None:
    chance = random.Random(11)
    seen: set[Claim] = set()
    for number in range(RULE_SETS):
        audiences = [Audience(name=f"a{i}", condition=condition(chance)) for i in range(chance.randint(1, 3))]
        findings = prove(audiences)
        said = {(finding.claim, finding.audience, finding.others) for finding in findings}
        assert said == Brute(audiences).claims(), (number, audiences)
        assert all(shows(finding, audiences) for finding in findings), number
        seen |= {finding.claim for finding in findings}
    assert seen == set(Claim) - {Claim.UNDECIDED}


def exact(header: str, *operands: str) -> Match:
    return Match(header=header, operator=Operator.EXACT, operands=operands)


def test_a_witness_can_travel_as_a_header() -> None:
    blank = Match(header="p", operator=Operator.CONTAINS, operands=(" ",))
    found = witness(AllOf(conditions=(blank, Not(condition=exact("p", "a a")))))
    assert found is not None
    assert found["p"] == found["p"].strip()
    assert matches(blank, found)
    assert witness(exact("p", "a\tb")) == {"p": "a\tb"}


def test_what_the_fallback_gets_is_shown_by_a_request() -> None:
    ny, rest = exact("state", "New York"), Not(condition=exact("state", "New York"))
    two = (Audience(name="ny", condition=ny), Audience(name="rest", condition=rest))
    assert [(each.claim, each.witness) for each in prove(two)] == [(Claim.NO_FALLBACK, None)]
    assert prove(two[:1])[-1].claim is Claim.FALLBACK


@pytest.mark.parametrize("pattern", ["(?i)abc", r"\bfoo", r"\pL+", "[[:alpha:]]"])
def test_what_it_cannot_read_is_called_undecided(pattern: str) -> None:
    condition = Match(header="p", operator=Operator.REGEX, operands=(pattern,))
    findings = prove([Audience(name="a", condition=condition)])
    assert {finding.claim for finding in findings} == {Claim.UNDECIDED}
    assert pattern in findings[0].reason


def test_five_hundred_values_are_decided_in_a_moment() -> None:
    zips = exact("zip", *(f"{n:05}" for n in range(10_000, 10_500)))
    findings = prove([Audience(name="zips", condition=zips), Audience(name="one", condition=exact("zip", "10007"))])
    assert [(each.claim, each.others) for each in findings[:-1]] == [(Claim.UNREACHABLE, ("zips",))]
