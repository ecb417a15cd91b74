"""Following a branch of a Git repository, as a Prefect flow: from the Prefect UI, a schedule or an automation."""

from __future__ import annotations

from typing import Any

from prefect import State, flow, get_run_logger
from prefect.states import Completed, Failed

from sluicegate.flows.driver.forms import SyncForm
from sluicegate.flows.sync.remembered import Standing, Tree, standing
from sluicegate.flows.sync.syncing import Follower, SyncResult, synchronise
from sluicegate.flows.wiring.desk import desk_without_doors
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.orders.authority import role_of_prefect
from sluicegate.registry.words.errors import SluiceError

ACTOR = "prefect:git"


@flow(name="sync", flow_run_name="sync {order.branch}")
def sync(order: SyncForm) -> State[Any]:
    """Make this installation match a branch. The run's state lists what still differs from Git."""
    runtime = current_runtime()
    environment = order.environment or runtime.settings.environment
    tree = Tree(url=order.url, branch=order.branch, path=order.path, environment=environment)
    try:
        outcome = _synchronise(runtime, _standing(tree, order))
    except SluiceError as error:
        return Failed(message=str(error))
    return Completed(name="Completed" if outcome.is_in_sync else "Differs", message=str(outcome))


def _standing(tree: Tree, order: SyncForm) -> Standing:
    return Standing(tree=tree, revert=order.revert, write_back=order.write_back, hand_to=order.propose_to or None)


def follow_standing(runtime: Runtime) -> None:
    """Synchronise every tree that is followed on schedule. One that fails does not stop the others."""
    for each in standing(runtime.ledger):
        try:
            get_run_logger().info("%s: %s", each.tree, _synchronise(runtime, each))
        except SluiceError as error:
            get_run_logger().warning("%s cannot be followed: %s", each.tree, error)


def _synchronise(runtime: Runtime, how: Standing) -> SyncResult:
    follower = Follower(
        desk=desk_without_doors(), actor=ACTOR, role=role_of_prefect(runtime.ledger), revert=how.revert,
        write_back=how.write_back, hand_to=how.hand_to,
    )  # fmt: skip
    return synchronise(follower, how.tree)
