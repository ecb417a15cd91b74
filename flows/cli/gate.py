"""gate replay, gate certify, rollout forecast: judge data and plans without a running system."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, plain, remark
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.registry.words.settings import Settings

if TYPE_CHECKING:
    from sluicegate.flows.rehearsal.certify import Certificate
    from sluicegate.flows.rehearsal.forecast import GateForecast, StepForecast
    from sluicegate.flows.rehearsal.rehearsal import Baseline
    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.registry.plan.plan import Plan

_PATIENCE = "simulating rollouts; this takes up to a minute ..."
File = Annotated[Path, Parameter(name=["--file", "-f"], help="The plan.")]


def replay(
    file: Annotated[Path | None, Parameter(help="A file of JSON lines; by default standard input.")] = None,
    /,
    *,
    rollout: Annotated[str | None, Parameter(help="Instead, judge the recorded looks of this rollout again.")] = None,
) -> int:
    """Judge JSON lines of looks, and print each verdict. With --rollout: exit code 1 if a recorded verdict differs."""
    if rollout is not None:
        return _rollout(rollout)
    from sluicegate.flows.rehearsal.replay import replay as answers

    with _opened(file) if file is not None else sys.stdin as lines:
        for answer in answers(lines):
            print(answer, flush=True)
    return 0


def _opened(file: Path) -> TextIO:
    try:
        return file.open(encoding="utf-8")
    except OSError as error:
        fix = f"name a file of JSON lines; or, for the looks of a rollout: sluice gate replay --rollout {file.name}"
        raise UsageError(f"{file} cannot be read: {error.strerror}.", fix=fix) from error


def _rollout(rollout: str) -> int:
    from sluicegate.flows.rehearsal.rejudge import rejudge
    from sluicegate.flows.stages.attempts import gates_of_attempt
    from sluicegate.flows.wiring.runtime import current_runtime
    from sluicegate.registry.words.errors import NotFound
    from sluicegate.services.host.addresses import has_ledger

    runtime = current_runtime()
    if not has_ledger(runtime.settings):
        raise NotFound(f"there is no ledger in {runtime.settings.state}.", fix="set SLUICE_STATE or SLUICE_LEDGER.")
    ledger = runtime.ledger
    tried, same = ledger.rollout(rollout), True
    gates = gates_of_attempt(ledger, tried)
    for look in rejudge(tried.judged_plan, lambda metric: ledger.looks(rollout, metric), gates, tried.stable_name):
        print(look.as_json())
        same = same and look.is_same
    return 0 if same else 1


def certify(*, file: File, output: Output = Format.TABLE) -> int:
    """Test a plan's gates on simulated traffic: equal candidates, worse ones, no data. Exit code 3 if they fail.

    Records the result with the plan's digest, in your name; without a pass, `certified: true` starts nothing.
    """
    from sluicegate.flows.rehearsal.certify import certify as tried
    from sluicegate.registry.documents.documents import read_plans

    plans = read_plans((file,), Settings.read().champion_alias)
    remark(_PATIENCE)
    sheets = [tried(plan, {}, on_check=lambda check: remark(f"checked {check.metric}: {check.name}")) for plan in plans]
    rows = [
        f"{'ok    ' if check.ok else 'FAILED'} {check.metric}: {check.name}: {check.reason}"
        for sheet in sheets
        for check in sheet.checks
    ]
    rows += [f"note   {caveat}" for sheet in sheets for caveat in sheet.caveats]
    results = [{"model": plan.model, "ok": sheet.ok, **plain(sheet)} for plan, sheet in zip(plans, sheets, strict=True)]
    emit(results, output, table="\n".join(rows))
    for plan, sheet in zip(plans, sheets, strict=True):
        _record(plan, sheet)
    return 0 if all(sheet.ok for sheet in sheets) else 3


def _record(plan: Plan, sheet: Certificate) -> None:
    """Record the result if a ledger can be reached. Raises SluiceError only if the plan requires `certified`."""
    from sluicegate.flows.cli.reach import call

    if not sheet.checks:
        return
    body = {"model": plan.model, "checks": [dataclasses.asdict(check) for check in sheet.checks]}
    try:
        done = call("PUT", f"/api/v1/certificates/{plan.digest}", body)
    except SluiceError as error:
        if plan.certified:
            raise
        remark(f"the result is not recorded, which this plan does not require: {error.message}")
        return
    remark(f"result recorded for the plan of {plan.model}/{plan.variation} {done['digest'][:12]}: {_result(sheet)}")


def _result(sheet: Certificate) -> str:
    return "certified" if sheet.ok else "failed"


def forecast(
    model: Annotated[str | None, Parameter(help="A model; uses what its last rollout measured.")] = None,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"], help="A plan instead of the model's.")] = None,
    variation: Annotated[str, Parameter(help="The slot of the model.")] = "default",
    output: Output = Format.TABLE,
) -> None:
    """Estimate what a plan's gates need: requests and time to pass each step, and the smallest harm they detect."""
    from sluicegate.flows.rehearsal.forecast import forecast as expected
    from sluicegate.flows.rehearsal.rehearsal import caveats

    plans = _plans(model, variation, file)
    remark(_PATIENCE)
    forecasts = [
        (plan, expected(plan, baselines, on_part=lambda metric, part: remark(f"simulated {metric}: {part}")))
        for plan, baselines in plans
    ]
    rows = [line for _, gates in forecasts for gate in gates for line in _lines(gate)]
    rows += [f"note: {caveat}" for plan, _ in forecasts for caveat in caveats(plan)]
    results = [{"model": plan.model, "gates": gates, "caveats": caveats(plan)} for plan, gates in forecasts]
    emit(plain(results), output, table="\n".join(rows))


