"""A guardrail that looks at slices: where it finds harm, what it says, and that looks alone decide."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from sluicegate.flows.gate import judge as gate
from sluicegate.flows.gate.slices import fold_slices, sliced_question
from sluicegate.flows.stats.slices import share_of_rank
from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.metric import REQUESTS, Arm, Stratum, TallyRow
from sluicegate.registry.words.slices import Slice, sliced_name
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.verdict import Answer, Look, Verdict

AT = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate(
    {
        "model": "m",
        "metrics": {"errors": {"source": "status"}, "p99": {"source": "latency", "quantile": 0.99}},
        "guardrails": [
            {"metric": "errors", "slices": ["x-state", "x-plan"], "alpha": 0.02},
            {"metric": "p99", "slices": ["x-plan"], "alpha": 0.02},
        ],
        "steps": [{"weight": 50}],
    }
)
ERRORS, P99 = PLAN.guardrails
CA, NY, PRO = Slice("x-state", "CA"), Slice("x-state", "NY"), Slice("x-plan", "pro")
Counts = tuple[tuple[int, int], tuple[int, int]]
"""Events and rows of stable, and of the candidate."""


def rows_of(metric: str, counts: Counts, part: Slice | None = None) -> list[TallyRow]:
    name = metric if part is None else sliced_name(metric, part)
    return [
        TallyRow(
            metric=name, stratum=Stratum(epoch=1, bucket=0), weight=5_000, arm=arm, tally=Tally.from_events(n, events)
        )
        for arm, (events, n) in zip(Arm, counts, strict=True)
    ]


def look_at(
    rows: Sequence[TallyRow], looks: Sequence[Look] = (), guardrail: Any = ERRORS, plan: Plan = PLAN
) -> Look | None:
    return gate.next_look(
        rollout="r1", plan=plan, gate=guardrail, guardrail=True, step=0, looks=looks,
        rows=gate.rows_read(plan, guardrail, rows), watermark=0, at=AT, beside="v2",
    )  # fmt: skip


def verdict_of(rows: Sequence[TallyRow], **more: Any) -> Verdict:
    look = look_at(rows, **more)
    assert look is not None
    return look.verdict


HARMED = [
    *rows_of("errors", ((200, 10_000), (212, 10_000))),
    *rows_of("errors", ((4, 200), (40, 200)), CA),
    *rows_of("errors", ((196, 9_800), (172, 9_800)), NY),
    *rows_of("errors", ((200, 10_000), (212, 10_000)), PRO),
]


def test_harm_in_a_slice_is_named_although_the_whole_looks_well() -> None:
    verdict = verdict_of(HARMED)
    assert verdict.answer is Answer.FAIL
    assert verdict.reason.startswith(
        "errors of x-state=CA are 18.0 percentage points higher (worse) than v2's, 94 % CI "
    )
    assert verdict.reason.endswith("after 400 requests")
    assert (verdict.stable_n, verdict.candidate_n, verdict.alpha) == (200, 200, 0.02)
    assert "harm found in x-state=CA at look 1" in verdict.details
    assert any(each.startswith("of all requests: errors are 0.12 percentage points higher") for each in verdict.details)
    assert str(verdict.slices[0]) == "x-state=CA: candidate 20 % of 200, stable 2 % of 200; harm found"
    assert verdict_of(rows_of("errors", ((200, 10_000), (212, 10_000)))).answer is Answer.UNDECIDED


def test_harm_that_is_found_stays_found_and_the_first_is_named() -> None:
    look = look_at(HARMED)
    assert look is not None
    more = [dataclasses.replace(row, tally=row.tally + row.tally) for row in HARMED]
    grown = [*more[:6], *rows_of("errors", ((200, 20_000), (4_000, 20_000)), PRO)]
    verdict = verdict_of(grown, looks=[look])
    assert verdict.answer is Answer.FAIL
    assert verdict.reason.startswith("errors of x-state=CA are ")
    assert verdict.reason.endswith("; harm was found in x-plan=pro too")
    assert verdict.k == 2


def test_harm_in_the_whole_is_told_of_the_whole() -> None:
    """Also where a slice shows it at the same look."""
    verdict = verdict_of(
        [*rows_of("errors", ((20, 2_000), (200, 2_000))), *rows_of("errors", ((4, 200), (40, 200)), CA)]
    )
    assert verdict.answer is Answer.FAIL
    assert verdict.reason.startswith("errors are 9.0 percentage points higher")
    assert [(each.value, each.has_failed) for each in verdict.slices] == [("CA", True)]


def test_better_in_one_slice_does_not_make_up_for_another() -> None:
    both = ((40, 400), (40, 400))
    verdict = verdict_of(
        [
            *rows_of("errors", both),
            *rows_of("errors", ((0, 200), (40, 200)), CA),
            *rows_of("errors", ((40, 200), (0, 200)), NY),
        ]
    )
    assert verdict.answer is Answer.FAIL
    assert verdict.reason.startswith("errors of x-state=CA are 20.0 percentage points higher")


def test_other_headers_and_other_metrics_are_not_read() -> None:
    rows = [
        *rows_of("p99", ((2, 200), (3, 200))), *rows_of("p99", ((0, 100), (60, 100)), CA), *HARMED,
        *rows_of("p99", ((1, 100), (2, 100)), PRO),
    ]  # fmt: skip
    look = look_at(rows, guardrail=P99)
    assert look is not None
    assert {row.metric for row in look.rows} == {"p99", "p99|x-plan=pro"}
    assert look.verdict.answer is Answer.UNDECIDED


def test_a_slow_slice_is_named() -> None:
    rows = [*rows_of("p99", ((35, 2_000), (42, 2_000))), *rows_of("p99", ((2, 100), (30, 100)), PRO)]
    verdict = verdict_of(rows, guardrail=P99)
    assert verdict.answer is Answer.FAIL
    assert verdict.reason.startswith(
        "the share of requests slower than v2's p99 of x-plan=pro is 28 percentage points higher (worse)"
    )


def test_looks_alone_decide_bit_for_bit() -> None:
    looks: list[Look] = []
    for scale in range(1, 12):
        grown = [
            dataclasses.replace(row, tally=Tally.from_events(row.tally.n * scale // 10, row.tally.total * scale // 10))
            for row in HARMED
        ]
        look = look_at(grown[::-1], looks=looks)
        assert look is None or look == look_at(grown, looks=looks)
        looks += [] if look is None else [look]
    assert len(looks) > 5
    read = [look_from_json(look_to_json(look)) for look in looks]
    assert read == looks
    for k, look in enumerate(looks, 1):
        assert gate.verdict(plan=PLAN, gate=ERRORS, guardrail=True, step=0, looks=read[:k], beside="v2") == look.verdict
    assert (
        sum((row.tally for look in looks for row in look.rows if row.metric == "errors|x-state=CA"), Tally()).n == 440
    )


def test_users_are_judged_by_slice() -> None:
    """A hundred rows of one user who always errs are one user's."""
    plan = Plan.model_validate(PLAN.document() | {"unit": "x-user-id"})

    def by_user(row: TallyRow, users: int) -> TallyRow:
        each = row.tally.n // users
        erring = round(row.tally.total) // each
        sums = UnitSums.from_unit(each, each).times(erring) + UnitSums.from_unit(0, each).times(users - erring)
        return dataclasses.replace(row, units=sums)

    counts = (((10, 1_000), (110, 1_000)), ((0, 200), (100, 200)))
    rows = [*rows_of("errors", counts[0]), *rows_of("errors", counts[1], CA)]
    few = [by_user(row, 100 if row.metric == "errors" else 2) for row in rows]
    many = [by_user(row, row.tally.n) for row in rows]
    assert verdict_of(few[2:] and [*many[:2], *few[2:]], plan=plan).reason.startswith("errors are ")
    quiet = [by_user(row, row.tally.n) for row in rows_of("errors", ((100, 1_000), (110, 1_000)))]
    assert verdict_of([*quiet, *few[2:]], plan=plan).answer is Answer.UNDECIDED
    assert verdict_of([*quiet, *many[2:]], plan=plan).reason.startswith("errors of x-state=CA are ")


