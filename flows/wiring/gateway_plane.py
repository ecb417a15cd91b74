"""The keeper's view of all gateways: of this machine, of other hosts, and of the cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sluicegate.registry.rollout.standing import Standing
    from sluicegate.registry.words.build import BuildRef, Endpoints
    from sluicegate.registry.words.fencing import FencingToken
    from sluicegate.registry.words.gateways import GatewayState
    from sluicegate.services.traffic.joined import Joined
    from sluicegate.services.traffic.table import RouteTable

NOTE_SECONDS = 5.0
"""Longest time in seconds between two notes of what the gateways serve."""


class GatewayPlane:
    """The keeper's view of the gateways: compiles the route table, and is the data plane that applies it."""

    def __init__(self, runtime: Runtime, check: Callable[[], None]) -> None:
        """`check` raises if this process may not apply anything now."""
        from sluicegate.services.traffic.gateways import Gateways

        self._ledger, self._clock, self._check = runtime.ledger, runtime.clock, check
        self._runtime = runtime
        self._joined: dict[str, Joined] = {}
        self._relay = runtime.relay(runtime.site)
        self.gateways = Gateways(runtime.envoys, runtime.clock)
        self._relayed: tuple[Endpoints, frozenset[str]] | None = None
        self._relay_failed = False
        self._noted: tuple[float, Sequence[GatewayState]] = (-math.inf, ())

    def note(self) -> None:
        """Record what each gateway serves when that changes, and every few seconds."""
        from sluicegate.registry.ledger.keeper_notes import note_gateways

        at, states = time.monotonic(), self.gateways.states()
        if states != self._noted[1] or at - self._noted[0] >= NOTE_SECONDS:
            note_gateways(self._ledger, states, self._clock())
            self._noted = at, states

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Apply a table. Raises what `check` raises if this process may not."""
        from sluicegate.services.traffic.sheet import write_sheet

        self._check()
        self._follow()
        if self._runtime.cluster_gateways is not None:  # also before there is a gateway
            self._runtime.cluster_gateways.leave(write_sheet(table, endpoints.keys()))
        steps = [partial(self._let_in, endpoints, table.made_from), partial(self.gateways.apply, table, endpoints)]
        first, second = reversed(steps) if self._relay_failed else steps
        try:
            first()
        finally:  # a relay that hangs or refuses keeps no abort from the gateways
            second()

    def _let_in(self, endpoints: Endpoints, made_from: FencingToken) -> None:
        """Let the gateways that have joined reach the services that run, before a route leads there."""
        if self._relay is None:
            return
        reports = [box.report() for box in self._runtime.joined()]
        addresses = frozenset(filter(None, (at for each in reports for at in (each.address, each.own_address))))
        if (endpoints, addresses) != self._relayed:
            self._relay_failed = True
            self._relay.publish(endpoints, addresses, made_from)
            self._relayed, self._relay_failed = (dict(endpoints), addresses), False

    def _follow(self) -> None:
        """Update the list of gateways on other hosts and in the cluster."""
        joined = self._runtime.planes(self._joined)
        if joined.keys() != self._joined.keys():
            self._joined = joined
            self.gateways.follow({**self._runtime.envoys, **joined})

    def renew(self) -> None:
        """Note at the gateways that this keeper watches. Raises what `check` raises if it may not."""
        self._check()
        self.gateways.renew()

    def compile(
        self, standings: Sequence[Standing], running: Collection[BuildRef], made_from: FencingToken
    ) -> RouteTable:
        """The route table that follows from the ledger."""
        from sluicegate.registry.orders.connections_record import all_connections
        from sluicegate.registry.rollout.experiment import splits
        from sluicegate.services.traffic.routes import routes

        experiments = splits(self._ledger.current(), standings)
        return replace(routes(standings, running, all_connections(self._ledger), experiments), made_from=made_from)

    def observe(self) -> str | None:
        """The version that all running gateways serve; None if they differ or one does not answer."""
        return self.gateways.observe()

    def in_flight(self, build: BuildRef) -> int | None:
        """Open requests to a build at all gateways together; None if a running one does not answer, or none runs."""
        return self.gateways.in_flight(build)
