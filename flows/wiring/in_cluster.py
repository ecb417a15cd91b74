"""What differs in a cluster: the console's host names, how Prefect starts flows, and fixes by kubectl."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluicegate.registry.words.obstacle import FIXES, Obstacle
from sluicegate.services.cluster.install.control import CONSOLE_SERVICE
from sluicegate.services.cluster.install.control import NAME as CONTROL
from sluicegate.services.cluster.install.flow_jobs import TEMPLATE, WORKER

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.cluster.flow_pods import FlowPods
    from sluicegate.services.host.folder import StateFolder


def hosts(settings: Settings) -> Sequence[str]:
    """The host names of a cluster's console: those of its Service, and those that the user adds."""
    if settings.cluster is None:
        return ()
    inside = f"{CONSOLE_SERVICE}.{settings.cluster}"
    return (CONSOLE_SERVICE, inside, f"{inside}.svc", f"{inside}.svc.cluster.local", *sorted(settings.console_hosts))


def work_pool(folder: StateFolder) -> Mapping[str, Any] | None:
    """The template by which Prefect makes Jobs; None if this pod does not have it."""
    try:
        template: Mapping[str, Any] = json.loads((folder.root / TEMPLATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return template


def run_pods(runtime: Runtime) -> FlowPods | None:
    """The pods of flow runs, for the keeper; None on one machine."""
    from sluicegate.services.cluster.flow_pods import FlowPods

    return None if runtime.settings.cluster is None else FlowPods(runtime.cluster_api)


def fixes(settings: Settings) -> Mapping[Obstacle, str]:
    """The fix of each obstacle to drivers; in a cluster other ones, because it has no `sluice up`."""
    if settings.cluster is None:
        return FIXES
    prefect, restart = f"in the Secret {settings.connections}", kubectl(settings, "rollout restart deployment")
    return {
        **FIXES,
        Obstacle.UNREACHABLE: f"check that the Prefect server runs, and PREFECT_API_URL {prefect}",
        Obstacle.DENIED: f"set PREFECT_API_AUTH_STRING or PREFECT_API_KEY {prefect} as the server wants it, "
        f"then: {restart}",
        Obstacle.MISSING: f"wait: the keeper registers the deployments again; to have it at once: {register(settings)}",
        Obstacle.STALE: f"wait: the keeper registers the deployments again; to have it at once: {register(settings)}",
        Obstacle.WAITING: f"see what the worker says: {kubectl(settings, f'logs deployment/{WORKER}')}",
        Obstacle.CRASHED: "read its log in Prefect; the keeper creates another run",
    }


def register(settings: Settings) -> str:
    """The command that makes the keeper register the work pool and the flows with Prefect at once."""
    return kubectl(settings, f"rollout restart deployment/{CONTROL}")


def work(settings: Settings) -> str:
    """The command that restarts the worker."""
    return kubectl(settings, f"rollout restart deployment/{WORKER}")


def kubectl(settings: Settings, what: str) -> str:
    """A kubectl command for the installation's namespace."""
    return f"kubectl --namespace {settings.cluster} {what}"
