"""What a condition answers, and what may not stand in one."""

from __future__ import annotations

import pytest

from sluicegate.registry.audience.audience import (
    AllOf,
    Condition,
    Match,
    Not,
    Operator,
    Present,
    Range,
    headers,
    matches,
)
from sluicegate.registry.audience.rules import MAX_DEPTH, faults
from tests.audience_cases import CASES, Sent, match


@pytest.mark.parametrize(("condition", "sent", "expected"), CASES)
def test_the_truth_table(condition: Condition, sent: Sent, expected: bool) -> None:
    assert matches(condition, headers(sent)) is expected


def test_headers_are_joined_in_the_order_in_which_they_came() -> None:
    assert headers([("A", " 1 "), ("b", "x"), ("a", "2")]) == {"a": "1,2", "b": "x"}


def test_every_usable_condition_of_the_table_has_no_fault() -> None:
    assert [list(faults(condition)) for condition, _, _ in CASES if list(faults(condition))] == []


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (Present(header="x state"), "no header name"),
        (Present(header=":path"), "no header name"),
        (Present(header=""), "no header name"),
        (Present(header="X-Sluice-Unit"), "is used for transport"),
        (Present(header="Host"), "is used for transport"),
        (match(Operator.EXACT), "empty list"),
        (match(Operator.EXACT, *map(str, range(501))), "501 values"),
        (match(Operator.EXACT, " a"), "never matches"),
        (match(Operator.PREFIX, " a"), "never matches"),
        (match(Operator.SUFFIX, "a\t"), "never matches"),
        (match(Operator.CONTAINS, "a\nb"), "HTTP headers cannot hold"),
        (match(Operator.CONTAINS, "\udcff"), "HTTP headers cannot hold"),
        (match(Operator.EXACT, "x" * 1025), "at most 1024"),
        (match(Operator.REGEX, "(?=a)"), "not a valid RE2 expression"),
        (match(Operator.REGEX, "a)|(?:b"), "not a valid RE2 expression"),
        (match(Operator.REGEX, r"\Qa"), "not a valid RE2 expression"),
        (match(Operator.REGEX, r"\p{L}+ .*"), "too large"),
        (Range(header="x-age"), "needs from, to or both"),
        (Range(header="x-age", low=float("nan")), "finite"),
        (Range(header="x-age", low=2, high=1), "from 2 is above to 1"),
    ],
)
def test_what_may_not_stand_in_a_condition(condition: Condition, said: str) -> None:
    for whole in (condition, Not(condition=AllOf(conditions=(Present(header="x-fine"), condition)))):
        (found,) = faults(whole)
        assert said in found


def test_an_operator_that_may_begin_with_a_blank() -> None:
    assert list(faults(match(Operator.CONTAINS, " a "))) == []


def test_conditions_stand_in_each_other_to_a_depth() -> None:
    condition: Condition = Match(header="x-state", operator=Operator.EXACT, operands=("a",))
    for _ in range(MAX_DEPTH - 1):
        condition = Not(condition=condition)
    assert list(faults(condition)) == []
    (found,) = faults(Not(condition=condition))
    assert "at most 8 are allowed" in found
