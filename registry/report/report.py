"""Report: what a rollout did, when, why and on what evidence. The one view model that every door shows. Pure.

It is made from the record alone, plus evidence from the telemetry: requests by arm, outcomes and sample ratio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from sluicegate.registry.plan.fields import GateSpec, Source
from sluicegate.registry.report.course import StepReport, WeightPoint, step_reports, weight_points
from sluicegate.registry.report.reason import counted, unit_noun
from sluicegate.registry.report.shadow_view import ShadowView
from sluicegate.registry.report.timeline import Moment, timeline
from sluicegate.registry.report.view import GateView, RolloutView, rollout_view
from sluicegate.registry.rollout.facts import Entry, Judged
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.verdict import OK, Answer, Look


@dataclass(frozen=True, kw_only=True)
class ArmCounts:
    """The requests assigned to one arm."""

    requests: int = 0
    abandoned: int = 0
    """Requests whose client left before the answer."""
    failed: int = 0
    """Requests for which the assigned build failed, whoever answered in the end."""
    fallbacks: int = 0
    """Requests that another build answered."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """Requests by how they ended: answered, closed, left, 5xx, timeout, reset, connect, retried."""

    @property
    def errors(self) -> int:
        """Errors as in `source: status`: the build failed, or the caller left before the answer."""
        return self.failed + self.abandoned

    def plus(self, other: ArmCounts) -> ArmCounts:
        """The sum of both."""
        return ArmCounts(
            requests=self.requests + other.requests, abandoned=self.abandoned + other.abandoned,
            failed=self.failed + other.failed, fallbacks=self.fallbacks + other.fallbacks,
            ends=dict(Counter(self.ends) + Counter(other.ends)),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RequestsByArm:
    """The requests of a rollout by arm, in one epoch or in all."""

    stable: ArmCounts = field(default_factory=ArmCounts)
    candidate: ArmCounts = field(default_factory=ArmCounts)

    @property
    def share(self) -> float | None:
        """The candidate's share of all requests; None without any."""
        total = self.stable.requests + self.candidate.requests
        return self.candidate.requests / total if total else None


@dataclass(frozen=True, kw_only=True)
class RequestsAtWeight(RequestsByArm):
    """The requests of both arms at one weight."""

    epoch: int


@dataclass(frozen=True, kw_only=True)
class ArmErrors:
    """The errors of one arm by cause."""

    arm: str
    requests: int
    errors: int
    """As `source: status` counts them, including callers who left before the answer."""
    causes: Mapping[str, int]
    """left (the caller did), 5xx, timeout, reset, connect, retried (the log does not say why the first try failed)."""
    closed: int
    """Answers that the caller closed before their end. They are no errors."""

    def __str__(self) -> str:
        named = ", ".join(f"{n:,} {CAUSES.get(cause, cause)}" for cause, n in self.causes.items() if n)
        left = f"; {self.closed:,} answers were closed by their callers, which is no error" if self.closed else ""
        return f"{self.errors:,} of {self.requests:,} requests{f': {named}' if named else ''}{left}"


CAUSES = {
    "left": "caller left",
    "connect": "not reached",
    "retried": "answered by another try",
    "stood_in": "answered by the fallback variation",
}
"""Words for causes whose names do not explain themselves."""


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """Whether requests came in the shares that the weights ask for."""

    answer: str
    """OK, MISMATCH or NOT TESTED."""
    p_value: float | None = None
    """Valid at every look."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OutcomeCoverage:
    """For how many compared requests a metric's value is known."""

    metric: str
    exposures: int
    labelled: int
    pending: int
    """Requests whose value is known but not mature yet."""

    @property
    def share(self) -> float | None:
        """Labels as a share of all requests; None without requests. A request with several rows may have several."""
        return self.labelled / self.exposures if self.exposures else None


@dataclass(frozen=True, kw_only=True)
class LatencyBin:
    """The requests whose callers waited from `low` to `high` milliseconds."""

    low: float
    high: float
    requests: int


@dataclass(frozen=True, kw_only=True)
class ArmLatency:
    """How long callers of one arm waited, in milliseconds, to within 12 %."""

    arm: str
    requests: int
    p50: float
    p95: float
    p99: float
    bins: tuple[LatencyBin, ...] = ()
    """From short to long. Bins without requests are left out."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the telemetry knows about a rollout, in addition to the recorded looks."""

    exposures: tuple[RequestsAtWeight, ...] = ()
    """By epoch."""
    coverage: tuple[OutcomeCoverage, ...] = ()
    latency: tuple[ArmLatency, ...] = ()
    """Of the whole rollout, stable first."""
    sample_ratio: SampleRatio = SampleRatio(answer="NOT TESTED", reason="no requests on record")
    shadow: ShadowView | None = None
    """For a shadow, the result of its pairs of answers."""
    generated: int | None = None
    """Requests of both arms that no caller sent; None if not known."""
    unread: str | None = None
    """Why the telemetry cannot be read. If set, nothing else is known."""


