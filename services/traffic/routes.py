"""routes(...): what the ledger trusts and tries, as a route table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from registry.access_log import Assigned
from registry.build import BuildRef, Endpoint, slug
from registry.metric import Arm
from registry.standing import Shadowing, Standing
from services.traffic.slots import SLOTS, runs
from services.traffic.table import FALLBACK, AudienceRoute, Mirror, ModelRoute, RouteTable, Slice, Target


def routes(standings: Sequence[Standing], endpoints: Mapping[BuildRef, Endpoint]) -> RouteTable:
    """The route table for these standings, given where builds answer.

    A candidate that runs nowhere gets no slots: its share stays with stable. A stable that runs nowhere keeps its
    slots, and the data plane answers 503 for it. Both are listed in `missing`.
    """
    ordered = sorted(standings, key=lambda standing: (standing.model, standing.variation))
    models = tuple(
        _model(model, tuple(group), endpoints) for model, group in groupby(ordered, key=lambda standing: standing.model)
    )
    wanted = [build for standing in ordered for build in _wanted(standing)]
    return RouteTable(
        models=models,
        endpoints=tuple(endpoints[build] for build in _distinct(wanted) if build in endpoints),
        missing=tuple(build for build in _distinct(wanted) if build not in endpoints),
    )


def _model(model: str, standings: tuple[Standing, ...], endpoints: Mapping[BuildRef, Endpoint]) -> ModelRoute:
    fallback = _fallback(standings)
    timeouts = [fallback.serve.timeout, (fallback.stable_serve or fallback.serve).timeout]
    audience = AudienceRoute(
        name=FALLBACK,
        salt=f"{slug(model)}/{FALLBACK}",
        slices=_slices(fallback, SLOTS, endpoints),
        mirrors=_mirrors(fallback, endpoints),
    )
    return ModelRoute(model=model, unit=fallback.unit, timeout=max(timeouts), audiences=(audience,))


def _fallback(standings: tuple[Standing, ...]) -> Standing:
    """The variation named default; where none is, the first by name."""
    return next((standing for standing in standings if standing.variation == FALLBACK), standings[0])


def _slices(standing: Standing, length: int, endpoints: Mapping[BuildRef, Endpoint]) -> tuple[Slice, ...]:
    served = standing.candidate if standing.candidate in endpoints else None
    weight = standing.weight if served is not None else 0
    stable = _target(standing, Arm.STABLE, standing.stable, weight)
    candidate = _target(standing, Arm.CANDIDATE, served or standing.stable, weight)
    parts = runs(length=length, weight=weight, key=standing.rollout or "")
    return tuple(Slice(size=run.length, target=candidate if run.is_candidate else stable) for run in parts)


def _mirrors(standing: Standing, endpoints: Mapping[BuildRef, Endpoint]) -> tuple[Mirror, ...]:
    shadows = (shadow for shadow in standing.shadows if shadow.build in endpoints)
    return tuple(_mirror(standing, shadow) for shadow in shadows)


def _mirror(standing: Standing, shadow: Shadowing) -> Mirror:
    mark = Assigned(
        variation=standing.variation, arm=Arm.CANDIDATE, build=shadow.build.version, rollout=shadow.rollout,
        epoch=shadow.epoch, weight=shadow.share,
    )  # fmt: skip
    return Mirror(assigned=mark, share=shadow.share, segments=shadow.segments)


def _target(standing: Standing, arm: Arm, build: BuildRef, weight: int) -> Target:
    has_fallback = arm is Arm.CANDIDATE and standing.serve.retry
    return Target(
        assigned=_mark(standing, arm, build, weight), fallback=standing.stable.version if has_fallback else None
    )


def _mark(standing: Standing, arm: Arm, build: BuildRef, weight: int) -> Assigned:
    return Assigned(
        variation=standing.variation, arm=arm, build=build.version, rollout=standing.rollout, epoch=standing.epoch,
        weight=weight,
    )  # fmt: skip


def _wanted(standing: Standing) -> tuple[BuildRef, ...]:
    tried = (standing.candidate,) if standing.candidate else ()
    return (standing.stable, *tried, *(shadow.build for shadow in standing.shadows))


def _distinct(builds: Iterable[BuildRef]) -> tuple[BuildRef, ...]:
    return tuple(dict.fromkeys(builds))
