"""Trends: the sparklines of the rollouts and models that the overview shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from markupsafe import Markup

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.report.trend import Trend, trends
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console import counted
from sluicegate.services.console.ports import Desk
from sluicegate.services.report.sparkline import pulse_line, sparkline

Drawn = Mapping[str, tuple[Trend, Markup]]
"""By metric: how it went, and its sparkline."""


def drawn_pulses(desk: Desk, models: Collection[str]) -> dict[str, Markup]:
    """By model: its requests of the last minutes as a sparkline, for those that had some."""
    told = counted.pulses(desk, models)
    return {model: Markup(line) for model, each in told.items() if (line := pulse_line(each))}  # noqa: S704


class Trends:
    """Looks never change: those of a rollout are read again only once it has more of them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Drawn]] = {}

    def read(self, ledger: Ledger, shown: Sequence[Rollout]) -> dict[str, Drawn]:
        """By rollout. What is shown no more is forgotten."""
        many = Counter[str]()
        for look in ledger.last_looks(*(rollout.id for rollout in shown if rollout.is_judged)):
            many[look.rollout] += look.k
        self._known = {each.id: self._read(ledger, each, many[each.id]) for each in shown if each.is_judged}
        return {name: drawn for name, (_, drawn) in self._known.items()}

    def _read(self, ledger: Ledger, rollout: Rollout, many: int) -> tuple[int, Drawn]:
        known = self._known.get(rollout.id)
        if known is not None and known[0] == many:
            return known
        found = trends(rollout, ledger.looks(rollout.id) if many else ())
        return many, {each.metric: (each, Markup(sparkline(each))) for each in found}  # noqa: S704