@dataclass(frozen=True, kw_only=True)
class LookPoint:
    """One look of a gate, as a chart shows it."""

    k: int
    at: datetime
    step: int
    """From 1."""
    information: float
    """Share of the planned information; may exceed 1."""
    stable_n: int
    candidate_n: int
    compared: int
    """Values of both builds together; for a shadow, pairs of answers."""
    estimate: float | None
    low: float | None
    high: float | None
    bound: float | None
    """The margin in the metric's unit; None if there is none to draw."""
    limit: float | None
    """The rate that the plan requires to stay below, as a difference from stable's; None if the plan has none."""
    verdict: str
    alpha_spent: float | None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A change of a gate's answer."""

    at: datetime
    k: int
    step: int
    """From 1."""
    verdict: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """A gate with all its looks and all changes of its answer."""

    view: GateView
    worse: str
    """The direction in which the metric gets worse: higher or lower."""
    counted: str
    """What is compared: requests, labels, predictions or pairs."""
    units: str | None
    """The noun for the plan's units, such as users; None if it names none."""
    since: str
    """What began when counting began: the rollout, the shadow or the experiment."""
    source: Source
    alpha: float
    alpha_spent: float | None
    """The part of alpha that its looks have used."""
    beta: float
    looks: tuple[LookPoint, ...]
    turns: tuple[Turn, ...]

    @property
    def population(self) -> str:
        """Which values its figures count, in sentences."""
        if not self.looks:
            return "Nothing is counted for it yet: its first look comes once enough has come."
        what = "pairs of answers to one request" if self.counted == "pairs" else f"{self.counted} of both builds"
        first, last = self.looks[0].step, self.looks[-1].step
        steps = f"step {last}" if first == last else f"steps {first} to {last}"
        where = f" at {steps}" if self.since == "rollout" else f" since the {self.since} began"
        users = f" Where the sentence counts {self.units}, each of them may have several." if self.units else ""
        return f"Counted: {what}{where}, up to look {self.looks[-1].k} and nothing that came later.{users}"

    @property
    def decided(self) -> Turn | None:
        """The last PASS or FAIL; None while the gate is open."""
        decisions = [turn for turn in self.turns if turn.verdict in ("PASS", "FAIL")]
        return decisions[-1] if decisions and self.view.verdict in ("PASS", "FAIL") else None

    def word(self, turn: Turn) -> str:
        """A turn's verdict for display: OK for a guardrail that has found nothing."""
        return OK if self.view.guardrail and turn.verdict == Answer.UNDECIDED.label else turn.verdict


@dataclass(frozen=True, kw_only=True)
class ExposureRow:
    """The requests at one weight, with the weight."""

    epoch: int
    weight: float
    """The desired weight, in per cent."""
    observed_weight: float | None
    """The candidate's observed share of requests, in per cent."""
    stable: ArmCounts
    candidate: ArmCounts


@dataclass(frozen=True, kw_only=True)
class Report:
    """A rollout's report; weights in per cent, times in UTC, durations in seconds."""

    rollout: RolloutView
    made_at: datetime
    plan: dict[str, object]
    plan_digest: str
    steps: tuple[StepReport, ...]
    weights: tuple[WeightPoint, ...]
    gates: tuple[GateReport, ...]
    """Gates, then guardrails."""
    exposures: tuple[ExposureRow, ...]
    errors: tuple[ArmErrors, ...]
    """The errors of each arm by cause, over the whole rollout; empty if no traffic was split."""
    sample_ratio: SampleRatio
    coverage: tuple[OutcomeCoverage, ...]
    latency: tuple[ArmLatency, ...]
    timeline: tuple[Moment, ...]
    shadow: ShadowView | None = None
    """For a shadow, the result of its pairs of answers."""
    unread: str | None = None
    """Why requests, errors, latency and outcomes are missing, if the telemetry cannot be read."""


