"""Orders as Prefect flows: given from the Prefect UI, a schedule or an automation.

They take the same path as orders from the command line and the console, with the role that an admin gave to Prefect.
An order wakes the keeper and so takes effect within a second. A refused order ends its run as Failed, with the reason
and the fix in the state's message. A run that Prefect repeats gives its order only once.
"""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from sluicegate.flows.driver.forms import AccountableForm, ApproveForm, ExperimentForm, Opinion, RollbackForm, SteerForm
from sluicegate.flows.driver.identity import order_as_prefect
from sluicegate.flows.driver.showing import show_rollout
from sluicegate.flows.wiring.runtime import current_runtime
from sluicegate.registry.orders.order import (
    Abort,
    Act,
    Approve,
    Pause,
    Promote,
    Resume,
    Retry,
    RollBack,
    StartExperiment,
)
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.units import format_weight


@flow(name="promote", flow_run_name="promote {order.rollout}")
def promote(order: AccountableForm) -> State[Any]:
    """Give a rollout's candidate all traffic now, gates or not. Recorded as your override."""
    return _steer(Promote(rollout=order.rollout), order)


@flow(name="ab", flow_run_name="ab {order.model}")
def ab(order: ExperimentForm) -> State[Any]:
    """Compare the variations that the model's applied plan names. Each comparison gets its own driver."""
    return _give(StartExperiment(model=order.model, variation=order.variation), order.who, "no reason given")


@flow(name="approve", flow_run_name="{order.opinion.value} {order.rollout}")
def approve(order: ApproveForm) -> State[Any]:
    """Let a rollout leave the step that you looked at once its gates have passed, or abort it."""
    match order.opinion:
        case Opinion.APPROVE:
            return _steer(Approve(rollout=order.rollout, step=int(order.step) - 1), order)
        case Opinion.REJECT:
            return _steer(Abort(rollout=order.rollout), order)


@flow(name="abort", flow_run_name="abort {order.rollout}")
def abort(order: SteerForm) -> State[Any]:
    """Send all traffic to stable again at once and end the rollout. Works in every phase, and may be repeated."""
    return _steer(Abort(rollout=order.rollout), order)


@flow(name="pause", flow_run_name="pause {order.rollout}")
def pause(order: SteerForm) -> State[Any]:
    """Hold a rollout at its weight. Guardrails continue and may still abort it."""
    return _steer(Pause(rollout=order.rollout), order)


@flow(name="resume", flow_run_name="resume {order.rollout}")
def resume(order: SteerForm) -> State[Any]:
    """Let a paused rollout continue; its time limits run again."""
    return _steer(Resume(rollout=order.rollout), order)


@flow(name="retry", flow_run_name="retry {order.rollout}")
def retry(order: SteerForm) -> State[Any]:
    """Try an aborted, failed or superseded rollout once more, by the plan that is applied now."""
    return _steer(Retry(rollout=order.rollout), order)


@flow(name="rollback", flow_run_name="rollback {order.model}")
def rollback(order: RollbackForm) -> State[Any]:
    """Go back at once to a build that was stable before: a new rollout, in your name."""
    version = order.to.removeprefix("v") or None
    return _give(RollBack(model=order.model, variation=order.variation, version=version), order.who, order.why)


def _steer(act: Act, form: SteerForm) -> State[Any]:
    return _give(act, form.who, form.why)


def _give(act: Act, who: str, why: str) -> State[Any]:
    """Give the order. The returned state says what happened."""
    try:
        after = order_as_prefect(current_runtime(), act, who=who, why=why)
    except SluiceError as refused:
        return Failed(message=str(refused))
    show_rollout(after)
    return Completed(message=f"{after.id} is {after.ending or after.phase} at {format_weight(after.weight)} %")
