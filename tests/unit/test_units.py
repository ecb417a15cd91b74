"""Shares, weights and durations: what people write comes back as it was."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluicegate.registry.words.units import (
    format_duration,
    format_share,
    format_weight,
    parse_duration,
    parse_share,
    parse_weight,
)


@given(st.integers(1, 366 * 86_400_000))
@example(1)
@example(999)
@example(86_400_000)
def test_durations_come_back(millis: int) -> None:
    seconds = parse_duration(f"{millis}ms") if millis < 10**9 else millis / 1000
    assert parse_duration(format_duration(seconds)) == seconds == millis / 1000


@given(st.integers(0, 1000 * 10**10))
def test_shares_come_back(parts: int) -> None:
    fraction = parse_share(f"{parts // 10**10}.{parts % 10**10:010d}%")
    assert parse_share(format_share(fraction)) == fraction


@given(st.integers(1, 10_000))
def test_weights_come_back(points: int) -> None:
    assert parse_weight(format_weight(points)) == points
    assert parse_weight(points / 100) == points
    assert parse_weight(f"{format_weight(points)}%") == points


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h30m", 5400), ("3d", 259_200), ("250ms", 0.25), ("1.5s", 1.5), ("1d2h3m4s5ms",
     93_784.005), (" 5m ", 300), ("0s", 0)],
)  # fmt: skip
def test_durations_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "wrong", ["", "5", 5, None, True, "m", "5 m", "-5m", "1m1h", "5mm", "1e3s", "٥m", "0.0001s", "9" * 400 + "d", [5]]
)
def test_what_is_no_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(wrong)


@pytest.mark.parametrize(
    "wrong", [5, 0.05, "5", "nan%", "inf%", "-5%", "1_0%", "٥%", "%", "5%%", None, "9" * 400 + "%"]
)
def test_what_is_no_share_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        parse_share(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        0,
        -1,
        100.01,
        0.001,
        101,
        "",
        "ten",
        True,
        False,
        None,
        math.nan,
        math.inf,
        "nan",
        "1e1",
        "1_0",
        "٥",
        10**400,
        [1],
    ],
)
def test_what_is_no_weight_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not a weight"):
        parse_weight(wrong)
