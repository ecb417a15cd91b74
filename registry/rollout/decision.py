"""Decision: what follows from a rollout and its verdicts. `decide` is the whole policy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sluicegate.registry.plan.calls import Check
from sluicegate.registry.plan.fields import Shadow, Step
from sluicegate.registry.rollout.experiment import ExperimentState, since_begun
from sluicegate.registry.rollout.rollout import Phase, Rollout
from sluicegate.registry.words.sight import Blindness
from sluicegate.registry.words.units import format_duration, format_weight
from sluicegate.registry.words.verdict import Answer, Verdict


class Choice(StrEnum):
    """What the policy can choose."""

    ADVANCE = "advance"
    HOLD = "hold"
    PAUSE = "pause"
    PROMOTE = "promote"
    CONFIRM = "confirm"
    """Late labels have ruled out the harm, so the holdout ends."""
    UNCONFIRM = "unconfirm"
    """The time of a confirmation is over without a decision. The holdout ends as well."""
    ABORT = "abort"
    CONCLUDE = "conclude"
    """Only for shadows and comparisons: the rollout ends and changes nothing that is trusted."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A choice and why it was made."""

    choice: Choice
    reason: str
    wait: timedelta | None = None
    """Only for Hold: nothing can change before this much time has passed."""
    person: bool = False
    """Only for Hold: a person must act before anything can change."""
    asks: bool = False
    """Only for Hold: run the step's check now."""

    @property
    def is_long_wait(self) -> bool:
        """Whether nothing can change for so long that no process should wait for it."""
        return self.person or (self.wait is not None and self.wait > LONG_WAIT)


_GATEWAY_MAY_TAKE = timedelta(minutes=1)
"""If the new weight takes longer than this, somebody should look at the gateway."""
LONG_WAIT = timedelta(minutes=2)
"""Drivers do not wait longer than this. The keeper starts a new one when there is something to do."""


