"""The scheduled check: does what the keeper does too, so that nothing depends on one process."""

from __future__ import annotations

from prefect import flow, get_run_logger

from sluicegate.flows.driver.forms import Look, WatchForm
from sluicegate.flows.driver.sync import follow_standing
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.orders import progress
from sluicegate.registry.rollout.decision import needs_driver
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.obstacle import Hindrance
from sluicegate.services.keeper.catalog_watch import look_at_catalog


@flow(name="watch")
def watch(order: WatchForm = WatchForm()) -> list[str]:  # noqa: B008
    """Start rollouts of what MLflow points at, follow branches in Git, see that open rollouts have a driver."""
    runtime = current_runtime()
    if order.look in (Look.EVERYTHING, Look.GIT):  # first: it needs no MLflow
        follow_standing(runtime)
    started: tuple[str, ...] = ()
    if order.look in (Look.EVERYTHING, Look.MLFLOW):
        started = look_at_catalog(runtime.ledger, runtime.catalog, runtime.clock())
    if order.look in (Look.EVERYTHING, Look.DRIVERS):
        _ensure_drivers(runtime)
    get_run_logger().info("started: %s", ", ".join(started) or "nothing new")
    return list(started)


def _ensure_drivers(runtime: Runtime) -> None:
    now = runtime.clock()
    rollouts = (
        progress.begin(runtime.ledger, rollout, now) if rollout.phase is Phase.QUEUED else rollout
        for rollout in runtime.ledger.current()
    )
    states = runtime.drivers().ensure([rollout for rollout in rollouts if needs_driver(rollout, None)], now)
    for name, state in states.items():
        if isinstance(state, Hindrance):
            get_run_logger().warning("%s: no driver is at work: %s", name, state.detail)
