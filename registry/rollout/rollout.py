"""Rollout: one attempt to make a candidate stable, in the state that follows from its facts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from sluicegate.registry.plan.calls import Check
from sluicegate.registry.plan.fields import Confirm, GateSpec, OfflineGate, Replay, Serve, Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.plan.staging import staged
from sluicegate.registry.rollout.facts import Assessed, AtOnce, HookCalled, Packed, Party, Requested
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.sight import Listener
from sluicegate.registry.words.units import FULL


class Phase(StrEnum):
    """Where a rollout stands."""

    QUEUED = "queued"
    """It waits for another rollout of the same variation to end."""
    LAUNCHING = "launching"
    """The candidate is packed, started and probed."""
    RUNNING = "running"
    """The candidate has traffic, and gates judge its steps."""
    PAUSED = "paused"
    """A person, a deadline or the data plane paused it. The weight stays, and guardrails go on."""
    CONFIRMING = "confirming"
    """The candidate is promoted, and a holdout stays with the former stable until late labels have confirmed it."""
    BAKING = "baking"
    """The candidate is promoted, and the former stable keeps running."""
    ENDED = "ended"


class Ending(StrEnum):
    """How a rollout ended."""

    PROMOTED = "promoted"
    ESTABLISHED = "established"
    ABORTED = "aborted"
    CONCLUDED = "concluded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The last recorded answer of a gate."""

    answer: str
    k: int
    step: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The last reply of a step's check, and how often the check was run."""

    answer: str
    """yes, no, none; or stale: the rollout returned to the step, so the check must run again."""
    reason: str
    at: datetime
    times: int


