"""The Prefect flows that drive a rollout. They can be restarted: read the ledger, take the next step, append, repeat.

The ledger holds all state of a driver. If a run is killed, another one replaces it and continues where the facts end.
Tasks import heavy modules themselves, because every run is a fresh process that waits for its imports.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import State, flow, get_run_logger, task
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from sluicegate.flows.driver.forms import StartForm
from sluicegate.flows.driver.identity import order_as_prefect
from sluicegate.flows.driver.lease import hold_lease
from sluicegate.flows.driver.progress import show_ending, show_verdicts
from sluicegate.flows.driver.showing import links, show, show_progress, show_rollout, this_run
from sluicegate.flows.stages.experiment import follow
from sluicegate.flows.stages.shadow import hand_over
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.ledger.attempt import note_run
from sluicegate.registry.orders import progress
from sluicegate.registry.orders.answering import main_variation
from sluicegate.registry.orders.order import Start
from sluicegate.registry.orders.progress import stable
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.rollout.decision import signature_wanted
from sluicegate.registry.rollout.facts import Party, Settled
from sluicegate.registry.rollout.namesakes import refuse_namesake
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.errors import IllegalMove, LedgerConflict, SluiceError
from sluicegate.registry.words.units import format_weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from sluicegate.flows.stages.tick import Tick


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Why a step of the driver ended, and whether the driver should end too."""

    reason: str
    is_long_wait: bool
    asks: bool = False
    """Whether to run the step's check now."""


TICK_SECONDS = 1.0
SHORT_PAUSE_SECONDS = 60.0
"""A driver waits this long during a pause, so that resuming after a short pause needs no new process."""


@flow(name="canary", flow_run_name="{order.model} {order.build}")
def canary(order: StartForm) -> State[Any]:
    """Roll a build out by its model's applied plan: step by step, or by one switch if the plan says blue-green.
    Also drives first builds and rollbacks."""
    return _run(order, Strategy.CANARY)


@flow(name="shadow", flow_run_name="{order.model} {order.build}")
def shadow(order: StartForm) -> State[Any]:
    """Compare a build with stable on copies of requests, as the applied plan of its model says. No caller sees it."""
    return _run(order, Strategy.SHADOW)


def _run(order: StartForm, strategy: Strategy) -> State[Any]:
    runtime = current_runtime()
    try:
        name = order.rollout or _start(runtime, order, strategy)
    except Unchanged as unchanged:
        return Completed(message=str(unchanged))
    except SluiceError as refused:
        return Failed(message=str(refused))
    return Completed(message=_drive_with_lease(runtime, name))


class Unchanged(Exception):
    """There is nothing to roll out. This is no failure: a scheduled run usually ends this way."""


def _start(runtime: Runtime, order: StartForm, strategy: Strategy) -> str:
    """Order the rollout and return its id.

    Raises Unchanged if the build is stable already, or was tried before and nothing has changed.
    """
    version = runtime.catalog.resolve(order.model, order.build).version
    model_rollouts = runtime.ledger.current(order.model)
    refuse_namesake(model_rollouts, runtime.catalog.builds(order.model), order.model, version)
    if stable(runtime.ledger, order.model, order.variation) == version:
        raise Unchanged(f"{order.model} v{version} is stable already: there is nothing to roll out")
    is_switch = strategy is Strategy.CANARY and runtime.plan(order.model, order.variation).switches
    strategy = Strategy.BLUE_GREEN if is_switch else strategy
    start = Start(
        model=order.model, variation=order.variation, version=version, strategy=strategy,
        allow_older=order.allow_older, by_name=order.is_by_name,
    )  # fmt: skip
    rollout = order_as_prefect(runtime, start, who=flow_run.get_name() or "run", party=Party.PREFECT)
    if rollout.is_ended:
        raise Unchanged(f"{rollout.id} ended before ({rollout.ending}) and nothing has changed since")
    return rollout.id


def _drive_with_lease(runtime: Runtime, name: str) -> str:
    """Drive a rollout while holding its lease. Returns the outcome in words."""
    identifier = flow_run.get_id()
    owner = f"{socket.gethostname()}:{os.getpid()}:{identifier or 'local'}"
    with hold_lease(runtime.ledger, name, owner, runtime.clock) as has_lease:
        rollout = runtime.ledger.rollout(name)
        show_rollout(rollout)
        if not has_lease:
            return f"{name}: another driver has it"
        if identifier is not None:
            note_run(runtime.ledger, name, identifier, runtime.clock())
        return _drive(runtime, name)


