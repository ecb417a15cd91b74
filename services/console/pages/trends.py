"""Trends: the sparklines of the rollouts that the overview shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.report.trend import Trend, trends
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.report.sparkline import sparkline

Drawn = Mapping[str, tuple[Trend, Markup]]
"""By metric: how it went, and its sparkline."""


class Trends:
    """Looks never change: those of a rollout are read again only once it has more of them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Drawn]] = {}

    def read(self, ledger: Ledger, shown: Sequence[Rollout]) -> dict[str, Drawn]:
        """By rollout. What is shown no more is forgotten."""
        self._known = {rollout.id: self._read(ledger, rollout) for rollout in shown if rollout.is_judged}
        return {name: drawn for name, (_, drawn) in self._known.items()}

    def _read(self, ledger: Ledger, rollout: Rollout) -> tuple[int, Drawn]:
        many = sum(look.k for look in ledger.last_looks(rollout.id))
        known = self._known.get(rollout.id)
        if known is not None and known[0] == many:
            return known
        found = trends(rollout, ledger.looks(rollout.id) if many else ())
        return many, {each.metric: (each, Markup(sparkline(each))) for each in found}  # noqa: S704
