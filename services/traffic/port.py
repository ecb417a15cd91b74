"""The data plane behind a port: what splits requests between builds. Adapters: `envoy`, `memory`."""

from __future__ import annotations

from typing import Protocol

from sluicegate.registry.words.build import BuildRef, Endpoints
from sluicegate.services.traffic.table import RouteTable


class DataPlane(Protocol):
    """What splits requests.

    Promises, each tested on every adapter by tests/contract/test_data_plane.py:

    - When `apply` returned, new requests are routed by the table; no request fails because of the change.
    - A table that is refused raises RoutesRejected with the reason. Models that are refused on their own account keep
      their former routes while all others get theirs (`held` and `serving` tell); else the former table stays in
      force as a whole. Both hold also after a restart of the data plane.
    - A table that was made from an older state of the ledger than the one held, or by a keeper that was replaced,
      raises Fenced and changes nothing, also after a restart; of two writers in the middle of a change the older one
      stops. After a restore, positions and terms count from the beginning.
    - After `go_stable_only` no build that is still tried answers or gets copies, while all other routes stay as they
      are, also after a restart; applying the table again brings it back.
    - Applying the table that is in force again changes nothing; it only clears away what no request uses any more.
    - Addresses travel apart: a replica that comes, goes or moves is followed, and the version stays as it is. No
      request fails because of one that goes: it finishes what it has.
    - `observe` tells what the data plane itself reports, not what was asked for.
    - Who asks for a variation by its name gets its stable build, whatever is tried there, where the variation may be
      asked for so; else the reason.
    - A unit's arm is the one that `sluicegate.services.traffic.table.assign` computes.
    """

    def apply(self, table: RouteTable, endpoints: Endpoints) -> None:
        """Bring a table into force, with the addresses of its builds. Raises RoutesRejected, Fenced, Unreachable,
        TimedOut.

        After Unreachable the table stands on disk and comes into force when the data plane starts.
        """
        ...

    def renew(self) -> None:
        """Note that a keeper watches: it has read the ledger, and this data plane was given what follows from it."""
        ...

    def renewed_at(self) -> float | None:
        """When that was noted last, on the clock of intervals; None where it never was."""
        ...

    def go_stable_only(self) -> bool:
        """Bring the stable-only form of the table that was applied last into force; False where that is so already."""
        ...

    def observe(self) -> str | None:
        """The version of the table in force; None when the data plane cannot be asked."""
        ...

    def in_flight(self, build: BuildRef) -> int | None:
        """Requests under way to a build; None when the data plane cannot be asked."""
        ...
