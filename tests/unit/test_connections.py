"""Connections: who takes a request, what the ledger keeps, and how few units move when weights change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.registry.audience.audience import Audience, Condition, Operator, headers, matches
from sluicegate.registry.audience.connections import Connection, Connections, Copied, Weighted, settled
from sluicegate.registry.audience.layout import SLOTS, SlotRun, lay_out, quotas
from sluicegate.registry.ledger.withdrawal import withdrawn
from sluicegate.registry.orders.connections_record import (
    all_connections,
    connections_of,
    document,
    read,
)
from sluicegate.registry.words.errors import UsageError
from tests.audience_cases import CASES, match
from tests.doubles.ledger import MemoryLedger
from tests.giving import connect

NOW = datetime(2026, 11, 22, tzinfo=UTC)
WEIGHTS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 50), min_size=1).filter(
    lambda weights: any(weights.values())
)


def audience(name: str, state: str) -> Audience:
    return Audience(name=name, condition=match(Operator.EXACT, state))


def connection(name: str, **weights: int) -> Connection:
    parts = tuple(Weighted(variation=variation, weight=weight) for variation, weight in weights.items())
    return Connection(audience=audience(name, name), weighted=parts)


NEW_YORK = connection("ny", a=1, b=3)
CONNECTIONS = Connections(model="delays", ordered=(NEW_YORK, connection("ca", c=1)))


def totals(layout: tuple[SlotRun, ...]) -> dict[str, int]:
    return {name: sum(h.slots for h in layout if h.variation == name) for name in {h.variation for h in layout}}


def changed(before: Sequence[SlotRun], after: Sequence[SlotRun]) -> int:
    """How many slots change their variation."""
    old, new = ([run.variation for run in layout for _ in range(run.slots)] for layout in (before, after))
    return sum(here != there for here, there in zip(old, new, strict=True))


@given(st.lists(WEIGHTS, min_size=1, max_size=6))
def test_every_change_gives_the_exact_shares_and_moves_no_more_than_it_must(history: list[dict[str, int]]) -> None:
    layout: tuple[SlotRun, ...] = ()
    for weights in history:
        before, layout = layout, lay_out(weights, layout)
        slots = {name: count for name, count in quotas(weights).items() if count}
        assert totals(layout) == slots
        assert sum(slots.values()) == SLOTS
        total = sum(weights.values())
        assert all(abs(slots.get(name, 0) - SLOTS * weights[name] / total) <= 1 for name in weights)
        if before:
            must = sum(max(0, count - slots.get(name, 0)) for name, count in totals(before).items())
            assert changed(before, layout) == must
        assert lay_out(weights, layout) == layout


def test_a_weight_above_nothing_holds_a_slot() -> None:
    assert quotas({"a": 1, "b": 1_000_000}) == {"a": 1, "b": 9_999}


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": -1, "b": 5}])
def test_weights_that_share_nothing_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="every weight is 0"):
        lay_out(weights)


def test_the_first_audience_that_matches_takes_a_request() -> None:
    both = Connections(model="delays", ordered=(NEW_YORK, Connection(audience=audience("all", "ny"), weighted=())))
    assert both.takes({"X-State": " ny "}) == NEW_YORK
    assert both.takes({"x-state": "tx"}) is None


def test_a_layout_stays_with_its_audience_in_any_order() -> None:
    first = settled(CONNECTIONS, None)
    turned = Connections(model="delays", ordered=(CONNECTIONS.ordered[1], connection("ny", b=3, a=2)))
    later = settled(turned, first)
    assert changed(first.ordered[0].layout, later.ordered[1].layout) == 1_500
    assert totals(later.ordered[1].layout) == {"a": 4_000, "b": 6_000}


@pytest.mark.parametrize(("condition", "metadata", "meets"), CASES)
def test_every_condition_that_may_be_recorded_is_read_back_from_json(
    condition: Condition, metadata: Sequence[tuple[str, str]], meets: bool
) -> None:
    one = Connection(
        audience=Audience(name="one", condition=condition, description="said"),
        weighted=(Weighted(variation="a", weight=2),),
        copied=(Copied(variation="b", sample=1_000),),
    )
    whole = settled(Connections(model="delays", ordered=(one,), fallback_copied=one.copied), None)
    again = read(json.loads(json.dumps(document(whole))))
    assert replace(again, ordered=()) == replace(whole, ordered=())
    ((read_back,), (written,)) = again.ordered, whole.ordered
    assert replace(read_back, audience=written.audience) == written
    assert matches(read_back.audience.condition, headers(metadata)) is meets


def test_the_ledger_keeps_the_latest_connections_of_each_model() -> None:
    ledger = MemoryLedger()
    assert connections_of(ledger, "delays") is None
    assert connect(ledger, CONNECTIONS, "ann", NOW)
    assert not connect(ledger, CONNECTIONS, "ann", NOW)
    assert connect(ledger, Connections(model="delays", ordered=(connection("ny", a=1, b=1),)), "ann", NOW)
    found = connections_of(ledger, "delays")
    assert found is not None
    assert all_connections(ledger) == {"delays": found}
    assert changed(settled(CONNECTIONS, None).ordered[0].layout, found.ordered[0].layout) == 2_500
    assert ledger.applied("traffic", "delays").actor == "ann"
    ledger.apply(withdrawn("traffic", "delays", "ann", NOW))
    assert (connections_of(ledger, "delays"), all_connections(ledger)) == (None, {})


@pytest.mark.parametrize(
    ("ordered", "said"),
    [
        ((NEW_YORK, NEW_YORK), "audience ny is named twice"),
        ((connection("default", a=1),), "default, the fallback's name"),
        ((Connection(audience=Audience(name="x", condition=match(Operator.REGEX, "(")), weighted=()),), "audience x: "),
    ],
)
def test_what_the_data_plane_would_refuse_is_not_recorded(ordered: tuple[Connection, ...], said: str) -> None:
    ledger = MemoryLedger()
    with pytest.raises(UsageError, match=said):
        connect(ledger, Connections(model="delays", ordered=ordered), "ann", NOW)
    assert ledger.applied("traffic", "delays") is None