def _drive(runtime: Runtime, name: str) -> str:
    """Take one step after another until nothing is left to do now. Returns the reason."""
    paused_since: float | None = None
    while True:
        rollout = runtime.ledger.rollout(name)
        paused_since = (paused_since or time.monotonic()) if rollout.phase is Phase.PAUSED else None
        show_progress(rollout)
        match rollout.phase:
            case Phase.QUEUED:
                return f"{name} waits for its turn"
            case Phase.LAUNCHING:
                hold = _launch_step(runtime, rollout)
            case Phase.RUNNING:
                hold = ramp_step.with_options(task_run_name=_ramp_name(rollout))(name)
                if hold.asks:
                    ask_check.with_options(task_run_name=f"check {_ramp_name(rollout)}")(name)
            case Phase.PAUSED:
                hold = _sit_out(rollout, paused_since or time.monotonic())
            case Phase.CONFIRMING | Phase.BAKING | Phase.ENDED:
                if not rollout.settled:
                    _hand_over(runtime, rollout)
                    settle_rollout.with_options(task_run_name=f"settle {rollout.candidate}")(name)
                return f"{name} {rollout.ending or rollout.phase}: {rollout.reason}"
        if hold.is_long_wait:
            return f"{name}: {hold.reason}"


def _sit_out(rollout: Rollout, since: float) -> Hold:
    """Wait one tick of a pause. A long pause ends the driver."""
    time.sleep(TICK_SECONDS)
    is_long = time.monotonic() - since > SHORT_PAUSE_SECONDS
    return Hold(reason=f"paused: {rollout.reason}", is_long_wait=is_long)


def _launch_step(runtime: Runtime, rollout: Rollout) -> Hold:
    """One step of a launch: pack, wait for the keeper's Ready, then give traffic. Says what the launch waits for."""
    if rollout.packed is None and not rollout.is_comparison:
        pack_build.with_options(task_run_name=f"pack {rollout.candidate}")(rollout.id)
    elif not rollout.ready and not rollout.is_comparison:
        wait_until_ready.with_options(task_run_name=f"start and probe {rollout.candidate}")(rollout.id)
    elif not rollout.is_replayed:
        replay_requests.with_options(task_run_name=f"replay requests to {rollout.candidate}")(rollout.id)
    elif not rollout.is_judged:
        unsigned = signature_wanted(rollout)
        if unsigned is not None:
            return Hold(reason=unsigned.reason, is_long_wait=True)
        progress.complete(runtime.ledger, rollout.id, runtime.clock())
    else:
        outcome = _tick(runtime, rollout.id)
        if outcome is not None and outcome.decision.asks:
            ask_check.with_options(task_run_name=f"check {rollout.candidate}")(rollout.id)
        elif outcome is not None and outcome.rollout.phase is Phase.LAUNCHING:
            time.sleep(TICK_SECONDS)
            return Hold(reason=outcome.decision.reason, is_long_wait=outcome.decision.is_long_wait)
    return Hold(reason="", is_long_wait=False)


def _hand_over(runtime: Runtime, rollout: Rollout) -> None:
    """Order what follows: a shadow's canary, or the promotion of an experiment's winner. Logs a refusal."""
    try:
        after = hand_over(runtime.ledger, rollout, runtime.clock()) or follow(runtime.ledger, rollout, runtime.clock())
    except SluiceError as refused:
        get_run_logger().warning("nothing follows: %s", refused)
        return
    if after is not None:
        get_run_logger().info("%s follows", after.id)


def _ramp_name(rollout: Rollout) -> str:
    return f"{rollout.candidate} at {format_weight(rollout.weight)} %"


@task(persist_result=False, retries=3, retry_delay_seconds=[2, 10, 30])
def pack_build(name: str) -> str:
    """Turn the registered version into a bento. Retries while MLflow is away: packing twice has the effect of once."""
    from sluicegate.flows.stages.launch import launch

    runtime = current_runtime()
    rollout = runtime.ledger.rollout(name)
    after = launch(runtime.ledger, runtime.catalog, runtime.packer, rollout, runtime.builds_folder, runtime.clock)
    return after.packed.bento if after.packed else after.reason


