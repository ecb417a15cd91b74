"""Assessment: the plan's offline gates judge a candidate before it is packed, and so before its first request.

No order bypasses it: only its driver packs a rollout, and the ledger accepts Packed only after every offline gate has
passed, or with a named person's override.
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
    """Gives access to builds and to the metrics of the runs that made them."""

    def build(self, ref: BuildRef) -> Build: ...

    def run_metrics(self, run: str) -> Mapping[str, float]: ...


def assess(ledger: Ledger, runs: Runs, rollout: Rollout, clock: Callable[[], datetime]) -> Rollout:
    """Judge the candidate by each offline gate that has not judged it yet, and record the answers.

    Unless all passed, ends the rollout: aborted if the candidate is worse, failed if it cannot be judged. Raises
    CatalogUnavailable if MLflow does not answer, which is no verdict.
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
    end = ending(rollout, fixes)
    return append(ledger, rollout.id, lambda _: end, clock())


def ending(rollout: Rollout, fixes: Mapping[str, str]) -> Fact:
    """The fact that ends a rollout whose gates did not all pass. A failed gate outweighs one that could not judge."""
    worse = [each for each in rollout.assessments.values() if each.answer == Answer.FAIL]
    if worse:
        names = ", ".join(each.gate for each in worse)
        reason = f"{names} failed before the first request: {worse[0].reason}"
        answers = {each.gate: each.answer for each in worse}
        return Aborted(actor="policy", party=Party.POLICY, reason=reason, verdicts=answers)
    unjudged = [each for each in rollout.assessments.values() if each.answer != Answer.PASS]
    wanted = rollout.requested
    override = f"sluice rollout start {wanted.model} --build {wanted.version} --override-assessment WHY"
    reasons = "; ".join(f"{each.reason}{_in_brackets(fixes.get(each.gate))}" for each in unjudged)
    return Failed(stage="assess", reason=f"{reasons}. An approver may override it: {override}")


def _in_brackets(fix: str | None) -> str:
    return f" ({fix})" if fix else ""


def _verdict(runs: Runs, rollout: Rollout, gate: OfflineGate) -> OfflineVerdict:
    candidate = _metrics(runs, rollout.candidate, gate)
    is_beside = gate.margin is not None and rollout.stable is not None
    stable = BuildRef(model=rollout.requested.model, version=rollout.stable or "")
    return judge_offline(gate, candidate, _metrics(runs, stable, gate) if is_beside else None)


def _metrics(runs: Runs, ref: BuildRef, gate: OfflineGate) -> RunMetrics:
    """The metrics of the run that the gate reads for this build, or why there are none."""
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
