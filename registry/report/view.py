"""View: one rollout as CLI, console and reports show it to people and programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePath
from urllib.parse import quote

from sluicegate.registry.audience.connections import preview_name
from sluicegate.registry.plan.fields import CAPTURED, GateSpec
from sluicegate.registry.report.external_view import ExternalGateView, external_views
from sluicegate.registry.report.reason import unit_of
from sluicegate.registry.rollout.decision import (
    Choice,
    Decision,
    Progress,
    decide,
    first_approval_wanted,
    needs_driver,
    replay_wanted,
)
from sluicegate.registry.rollout.depending import unready
from sluicegate.registry.rollout.experiment import experiment_state
from sluicegate.registry.rollout.external import external_verdicts
from sluicegate.registry.rollout.facts import HookCalled
from sluicegate.registry.rollout.freeze import heeding
from sluicegate.registry.rollout.record import RolloutRecord
from sluicegate.registry.rollout.rollout import Judgement, Phase, Rollout
from sluicegate.registry.words.launching import HELD_UP, launch_held_up, launch_in_words
from sluicegate.registry.words.sight import Blindness
from sluicegate.registry.words.units import format_rate
from sluicegate.registry.words.verdict import OK, Answer, SliceFigures, Verdict


@dataclass(frozen=True, kw_only=True)
class GateView:
    """One gate with its last recorded verdict."""

    metric: str
    guardrail: bool
    """Whether it can only stop the rollout."""
    then: str
    """What follows when it fails: abort, pause, or nothing if it only watches."""
    verdict: str
    """PASS, FAIL, UNDECIDED or NO DATA; OK for a guardrail that has found no harm."""
    reason: str
    """The evidence in a sentence."""
    details: tuple[str, ...]
    """What the sentence leaves out, such as the look that decided."""
    unit: str
    """The unit of its values: plain, share or seconds."""
    k: int
    """How many looks it is based on."""
    step: int
    """The step at which it was last judged, from 1; 0 before the first time."""
    must_pass_again: bool
    """Whether it passed at an earlier step, and is not judged at the present one yet."""
    stable: float | None
    """Stable's mean."""
    candidate: float | None
    """The candidate's mean."""
    estimate: float | None
    """Candidate minus stable, in the metric's unit."""
    low: float | None
    """Lower end of its interval, valid at every look."""
    high: float | None
    """Upper end."""
    margin: float | None
    """The relative harm to rule out at the present step, such as 0.05."""
    below: float | None
    """The share that the candidate's rate must be shown to stay below; None if the plan has none."""
    slower_than: float | None
    """The time in seconds above which a request counts, if the plan has one for a latency's quantile."""
    bound: float | None
    """The margin in the metric's unit, signed towards harm; None without a margin."""
    stable_n: int
    """Stable's rows."""
    candidate_n: int
    """The candidate's rows."""
    slices: tuple[SliceFigures, ...]
    """The worst-looking slices, worst first, if the guardrail looks at slices."""


@dataclass(frozen=True, kw_only=True)
class OfflineGateView:
    """One gate that judges before the first request, offline or on replayed requests, with its result."""

    gate: str
    """The metric; with @tag if a tag of the version names the run, with (replay) if requests were replayed."""
    verdict: str
    """PASS, FAIL, UNDECIDED (too few requests were replayed) or NO DATA."""
    reason: str
    """Its evidence in a sentence."""
    candidate: float | None
    """The candidate's value."""
    stable: float | None
    """The value that it was compared with; None if only a limit counts."""


