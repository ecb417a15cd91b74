"""Bars: where a difference's always-valid interval, its margin and zero lie on one small axis. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from registry.view import GateView

WIDTH, PAD = 176.0, 4.0
"""Of the drawing, and what stays free at both ends; in its own units."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Places on the axis, from 0 to WIDTH."""

    left: float
    right: float
    """The interval."""
    estimate: float
    zero: float
    bound: float | None
    """The margin, signed towards harm."""
    words: str
    """The same for those who hear it."""


def bar(gate: GateView) -> Bar | None:
    """The bar of a gate; None while there is no interval."""
    if gate.estimate is None or gate.low is None or gate.high is None:
        return None
    shown = [value for value in (gate.low, gate.high, gate.estimate, gate.bound, 0.0) if value is not None]
    finite = [value for value in shown if math.isfinite(value)]
    low, span = min(finite), (max(finite) - min(finite)) or 1.0

    def place(value: float) -> float:
        share = min(max((value - low) / span, 0.0), 1.0)
        return round(PAD + share * (WIDTH - 2 * PAD), 1)

    return Bar(
        left=place(gate.low),
        right=place(gate.high),
        estimate=place(gate.estimate),
        zero=place(0.0),
        bound=None if gate.bound is None else place(gate.bound),
        words=_words(gate),
    )


def _words(gate: GateView) -> str:
    told = f"difference {gate.estimate:.3g}, interval {gate.low:.3g} to {gate.high:.3g}"
    return told if gate.bound is None else f"{told}, margin {gate.bound:.3g}"
