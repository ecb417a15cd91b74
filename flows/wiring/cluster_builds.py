"""Builds in the cluster that SLUICE_CLUSTER names: their services and the addresses of these."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.services.cluster.names import build_name
from sluicegate.services.cluster.objects import PORT, Kit

if TYPE_CHECKING:
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.bento.stores.shared import SharedStore
    from sluicegate.services.cluster.deployments import ClusterServices


def services_of(settings: Settings, store: SharedStore | None) -> ClusterServices:
    """Runs builds in the cluster. `store` holds the input examples of models. Raises InvalidSetting."""
    from sluicegate.flows.wiring.in_namespace import api_of
    from sluicegate.services.cluster.deployments import ClusterServices

    if settings.image is None:
        raise InvalidSetting(
            "SLUICE_CLUSTER is set, and SLUICE_IMAGE does not say which image serves builds there.",
            fix="set it to the image that `sluice cluster render` was given.",
        )
    assert store is not None, "a cluster has a store: the settings are refused without one"
    kit = Kit(image=settings.image, connections=settings.connections, pull_secrets=settings.pull_secrets)
    example = lru_cache(maxsize=64)(store.example)
    return ClusterServices(api_of(settings), kit, example=example)


def service_address(build: BuildRef, namespace: str) -> Endpoint:
    """The address of a build's Service, for processes that may not use the cluster's API. Some pod answers there."""
    return Endpoint(build=build, host=f"{build_name(build)}.{namespace}.svc", port=PORT)