def needs_driver(rollout: Rollout, decision: Decision | None) -> bool:
    """Whether a driver has something to do now. No process sits through a long wait."""
    match rollout.phase:
        case Phase.QUEUED | Phase.PAUSED:
            return False
        case Phase.LAUNCHING if rollout.ready and not rollout.is_judged and not rollout.is_signed:
            return False
        case Phase.LAUNCHING | Phase.RUNNING:
            return decision is None or not decision.is_long_wait
        case Phase.CONFIRMING | Phase.BAKING | Phase.ENDED:
            return not rollout.settled


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has happened so far in the current step."""

    candidate_requests: int
    experiment: ExperimentState | None = None
    """Only for comparisons: the state of their experiment."""
    blind: Blindness | None = None
    """Why the rollout cannot be judged now."""
    unready: str | None = None
    """Why the candidate may not get more requests now: it has no ready service, or the build to return to has none."""


def decide(rollout: Rollout, verdicts: Sequence[Verdict], progress: Progress, now: datetime) -> Decision:
    """Choose what happens next to a rollout whose candidate has traffic.

    A failing verdict aborts in every phase, even if paused, unless the plan makes it pause or only watch. A deadline
    that aborts and the end of a shadow's time work the same way, because they limit how long a candidate may have
    traffic or copies. Time alone never promotes or advances: every gate must have passed at the step's margin, and a
    plan without deciding gates needs a person at every step. While too few requests are counted, nothing advances,
    whoever approved it, and in the end the plan's `blind` acts. Nothing advances either while the candidate has no
    ready service, or stable, to which an abort would return callers, has none. After the promotion the candidate is
    trusted: only harm that is found takes it back.
    """
    rollout = since_begun(rollout, progress.experiment)
    over = _experiment_over(progress.experiment)
    if over is not None:
        return over
    failure = _failure(rollout, verdicts)
    if failure is not None and failure.choice is Choice.ABORT:
        return failure
    if rollout.phase is Phase.CONFIRMING:
        return _confirming(rollout, verdicts, failure, now)
    limits = [each for each in (failure, _overdue(rollout, now), _blindness(rollout, progress.blind, now)) if each]
    final = [each for each in limits if each.choice in (Choice.ABORT, Choice.CONCLUDE)]
    if final and rollout.phase in (Phase.RUNNING, Phase.PAUSED):
        return final[0]
    if rollout.phase is not Phase.RUNNING:
        return Decision(choice=Choice.HOLD, reason=f"{rollout.phase}: {rollout.reason}", person=True)
    return limits[0] if limits else _moving_on(rollout, verdicts, progress, now)


def _moving_on(rollout: Rollout, verdicts: Sequence[Verdict], progress: Progress, now: datetime) -> Decision:
    """Choose for a running rollout to which no limit applies."""
    waiting = _waiting(rollout, verdicts, progress, now)
    if rollout.is_shadow:
        return _shadow(rollout, waiting, now)
    if rollout.is_comparison:
        return _comparison(rollout, waiting, progress.experiment, now)
    if waiting is not None:
        return waiting if progress.unready is None else replace(waiting, reason=f"{progress.unready}; {waiting.reason}")
    if progress.unready is not None:
        return _hold(progress.unready)
    if rollout.step + 1 == len(rollout.plan.steps):
        return Decision(choice=Choice.PROMOTE, reason=f"every gate passed at the last step, {_at(rollout)}")
    return Decision(choice=Choice.ADVANCE, reason=f"every gate passed at {_at(rollout)}")


def _confirming(rollout: Rollout, verdicts: Sequence[Verdict], failure: Decision | None, now: datetime) -> Decision:
    """Choose for a promoted rollout: the holdout ends once late labels have ruled out the harm, or its time is over.

    A promoted build is trusted: if nothing can be judged there is no verdict, so it is neither confirmed nor taken
    back.
    """
    confirm, until = rollout.confirms, rollout.confirmed_until
    if confirm is None or until is None:
        return _hold(f"{rollout.phase}: {rollout.reason}")
    late = next((each for each in verdicts if each.metric == confirm.metric), None)
    if failure is None and late is not None and late.answer is Answer.PASS:
        soaked = until - timedelta(seconds=confirm.max_time - confirm.soak)
        if now < soaked:
            soaking = f"{confirm.metric} passed; the holdout stays until {soaked:%Y-%m-%d %H:%M} UTC"
            return Decision(choice=Choice.HOLD, reason=soaking, wait=soaked - now)
        return Decision(choice=Choice.CONFIRM, reason=f"confirmed by {confirm.metric}: {late.reason}")
    finding = failure.reason if failure is not None else late.reason if late is not None else "nothing judged yet"
    if now >= until:
        reason = f"{confirm.metric} was not confirmed within {format_duration(confirm.max_time)}: {finding}"
        return Decision(choice=Choice.UNCONFIRM, reason=reason)
    waits = f"confirming by {confirm.metric} until {until:%Y-%m-%d %H:%M} UTC: {finding}"
    if failure is not None:
        reason = f"{waits}; to take it back: sluice rollout abort {rollout.id}"
        return Decision(choice=Choice.HOLD, reason=reason, person=True)
    return Decision(choice=Choice.HOLD, reason=waits, wait=until - now)


def _shadow(rollout: Rollout, waiting: Decision | None, now: datetime) -> Decision:
    """A shadow ends when every gate has passed, and at the latest when its time is over."""
    shadow, began = rollout.plan.shadow, rollout.step_observed_at
    if waiting is None:
        return Decision(choice=Choice.CONCLUDE, reason=f"every gate passed on {_at(rollout)} of the requests")
    if shadow is None or not _shadow_is_over(rollout, now):
        return (
            waiting
            if rollout.plan.deciding_gates or shadow is None
            else _until_over(waiting, shadow.max_time, began, now)
        )
    over = f"its max_time of {format_duration(shadow.max_time)} is over"
    return Decision(choice=Choice.CONCLUDE, reason=f"{over}: {waiting.reason}" if rollout.plan.deciding_gates else over)


def _shadow_is_over(rollout: Rollout, now: datetime) -> bool:
    shadow, began = rollout.plan.shadow, rollout.step_observed_at
    return shadow is not None and began is not None and now - began >= timedelta(seconds=shadow.max_time)


def _over_while_paused(rollout: Rollout, shadow: Shadow, now: datetime) -> Decision | None:
    """A pause does not prolong a shadow, whose copies cost the host. It only keeps anything from following it."""
    if rollout.phase is not Phase.PAUSED or not _shadow_is_over(rollout, now):
        return None
    reason = f"its max_time of {format_duration(shadow.max_time)} ended while it was paused: {rollout.reason}"
    return Decision(choice=Choice.CONCLUDE, reason=reason)


def _experiment_over(experiment: ExperimentState | None) -> Decision | None:
    """A comparison ends in any phase if another one was concluded, or if one of its two builds was replaced."""
    if experiment is None or (experiment.changed is None and not experiment.is_concluded):
        return None
    reason = f"the experiment is over: {experiment.changed}" if experiment.changed else "the experiment is over"
    return Decision(choice=Choice.CONCLUDE, reason=reason)


def _comparison(
    rollout: Rollout, waiting: Decision | None, experiment: ExperimentState | None, now: datetime
) -> Decision:
    """The comparisons of an experiment end together: when all have reached the goal, or when its time is over."""
    ab, began = rollout.plan.ab, rollout.step_observed_at
    if waiting is None and experiment is not None and experiment.all_passed:
        return Decision(choice=Choice.CONCLUDE, reason="every remaining variation has reached the goal")
    if ab is None or began is None:
        return waiting or _hold("waiting for the experiment to begin")
    left = timedelta(seconds=ab.max_time) - (now - began)
    finding = waiting.reason if waiting is not None else "this variation has reached the goal"
    if left <= timedelta(0):
        return Decision(
            choice=Choice.CONCLUDE, reason=f"its max_time of {format_duration(ab.max_time)} is over: {finding}"
        )
    return Decision(choice=Choice.HOLD, reason=finding, wait=left)


def _until_over(waiting: Decision, lasts: float, began: datetime | None, now: datetime) -> Decision:
    """Without gates only time ends a shadow, and no process needs to wait for it."""
    if began is None:
        return waiting
    left = timedelta(seconds=lasts) - (now - began)
    reason = f"comparing without gates, {format_duration(round(left.total_seconds()))} left"
    return Decision(choice=Choice.HOLD, reason=reason, wait=left)


def _overdue(rollout: Rollout, now: datetime) -> Decision | None:
    if rollout.is_shadow and rollout.plan.shadow is not None:
        return _over_while_paused(rollout, rollout.plan.shadow, now)
    step = rollout.plan.steps[rollout.step]
    deadline = rollout.plan.deadline
    began = _later(rollout.began_at or rollout.requested_at, rollout.resumed_at)
    if deadline is not None and now - began >= timedelta(seconds=deadline.after):
        choice = Choice.ABORT if deadline.then == "abort" else Choice.PAUSE
        return Decision(
            choice=choice,
            reason=f"the rollout was undecided when its deadline of {format_duration(deadline.after)} passed",
        )
    started = _later(rollout.step_observed_at or rollout.step_entered_at or began, rollout.resumed_at)
    if step.max_time is not None and now - started >= timedelta(seconds=step.max_time):
        return Decision(
            choice=Choice.PAUSE,
            reason=f"the step of {_at(rollout)} took longer than its max_time of {format_duration(step.max_time)}",
        )
    return None


def _blindness(rollout: Rollout, blind: Blindness | None, now: datetime) -> Decision | None:
    return None if blind is None else heed_blindness(rollout, blind, now)


def heed_blindness(rollout: Rollout, blind: Blindness, now: datetime) -> Decision:
    """What follows from blindness: hold, and after the plan's time pause or abort."""
    plan = rollout.plan.blind
    if now - _later(blind.since, rollout.resumed_at) < timedelta(seconds=plan.after):
        return _hold(str(blind))
    choice = Choice.ABORT if plan.then == "abort" else Choice.PAUSE
    return Decision(
        choice=choice, reason=f"the rollout could not be judged for {format_duration(plan.after)}: {blind.reason}"
    )


