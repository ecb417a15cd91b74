"""Scores: what each gives, and what is missing rather than a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.plan.fields import LEAST_PROBABILITY, MetricSpec, PredictionField, Score, Source
from sluicegate.services.telemetry.tally.scores import LIMIT, Missing, Summary, same, score

FAR = (1e9 - 100, 1e9 + 100)


@pytest.mark.parametrize(
    ("fields", "value", "counted"),
    [
        ({"range": FAR}, 1e9 + 7.25, 7.25), ({"range": (-FAR[1], -FAR[0])}, -1e9 + 7.25, 7.25),
        ({"range": (0, 1e5)}, 7.25, 7.25), ({"range": FAR, "cap": 2e9}, 1e9 + 7.25, 1e9 + 7.25), ({}, 7.25, 7.25),
    ],
)  # fmt: skip
def test_outcomes_far_from_zero_are_counted_from_the_middle_of_their_range(
    fields: dict[str, object], value: float, counted: float
) -> None:
    spec = metric(**fields)
    assert score(Score.OUTCOME, spec, None, value) == counted
    assert spec.origin == value - counted


def metric(**fields: object) -> MetricSpec:
    return MetricSpec(source=Source.OUTCOME, outcome="late", **fields)  # type: ignore[arg-type]


POSITIVE = metric(prediction=PredictionField(column="p", positive="late"))


@pytest.mark.parametrize(
    ("kind", "prediction", "value", "expected"),
    [
        (Score.LOG_LOSS, 0.8, 1, -math.log(0.8)),
        (Score.LOG_LOSS, 0.8, 0, -math.log(0.2)),
        (Score.LOG_LOSS, 0.8, True, -math.log(0.8)),
        (Score.LOG_LOSS, 0.8, "1", -math.log(0.8)),
        (Score.LOG_LOSS, 1.0, 0, -math.log(LEAST_PROBABILITY)),
        (Score.LOG_LOSS, 0, 1, -math.log(LEAST_PROBABILITY)),
        (Score.BRIER, 0.8, 1, 0.04),
        (Score.BRIER, 0.8, 0, 0.64),
        (Score.ZERO_ONE, "a", "b", 1.0),
        (Score.ZERO_ONE, "a", "a", 0.0),
        (Score.ZERO_ONE, 1.0, "1", 0.0),
        (Score.ABSOLUTE_ERROR, 3, 5.5, 2.5),
        (Score.SQUARED_ERROR, 3, 5, 4.0),
        (Score.OUTCOME, Missing.PREDICTION, 12.5, 12.5),
        (Score.OUTCOME, None, True, 1.0),
    ],
)
def test_a_score_is_the_textbook_number(kind: Score, prediction: object, value: object, expected: float) -> None:
    assert score(kind, metric(), prediction, value) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "prediction", "value", "expected"),
    [
        (Score.LOG_LOSS, 0.8, 0.5, Missing.OUTCOME),
        (Score.LOG_LOSS, 0.8, "late", Missing.OUTCOME),
        (Score.LOG_LOSS, 0.8, math.nan, Missing.OUTCOME),
        (Score.LOG_LOSS, 0.8, None, Missing.OUTCOME),
        (Score.LOG_LOSS, 1.2, 1, Missing.PROBABILITY),
        (Score.LOG_LOSS, math.nan, 1, Missing.PROBABILITY),
        (Score.LOG_LOSS, "high", 1, Missing.PROBABILITY),
        (Score.LOG_LOSS, None, 1, Missing.PROBABILITY),
        (Score.BRIER, Missing.TRUNCATED, 1, Missing.TRUNCATED),
        (Score.ZERO_ONE, None, 1, Missing.PREDICTION),
        (Score.ABSOLUTE_ERROR, math.inf, 1, Missing.PREDICTION),
        (Score.ABSOLUTE_ERROR, 1, math.inf, Missing.OUTCOME),
        (Score.SQUARED_ERROR, 1e100, 0, Missing.OUTCOME),
        (Score.OUTCOME, None, "many", Missing.OUTCOME),
        (Score.OUTCOME, None, 10**400, Missing.OUTCOME),
    ],
)
def test_what_cannot_be_scored_is_missing(kind: Score, prediction: object, value: object, expected: Missing) -> None:
    assert score(kind, metric(), prediction, value) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Score.OUTCOME, Score.ABSOLUTE_ERROR, Score.SQUARED_ERROR])
@pytest.mark.parametrize("value", [2**63, -(2**63), 2.0**60, str(2**63), 1e300])
def test_an_outcome_that_no_number_tells_exactly_is_set_aside_with_a_cap_or_without(kind: Score, value: object) -> None:
    assert score(kind, metric(), 5.0, value) is Missing.RANGE  # type: ignore[arg-type]
    assert score(kind, metric(cap=100.0), 5.0, value) is Missing.RANGE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 0.0), (50, 50.0), ("50", 50.0), (-1, None), (51, None), ("x", None)]
)
def test_a_plans_range_says_which_outcomes_can_be_true(value: object, expected: float | None) -> None:
    found = score(Score.OUTCOME, metric(range=(0, 50)), None, value)  # type: ignore[arg-type]
    assert found == (expected if expected is not None else Missing.OUTCOME if value == "x" else Missing.RANGE)


def test_the_positive_class_says_what_a_probability_speaks_of() -> None:
    assert score(Score.LOG_LOSS, POSITIVE, 0.9, "late") == pytest.approx(-math.log(0.9))
    assert score(Score.LOG_LOSS, POSITIVE, 0.9, "in time") == pytest.approx(-math.log(0.1))
    assert score(Score.ZERO_ONE, POSITIVE, 0.9, "late") == 0.0
    assert score(Score.ZERO_ONE, POSITIVE, 0.5, "in time") == 1.0


def test_a_cap_holds_on_both_sides() -> None:
    capped = metric(cap=10.0)
    assert score(Score.OUTCOME, capped, None, 11) == 10.0
    assert score(Score.OUTCOME, capped, None, -11) == -10.0
    assert score(Score.OUTCOME, capped, None, 10**400) is Missing.OUTCOME


@given(
    kind=st.sampled_from(Score),
    prediction=st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none(), st.sampled_from(Missing)),
    value=st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none()),
    cap=st.none() | st.floats(min_value=0, max_value=1e6),
    positive=st.none() | st.integers() | st.text() | st.booleans(),
)
def test_no_score_is_ever_a_number_that_cannot_be_summed(
    kind: Score, prediction: object, value: object, cap: float | None, positive: object
) -> None:
    spec = metric(cap=cap, prediction=PredictionField(positive=positive))  # type: ignore[arg-type]
    found = score(kind, spec, prediction, value)  # type: ignore[arg-type]
    assert isinstance(found, Missing) or (math.isfinite(found**3) and abs(found) <= LIMIT)


@pytest.mark.parametrize(("left", "right"), [(True, 1), (1, 1.0), ("1", 1), ("1.0", "1"), ("True", 1), (" a ", "a")])
def test_spellings_of_one_value_agree(left: object, right: object) -> None:
    assert same(left, right)


@pytest.mark.parametrize(("left", "right"), [("a", "b"), (0, 1), ("NO", 0), ("", 0), (None, 0), (None, "")])
def test_different_values_do_not(left: object, right: object) -> None:
    assert not same(left, right)


def test_a_summary_finds_its_cells() -> None:
    summary = Summary('{"c":["label","probability"],"r":[["a",0.1],["b",0.2]]}')
    assert summary.size == 2
    assert summary.cell(1, PredictionField(column="probability")) == 0.2
    assert summary.cell(0, PredictionField(column="absent")) is Missing.COLUMN
    assert summary.cell(0, None) is Missing.COLUMN
    assert Summary('{"c":["p"],"r":[[0.5]]}').cell(0, None) == 0.5


@pytest.mark.parametrize(
    "text", [None, "", "nonsense", "[]", "7", "null", '{"c":1,"r":2}', '{"r":[[1]]}', '{"c":["a"],"r":[1]}']
)
def test_a_summary_that_cannot_be_read_is_missing(text: str | None) -> None:
    summary = Summary(text)
    assert summary.cell(0, None) is Missing.PREDICTION
    assert summary.size is None


def test_a_cut_summary_knows_its_size_only() -> None:
    summary = Summary('{"n":40,"truncated":true}')
    assert summary.size == 40
    assert summary.cell(3, None) is Missing.TRUNCATED
