"""Orders as Prefect flows: what a person does from the Prefect UI, a schedule or an automation.

Each goes through the same door as the command line and the console, and acts within a second: the keeper is woken.
An order that is refused ends its run as Failed, with the reason and the way out in the state's message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from sluicegate.flows.driver.forms import AccountableForm, ApproveForm, ExperimentForm, Opinion, RollbackForm, SteerForm
from sluicegate.flows.driver.showing import show_rollout
from sluicegate.flows.wiring.runtime import current_runtime
from sluicegate.registry.orders import experiments as orders_ab
from sluicegate.registry.orders import rollouts as orders
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.units import format_weight


@flow(name="promote", flow_run_name="promote {order.rollout}")
def promote(order: AccountableForm) -> State[Any]:
    """Give a rollout's candidate all traffic now, gates or not. Recorded as your override."""
    return _steer(orders_ab.promote, order)


@flow(name="ab", flow_run_name="ab {order.model}")
def ab(order: ExperimentForm) -> State[Any]:
    """Compare the variations that the model's applied plan names. Each comparison gets a driver of its own."""
    runtime = current_runtime()

    def give() -> Rollout:
        plan, request = runtime.plan(order.model, order.variation), orders.Request(actor=order.who, cause="prefect")
        return orders_ab.start(runtime.ledger, plan=plan, request=request, now=runtime.clock())[0].rollout

    return _said(give)


@flow(name="approve", flow_run_name="{order.opinion.value} {order.rollout}")
def approve(order: ApproveForm) -> State[Any]:
    """Let a rollout leave the step it is at once its gates have passed, or take it back."""
    match order.opinion:
        case Opinion.APPROVE:
            return _steer(orders.approve, order)
        case Opinion.REJECT:
            return _steer(orders.abort, order)


@flow(name="abort", flow_run_name="abort {order.rollout}")
def abort(order: SteerForm) -> State[Any]:
    """Take all traffic back to stable at once and end the rollout. Works in every phase; twice is once."""
    return _steer(orders.abort, order)


@flow(name="pause", flow_run_name="pause {order.rollout}")
def pause(order: SteerForm) -> State[Any]:
    """Hold a rollout where it is. The weight stays, guardrails go on and may still abort."""
    return _steer(orders.pause, order)


@flow(name="resume", flow_run_name="resume {order.rollout}")
def resume(order: SteerForm) -> State[Any]:
    """Let a paused rollout go on; its time limits count anew."""
    return _steer(orders.resume, order)


@flow(name="retry", flow_run_name="retry {order.rollout}")
def retry(order: SteerForm) -> State[Any]:
    """Try a rollout once more that was aborted, failed or superseded, by the plan that is applied now."""
    return _steer(orders.retry, order)


@flow(name="rollback", flow_run_name="rollback {order.model}")
def rollback(order: RollbackForm) -> State[Any]:
    """Go back at once to a build that was stable before: a new rollout, in your name."""
    runtime = current_runtime()

    def give() -> Rollout:
        request = orders.Request(actor=order.who, cause="prefect")
        return orders.roll_back(
            runtime.ledger, model=order.model, variation=order.variation, version=order.to.removeprefix("v") or None,
            reason=order.why, request=request, now=runtime.clock(),
        ).rollout  # fmt: skip

    return _said(give)


def _steer(order: Callable[..., Rollout], form: SteerForm) -> State[Any]:
    runtime = current_runtime()

    def give() -> Rollout:
        name = orders.find(runtime.ledger, form.rollout).id
        return order(runtime.ledger, name, actor=form.who, reason=form.why, now=runtime.clock())

    return _said(give)


def _said(give: Callable[[], Rollout]) -> State[Any]:
    """Give the order; the state says what came of it."""
    try:
        after = give()
    except SluiceError as refused:
        return Failed(message=str(refused))
    show_rollout(after)
    return Completed(message=f"{after.id} is {after.ending or after.phase} at {format_weight(after.weight)} %")
