"""All manifests of an installation, in the order in which they are applied. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sluicegate.services.cluster.install.accounts import control_rights, flow_account, gateway_rights, worker_rights
from sluicegate.services.cluster.install.control import control
from sluicegate.services.cluster.install.flow_jobs import flow_jobs, worker
from sluicegate.services.cluster.install.gateways import gateways, table
from sluicegate.services.cluster.install.installation import Installation
from sluicegate.services.cluster.install.monitoring import monitor
from sluicegate.services.cluster.install.network import console_callers, policies
from sluicegate.services.cluster.kinds import Object

Making = Callable[[Installation], list[Object]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Objects that are there together, or not at all."""

    make: Making
    needs: tuple[str, ...] = ()
    """Options all of which must be set, such as `worker`."""


GROUPS: Sequence[Group] = (
    Group(make=control_rights),
    Group(make=gateway_rights),
    Group(make=worker_rights, needs=("worker",)),
    Group(make=flow_account),
    Group(make=table),
    Group(make=flow_jobs),
    Group(make=policies, needs=("network_policies",)),
    Group(make=console_callers, needs=("network_policies", "console_from")),
    Group(make=control),
    Group(make=gateways),
    Group(make=worker, needs=("worker",)),
    Group(make=monitor, needs=("service_monitor",)),
)


def manifests(installation: Installation) -> list[Object]:
    """Every object of the installation. To apply them twice, or in another order, gives the same."""
    return [
        each
        for group in GROUPS
        if all(getattr(installation, option) for option in group.needs)
        for each in group.make(installation)
    ]