WRONG = Plan.model_validate(
    PLAN.document()
    | {
        "metrics": {"wrong": {"source": "outcome", "outcome": "label", "score": "zero_one"}},
        "guardrails": [{"metric": "wrong", "slices": ["x-state"], "alpha": 0.02}],
    }
)


def of_labels(rows: Sequence[TallyRow]) -> Verdict:
    return verdict_of(rows, plan=WRONG, guardrail=WRONG.guardrails[0])


def test_labels_of_a_slice_are_compared_with_its_requests() -> None:
    rows = [
        *rows_of("wrong", ((200, 10_000), (212, 10_000))), *rows_of(REQUESTS, ((0, 10_000), (0, 10_000))),
        *rows_of("wrong", ((4, 200), (40, 200)), CA),
    ]  # fmt: skip
    whole = [*rows, *rows_of(REQUESTS, ((0, 200), (0, 200)), CA)]
    assert of_labels(whole).reason.startswith("wrong of x-state=CA is 18.0")
    lacking = [*rows, *rows_of(REQUESTS, ((0, 400), (0, 200)), CA)]
    assert of_labels(lacking).answer is not Answer.FAIL


def test_where_labels_come_unlike_in_the_whole_no_slice_is_believed() -> None:
    slice_rows = [*rows_of("wrong", ((4, 200), (40, 200)), CA), *rows_of(REQUESTS, ((0, 200), (0, 200)), CA)]
    rows = [*rows_of("wrong", ((180, 9_000), (100, 5_000))), *rows_of(REQUESTS, ((0, 10_000), (0, 10_000)))]
    assert of_labels([*rows, *slice_rows]).answer is Answer.NO_DATA


