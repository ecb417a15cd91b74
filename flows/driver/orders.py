"""Orders as Prefect flows: what a person does from the Prefect UI, a schedule or an automation.

Each goes through the same door as the command line and the console, with the role that an admin gave to Prefect, and
acts within a second: the keeper is woken. An order that is refused ends its run as Failed, with the reason and the way
out in the state's message. A run that Prefect starts again gives its order once.
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
    """Compare the variations that the model's applied plan names. Each comparison gets a driver of its own."""
    return _give(StartExperiment(model=order.model, variation=order.variation), order.who, "no reason given")


@flow(name="approve", flow_run_name="{order.opinion.value} {order.rollout}")
def approve(order: ApproveForm) -> State[Any]:
    """Let a rollout leave the step that you looked at once its gates have passed, or take it back."""
    match order.opinion:
        case Opinion.APPROVE:
            return _steer(Approve(rollout=order.rollout, step=int(order.step) - 1), order)
        case Opinion.REJECT:
            return _steer(Abort(rollout=order.rollout), order)


@flow(name="abort", flow_run_name="abort {order.rollout}")
def abort(order: SteerForm) -> State[Any]:
    """Take all traffic back to stable at once and end the rollout. Works in every phase; twice is once."""
    return _steer(Abort(rollout=order.rollout), order)


@flow(name="pause", flow_run_name="pause {order.rollout}")
def pause(order: SteerForm) -> State[Any]:
    """Hold a rollout where it is. The weight stays, guardrails go on and may still abort."""
    return _steer(Pause(rollout=order.rollout), order)


@flow(name="resume", flow_run_name="resume {order.rollout}")
def resume(order: SteerForm) -> State[Any]:
    """Let a paused rollout go on; its time limits count again."""
    return _steer(Resume(rollout=order.rollout), order)


@flow(name="retry", flow_run_name="retry {order.rollout}")
def retry(order: SteerForm) -> State[Any]:
    """Try a rollout once more that was aborted, failed or superseded, by the plan that is applied now."""
    return _steer(Retry(rollout=order.rollout), order)


@flow(name="rollback", flow_run_name="rollback {order.model}")
def rollback(order: RollbackForm) -> State[Any]:
    """Go back at once to a build that was stable before: a new rollout, in your name."""
    version = order.to.removeprefix("v") or None
    return _give(RollBack(model=order.model, variation=order.variation, version=version), order.who, order.why)


def _steer(act: Act, form: SteerForm) -> State[Any]:
    return _give(act, form.who, form.why)


def _give(act: Act, who: str, why: str) -> State[Any]:
    """Give the order; the state says what came of it."""
    try:
        after = order_as_prefect(current_runtime(), act, who=who, why=why)
    except SluiceError as refused:
        return Failed(message=str(refused))
    show_rollout(after)
    return Completed(message=f"{after.id} is {after.ending or after.phase} at {format_weight(after.weight)} %")