def _later(at: datetime, resumed_at: datetime | None) -> datetime:
    """When a time limit started: a person who resumes the rollout starts it again."""
    return at if resumed_at is None else max(at, resumed_at)


def _waiting(rollout: Rollout, verdicts: Sequence[Verdict], progress: Progress, now: datetime) -> Decision | None:
    """What still prevents the next step; None if nothing does."""
    step = rollout.plan.steps[rollout.step]
    if rollout.observed_epoch != rollout.epoch or rollout.step_observed_at is None:
        return _hold(_unapplied(rollout, now))
    deciding = rollout.plan.must_pass
    mine = [verdict for verdict in verdicts if verdict.metric in deciding and not verdict.guardrail]
    here = [verdict for verdict in mine if verdict.step == rollout.step]
    open_gates = [verdict for verdict in here if verdict.answer is not Answer.PASS]
    if open_gates:
        return _hold("; ".join(f"{verdict.metric} must still pass: {verdict.reason}" for verdict in open_gates))
    missing = deciding - {verdict.metric for verdict in here}
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        return _hold(f"{', '.join(sorted(missing))} {verb} not been judged at {_at(rollout)} yet")
    if progress.candidate_requests < step.min_requests:
        return _hold(f"{progress.candidate_requests} of {step.min_requests} candidate requests served at this step")
    left = timedelta(seconds=step.soak) - (now - rollout.step_observed_at)
    if left > timedelta(0):
        still = f"baking, stable v{rollout.stable} keeps running" if rollout.switches else "soaking"
        reason = f"{still}, {format_duration(round(left.total_seconds()))} left"
        return Decision(choice=Choice.HOLD, reason=reason, wait=left)
    if step.check is not None:
        checked = _checked(rollout, step.check)
        if checked is not None:
            return checked
    unsigned = signature_wanted(rollout)
    if unsigned is not None:
        return unsigned
    if needs_approval(rollout, step) and rollout.step not in rollout.approvals:
        why = (
            "no gate decides about this step"
            if not rollout.plan.deciding_gates
            else f"the plan requires a person's approval at {_at(rollout)}"
        )
        reason = f"waiting for approval: {why}; sluice rollout approve {rollout.id}"
        return Decision(choice=Choice.HOLD, reason=reason, person=True)
    return None


