"""MemoryDataPlane: the in-process twin of the data plane. It splits by the same slots; nothing leaves the process."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sluicegate.registry.audience.audience import headers
from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import Forbidden, NotFound, RoutesRejected, Unreachable
from sluicegate.registry.words.fencing import BEFORE_ALL
from sluicegate.services.traffic.table import Assignment, ModelRoute, RouteTable, assign, refuse_older


class MemoryDataPlane:
    """A DataPlane for tests, demos and simulations. `draw(n)` picks a slot below n for requests without a unit."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        self._stored = RouteTable()
        self._serving: RouteTable | None = self._stored
        self._held = BEFORE_ALL
        self.renewals = 0
        self._places: Endpoints = {}
        self._active: Counter[BuildRef] = Counter()

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Bring a table into force, but for the models that it refuses."""
        refuse_older(table.made_from, self._held)
        self._held = table.made_from
        refused = _refused(table, endpoints)
        refused_models = frozenset(refused)
        rest = table.only({route.model for route in table.models} - refused_models)
        if refused and not rest.models:
            raise RoutesRejected(" ".join(refused.values()), models=refused_models)
        taken = {ref: found for ref, found in endpoints.items() if ref.model not in refused_models}
        self._places = {**self._places, **taken}
        self._stored = _joined(rest, self._stored.only(refused_models)) if refused else table
        if self._serving is None:
            raise Unreachable("the data plane is stopped; the routes take effect when it starts.")
        self._serving = self._stored
        if refused:
            raise RoutesRejected(" ".join(refused.values()), models=refused_models, serving=self._stored.version)

    def renew(self) -> None:
        """Note that a keeper watches."""
        self.renewals += 1

    def renewed_at(self) -> float | None:
        """By a clock that counts renewals."""
        return float(self.renewals) if self.renewals else None

    def go_stable_only(self) -> bool:
        """Serve nobody by what is tried."""
        if self._stored.stable_only == self._stored:
            return False
        self._stored = self._stored.stable_only
        if self._serving is not None:
            self._serving = self._stored
        return True

    def observe(self) -> str | None:
        """The version in force; None while stopped."""
        return self._serving.version if self._serving is not None else None

    def is_away(self) -> bool:
        """Whether it is stopped."""
        return self._serving is None

    def in_flight(self, build: BuildRef) -> int | None:
        """Requests under way to the build; None while stopped."""
        return self._active[build] if self._serving is not None else None

    def addresses(self, build: BuildRef) -> tuple[Endpoint, ...]:
        """Where requests for the build go."""
        return self._places.get(build, ())

    def stop(self) -> None:
        """Stop serving, as if the process had died."""
        self._serving = None

    def start(self) -> None:
        """Serve what was stored last."""
        self._serving = self._stored

    def route(self, model: str, unit: str | None = None) -> Assignment:
        """Where a request would go now. Raises NotFound, Unreachable."""
        if self._serving is None:
            raise Unreachable("the data plane is stopped.")
        route = self._serving.model(model)
        return assign(route, route.audiences[-1], unit, self._draw)

    def route_by_name(self, model: str, variation: str) -> BuildRef:
        """Where a request for one variation by its name would go now. Raises NotFound, Forbidden, Unreachable."""
        if self._serving is None:
            raise Unreachable("the data plane is stopped.")
        return by_name(self._serving.model(model), variation)

    @contextmanager
    def request(self, model: str, unit: str | None = None) -> Iterator[Assignment]:
        """A request that is under way to its build inside the `with` block."""
        assignment = self.route(model, unit)
        self._active[assignment.build] += 1
        try:
            yield assignment
        finally:
            self._active[assignment.build] -= 1


def answer(route: ModelRoute, metadata: Mapping[str, str], draw: Callable[[int], int]) -> Assignment:
    """The assignment of a request with these metadata, which include the unit's header. `draw` as in `assign`."""
    sent = headers(metadata.items())
    unit = sent.get(route.unit.lower()) if route.unit is not None else None
    return assign(route, route.audience(sent), unit, draw)


def by_name(route: ModelRoute, variation: str) -> BuildRef:
    """The build that callers of this variation get. Raises NotFound, Forbidden."""
    named = next((each for each in route.named if each.variation == variation), None)
    if named is None:
        raise NotFound(f"{route.model} has no such variation")
    if named.target is None:
        raise Forbidden(f"{route.model}/{variation} is not given by name")
    return BuildRef(model=route.model, version=named.target.assigned.build)


def _refused(table: RouteTable, endpoints: Endpoints) -> dict[str, str]:
    """Why each model that is refused is."""
    reasons: dict[str, str] = {}
    for route in table.models:
        for audience in route.audiences:
            if sum(part.size for part in audience.slices) != SLOTS:
                reasons[route.model] = f"{route.model}/{audience.name}: its slices are not {SLOTS} slots."
    models = {route.model for route in table.models}
    routed = (each for build, found in endpoints.items() if build.model in models for each in found)
    for endpoint in (each for each in routed if not each.socket):
        try:
            ipaddress.ip_address(endpoint.host)
        except ValueError:
            reasons[endpoint.build.model] = f"{endpoint.build}: malformed IP address: {endpoint.host}."
    return reasons


def _joined(one: RouteTable, other: RouteTable) -> RouteTable:
    return RouteTable(
        models=one.models + other.models,
        missing=one.missing + other.missing,
        unwatched=None if one.unwatched is other.unwatched is None else _joined(one.stable_only, other.stable_only),
    )