@dataclass(frozen=True, kw_only=True)
class HookView:
    """One hook with the result of the last attempt to notify it."""

    after: str
    """promotion, abort or rollback."""
    hook: str
    """A deployment or an address."""
    answer: str
    """taken; failed: it is notified again; or given_up."""
    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RolloutView:
    """A rollout in words and numbers; weights in per cent, times in UTC, durations in seconds."""

    id: str
    model: str
    variation: str
    strategy: str
    """canary, shadow or ab; deploy for a first build, rollback for returning to an earlier one."""
    stable: str | None
    """The stable version when it began; None for a first build."""
    candidate: str
    """The version being tried."""
    phase: str
    ending: str | None
    """How it ended; None while it goes on."""
    reason: str
    """Why it is in its present state."""
    waits_for: str | None
    """What must happen before the current step ends; None if there is no current step."""
    launch: str | None
    """The stage of a launch in progress: waiting, fetching, environment, packing, starting, probing."""
    needs_person: bool
    """Whether nothing can happen until a person acts."""
    held_up: str | None
    """What has held it up for so long that a person should look, and what to do; None if nothing has."""
    no_driver: str | None
    """Why no driver works on it, since when, and the fix; None if one does or none is needed."""
    blind: str | None
    """Why it cannot be judged or too many of its requests are not counted, and since when; None: it can be judged."""
    actor: str
    """Who or what put it in its present state."""
    cause: str
    """The door through which it was requested, such as cli or alias:candidate."""
    confirmation: str | None
    """confirming, confirmed or unconfirmed, once it is promoted; None if the plan has no confirmation."""
    step: int
    """From 1; 0 before the first."""
    steps: int
    """How many steps the plan has."""
    preview: str | None
    """The gateway's path for requests to the candidate by its name; None if that is not possible."""
    weight: float
    """The desired weight, in per cent."""
    observed: bool
    """Whether the data plane serves the desired weight."""
    observed_weight: float | None
    """The candidate's observed share of requests at this weight, in per cent."""
    generated: str | None
    """The requests that Sluicegate itself sends by the plan, and how many; None if the plan generates none."""
    candidate_requests: int
    """Requests assigned to the candidate at this weight."""
    stable_requests: int
    """Requests assigned to stable at this weight."""
    gates: tuple[GateView, ...]
    """Gates, then guardrails."""
    offline: tuple[OfflineGateView, ...]
    """The gates that judge before the first request."""
    hooks: tuple[HookView, ...]
    """The systems that were notified of its promotion, abort or rollback."""
    external: tuple[ExternalGateView, ...]
    """The external gates: limits for numbers that other systems measure."""
    errors: Mapping[str, str]
    """The errors of each arm by cause, in words, if they were requested."""
    requested_at: datetime
    ended_at: datetime | None
    elapsed: float
    """Seconds from the request to the end, or to now."""
    settled: bool
    """Whether its ending has been written to MLflow."""
    seq: int
    """The number of the last fact."""


def rollout_view(
    record: RolloutRecord, now: datetime, requests: tuple[int, int] | None = None, *,
    errors: Mapping[str, str] | None = None, generated: int | None = None,
) -> RolloutView:  # fmt: skip
    """The view of a rollout. `requests` are those assigned to (stable, candidate) at this weight, if known.

    `errors` are the errors of each arm in words; `generated` is the number of requests that no caller sent.

    Gates whose looks are not in the record show only their answers.
    """
    rollout, decision, blind = record.rollout, next_decision(record, now, requests), _blindness(record, now)
    stable_n, candidate_n = (requests or (0, 0)) if rollout.is_tried else (0, 0)
    total = stable_n + candidate_n
    return RolloutView(
        id=rollout.id,
        model=rollout.requested.model,
        variation=rollout.requested.variation,
        strategy=rollout.requested.strategy,
        stable=rollout.stable,
        candidate=rollout.requested.version,
        phase=rollout.phase.value,
        ending=rollout.ending.value if rollout.ending else None,
        reason=rollout.reason,
        waits_for=decision.reason if decision else _launching(record, now),
        launch=_stage(record),
        needs_person=rollout.phase is Phase.PAUSED or (decision is not None and decision.person),
        held_up=held_up(record, now),
        no_driver=str(record.undriven) if _lacks_driver(record, decision) else None,
        blind=str(blind) if blind is not None else None,
        actor=rollout.actor,
        cause=rollout.requested.cause,
        confirmation=_confirmation(rollout),
        step=rollout.step + 1,
        steps=len(rollout.plan.steps),
        preview=_preview(rollout),
        weight=rollout.weight / 100,
        observed=rollout.observed_epoch == rollout.epoch,
        observed_weight=100 * candidate_n / total if total else None,
        generated=_generated(rollout, generated),
        candidate_requests=candidate_n,
        stable_requests=stable_n,
        gates=tuple(_withheld(gate, blind) for gate in _gates(rollout, _last_verdicts(record))),
        offline=tuple(_offline(rollout, gate) for gate in rollout.first_gates),
        hooks=tuple(_hook(reply.called) for reply in rollout.hook_replies.values()),
        external=external_views(rollout, record.samples, now),
        errors=errors or {},
        requested_at=rollout.requested_at,
        ended_at=rollout.ended_at,
        elapsed=((rollout.ended_at or now) - rollout.requested_at).total_seconds(),
        settled=rollout.settled,
        seq=rollout.seq,
    )


