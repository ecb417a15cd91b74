"""routes(...): what the ledger trusts and tries, and who is to get it, as a route table. Pure."""

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
    """The route table for these standings, given which builds run, and who gets which variation by model.

    Where an experiment is in force it says who gets what, and not the connections.

    A candidate that runs nowhere gets no slots: its share stays with stable. A stable that runs nowhere keeps its
    slots, and the data plane answers 503 for it. Both are listed in `missing`. An audience none of whose variations
    holds a build takes nobody.
    """
    table = _table(standings, running, connections, splits)
    alone = tuple(trusting(standing) for standing in standings)
    if alone == tuple(standings):
        return table
    return replace(table, unwatched=_table(alone, running, connections, splits))


def trusting(standing: Standing) -> Standing:
    """The standing without what is tried: candidate, preview, shadows. A promoted candidate is trusted already.

    It names no rollout, so that what is served meanwhile is not counted as any step's weight.
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
    """The versions that are planned with several replicas."""
    planned: set[tuple[str, int]] = set()
    for standing in standings:
        planned.add((standing.stable.version, (standing.stable_serve or standing.serve).replicas))
        for tried in (standing.candidate, standing.preview):
            if tried is not None:
                planned.add((tried.version, standing.serve.replicas))
    arms = (arm for (routed_model, _), split in splits.items() if routed_model == model for arm in split.arms.values())
    planned |= {(arm.requested.version, arm.serve.replicas) for arm in arms}
    return tuple(sorted({version: count for version, count in sorted(planned) if count > 1}.items()))


def _named(connections: Connections, standing: Standing, running: Running) -> Iterator[Named]:
    """The variation, where its terms allow it; and a candidate that is previewed, once it runs."""
    is_allowed = connections.terms_of(standing.variation).by_name
    yield Named(variation=standing.variation, target=stable_target(standing) if is_allowed else None)
    if standing.preview is not None and standing.preview in running:
        yield Named(variation=preview_name(standing.variation), target=preview_target(standing, standing.preview))


def _audiences(connections: Connections, standings: Standings, running: Running) -> Iterator[AudienceRoute]:
    """The audiences in order; the last one takes what is left."""
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
    """With a salt of its own: who gets what says nothing about what the same units got in an experiment before."""
    if split is None:
        return audience
    return replace(audience, salt=f"{audience.salt}/{split.experiment}", slices=experiment_slices(split))


def _holds(weighted: Iterable[Weighted], standings: Standings) -> bool:
    """Whether any of these variations may take a request; where none may, the first by name does."""
    return any(part.weight > 0 and part.variation in standings for part in weighted)


def _wanted(standing: Standing) -> tuple[BuildRef, ...]:
    tried = tuple(each for each in (standing.candidate, standing.preview) if each is not None)
    return (standing.stable, *tried, *(shadow.build for shadow in standing.shadows))


def _distinct(builds: Iterable[BuildRef]) -> tuple[BuildRef, ...]:
    return tuple(dict.fromkeys(builds))
