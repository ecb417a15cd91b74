"""Where pods answer, by EndpointSlices: what Kubernetes keeps of the pods of a Service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import SERVICE_NAME, build_name


def endpoints_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """Where a build's pods answer; or where they will, when none does yet. Those that end are left out."""
    return ready_of(build, slices) or all_of(build, slices)


def ready_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """Where a build's pods are ready."""
    return tuple(_found(build, slices, is_ready=True))


def all_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """Where a build's pods answer or will, but for those that end."""
    return tuple(_found(build, slices, is_ready=False))


def _found(build: BuildRef, slices: Iterable[Object], *, is_ready: bool) -> list[Endpoint]:
    mine = (each for each in slices if (each["metadata"].get("labels") or {}).get(SERVICE_NAME) == build_name(build))
    found = {endpoint for each in mine for endpoint in _of(build, each, is_ready=is_ready)}
    return sorted(found, key=lambda endpoint: endpoint.address)


def _of(build: BuildRef, piece: Object, *, is_ready: bool) -> Iterator[Endpoint]:
    port = next((each["port"] for each in piece.get("ports") or () if each.get("port")), None)
    for said in piece.get("endpoints") or ():
        conditions = said.get("conditions") or {}
        is_wanted = conditions.get("ready", True) is True if is_ready else not conditions.get("terminating")
        if port is not None and is_wanted:
            yield from (Endpoint(build=build, host=address, port=port) for address in said.get("addresses") or ())
