"""The data plane behind a port: what splits requests between builds.

Adapters: `envoy`; `joined`, an Envoy on another host or in a cluster; `gateways`, several as one.
"""

from __future__ import annotations

from typing import Protocol

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.services.traffic.table import RouteTable


class DataPlane(Protocol):
    """Splits requests between builds.

    Promises, each tested on every adapter by tests/contract/test_data_plane.py:

    - Once `apply` has returned, new requests are routed by the table. No request fails because of the change.
    - A refused table raises RoutesRejected with the reason. If single models can be blamed, they keep their former
      routes while all others get theirs (see `models` and `serving`); otherwise the whole former table stays in force.
      Both hold after a restart of the data plane too.
    - A table from an older state of the ledger than the one in force, or from a keeper that was replaced, raises Fenced
      and changes nothing, after a restart too. If two writers are in the middle of a change, the older one stops. After
      a restore, positions and terms count from the beginning.
    - After `go_stable_only` no build on trial answers or gets copies, and all other routes stay as they are, after a
      restart too. Applying the table again brings it back.
    - Applying the table in force again changes nothing, except that it removes what no request uses any more.
    - Addresses are separate from the table: the data plane follows replicas that come, go or move, and the version
      stays the same. No request fails because a replica goes: the replica finishes its requests first.
    - `observe` returns what the data plane itself reports, not what it was given.
    - A caller that asks for a variation by name gets its stable build, whatever is on trial there, if that is allowed;
      otherwise the reason.
    - A unit's arm is the one that `sluicegate.services.traffic.table.assign` computes.
    """

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Apply a table, with the addresses of its builds. Raises RoutesRejected, Fenced, Unreachable, TimedOut.

        After Unreachable the table is on disk and takes effect when the data plane starts.
        """
        ...

    def renew(self) -> None:
        """Note that a keeper watches: it has read the ledger and applied what follows from it."""
        ...

    def renewed_at(self) -> float | None:
        """When a keeper last watched, in seconds of the monotonic clock; None if never."""
        ...

    def go_stable_only(self) -> bool:
        """Apply the stable-only form of the last table. Returns False if it is in force already."""
        ...

    def observe(self) -> str | None:
        """The version of the table in force; None if the data plane does not answer."""
        ...

    def in_flight(self, build: BuildRef) -> int | None:
        """Open requests to a build; None if the data plane does not answer."""
        ...