def _plans(model: str | None, variation: str, file: Path | None) -> list[tuple[Plan, dict[str, Baseline]]]:
    """The plans to forecast, each with stable's measured values by metric."""
    if model is None and file is None:
        raise UsageError("name a model, a plan, or both.", fix="sluice rollout forecast MODEL, or -f plan.yaml")
    plans = []
    if file is not None:
        from sluicegate.registry.documents.documents import read_plans

        plans = list(read_plans((file,), Settings.read().champion_alias))
    if model is None:
        return [(plan, {}) for plan in plans]
    from sluicegate.flows.wiring.runtime import current_runtime

    runtime = current_runtime()
    baselines = _measured(runtime, model, variation)
    return [(plan, baselines) for plan in plans or [runtime.plan(model, variation)]]


_RECENT = 20
"""How many of a target's newest rollouts to search for the last one that had traffic."""


def _measured(runtime: Runtime, model: str, variation: str) -> dict[str, Baseline]:
    """Stable's values by metric in the target's last rollout that had traffic; empty if there was none."""
    from sluicegate.flows.rehearsal.rehearsal import Baseline
    from sluicegate.registry.words.metric import Arm
    from sluicegate.registry.words.tally import Tally, UnitSums

    sums, units = dict[str, Tally](), dict[str, UnitSums]()
    recent = runtime.ledger.rollouts(Selection(model=model, variation=variation, newest=_RECENT))
    rollouts = [rollout for rollout in recent if rollout.step >= 0]
    for row in runtime.telemetry.tallies(rollouts[-1].id)[1] if rollouts else ():
        if row.arm is Arm.STABLE:
            sums[row.metric] = sums.get(row.metric, Tally()) + row.tally
            units[row.metric] = units.get(row.metric, UnitSums()) + (row.units or UnitSums())
    specs = rollouts[-1].plan.metrics if sums else {}
    baselines = {
        metric: Baseline.from_tally(tally, units[metric], specs[metric].origin if metric in specs else 0.0)
        for metric, tally in sums.items()
    }
    return {metric: baseline for metric, baseline in baselines.items() if baseline is not None}


def _lines(gate: GateForecast) -> list[str]:
    from sluicegate.registry.words.figures import share

    basis = "assumed" if gate.baseline.assumed else "measured"
    harm = "more than ten times" if gate.smallest_harm is None else share(gate.smallest_harm)
    power = f"detects with 80 % power a candidate that is worse by {harm}"
    exposed = (f"{'more than planned' if n is None else f'{n:,.0f}'} if {h:g} times as bad" for h, n in gate.exposed)
    return [
        f"{gate.metric} (mean {gate.baseline.mean:g}, {basis}): {power}",
        *(_step(step) for step in gate.steps),
        f"  requests that a worse candidate gets until it is stopped: {', '.join(exposed)}",
    ]


def _step(step: StepForecast) -> str:
    from sluicegate.registry.words.units import format_duration, format_share, format_weight

    margin = "rate below its limit" if step.margin is None else f"margin {format_share(step.margin)}"
    head = f"  {format_weight(step.weight)} %, {margin}"
    if step.requests is None:
        return f"{head}: the planned requests are too few; expect more requests or widen the margin"
    time = "" if step.seconds is None else f", {format_duration(round(step.seconds))}"
    return f"{head}: a candidate that is as good as stable passes after {step.requests:,.0f} requests{time}"
