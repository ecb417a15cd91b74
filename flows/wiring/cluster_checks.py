"""Checks of an installation in a cluster: rights of its pods, versions, and whether Prefect runs its flows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sluicegate.registry.words.errors import SluiceError
from sluicegate.services.cluster.rights import RIGHTS, Role
from sluicegate.services.host.doctor.finding import Finding, failed, passed

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.services.cluster.api import Api
    from sluicegate.services.host.doctor.rounds import Check
    from sluicegate.services.host.prefect_setup.deployments import Packaged

OLDEST = 33
"""The oldest minor version of Kubernetes against whose published schemas the manifests are checked."""
_APPLY = "apply the manifests of this Sluicegate again: sluice cluster render"


def checks_of_cluster(runtime: Runtime, packaged: Packaged) -> dict[str, Check]:
    """The checks of the cluster and of the servers that it uses, by name."""
    return {
        "cluster": lambda: [version_finding(_api(runtime).version())],
        "rights": lambda: [rights_finding(_api(runtime), Role.CONTROL)],
        "mlflow": lambda: [_catalog(runtime)],
        "prefect": lambda: _prefect(runtime, packaged),
        "ledger": lambda: _ledger(runtime),
    }


def version_finding(version: str) -> Finding:
    """Whether the cluster's version is supported."""
    minor = re.match(r"v1\.([0-9]+)", version)
    if minor is not None and int(minor[1]) >= OLDEST:
        return passed("cluster", f"Kubernetes {version}")
    return failed("cluster", f"Kubernetes {version} is older than 1.{OLDEST}", "Upgrade the cluster.")


def rights_finding(api: Api, role: Role) -> Finding:
    """Whether the account of this process has the rights that the role needs."""
    missing = [
        f"{verb} {kind.plural}"
        for kind, verbs in RIGHTS[role].items()
        for verb in sorted(verbs)
        if not api.may(verb, kind)
    ]
    if missing:
        return failed("rights", f"in the {api.where} this may not: {', '.join(missing)}", _APPLY)
    return passed("rights", f"all that the role {role} does in the {api.where}")


def _api(runtime: Runtime) -> Api:
    from sluicegate.flows.wiring.in_namespace import api_of

    return api_of(runtime.settings)


def _catalog(runtime: Runtime) -> Finding:
    try:
        runtime.catalog.builds("sluicegate-doctor")  # it need not exist
    except SluiceError as error:
        fix = error.fix or "Check MLFLOW_TRACKING_URI in the Secret of connections."
        return failed("mlflow answers", error.message, fix)
    return passed("mlflow answers", runtime.mlflow.url)


def _prefect(runtime: Runtime, packaged: Packaged) -> Sequence[Finding]:
    """Whether Prefect has our flows, and workers of a Kubernetes pool take their runs."""
    import os

    from sluicegate.flows.wiring import in_cluster
    from sluicegate.services.host.doctor.deployed import deployments_finding, pool_finding
    from sluicegate.services.host.installation import client_environment
    from sluicegate.services.host.prefect_setup.server import KUBERNETES, registered, work_pool

    clients = client_environment(runtime.site, runtime.keys, os.environ)
    deployments = registered(clients, packaged.names)
    pools = [work_pool(clients, name) for name in sorted({each.pool for each in deployments if each.pool is not None})]
    others = [
        failed(
            "work pool", f"{each.name} is of the type {each.type}: its runs are no Jobs of the cluster",
            f"Delete it in Prefect, if nobody else uses it: prefect work-pool delete {each.name}",
        )
        for each in pools if each.type != KUBERNETES
    ]  # fmt: skip
    register, work = in_cluster.register(runtime.settings), in_cluster.work(runtime.settings)
    return [
        deployments_finding(packaged, deployments, register),
        *(pool_finding(each, work) for each in pools),
        *others,
    ]


def _ledger(runtime: Runtime) -> Sequence[Finding]:
    from sluicegate.registry.ledger.keeper_notes import untended
    from sluicegate.registry.ledger.reading import undriven
    from sluicegate.services.host.doctor.examination import of_ledger
    from sluicegate.services.keeper.overdue import overdue
    from sluicegate.services.keeper.refusals import refusal

    ledger = runtime.ledger
    return of_ledger(refusal(ledger), overdue(ledger, runtime.clock()), untended(ledger), undriven(ledger))
