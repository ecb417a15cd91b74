"""The sentence of a verdict: its unit, its digits, no exponent; and the same one at every place."""

from __future__ import annotations

import dataclasses

import pytest

from sluicegate.registry.ledger.reading import read_for_report
from sluicegate.registry.report.explanation import explanation
from sluicegate.registry.report.reason import Wording, unit_noun
from sluicegate.registry.report.report import rollout_report
from sluicegate.registry.report.timeline import timeline
from sluicegate.registry.words.figures import Unit, difference, interval, measured, number, signed
from sluicegate.registry.words.metric import Worse
from sluicegate.services.report.markdown import markdown
from sluicegate.services.report.page import page
from tests.acceptance.given import Given

LOSS = Wording(
    subject="log loss", unit=Unit.PLAIN, worse=Worse.HIGHER, beside="v2", is_named=False, confidence=0.95,
    counted="users", units="users",
)  # fmt: skip
LATENCY = dataclasses.replace(LOSS, subject="latency", unit=Unit.SECONDS)
ERRORS = dataclasses.replace(LOSS, subject="errors", unit=Unit.SHARE)
CLICKS = dataclasses.replace(ERRORS, subject="clicks", worse=Worse.LOWER)


@pytest.mark.parametrize(
    ("compared", "figures", "sentence"),
    [
        (LOSS, (0.518, 0.00502, 1.01, 118),
         "log loss is 0.52 higher (worse) than v2's, 95 % CI 0.01 to 1.01, after 118 users"),
        (LOSS, (0.00469, -0.146, 0.156, 1), "log loss is about equal to v2's, 95 % CI -0.15 to 0.16, after 1 user"),
        (LOSS, (1330.0, -1e6, 3e9, 2000),
         "log loss is 1,330 higher (worse) than v2's, 95 % CI -1,000,000 to 3,000,000,000, after 2,000 users"),
        (LOSS, (0.5, 0.00004, 1.0, 9),
         "log loss is 0.50 higher (worse) than v2's, 95 % CI 0.00004 to 1.00, after 9 users"),
        (LOSS, (0.2, 0.1, None, 5), "log loss is 0.20 higher (worse) than v2's, 95 % CI from 0.10 up, after 5 users"),
        (LOSS, (None, None, None, 0), "log loss: the builds cannot be compared yet"),
        (LATENCY, (0.0123, -0.002, 0.03, 4),
         "latency is 12 ms higher (worse) than v2's, 95 % CI -2 to 30, after 4 users"),
        (LATENCY, (1.33, 0.2, 2.0, 4),
         "latency is 1.33 s higher (worse) than v2's, 95 % CI 0.20 to 2.00, after 4 users"),
        (ERRORS, (0.0, -0.00694, 0.00694, 4),
         "errors are about equal to v2's, 95 % CI -0.69 to 0.69 percentage points, after 4 users"),
        (CLICKS, (-0.02, -0.03, -0.01, 4),
         "clicks are 2.0 percentage points lower (worse) than v2's, 95 % CI -3.0 to -1.0, after 4 users"),
    ],
)  # fmt: skip
def test_the_sentence_has_the_unit_and_the_digits_that_mean_something(
    compared: Wording, figures: tuple[float | None, float | None, float | None, int], sentence: str
) -> None:
    assert compared.sentence(*figures) == sentence


def test_the_confidence_is_rounded_down_and_that_of_both_tests() -> None:
    assert dataclasses.replace(LOSS, confidence=1 - 0.05 - 0.05).level == "90 % CI"
    assert dataclasses.replace(LOSS, confidence=1 - 0.03 - 0.0251).level == "94 % CI"


@pytest.mark.parametrize("value", [1e-12, 3.2e-7, 0.0, 0.04, 12.0, 1330.0, 1e15, -4.5e9])
def test_no_figure_has_an_exponent(value: float) -> None:
    texts = [number(value), signed(value), *(measured(value, unit) + difference(value, unit) for unit in Unit)]
    assert not any("e" in text.replace("percentage", "") for text in texts), texts


def test_an_interval_that_is_not_bounded_says_so() -> None:
    assert interval(None, 0.12, Unit.SHARE) == "… to 12 percentage points"


def test_a_unit_is_called_by_what_its_header_names() -> None:
    assert [unit_noun(header) for header in ("x-user-id", "x-session", "customer-id", "u", None)] == [
        "users", "sessions", "customers", "units", "units",
    ]  # fmt: skip


def test_every_place_shows_the_same_sentence() -> None:
    given = Given(candidate=0.72).runs(30_000)
    record = read_for_report(given.ledger, given.rollout)
    report = rollout_report(record, given.now)
    sentence = report.gates[0].view.reason
    assert sentence.startswith("log loss is 0.")
    assert "higher (worse) than v1's, 92 % CI" in sentence
    assert explanation(report).gates[0].why == sentence
    assert report.rollout.reason == f"log_loss failed: {sentence}", "why it was aborted"
    assert any(moment.why == sentence for moment in timeline(record.entries))
    assert sentence in markdown(report)
    assert sentence.replace("'", "&#39;") in page(report)
