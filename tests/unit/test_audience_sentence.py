"""A condition in words, as the console shows it."""

from __future__ import annotations

import pytest

from sluicegate.registry.audience.audience import AllOf, AnyOf, Condition, Match, Not, Operator, Present, Range
from sluicegate.registry.audience.sentence import sentence
from tests.audience_cases import CASES

NY = Match(header="state", operator=Operator.EXACT, operands=("New York", "Texas"))
ADULT = Range(header="age", low=18, high=65)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (NY, "state is 'New York' or 'Texas'"),
        (Not(condition=NY), "state is not 'New York' nor 'Texas'"),
        (ADULT, "age is a number from 18 to 65"),
        (Range(header="age", high=6.5), "age is a number up to 6.5"),
        (Not(condition=Range(header="age", low=1)), "age is not a number from 1"),
        (Not(condition=Present(header="beta")), "beta is not sent"),
        (AllOf(conditions=()), "everybody"),
        (AnyOf(conditions=()), "nobody"),
        (
            AllOf(conditions=(ADULT, AnyOf(conditions=(NY, Present(header="beta"))))),
            "age is a number from 18 to 65 and (state is 'New York' or 'Texas' or beta is sent)",
        ),
        (Not(condition=AllOf(conditions=(NY, ADULT))), f"not ({sentence(NY)} and {sentence(ADULT)})"),
        (Not(condition=Not(condition=NY)), sentence(NY)),
        (Match(header="x", operator=Operator.SUFFIX, operands=("@a.b",)), "x ends with '@a.b'"),
    ],
)
def test_a_condition_is_said_in_words(condition: Condition, words: str) -> None:
    assert sentence(condition) == words


def test_every_condition_has_words() -> None:
    assert all(sentence(condition) for condition, _, _ in CASES)