def _generated(rollout: Rollout, sent: int | None) -> str | None:
    generate = rollout.plan.generate
    if generate is None or rollout.is_aside or not rollout.is_judged:
        return None
    what = "captured requests" if generate.requests == CAPTURED else PurePath(generate.requests).name
    generated = f"{what} at {format_rate(generate.rate)}"
    if sent:
        return f"{generated}, {sent:,} so far; they are not included in the requests above and get no outcomes"
    return f"{generated}, none so far" + ("; to find out why: sluice doctor" if rollout.phase is Phase.RUNNING else "")


def _preview(rollout: Rollout) -> str | None:
    model, variation = (quote(part, safe="") for part in rollout.target)
    return f"/{model}/variations/{preview_name(variation)}/predict" if rollout.is_previewed else None


def _confirmation(rollout: Rollout) -> str | None:
    if rollout.is_confirmed is not None:
        return "confirmed" if rollout.is_confirmed else "unconfirmed"
    return rollout.phase.value if rollout.phase is Phase.CONFIRMING else None


def _offline(rollout: Rollout, name: str) -> OfflineGateView:
    assessed = rollout.assessments.get(name)
    return OfflineGateView(
        gate=name,
        verdict=Answer(assessed.answer).label if assessed else Answer.NO_DATA.label,
        reason=assessed.reason if assessed else "nothing judged yet",
        candidate=assessed.candidate if assessed else None,
        stable=assessed.stable if assessed else None,
    )


def _hook(called: HookCalled) -> HookView:
    return HookView(
        after=called.after, hook=called.actor, answer=called.answer, attempt=called.attempt, reason=called.reason
    )


def _stage(record: RolloutRecord) -> str | None:
    if not record.rollout.is_being_launched:
        return None
    return record.launch[-1].stage.name.lower() if record.launch else "waiting"


def _launching(record: RolloutRecord, now: datetime) -> str | None:
    """The stage of the launch in progress, in words."""
    rollout = record.rollout
    if not rollout.is_being_launched:
        return None
    return launch_in_words(record.launch, rollout.began_at or now, now, record.delay)


def next_decision(record: RolloutRecord, now: datetime, requests: tuple[int, int] | None) -> Decision | None:
    """What the policy would decide now, from the recorded answers with their latest reasons. Judges nothing."""
    rollout = record.rollout
    if rollout.phase is Phase.LAUNCHING and (rollout.ready or rollout.is_comparison):
        return replay_wanted(rollout) or first_approval_wanted(rollout) or _unready(record, now)
    if rollout.phase not in (Phase.RUNNING, Phase.CONFIRMING) or not rollout.is_tried:
        return None
    stops_only = {gate.name for gate in rollout.plan.external if gate.guardrail}
    guardrails = {gate.metric for gate in rollout.plan.guardrails} | stops_only
    last = _last_verdicts(record)
    external = external_verdicts(rollout, record.samples, now) if record.samples else ()
    external_names = {verdict.metric for verdict in external}
    verdicts = [
        Verdict(
            metric=metric,
            answer=Answer(judgement.answer),
            reason=_reason(judgement, last.get(metric)),
            step=judgement.step,
            k=judgement.k,
            guardrail=metric in guardrails,
        )
        for metric, judgement in rollout.judgements.items()
        if metric not in external_names
    ]
    verdicts += external
    experiment = experiment_state(rollout, record.of_model, now)
    served, blind = requests[1] if requests else 0, _blindness(record, now)
    progress = Progress(
        candidate_requests=served, experiment=experiment, blind=blind, unready=unready(rollout, record.readiness, now)
    )
    return heeding(decide(rollout, verdicts, progress, now), record.freezes, rollout, now)


