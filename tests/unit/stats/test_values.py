"""What holds for every state of a test: it is never changed, and its fields are named where it is made."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator

import pytest

from sluicegate.flows import stats


def states() -> Iterator[type]:
    for module in pkgutil.iter_modules(stats.__path__, "sluicegate.flows.stats."):
        for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if found.__module__ == module.name and dataclasses.is_dataclass(found):
                yield found


@pytest.mark.parametrize("state", list(states()), ids=lambda state: state.__name__)
def test_states_are_frozen_and_keyword_only_and_compare_unless_they_hold_arrays(state: type) -> None:
    holds_arrays = any(
        word in str(f.type) for f in dataclasses.fields(state) for word in ("Masses", "Floats", "NDArray")
    )
    assert state.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(field.kw_only for field in dataclasses.fields(state))
    assert state.__dataclass_params__.eq is not holds_arrays  # type: ignore[attr-defined]


NOT_ZERO = {
    ("Lattice", "pitch"): 1.0, ("Draw", "odds"): 1.0, ("CoinTest", "share"): 0.5,
    ("Design", "reserve"): 0.1, ("Purchases", "amount"): 1.0,
    ("Purchases", "sigma"): 1.0, ("Purchases", "cap"): 20.0, ("Losses", "cap"): math.inf,
    ("Durations", "cap"): math.inf,
}  # fmt: skip


@pytest.mark.parametrize("state", list(states()), ids=lambda state: state.__name__)
def test_states_begin_at_nothing(state: type) -> None:
    for each in dataclasses.fields(state):
        if isinstance(each.default, (int, float)) and not isinstance(each.default, bool):
            assert each.default == NOT_ZERO.get((state.__name__, each.name), 0)