def rollout_report(record: RolloutRecord, now: datetime, evidence: Evidence | None = None) -> Report:
    """The report of a rollout, ended or in progress, as the ledger has it now. The record holds all facts and looks."""
    evidence, rollout = evidence or Evidence(), record.rollout
    errors = arm_errors(evidence.exposures)
    requests, error_texts = _requests(evidence, rollout.epoch), errors_in_words(errors)
    view = rollout_view(record, now, requests, errors=error_texts, generated=evidence.generated)
    weights = weight_points(record.entries)
    return Report(
        rollout=view,
        made_at=now,
        plan=rollout.requested.plan,
        plan_digest=rollout.requested.plan_digest,
        steps=step_reports(rollout, record.entries, now) if rollout.is_judged else (),
        weights=weights,
        gates=_gates(record, view),
        exposures=_exposures(evidence.exposures, {point.epoch: point.weight for point in weights}),
        errors=errors,
        sample_ratio=evidence.sample_ratio,
        coverage=evidence.coverage,
        latency=evidence.latency,
        timeline=timeline(record.entries),
        shadow=evidence.shadow,
        unread=evidence.unread,
    )


def _requests(evidence: Evidence, epoch: int) -> tuple[int, int] | None:
    now = next((each for each in evidence.exposures if each.epoch == epoch), None)
    return (now.stable.requests, now.candidate.requests) if now else None


def _gates(record: RolloutRecord, view: RolloutView) -> tuple[GateReport, ...]:
    plan = record.rollout.plan
    specs = {gate.metric: gate for gate in (*plan.gates, *plan.guardrails)}
    return tuple(_gate(record, gate, specs[gate.metric]) for gate in view.gates)


def _gate(record: RolloutRecord, view: GateView, spec: GateSpec) -> GateReport:
    metric = record.rollout.plan.metrics[view.metric]
    points = tuple(
        _point(look, view.below, in_pairs=record.rollout.is_shadow)
        for look in record.looks
        if look.metric == view.metric
    )
    return GateReport(
        view=view,
        worse=metric.worse.value,
        counted="pairs" if record.rollout.is_shadow else counted(metric),
        units=unit_noun(record.rollout.plan.unit) if record.rollout.plan.unit else None,
        since="shadow" if record.rollout.is_shadow else "experiment" if record.rollout.is_comparison else "rollout",
        source=metric.source,
        alpha=spec.alpha,
        alpha_spent=points[-1].alpha_spent if points else None,
        beta=spec.beta,
        looks=points,
        turns=tuple(_turns(view.metric, record.entries)),
    )


def _point(look: Look, below: float | None, *, in_pairs: bool) -> LookPoint:
    verdict = look.verdict
    return LookPoint(
        k=look.k,
        at=look.at,
        step=look.step + 1,
        information=verdict.information_fraction,
        stable_n=verdict.stable_n,
        candidate_n=verdict.candidate_n,
        compared=verdict.candidate_n if in_pairs else verdict.stable_n + verdict.candidate_n,
        estimate=verdict.estimate,
        low=verdict.low,
        high=verdict.high,
        bound=verdict.bound,
        limit=None if below is None else below - (verdict.stable_mean or 0.0),
        verdict=verdict.answer.label,
        alpha_spent=verdict.alpha_spent,
    )


def _turns(metric: str, entries: Sequence[Entry]) -> list[Turn]:
    return [
        Turn(
            at=entry.at,
            k=entry.fact.k,
            step=entry.fact.step + 1,
            verdict=entry.fact.answer.upper().replace("_", " "),
            reason=entry.fact.reason,
        )
        for entry in entries
        if isinstance(entry.fact, Judged) and entry.fact.metric == metric
    ]


def _exposures(exposures: Sequence[RequestsAtWeight], weights: Mapping[int, float]) -> tuple[ExposureRow, ...]:
    return tuple(
        ExposureRow(
            epoch=each.epoch,
            weight=weights.get(each.epoch, 0.0),
            observed_weight=_share(each.stable.requests, each.candidate.requests),
            stable=each.stable,
            candidate=each.candidate,
        )
        for each in exposures
        if each.candidate.requests or (each.stable.requests and weights.get(each.epoch))
    )


def arm_errors(exposures: Sequence[RequestsByArm]) -> tuple[ArmErrors, ...]:
    """The errors of each arm by cause, all exposures together; empty if there are none."""
    if not exposures:
        return ()
    arms = {"stable": [each.stable for each in exposures], "candidate": [each.candidate for each in exposures]}
    sums = {arm: reduce(ArmCounts.plus, counts) for arm, counts in arms.items()}
    return tuple(
        ArmErrors(
            arm=arm, requests=total.requests, errors=total.errors, closed=total.ends.get(End.CLOSED, 0),
            causes={end.value: total.ends.get(end, 0) for end in End if end.is_error},
        )
        for arm, total in sums.items()
    )  # fmt: skip


def errors_in_words(errors: Sequence[ArmErrors]) -> dict[str, str]:
    """The errors of each arm in words. Arms without errors are left out."""
    return {each.arm: str(each) for each in errors if each.errors or each.closed}


def _share(stable: int, candidate: int) -> float | None:
    return 100 * candidate / (stable + candidate) if stable + candidate else None
