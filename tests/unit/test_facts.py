"""Facts and looks as JSON: what is written comes back, and what is not known is not skipped."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.ledger.looks_json import look_from_json, look_to_json
from sluicegate.registry.rollout.facts import FACTS, Fact, Party, from_payload, to_payload
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.metric import Arm, Stratum, TallyRow
from sluicegate.registry.words.tally import Tally, UnitSums
from sluicegate.registry.words.verdict import Answer, Look, Verdict

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OF: dict[Any, st.SearchStrategy[Any]] = {
    Party: st.sampled_from(Party),
    str: TEXTS, int: st.integers(), float: st.floats(allow_nan=False, allow_infinity=False), bool: st.booleans(),
    str | None: st.none() | TEXTS, float | None: st.none() | st.floats(allow_nan=False, allow_infinity=False),
    dict[str, object]: st.dictionaries(TEXTS, JSON, max_size=3),
    dict[str, str]: st.dictionaries(TEXTS, TEXTS, max_size=3), tuple[str, ...]: st.lists(TEXTS, max_size=3).map(tuple),
    datetime | None: st.none() | st.datetimes(timezones=st.just(UTC)),
}  # fmt: skip


def facts() -> st.SearchStrategy[Any]:
    """Any fact of any kind."""
    return st.one_of(
        st.builds(kind, **{name: OF[hint] for name, hint in get_type_hints(kind).items()}) for kind in get_args(Fact)
    )


@given(facts())
def test_facts_come_back_through_json(fact: Fact) -> None:
    stored = json.loads(json.dumps(to_payload(fact)))
    assert from_payload(type(fact).__name__, stored) == fact


def test_every_fact_has_its_name() -> None:
    assert list(FACTS.values()) == list(get_args(Fact))


def test_an_unknown_fact_is_not_skipped() -> None:
    with pytest.raises(SluiceError, match=r"'Teleported'.*Fix: upgrade"):
        from_payload("Teleported", {})


FLOATS = st.floats(allow_nan=False)
TALLIES = st.builds(Tally, n=st.integers(0), missing=st.integers(0), total=FLOATS, squares=FLOATS, cubes=FLOATS)
UNITS = st.builds(UnitSums, size=st.integers(), **dict.fromkeys(UnitSums._fields[1:], FLOATS))
ROWS = st.builds(
    TallyRow, metric=TEXTS, stratum=st.builds(Stratum, epoch=st.integers(), bucket=st.integers()),
    weight=st.integers(), arm=st.sampled_from(Arm), tally=TALLIES,
    units=st.none() | UNITS,
)  # fmt: skip
VERDICTS = st.builds(
    Verdict, metric=TEXTS, answer=st.sampled_from(Answer), reason=TEXTS | st.sampled_from(["inf", "nan", "-inf"]),
    step=st.integers(), k=st.integers(), guardrail=st.booleans(), margin=st.none() | FLOATS,
    ruled_out=st.lists(FLOATS, max_size=4).map(tuple), stable_n=st.integers(), candidate_n=st.integers(),
    missing=st.integers(), information=FLOATS, information_fraction=FLOATS,
    **{name: st.none() | FLOATS for name in ("stable_mean", "candidate_mean", "estimate", "low", "high", "alpha",
                                             "alpha_spent", "e_value")},
)  # fmt: skip


@given(st.lists(ROWS, max_size=3), VERDICTS, st.datetimes().map(lambda at: at.replace(tzinfo=UTC, fold=0)))
def test_looks_come_back_bit_for_bit(rows: list[TallyRow], verdict: Verdict, at: datetime) -> None:
    look = Look(rollout="r", metric="inf", k=1, step=0, at=at, watermark=7, rows=tuple(rows), verdict=verdict)
    again = look_from_json(look_to_json(look))
    assert repr(again) == repr(look)
    assert look_to_json(again) == look_to_json(look)


def test_a_unit_that_gets_a_row_is_counted_once() -> None:
    sums = UnitSums.from_unit(1.0, 2) + UnitSums.from_unit(3.0, 4)
    assert sums - UnitSums.from_unit(1.0, 2) + UnitSums.from_unit(2.0, 3) == UnitSums.from_unit(
        3.0, 4
    ) + UnitSums.from_unit(2.0, 3)
    assert (sums.size, sums.n, sums.xn, sums.xxn, sums.xnn) == (2, 6, 14, 38, 52)


def test_what_is_not_a_number_comes_back_too() -> None:
    verdict = Verdict(metric="m", answer=Answer.NO_DATA, reason="nan", step=0, k=0, estimate=math.nan, low=-math.inf)
    look = Look(rollout="r", metric="m", k=1, step=0, at=datetime(2026, 1, 1, tzinfo=UTC), watermark=0, rows=(),
                verdict=verdict)  # fmt: skip
    again = look_from_json(look_to_json(look)).verdict
    assert again.reason == "nan"
    assert again.estimate is not None
    assert math.isnan(again.estimate)
    assert again.low == -math.inf
    json.loads(look_to_json(look), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_every_field_of_a_verdict_is_stored() -> None:
    drawn = {field.name for field in fields(Verdict)}
    assert drawn == set(json.loads(look_to_json(_any_look()))["verdict"])


def _any_look() -> Look:
    verdict = Verdict(metric="m", answer=Answer.PASS, reason="", step=0, k=1)
    return Look(rollout="r", metric="m", k=1, step=0, at=datetime(2026, 1, 1, tzinfo=UTC), watermark=0, rows=(),
                verdict=verdict)  # fmt: skip