def _unapplied(rollout: Rollout, now: datetime) -> str:
    """Says that the gateway does not serve the step's weight yet, and where to look if that takes long."""
    if now - rollout.epoch_began_at <= _GATEWAY_MAY_TAKE:
        return f"waiting for the gateway to apply {_at(rollout)}"
    late = "more than a minute after its weight was ordered; to find out why: sluice doctor"
    return f"the gateway has not applied {_at(rollout)} yet, {late}"


def _checked(rollout: Rollout, check: Check) -> Decision | None:
    """What the check's reply leads to; None if it is yes. A resume after a no runs the check again."""
    reply = rollout.replies.get(rollout.step)
    is_stale = reply is not None and rollout.resumed_at is not None and rollout.resumed_at > reply.at
    if reply is None or reply.answer == "stale" or (is_stale and reply.answer != "yes"):
        return Decision(choice=Choice.HOLD, reason=f"asking the check {check}", asks=True)
    match reply.answer:
        case "yes":
            return None
        case "no":
            choice = Choice.ABORT if check.then == "abort" else Choice.PAUSE
            return Decision(choice=choice, reason=f"the check {check} said no: {reply.reason}")
        case _:
            return Decision(choice=Choice.PAUSE, reason=f"the check {check} gave no answer: {reply.reason}")


