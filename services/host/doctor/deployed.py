"""Checks of our deployments in Prefect, and of their work pool and its workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.services.host.doctor.finding import Finding, failed, passed, warned
from sluicegate.services.host.prefect_setup.deployments import Packaged, Registered, WorkPool

DEPLOYMENTS, POOL = "prefect deployments", "prefect work pool"


def deployments_finding(packaged: Packaged, registered: Sequence[Registered], register: str = "sluice up") -> Finding:
    """Whether every deployment is registered in this version, with active schedules. `register` is a command for
    that."""
    if missing := packaged.missing(registered):
        fix = f"{register} registers them; the keeper also does so as soon as a rollout needs a driver"
        return failed(DEPLOYMENTS, f"not registered in Prefect, or without a work pool: {', '.join(missing)}", fix)
    if stale := packaged.stale(registered):
        return warned(
            DEPLOYMENTS,
            f"from another version of Sluicegate, or registered by hand: {', '.join(stale)}",
            register,
        )
    if paused := [each.name for each in registered if each.paused]:
        fix = "resume them in the Prefect UI"
        return warned(DEPLOYMENTS, f"paused, so their schedules do not fire: {', '.join(paused)}", fix)
    return passed(DEPLOYMENTS, f"all {len(registered)} are registered in this version")


def pool_finding(pool: WorkPool, work: str = "sluice up") -> Finding:
    """Whether a worker takes the runs of this work pool. `work` is a command that starts one here."""
    if pool.paused:
        return failed(POOL, f"{pool.name} is paused, so no run starts", f"prefect work-pool resume {pool.name}")
    if not pool.workers:
        fix = f"{work}, or on another machine: prefect worker start --pool {pool.name}"
        return failed(POOL, f"no worker takes runs from {pool.name}, so no run starts", fix)
    return passed(
        POOL, f"{pool.workers} {'worker takes' if pool.workers == 1 else 'workers take'} runs from {pool.name}"
    )
