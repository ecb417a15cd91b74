"""The cluster's API for the keeper and the gateways, with its time limits."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.keeper_names import own_name
from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.registry.words.settings import Settings

if TYPE_CHECKING:
    from sluicegate.registry.words.gateways import Unwatched
    from sluicegate.services.cluster.api import Api, Limits
    from sluicegate.services.cluster.gateways import ClusterGateways

PATIENCE, QUIET = 4.0, 10.0
"""Seconds for a change, and seconds without a report after which a gateway's state is unknown. A gateway reports only
every three seconds, because each report is a write to the cluster's store."""
_WHOLE = 2.0
"""Seconds that a write of the routes may take; the keeper waits for it."""


def api_of(settings: Settings, limits: Limits | None = None) -> Api:
    """The API of the namespace that SLUICE_CLUSTER names. Raises UsageError, InvalidSetting."""
    from sluicegate.services.cluster.access import find_access
    from sluicegate.services.cluster.api import Api, Limits

    if settings.cluster is None:
        raise UsageError("there is no cluster to ask.", fix="set SLUICE_CLUSTER to the namespace")
    return Api(find_access(os.environ), settings.cluster, limits=limits or Limits())


def heard_in(api: Api) -> Mapping[str, Unwatched | None]:
    """For each gateway of the namespace, whether nobody watches it. Empty while the API is away, reported elsewhere."""
    from sluicegate.services.cluster.kinds import LEASE
    from sluicegate.services.cluster.lease import unwatched
    from sluicegate.services.cluster.names import Component, labels

    try:
        return unwatched(api.select(LEASE, labels(Component.GATEWAY)).items)
    except SluiceError:
        return {}


def gateways_of(settings: Settings, wall: Callable[[], datetime]) -> ClusterGateways:
    """The gateways of the namespace, for the keeper."""
    from sluicegate.services.cluster.api import Limits
    from sluicegate.services.cluster.gateways import ClusterGateways
    from sluicegate.services.traffic.joined import silence_limit
    from sluicegate.services.traffic.table import refuse_older

    limit = settings.unwatched_seconds
    return ClusterGateways(
        api_of(settings, Limits(whole=_WHOLE)), keeper=own_name(), unwatched=limit, forgotten=silence_limit(limit),
        refuse_older=refuse_older, wall=wall,
    )  # fmt: skip