def decide_first(rollout: Rollout, ready: str, unready: str | None = None) -> Decision:
    """Choose what happens to a rollout whose candidate was launched and has had no request yet.

    `unready`: why it may not get one now, because it no longer has a ready service.
    """
    replaying = replay_wanted(rollout)
    if replaying is not None:
        return replaying
    if rollout.check is not None and not rollout.assessment_overridden:
        checked = _checked(rollout, rollout.check)
        if checked is not None:
            return checked
    waits = first_approval_wanted(rollout) or (_hold(unready) if unready is not None else None)
    return waits or Decision(choice=Choice.ADVANCE, reason=ready)


def first_approval_wanted(rollout: Rollout) -> Decision | None:
    """The wait for an approval of the first request; None if none is missing."""
    if not rollout.wants_approval:
        return signature_wanted(rollout)
    what = "the switch" if rollout.switches else "its first request"
    reason = (
        f"waiting for approval: the plan requires a person's approval before {what}; sluice rollout approve "
        f"{rollout.id}"
    )
    return signature_wanted(rollout) or Decision(choice=Choice.HOLD, reason=reason, person=True)


def replay_wanted(rollout: Rollout) -> Decision | None:
    """The wait for the replay of earlier requests; None if it has passed or there is none."""
    return None if rollout.is_replayed else _hold("replaying requests before the first one")


def signature_wanted(rollout: Rollout) -> Decision | None:
    """The wait for a second named person if the next change is protected; None if none is missing."""
    if rollout.is_shadow or not rollout.wants_signature:
        return None
    asker = rollout.asked_by
    who = f"{asker.actor} asked for it, so somebody else" if asker else "no named person asked for it, so two people"
    what = "its first request" if rollout.step < 0 else "its promotion"
    reason = (
        f"waiting for approval: {'/'.join(rollout.target)} is protected, and {who} with the role approver must approve "
        f"{what}; sluice rollout approve {rollout.id}"
    )
    return Decision(choice=Choice.HOLD, reason=reason, person=True)


def needs_approval(rollout: Rollout, step: Step) -> bool:
    """Whether a person must approve this step before it ends."""
    return step.approval or not rollout.plan.deciding_gates


def _hold(reason: str) -> Decision:
    return Decision(choice=Choice.HOLD, reason=reason)


def _at(rollout: Rollout) -> str:
    return f"{format_weight(rollout.weight)} %"


def _acts(rollout: Rollout, verdict: Verdict) -> bool:
    """Whether the plan lets the verdict have consequences."""
    rule = rollout.plan.rules.get(verdict.metric)
    return rule is None or rule.decides


def _failure(rollout: Rollout, verdicts: Sequence[Verdict]) -> Decision | None:
    """What follows from failed rules. Rules that abort come first."""
    failing = [verdict for verdict in verdicts if verdict.answer is Answer.FAIL and _acts(rollout, verdict)]
    pausing = {metric for metric, rule in rollout.plan.rules.items() if rule.then == "pause"}
    fatal = [verdict for verdict in failing if verdict.metric not in pausing]
    if fatal and rollout.took_over:
        return Decision(choice=Choice.ABORT, reason=f"taken back after the promotion: {_failed(fatal)}")
    if fatal:
        return Decision(choice=Choice.ABORT, reason=_failed(fatal))
    if failing and rollout.took_over:
        return Decision(choice=Choice.PAUSE, reason=f"{_failed(failing)}; a person must decide")
    if failing:
        return Decision(
            choice=Choice.PAUSE, reason=f"{_failed(failing)}; to override the failure and judge again, resume it"
        )
    return None


def _failed(verdicts: Sequence[Verdict]) -> str:
    return f"{', '.join(verdict.metric for verdict in verdicts)} failed: {verdicts[0].reason}"
