"""Trying out: where the ledger's routes would send a request. Sends nothing and changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.audience.trial import Considered, Part, Slot, Trial, explain
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.connections_record import connections_among
from sluicegate.registry.rollout.experiment import splits
from sluicegate.registry.rollout.standing import standings
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.slots import is_unit
from sluicegate.services.traffic.table import AudienceRoute, ModelRoute, assign


def try_out(ledger: Ledger, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
    """What a request would get if every needed service ran. Raises NotFound for a model that serves nothing."""
    rollouts = ledger.current(model)
    all_standings = standings(rollouts)
    builds = {build for standing in all_standings for build in standing.needed}
    connections = connections_among(ledger, [model])
    route = routes(all_standings, builds, connections, splits(rollouts, all_standings)).model(model)
    audience = route.audience(metadata)
    return Trial(
        model=model,
        audience=audience.name,
        considered=tuple(_considered(route, audience, metadata)),
        parts=_parts(audience),
        unit_header=route.unit,
        slot=_slot(route, audience, unit if unit is not None else metadata.get(route.unit or "")),
    )


def _considered(route: ModelRoute, taking: AudienceRoute, metadata: Mapping[str, str]) -> list[Considered]:
    tried = route.audiences[: route.audiences.index(taking) + 1]
    return [
        Considered(
            audience=each.name,
            takes=each is taking,
            why=explain(each.condition, metadata) if each.condition is not None else "no audience matches",
        )
        for each in tried
    ]


def _parts(audience: AudienceRoute) -> tuple[Part, ...]:
    sizes: Counter[tuple[str, str, str]] = Counter()
    for piece in audience.slices:
        mark = piece.target.assigned
        sizes[mark.variation, mark.build, mark.arm.value] += piece.size
    return tuple(
        Part(variation=variation, build=build, arm=arm, share=100 * size / SLOTS)
        for (variation, build, arm), size in sizes.items()
    )


def _slot(route: ModelRoute, audience: AudienceRoute, unit: str | None) -> Slot | None:
    if route.unit is None or not is_unit(unit):
        return None
    assigned = assign(route, audience, unit, lambda _: 0)
    return Slot(variation=assigned.variation, build=assigned.build.version, arm=assigned.arm.value, slot=assigned.slot)
