"""Assessment: what the plan's offline gates say of a candidate, before it is packed and so before its first request.

All doors lead through here: a rollout is packed by its driver alone, and the record takes no Packed without a pass of
every offline gate, or a named person's override.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.progress import append
from sluicegate.registry.plan.fields import OfflineGate
from sluicegate.registry.plan.offline import OfflineVerdict, RunMetrics, judge_offline
from sluicegate.registry.rollout.facts import Aborted, Assessed, Fact, Failed, Party
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.verdict import Answer


class Runs(Protocol):
    """Where builds and the runs that made them are."""

    def build(self, ref: BuildRef) -> Build: ...

    def run_metrics(self, run: str) -> Mapping[str, float]: ...


def assess(ledger: Ledger, runs: Runs, rollout: Rollout, clock: Callable[[], datetime]) -> Rollout:
    """Judge the candidate by each offline gate that has not judged it, record the answers, and end it where one is no
    pass: aborted where it is worse, failed where it cannot be judged.

    Raises CatalogUnavailable when MLflow does not answer: that is no answer of a gate.
    """
    fixes: dict[str, str] = {}
    for gate in rollout.offline_gates:
        if gate.name in rollout.assessments:
            continue
        verdict = _verdict(runs, rollout, gate)
        fixes[gate.name] = verdict.fix or ""
        fact = Assessed(
            gate=gate.name, answer=verdict.answer.value, reason=verdict.reason, candidate=verdict.candidate,
            stable=verdict.stable,
        )  # fmt: skip
        rollout = append(ledger, rollout.id, lambda _, fact=fact: fact, clock())  # type: ignore[misc]
    if rollout.is_assessed:
        return rollout
    over = ending(rollout, fixes)
    return append(ledger, rollout.id, lambda _: over, clock())


def ending(rollout: Rollout, fixes: Mapping[str, str]) -> Fact:
    """How a rollout ends whose candidate may not go on. A gate that found it worse says more than one that could not
    judge."""
    worse = [each for each in rollout.assessments.values() if each.answer == Answer.FAIL]
    if worse:
        names = ", ".join(each.gate for each in worse)
        reason = f"{names} failed before the first request: {worse[0].reason}"
        answers = {each.gate: each.answer for each in worse}
        return Aborted(actor="policy", party=Party.POLICY, reason=reason, verdicts=answers)
    open_ = [each for each in rollout.assessments.values() if each.answer != Answer.PASS]
    wanted = rollout.requested
    past = f"sluice rollout start {wanted.model} --build {wanted.version} --override-assessment WHY"
    said = "; ".join(f"{each.reason}{_fixed(fixes.get(each.gate))}" for each in open_)
    return Failed(stage="assess", reason=f"{said}. An approver may override it: {past}")


def _fixed(fix: str | None) -> str:
    return f" ({fix})" if fix else ""


def _verdict(runs: Runs, rollout: Rollout, gate: OfflineGate) -> OfflineVerdict:
    candidate = _metrics(runs, rollout.candidate, gate)
    is_beside = gate.margin is not None and rollout.stable is not None
    stable = BuildRef(model=rollout.requested.model, version=rollout.stable or "")
    return judge_offline(gate, candidate, _metrics(runs, stable, gate) if is_beside else None)


def _metrics(runs: Runs, ref: BuildRef, gate: OfflineGate) -> RunMetrics:
    """What the run says that the gate reads of a build."""
    whose = f"v{ref.version}"
    try:
        build = runs.build(ref)
        run = build.run if gate.run_tag is None else build.tags.get(gate.run_tag)
        if not run:
            lacking = "MLflow has no run that made it" if gate.run_tag is None else f"it has no tag {gate.run_tag}"
            return RunMetrics(build=whose, lacking=lacking)
        return RunMetrics(build=whose, values=runs.run_metrics(run))
    except NotFound as error:
        return RunMetrics(build=whose, lacking=error.message.rstrip("."))
