"""Trends: the sparklines of the rollouts and models that the overview shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.report.pulse import Pulse
from sluicegate.registry.report.trend import Trend, trends
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.report.sparkline import pulse_line, sparkline

Drawn = Mapping[str, tuple[Trend, Markup]]
"""The trend and its sparkline, by metric."""


def drawn_pulses(pulses: Mapping[str, Pulse]) -> dict[str, Markup]:
    """The requests of the last minutes as a sparkline, by model; models without requests are left out."""
    return {model: Markup(line) for model, pulse in pulses.items() if (line := pulse_line(pulse))}  # noqa: S704


class Trends:
    """A cache of drawn trends. Looks never change, so those of a rollout are read again only once it has more."""

    def __init__(self) -> None:
        self._cache: dict[str, tuple[int, Drawn]] = {}

    def read(self, ledger: Ledger, shown: Sequence[Rollout]) -> dict[str, Drawn]:
        """The trends by rollout. Rollouts that are no longer shown are dropped from the cache."""
        many = Counter[str]()
        for look in ledger.last_looks(*(rollout.id for rollout in shown if rollout.is_judged)):
            many[look.rollout] += look.k
        self._cache = {each.id: self._read(ledger, each, many[each.id]) for each in shown if each.is_judged}
        return {name: drawn for name, (_, drawn) in self._cache.items()}

    def _read(self, ledger: Ledger, rollout: Rollout, many: int) -> tuple[int, Drawn]:
        cached = self._cache.get(rollout.id)
        if cached is not None and cached[0] == many:
            return cached
        latest = trends(rollout, ledger.looks(rollout.id) if many else ())
        return many, {each.metric: (each, Markup(sparkline(each))) for each in latest}  # noqa: S704