@task(persist_result=False)
def wait_until_ready(name: str) -> str:
    """Wait until the keeper has started the service and its probes answered. Meanwhile, import what judges it next."""
    import sluicegate.flows.stages.tick  # noqa: F401 - imports scipy

    rollout = _until(name, lambda r: r.ready or r.phase not in (Phase.LAUNCHING, Phase.PAUSED))
    return "ready" if rollout.ready else rollout.reason


@task(persist_result=False)
def replay_requests(name: str) -> str:
    """Replay captured requests to stable's and the candidate's services. Returns the results in words."""
    from sluicegate.flows.rehearsal.before_first import replaying

    runtime = current_runtime()
    after = replaying(runtime).replay(runtime.ledger.rollout(name))
    return "; ".join(each.reason for each in after.assessments.values())


@task(persist_result=False)
def ramp_step(name: str) -> Hold:
    """Judge the rollout until it leaves the step, no matter who moves it."""
    runtime = current_runtime()
    logger = get_run_logger()
    started = runtime.ledger.rollout(name)
    reason = ""
    while True:
        outcome = _tick(runtime, name)
        if outcome is not None:
            show(partial(_show_verdicts, runtime, outcome))
            if outcome.decision.reason != reason:
                reason = outcome.decision.reason
                logger.info("%s: %s", outcome.decision.choice.value, reason)
            has_left = outcome.rollout.step != started.step or outcome.rollout.phase is not Phase.RUNNING
            if has_left or outcome.decision.is_long_wait or outcome.decision.asks:
                is_long_wait = outcome.decision.is_long_wait and not has_left
                return Hold(reason=reason, is_long_wait=is_long_wait, asks=outcome.decision.asks and not has_left)
        time.sleep(TICK_SECONDS)


@task(persist_result=False)
def ask_check(name: str) -> str:
    """Run the step's check and record the answer. The keeper guards the rollout meanwhile."""
    runtime = current_runtime()
    rollout = runtime.ledger.rollout(name)
    check = rollout.check
    if check is None:
        return "there is nothing to ask"

    def is_open() -> bool:
        now = runtime.ledger.rollout(name)
        return not now.is_ended and now.step == rollout.step

    checked = runtime.check_runner.ask(rollout, check, is_open)
    with suppress(IllegalMove):  # the rollout ended meanwhile
        progress.append(runtime.ledger, name, lambda _: checked, runtime.clock())
    return f"{checked.answer}: {checked.reason}"


@task(persist_result=False, retries=5, retry_delay_seconds=[2, 5, 10, 20, 40])
def settle_rollout(name: str) -> tuple[str, ...]:
    """Write the rollout's ending to MLflow: aliases, stages, tags."""
    from sluicegate.flows.stages.settle import settle

    runtime = current_runtime()
    rollout = runtime.ledger.rollout(name)
    seen_at = links(runtime, rollout) | ({"prefect": page} if (page := this_run()) else {})
    main = main_variation(runtime.ledger, rollout.requested.model)
    changes = settle(runtime.catalog, rollout, runtime.settings.champion_alias, fallback=main, seen_at=seen_at)
    if not runtime.ledger.rollout(name).settled:
        progress.append(runtime.ledger, name, lambda _: Settled(changes=changes), runtime.clock())
    show(lambda: show_ending(runtime.readings.report(name), changes, seen_at))
    return changes


def _show_verdicts(runtime: Runtime, outcome: Tick) -> None:
    from sluicegate.flows.views.evidence import all_requests_by_arm

    share = all_requests_by_arm(runtime.telemetry, [(outcome.rollout, outcome.rollout.epoch)])[0].share
    show_verdicts(outcome, share, lambda: runtime.readings.report(outcome.rollout.id))


def _tick(runtime: Runtime, name: str) -> Tick | None:
    """One tick with the authority to advance; None if somebody else appended meanwhile."""
    from sluicegate.flows.stages.tick import Authority, tick

    try:
        return tick(runtime.ledger, runtime.telemetry, name, runtime.clock(), Authority.ADVANCE)
    except (LedgerConflict, IllegalMove):
        return None


def _until(name: str, is_done: Callable[[Rollout], bool]) -> Rollout:
    runtime = current_runtime()
    while True:
        rollout = runtime.ledger.rollout(name)
        if is_done(rollout):
            return rollout
        time.sleep(0.3)
