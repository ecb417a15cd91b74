"""The addresses of pods, by the EndpointSlices that Kubernetes keeps of the pods of a Service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.services.cluster.kinds import Object
from sluicegate.services.cluster.names import SERVICE_NAME, build_name


def endpoints_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """The addresses of a build's ready pods; if none is ready yet, of all its pods. Ending ones are left out."""
    return ready_of(build, slices) or all_of(build, slices)


def ready_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """The addresses of a build's ready pods."""
    return tuple(_endpoints(build, slices, is_ready=True))


def all_of(build: BuildRef, slices: Iterable[Object]) -> tuple[Endpoint, ...]:
    """The addresses of a build's pods, ready or not, without ending ones."""
    return tuple(_endpoints(build, slices, is_ready=False))


def _endpoints(build: BuildRef, slices: Iterable[Object], *, is_ready: bool) -> list[Endpoint]:
    mine = (each for each in slices if (each["metadata"].get("labels") or {}).get(SERVICE_NAME) == build_name(build))
    endpoints = {endpoint for each in mine for endpoint in _of(build, each, is_ready=is_ready)}
    return sorted(endpoints, key=lambda endpoint: endpoint.address)


def _of(build: BuildRef, piece: Object, *, is_ready: bool) -> Iterator[Endpoint]:
    port = next((each["port"] for each in piece.get("ports") or () if each.get("port")), None)
    for entry in piece.get("endpoints") or ():
        conditions = entry.get("conditions") or {}
        is_wanted = conditions.get("ready", True) is True if is_ready else not conditions.get("terminating")
        if port is not None and is_wanted:
            yield from (Endpoint(build=build, host=address, port=port) for address in entry.get("addresses") or ())
