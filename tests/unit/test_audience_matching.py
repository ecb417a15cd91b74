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
        (Present(header="X-Sluice-Unit"), "belongs to the way a request travels"),
        (Present(header="Host"), "belongs to the way a request travels"),
        (match(Operator.EXACT), "empty list"),
        (match(Operator.EXACT, *map(str, range(501))), "501 values"),
        (match(Operator.EXACT, " a"), "never matches"),
        (match(Operator.PREFIX, " a"), "never matches"),
        (match(Operator.SUFFIX, "a\t"), "never matches"),
        (match(Operator.CONTAINS, "a\nb"), "no header can carry"),
        (match(Operator.CONTAINS, "\udcff"), "no header can carry"),
        (match(Operator.EXACT, "x" * 1025), "1024 is the most"),
        (match(Operator.REGEX, "(?=a)"), "no RE2 expression"),
        (match(Operator.REGEX, "a)|(?:b"), "no RE2 expression"),
        (match(Operator.REGEX, r"\Qa"), "no RE2 expression"),
        (match(Operator.REGEX, r"\p{L}+ .*"), "too large"),
        (Range(header="x-age"), "lower or an upper end"),
        (Range(header="x-age", low=float("nan")), "finite"),
        (Range(header="x-age", low=2, high=1), "no number is from 2 to 1"),
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
    assert "8 is the most" in found
