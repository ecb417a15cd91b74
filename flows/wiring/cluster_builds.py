"""Builds in the cluster that SLUICE_CLUSTER names: what runs their services, and where these answer."""

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
    """What runs builds there. `store` is where the examples of models are. Raises InvalidSetting."""
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
    """Where some pod of a build answers, by the name of its Service: for whoever may not ask the cluster's API."""
    return Endpoint(build=build, host=f"{build_name(build)}.{namespace}.svc", port=PORT)