def _unready(record: RolloutRecord, now: datetime) -> Decision | None:
    why = unready(record.rollout, record.readiness, now)
    return Decision(choice=Choice.HOLD, reason=why) if why is not None else None


def _blindness(record: RolloutRecord, now: datetime) -> Blindness | None:
    rollout = record.rollout
    concerns = rollout.is_tried or rollout.phase is Phase.LAUNCHING
    return record.sights.blindness(rollout.id, rollout.listeners, now) if concerns else None


def _last_verdicts(record: RolloutRecord) -> dict[str, Verdict]:
    return {look.metric: look.verdict for look in record.looks}


def _withheld(gate: GateView, blind: Blindness | None) -> GateView:
    """The gate as the next tick will show it. A failure stays a failure."""
    if blind is None or gate.verdict == Answer.FAIL.label:
        return gate
    return replace(gate, verdict=Answer.NO_DATA.label, must_pass_again=False, reason=str(blind))


def _lacks_driver(record: RolloutRecord, decision: Decision | None) -> bool:
    """Whether the keeper has noted that it has no driver, and it still needs one."""
    return record.undriven is not None and needs_driver(record.rollout, decision)


def held_up(record: RolloutRecord, now: datetime) -> str | None:
    """What has held a rollout up for so long that a person should look, and what to do; None if nothing has."""
    rollout, blind, undriven = record.rollout, _blindness(record, now), record.undriven
    if blind is not None and now - blind.since >= HELD_UP:
        return str(blind)
    is_late = undriven is not None and now - undriven.since >= HELD_UP
    if is_late and _lacks_driver(record, next_decision(record, now, None)):
        return str(undriven)
    if not rollout.is_being_launched:
        return None
    return launch_held_up(rollout.id, record.launch, rollout.began_at or now, now, record.delay)


def _gates(rollout: Rollout, last: dict[str, Verdict]) -> tuple[GateView, ...]:
    if not rollout.is_judged:
        return ()
    return (
        *_views(rollout, rollout.plan.gates, last, guardrail=False),
        *_views(rollout, rollout.plan.guardrails, last, guardrail=True),
    )


def _views(
    rollout: Rollout, gates: Sequence[GateSpec], last: dict[str, Verdict], *, guardrail: bool
) -> tuple[GateView, ...]:
    return tuple(_view(rollout, gate, last.get(gate.metric), guardrail=guardrail) for gate in gates)


def _view(rollout: Rollout, gate: GateSpec, verdict: Verdict | None, *, guardrail: bool) -> GateView:
    judged = rollout.judgements.get(gate.metric)
    answer = Answer(judged.answer) if judged else Answer.NO_DATA
    return GateView(
        metric=gate.metric,
        guardrail=guardrail,
        then=gate.then if gate.decides else "nothing",
        verdict=_word(answer, guardrail=guardrail),
        reason=_reason(judged, verdict),
        details=verdict.details if verdict else (),
        unit=unit_of(rollout.plan.metrics[gate.metric]).value,
        k=verdict.k if verdict else 0,
        step=judged.step + 1 if judged else 0,
        must_pass_again=not guardrail and rollout.must_pass_again(gate.metric),
        stable=verdict.stable_mean if verdict else None,
        candidate=verdict.candidate_mean if verdict else None,
        estimate=verdict.estimate if verdict else None,
        low=verdict.low if verdict else None,
        high=verdict.high if verdict else None,
        margin=rollout.plan.margin(gate, max(rollout.step, 0)),
        below=rollout.plan.limit(gate),
        slower_than=rollout.plan.time_limit(gate.metric),
        bound=verdict.bound if verdict else None,
        stable_n=verdict.stable_n if verdict else 0,
        candidate_n=verdict.candidate_n if verdict else 0,
        slices=verdict.slices if verdict else (),
    )


def _word(answer: Answer, *, guardrail: bool) -> str:
    return OK if guardrail and answer is Answer.UNDECIDED else answer.label


def _reason(judged: Judgement | None, verdict: Verdict | None) -> str:
    """The last look's reason, unless the recorded answer differs from it because it was withheld."""
    if verdict is not None and (judged is None or judged.answer == verdict.answer.value):
        return verdict.reason
    return judged.reason if judged else "nothing judged yet"
