"""Overview: the traffic split that the ledger asks for, beside the one observed in the last minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from sluicegate.registry.audience.connections import Connections
from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.connections_record import connections_among
from sluicegate.registry.report.overview import Served, verdict_of
from sluicegate.registry.rollout.experiment import splits
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.rollout.standing import current, standings, took_over_at, trusted
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.metric import Arm
from sluicegate.services.telemetry.reading.queries import Recent
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import AudienceRoute, RouteTable

Key = tuple[str, str, str]
"""Variation, build, arm."""
Shares = Mapping[tuple[str, str, str, str], int]
"""Requests by audience, variation, build and arm."""
Spent = Callable[[BuildRef], Mapping[str, float]]
"""Mean milliseconds of a request in each stage of a build's service; empty if unknown."""


_MINUTE = timedelta(seconds=70)
"""Upper limit of what telemetry calls the last minute, since it counts whole intervals of ten seconds."""


class Telemetry(Protocol):
    """The telemetry of the last minute that the overview reads."""

    def recent(self, models: Collection[str]) -> Mapping[str, tuple[Recent, ...]]: ...

    def shares(self, models: Collection[str]) -> Mapping[str, Shares]:
        """The shares of each of these models."""
        ...


class Unobserved:
    """Stands in for a telemetry that cannot be read: the last minute is empty."""

    def recent(self, models: Collection[str]) -> Mapping[str, tuple[Recent, ...]]:
        return dict.fromkeys(models, ())

    def shares(self, models: Collection[str]) -> Mapping[str, Shares]:
        return {model: {} for model in models}


def overview(
    ledger: Ledger, telemetry: Telemetry, models: Collection[str], now: datetime, spent: Spent = lambda _: {}
) -> tuple[Served, ...]:
    """Every build of these models that gets requests, by model, in the order in which audiences are tried."""
    by_model: dict[str, list[Rollout]] = {model: [] for model in models}
    rollouts = ledger.current_of(models)
    for rollout in rollouts:
        by_model[rollout.requested.model].append(rollout)
    table = _table(rollouts, connections_among(ledger, models))
    recent = telemetry.recent(models)
    shares = telemetry.shares([model for model in models if recent[model]])  # no requests, no shares
    return tuple(
        row
        for route in table.models
        for row in _Model(
            route.model, by_model[route.model], recent[route.model], shares.get(route.model, {}), now, spent
        ).rows(route.audiences)
    )


def _table(rollouts: Sequence[Rollout], connections: Mapping[str, Connections]) -> RouteTable:
    """The routes, assuming that every needed service runs."""
    all_standings = standings(rollouts)
    builds = {build for standing in all_standings for build in standing.needed}
    return routes(all_standings, builds, connections, splits(rollouts, all_standings))


class _Model:
    """One model's rollouts and last minute."""

    def __init__(
        self, model: str, rollouts: list[Rollout], recent: Sequence[Recent], shares: Shares, now: datetime, spent: Spent
    ) -> None:
        self._model = model
        self._now = now
        self._spent = spent
        self._rollouts = rollouts
        self._recent = {(each.variation, each.build): each for each in recent}
        self._shares = shares

    def rows(self, audiences: tuple[AudienceRoute, ...]) -> Iterator[Served]:
        for audience in audiences:
            sizes: Counter[Key] = Counter()
            for piece in audience.slices:
                mark = piece.target.assigned
                sizes[mark.variation, mark.build, mark.arm.value] += piece.size
            served = [self._row(audience.name, key, 100 * size / SLOTS) for key, size in sizes.items()]
            yield from (replace(row, observed=None) for row in served) if self._is_young(served) else served

    def _is_young(self, rows: Sequence[Served]) -> bool:
        """Whether the split is so new that the last minute may show the shares of the one before it."""
        desired = {(row.audience, row.variation, row.build, row.arm) for row in rows}
        gone = {key for key in self._shares if key[0] == rows[0].audience} - desired
        if gone or len(rows) == 1:
            return bool(gone)
        return any(row.since is not None and self._now - row.since < _MINUTE for row in rows)

    def _row(self, audience: str, key: Key, desired_share: float) -> Served:
        variation, build, arm = key
        mine = [rollout for rollout in self._rollouts if rollout.requested.variation == variation]
        under_way, recent = _under_way(mine), self._recent.get((variation, build))
        is_tried = arm == Arm.CANDIDATE and under_way is not None
        return Served(
            model=self._model,
            audience=audience,
            taken=self._taken(audience),
            variation=variation,
            build=build,
            arm=arm,
            desired=desired_share,
            observed=self._observed(audience, key),
            rollout=under_way.id if under_way is not None else None,
            verdict=verdict_of(under_way) if is_tried and under_way is not None else None,
            requests_per_second=recent.requests_per_second if recent else None,
            error_rate=100 * recent.error_share if recent else None,
            p95=1000 * recent.p95 if recent and recent.p95 is not None else None,
            spent=self._spent(BuildRef(model=self._model, version=build)),
            since=_since(mine, under_way if is_tried else None),
        )

    def _taken(self, audience: str) -> float | None:
        total = sum(self._shares.values())
        return 100 * self._count(audience) / total if total else None

    def _count(self, audience: str) -> int:
        return sum(count for (name, *_), count in self._shares.items() if name == audience)

    def _observed(self, audience: str, key: Key) -> float | None:
        total = self._count(audience)
        return 100 * self._shares.get((audience, *key), 0) / total if total else None


def _under_way(rollouts: list[Rollout]) -> Rollout | None:
    """The rollout that holds the variation, or else the experiment's comparison that is open on it."""
    return current(rollouts) or next((each for each in rollouts if each.is_comparison and each.is_under_way), None)


def _since(rollouts: list[Rollout], tried: Rollout | None) -> datetime | None:
    if tried is not None:
        return tried.promoted_at or tried.step_entered_at
    last = trusted(rollouts)
    return took_over_at(last) if last is not None else None