@dataclass(frozen=True, kw_only=True)
class HookReply:
    """The result of the last attempt to notify a hook."""

    called: HookCalled
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A named person's approval."""

    step: int
    person: str
    """Their proven identity."""
    actor: str
    """The name that people read."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The present state of a rollout. `seq` is that of its last fact; an append states `seq + 1`."""

    id: str
    seq: int
    requested: Requested
    requested_at: datetime
    epoch_began_at: datetime
    """When its present epoch began: when its weight was ordered, or a person overrode failures at the same weight."""
    phase: Phase = Phase.QUEUED
    ending: Ending | None = None
    reason: str = ""
    """Why it is in its phase: the reason of the last fact that changed it."""
    actor: str = ""
    party: Party = Party.PERSON
    """Who changed it last."""
    stable: str | None = None
    assessments: dict[str, Assessed] = field(default_factory=dict)
    """The result of each offline gate."""
    assessment_overridden: bool = False
    """Whether a person let it skip what the plan asks before the first request."""
    packed: Packed | None = None
    ready: bool = False
    step: int = -1
    """The current step, from 0; -1 before the first."""
    weight: int = 0
    """The candidate's desired share, in basis points."""
    epoch: int = 0
    """Counts weight changes."""
    observed_epoch: int = 0
    """The last epoch that the data plane was observed to serve."""
    step_entered_at: datetime | None = None
    step_observed_at: datetime | None = None
    began_at: datetime | None = None
    resumed_at: datetime | None = None
    """When the last pause ended. Time limits start again from there."""
    promoted_at: datetime | None = None
    full_at: datetime | None = None
    """When it got every request: at its promotion, or at the end of its confirmation."""
    is_confirmed: bool | None = None
    """The result of its confirmation; None: none yet, or none was requested."""
    ended_at: datetime | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)
    overridden: dict[str, int] = field(default_factory=dict)
    """Metrics whose failure a person overrode, each with the epoch from which its requests are judged again."""
    approvals: dict[int, str] = field(default_factory=dict)
    """Who approved each step."""
    guarded: bool = False
    """Whether what it changes is protected."""
    signatures: tuple[Signature, ...] = ()
    """Approvals by named people, in order."""
    freeze_overridden_until: datetime | None = None
    """Until then no freeze applies to it."""
    undeployed: bool = False
    """Whether the target no longer trusts its candidate, nor any other build."""
    replies: dict[int, Reply] = field(default_factory=dict)
    """The last reply of each step's check."""
    hook_replies: dict[tuple[str, int], HookReply] = field(default_factory=dict)
    """The result of each hook, keyed by its event and its position in the plan."""
    replicas: int | None = None
    """How many replicas a person ordered after it took over; None: as many as its plan says."""
    settled: bool = False

    @cached_property
    def plan(self) -> Plan:
        """The plan as this rollout follows it."""
        return staged(Plan.recorded(self.requested.plan), self.requested.strategy, self.requested.variation)

    @cached_property
    def judged_plan(self) -> Plan:
        """The plan with the caps that were frozen for this rollout. Values are counted and judged by it."""
        return self.plan.with_caps(self.thresholds)

    @property
    def serve(self) -> Serve:
        """How its candidate is served: as the plan says, with the number of replicas that was ordered since."""
        serve = self.plan.serve
        return serve if self.replicas is None else serve.model_copy(update={"replicas": self.replicas})

    @property
    def candidate(self) -> BuildRef:
        return BuildRef(model=self.requested.model, version=self.requested.version)

    @property
    def target(self) -> tuple[str, str]:
        return (self.requested.model, self.requested.variation)

    def times_checked(self, step: int) -> int:
        """How often the step's check was run."""
        return self.replies[step].times if step in self.replies else 0

    @property
    def offline_gates(self) -> tuple[OfflineGate, ...]:
        """The offline gates that must pass before the first request. A first build has only limits, because there is no
        build to compare it with. Builds that a person deploys at once and builds that serve already are not judged."""
        match self.requested.strategy:
            case Strategy.CANARY | Strategy.BLUE_GREEN | Strategy.SHADOW:
                return self.plan.offline
            case AtOnce.DEPLOY:
                return tuple(gate for gate in self.plan.offline if gate.limit is not None)
            case _:
                return ()

    @property
    def is_assessed(self) -> bool:
        """Whether the ledger has a pass of every offline gate, or a person's override."""
        answers = {name: each.answer for name, each in self.assessments.items()}
        return self.assessment_overridden or all(answers.get(gate.name) == "pass" for gate in self.offline_gates)

    @property
    def replay(self) -> Replay | None:
        """What is replayed before its first request, if there is a stable build to compare it with."""
        compares = self.requested.strategy in (Strategy.CANARY, Strategy.BLUE_GREEN, Strategy.SHADOW)
        is_beside = compares and self.stable is not None
        return self.plan.replay if is_beside else None

    @property
    def is_replayed(self) -> bool:
        """Whether the ledger has a pass of every gate of the replay, or a person's override."""
        required = [replay_name(gate) for gate in self.replay.gates] if self.replay is not None else []
        passed = {name for name, each in self.assessments.items() if each.answer == "pass"}
        return self.assessment_overridden or passed.issuperset(required)

    @property
    def first_gates(self) -> tuple[str, ...]:
        """The names of all gates that judge it before its first request, in order."""
        replayed = self.replay.gates if self.replay is not None else ()
        return (*(gate.name for gate in self.offline_gates), *(replay_name(gate) for gate in replayed))

    @property
    def check(self) -> Check | None:
        """The check to run before the current step ends; before the first step, the one to run before that begins."""
        if self.step >= 0:
            return self.plan.steps[self.step].check
        return self.plan.check if self.is_judged and not self.is_comparison else None

    @property
    def asked_by(self) -> Signature | None:
        """The named person behind it: who requested it, or if nobody named did, who approved it first."""
        if self.requested.person is not None:
            return Signature(step=-1, person=self.requested.person, actor=self.requested.actor)
        return self.signatures[0] if self.signatures else None

    def is_asked_by(self, signature: Signature) -> bool:
        """Whether the person behind it is the one who signs, with whatever token and name."""
        asker = self.asked_by
        return asker is not None and is_same_person(asker, signature)

    @property
    def is_signed(self) -> bool:
        """Whether a second named person approved what follows its present step, if that is protected."""
        signed = (each for each in self.signatures if each.step == self.step)
        return not self.guarded or any(not self.is_asked_by(each) for each in signed)

    @property
    def wants_signature(self) -> bool:
        """Whether a second named person must still approve what comes next: the first request, or the promotion.

        The approval of the first request includes everything in between.
        """
        is_last = self.step + 1 == len(self.plan.steps) and not self.is_comparison
        return (self.step < 0 or is_last) and not self.is_signed

    @property
    def wants_approval(self) -> bool:
        """Whether the plan requires a person to approve the first request and nobody has."""
        is_asked = self.plan.approval and self.is_judged and not self.is_aside
        return is_asked and self.step < 0 and -1 not in self.approvals

    @property
    def is_ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def is_shadow(self) -> bool:
        """Whether the candidate gets only copies of requests: its weight is their share, and it answers no caller."""
        return self.requested.strategy == Strategy.SHADOW

    @property
    def stable_name(self) -> str:
        """How sentences refer to the build that the candidate is compared with."""
        if self.is_comparison:
            return "the control"
        return f"v{self.stable}" if self.stable else "stable"

    @property
    def is_being_launched(self) -> bool:
        """Whether its candidate does not have a ready service yet, but soon will."""
        return self.phase is Phase.LAUNCHING and not self.ready and not self.is_comparison

    @property
    def is_comparison(self) -> bool:
        """Whether it compares a variation of an experiment with the control. Both hold their builds already."""
        return self.requested.strategy == Strategy.AB

    @property
    def is_aside(self) -> bool:
        """Whether it does not change what its target serves, and so does not block other rollouts of the target."""
        return self.is_shadow or self.is_comparison

    @property
    def is_judged(self) -> bool:
        """Whether gates decide. What a person deploys or brings back at once is not judged."""
        return self.requested.strategy not in set(AtOnce)

    @property
    def is_under_way(self) -> bool:
        return self.phase not in (Phase.QUEUED, Phase.ENDED)

    @property
    def holds_target(self) -> bool:
        """Whether it blocks other rollouts of the target."""
        return self.is_under_way and not self.is_aside

    @property
    def switches(self) -> bool:
        """Whether all requests go to the candidate at once."""
        return self.requested.strategy == Strategy.BLUE_GREEN

    @property
    def is_previewed(self) -> bool:
        """Whether callers can reach its candidate by name before it is trusted."""
        return self.switches and self.ready and self.is_under_way and not self.took_over

    @property
    def is_tried(self) -> bool:
        """Whether gates have something to judge: the candidate gets part of the traffic, or copies of it, or after a
        switch
        all of it until it is promoted."""
        on_trial = self.is_shadow or (self.switches and not self.took_over)
        return 0 < self.weight < FULL or (on_trial and self.weight > 0)

    @property
    def listeners(self) -> frozenset[Listener]:
        """The listeners whose requests it is judged by."""
        return frozenset(Listener) if self.is_shadow else frozenset({Listener.LIVE})

    @property
    def has_passed(self) -> bool:
        """Whether the ledger has a passing verdict of every gate, and there is at least one gate."""
        passed = {name for name, judged in self.judgements.items() if judged.answer == "pass"}
        return bool(self.plan.deciding_gates) and self.plan.must_pass <= passed

    def must_pass_again(self, gate: str) -> bool:
        """Whether the gate passed at an earlier step and has not been judged at the present one yet."""
        judged = self.judgements.get(gate)
        is_in_a_step = self.phase in (Phase.RUNNING, Phase.PAUSED)
        return is_in_a_step and judged is not None and judged.answer == "pass" and judged.step < self.step

    @property
    def failures(self) -> tuple[str, ...]:
        """Metrics whose rule has failed on record and pauses the rollout for a person."""
        waiting = {name for name, rule in self.plan.rules.items() if rule.decides and rule.then == "pause"}
        return tuple(
            sorted(name for name in waiting & self.judgements.keys() if self.judgements[name].answer == "fail")
        )

    @property
    def took_over(self) -> bool:
        """Whether the target trusts the candidate since this rollout."""
        is_promoted = self.phase in (Phase.CONFIRMING, Phase.BAKING)
        return is_promoted or self.ending in (Ending.PROMOTED, Ending.ESTABLISHED)

    @property
    def has_hooks_to_tell(self) -> bool:
        """Whether hooks of its own plan must still be notified of its end. A hook that was given up does not count."""
        if not self.is_ended or "hooks" not in self.requested.plan:
            return False
        after = "abort" if self.ending is Ending.ABORTED else "promotion" if self.promoted_at is not None else None
        replies = (
            self.hook_replies.get((hook.after, position))
            for position, hook in enumerate(self.plan.hooks)
            if hook.after == after
        )
        return any(reply is None or reply.called.answer == "failed" for reply in replies)

    @property
    def confirms(self) -> Confirm | None:
        """How late labels confirm its promotion, if it is judged and its plan has a confirmation."""
        return self.plan.confirm if self.is_judged and not self.is_aside and self.stable is not None else None

    @property
    def confirmed_until(self) -> datetime | None:
        """When a confirmation in progress ends at the latest."""
        confirm = self.confirms if self.phase is Phase.CONFIRMING else None
        if confirm is None or self.promoted_at is None:
            return None
        return self.promoted_at + timedelta(seconds=confirm.max_time)


def replay_name(gate: GateSpec) -> str:
    """A name for a gate of the replay that no other gate of the plan has."""
    return f"{gate.metric} (replay)"


def is_same_person(one: Signature, other: Signature) -> bool:
    """Whether both are the same person, by their proven identity or by their name."""
    return one.person == other.person or one.actor.casefold() == other.actor.casefold()