def test_the_shares_of_alpha_add_up_to_it_whatever_the_bound() -> None:
    for most in (1, 66, 264):
        shares = [share_of_rank(rank, most) for rank in range(1, most + 1)]
        assert math.fsum(shares) == pytest.approx(1)
        assert shares == sorted(shares, reverse=True)
        assert share_of_rank(most + 1, most) == share_of_rank(0, most) == 0


def test_slices_are_ranked_as_they_appear_those_of_one_look_by_their_size() -> None:
    """Both builds' requests decide, and nothing that came of them."""
    small = rows_of("errors", ((30, 40), (0, 20)), Slice("x-state", "A"))
    large = rows_of("errors", ((0, 20), (0, 200)), Slice("x-state", "B"))
    late = rows_of("errors", ((0, 900), (0, 900)), CA)
    state = fold_slices(sliced_question(PLAN, ERRORS), [(*small, *large), (*late, *small)])
    assert [part.value for part in state.slices] == ["B", "A", "CA"]
    alphas = [each.state.question.design.alpha for each in state.slices.values()]
    assert alphas == [pytest.approx(0.01 * share_of_rank(rank, 132)) for rank in (1, 2, 3)]


def test_the_whole_and_its_slices_share_alpha() -> None:
    """So much harm in the whole is found with all of alpha, and not with half of it."""
    bare = ERRORS.model_copy(update={"slices": ()})
    at = next(
        events
        for events in range(100, 200)
        if verdict_of(rows_of("errors", ((100, 1_000), (events, 1_000))), guardrail=bare).answer is Answer.FAIL
    )
    rows = rows_of("errors", ((100, 1_000), (at, 1_000)))
    assert verdict_of(rows).answer is Answer.UNDECIDED
