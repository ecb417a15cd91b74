"""routes(...): the route table that follows from standings, connections and experiments. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType

from sluicegate.registry.audience.connections import FALLBACK, Connections, Weighted, preview_name
from sluicegate.registry.rollout.experiment import Split
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.services.traffic.audience_slots import (
    Running,
    Standings,
    audience_slices,
    mirrors,
    preview_target,
    stable_target,
)
from sluicegate.services.traffic.experiment_slots import experiment_slices
from sluicegate.services.traffic.stand_ins import with_stand_ins
from sluicegate.services.traffic.table import AudienceRoute, ModelRoute, Named, RouteTable

NO_CONNECTIONS: Mapping[str, Connections] = MappingProxyType({})
Splits = Mapping[tuple[str, str], Split]
"""The experiments in force by (model, audience)."""
NO_SPLITS: Splits = MappingProxyType({})


def routes(
    standings: Sequence[Standing],
    running: Running,
    connections: Mapping[str, Connections] = NO_CONNECTIONS,
    splits: Splits = NO_SPLITS,
) -> RouteTable:
    """The route table for these standings, given which builds run and the connections of each model.

    For an audience with an experiment in force, the experiment decides instead of the connections.

    A candidate that does not run gets no slots: its share stays with stable. A stable build that does not run keeps its
    slots, and the data plane answers 503 for it. Both are listed in `missing`. An audience without a variation that
    holds a build gets no route.
    """
    table = _table(standings, running, connections, splits)
    trusted_only = tuple(trusting(standing) for standing in standings)
    if trusted_only == tuple(standings):
        return table
    return replace(table, unwatched=_table(trusted_only, running, connections, splits))


def trusting(standing: Standing) -> Standing:
    """The standing without builds on trial: candidate, preview, shadows. A promoted candidate is trusted already.

    It names no rollout, so that requests served meanwhile do not count for any step.
    """
    if standing.candidate is None or standing.is_promoted:
        return replace(standing, preview=None, shadows=())
    return replace(
        standing, candidate=None, weight=0, preview=None, shadows=(), sliced_by=(), rollout=None, epoch=0
    )  # fmt: skip


def _table(
    standings: Sequence[Standing], running: Running, connections: Mapping[str, Connections], splits: Splits
) -> RouteTable:
    ordered = sorted(standings, key=lambda standing: (standing.model, standing.variation))
    models = tuple(
        _model(connections.get(model) or Connections(model=model), tuple(group), running, splits)
        for model, group in groupby(ordered, key=lambda standing: standing.model)
    )
    wanted = [build for standing in ordered for build in _wanted(standing)]
    return RouteTable(
        models=models,
        missing=tuple(build for build in _distinct(wanted) if build not in running),
    )


def _model(connections: Connections, standings: tuple[Standing, ...], running: Running, splits: Splits) -> ModelRoute:
    by_variation = {standing.variation: standing for standing in standings}
    plain = _audiences(connections, by_variation, running)
    audiences = tuple(_with_experiment(each, splits.get((connections.model, each.name))) for each in plain)
    serves = [serve for each in standings for serve in (each.serve, each.stable_serve) if serve is not None]
    retry = all(serve.retry for serve in serves)
    behind = by_variation.get(connections.fallback_variation)
    if behind is not None:
        audiences = tuple(with_stand_ins(each, connections, behind.trusted, running, retry=retry) for each in audiences)
    units = (each.unit for each in (by_variation.get(FALLBACK), *standings) if each is not None)
    return ModelRoute(
        model=connections.model,
        unit=next((unit for unit in units if unit is not None), None),
        timeout=max(serve.timeout for serve in serves),
        retry=retry,
        audiences=audiences,
        named=tuple(each for standing in standings for each in _named(connections, standing, running)),
        replicas=_replicas(connections.model, standings, splits),
    )


def _replicas(model: str, standings: Iterable[Standing], splits: Splits) -> tuple[tuple[str, int], ...]:
    """The versions planned with several replicas, and how many."""
    planned: set[tuple[str, int]] = set()
    for standing in standings:
        planned.add((standing.stable.version, (standing.stable_serve or standing.serve).replicas))
        if standing.former is not None:
            planned.add((standing.former.version, (standing.former_serve or standing.serve).replicas))
        for tried in (standing.candidate, standing.preview):
            if tried is not None:
                planned.add((tried.version, standing.serve.replicas))
        planned |= {(shadow.build.version, shadow.serve.replicas) for shadow in standing.shadows}
    arms = (arm for (routed_model, _), split in splits.items() if routed_model == model for arm in split.arms.values())
    planned |= {(arm.requested.version, arm.serve.replicas) for arm in arms}
    return tuple(sorted({version: count for version, count in sorted(planned) if count > 1}.items()))


def _named(connections: Connections, standing: Standing, running: Running) -> Iterator[Named]:
    """The variation by name, open or closed by its terms; and its previewed candidate, once that runs."""
    is_allowed = connections.terms_of(standing.variation).by_name
    yield Named(variation=standing.variation, target=stable_target(standing) if is_allowed else None)
    if standing.preview is not None and standing.preview in running:
        yield Named(variation=preview_name(standing.variation), target=preview_target(standing, standing.preview))


def _audiences(connections: Connections, standings: Standings, running: Running) -> Iterator[AudienceRoute]:
    """The audiences in order. The last one takes all remaining requests."""
    rest = connections.fallback if _holds(connections.fallback, standings) else (Weighted(variation=min(standings)),)
    connected = [
        (each.audience.name, each.audience.condition, each.weighted, each.layout, each.copied)
        for each in connections.ordered
    ]
    for name, condition, weighted, layout, copied in (
        *connected, (FALLBACK, None, rest, connections.fallback_layout, connections.fallback_copied),
    ):  # fmt: skip
        slices = audience_slices(weighted, layout, standings, running)
        if slices:
            yield AudienceRoute(
                name=name,
                condition=condition,
                salt=f"{slug(connections.model)}/{slug(name)}",
                slices=slices,
                mirrors=mirrors(name, copied, slices, standings, running),
            )


def _with_experiment(audience: AudienceRoute, split: Split | None) -> AudienceRoute:
    """The audience with the experiment's slices, and its own salt, so that assignments are independent of others."""
    if split is None:
        return audience
    return replace(audience, salt=f"{audience.salt}/{split.experiment}", slices=experiment_slices(split))


def _holds(weighted: Iterable[Weighted], standings: Standings) -> bool:
    """Whether any of these variations may take a request. If none may, the caller uses the first variation by name."""
    return any(part.weight > 0 and part.variation in standings for part in weighted)


def _wanted(standing: Standing) -> tuple[BuildRef, ...]:
    tried = tuple(each for each in (standing.candidate, standing.preview) if each is not None)
    return (standing.stable, *tried, *(shadow.build for shadow in standing.shadows))


def _distinct(builds: Iterable[BuildRef]) -> tuple[BuildRef, ...]:
    return tuple(dict.fromkeys(builds))
