"""Rollout: one attempt to make a candidate stable, and the state in which its facts have left it. Pure."""

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
    """What a step's check said last, and how often it was asked."""

    answer: str
    """yes, no, none; or stale: the rollout came back to the step, which asks again."""
    reason: str
    at: datetime
    times: int


@dataclass(frozen=True, kw_only=True)
class HookReply:
    """What came of the last attempt to tell a hook."""

    called: HookCalled
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A named person's approval."""

    step: int
    person: str
    """Who it is beyond doubt."""
    actor: str
    """The name that people read."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The present state of a rollout. `seq` is the last fact's; an append states `seq + 1`."""

    id: str
    seq: int
    requested: Requested
    requested_at: datetime
    changed_at: datetime
    """When its last fact was recorded."""
    phase: Phase = Phase.QUEUED
    ending: Ending | None = None
    reason: str = ""
    """Why it is where it is: the reason of the last fact that moved it."""
    actor: str = ""
    party: Party = Party.PERSON
    """Who moved it last."""
    stable: str | None = None
    assessments: dict[str, Assessed] = field(default_factory=dict)
    """What each offline gate said."""
    assessment_overridden: bool = False
    """Whether a person let it past what the plan asks before the first request."""
    packed: Packed | None = None
    ready: bool = False
    step: int = -1
    """The step under way, from 0; -1 before the first."""
    weight: int = 0
    """The candidate's share that the ledger asks for, in basis points."""
    epoch: int = 0
    """Counts weight changes."""
    observed_epoch: int = 0
    """The last epoch that the data plane was seen to serve."""
    step_entered_at: datetime | None = None
    step_observed_at: datetime | None = None
    began_at: datetime | None = None
    resumed_at: datetime | None = None
    """When a pause ended last; time limits count from there again."""
    promoted_at: datetime | None = None
    full_at: datetime | None = None
    """When it got every request: at its promotion, or when it had been confirmed, or not."""
    is_confirmed: bool | None = None
    """What became of its confirmation; None: nothing yet, or none was asked for."""
    ended_at: datetime | None = None
    thresholds: dict[str, float] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)
    overridden: dict[str, int] = field(default_factory=dict)
    """Metrics whose failure a person overrode, each with the epoch from which its requests are judged again."""
    approvals: dict[int, str] = field(default_factory=dict)
    """Who approved which step."""
    guarded: bool = False
    """Whether what it changes is protected."""
    signatures: tuple[Signature, ...] = ()
    """The approvals of named people, in order."""
    freeze_overridden_until: datetime | None = None
    """No freeze holds it before."""
    undeployed: bool = False
    """Whether the target trusts its candidate no longer, and no other instead."""
    replies: dict[int, Reply] = field(default_factory=dict)
    """What the check of each step said last."""
    hook_replies: dict[tuple[str, int], HookReply] = field(default_factory=dict)
    """What came of each hook, by what it is told after and its position."""
    replicas: int | None = None
    """How many replicas a person asked for, after it took over; None: as many as its plan says."""
    settled: bool = False

    @cached_property
    def plan(self) -> Plan:
        """The plan as this rollout follows it."""
        return staged(Plan.recorded(self.requested.plan), self.requested.strategy, self.requested.variation)

    @cached_property
    def judged_plan(self) -> Plan:
        """The plan with the caps that were frozen for this rollout: what its values are counted and judged by."""
        return self.plan.with_caps(self.thresholds)

    @property
    def serve(self) -> Serve:
        """How its candidate is served: as the plan says, with the replicas that were asked for since."""
        serve = self.plan.serve
        return serve if self.replicas is None else serve.model_copy(update={"replicas": self.replicas})

    @property
    def candidate(self) -> BuildRef:
        return BuildRef(model=self.requested.model, version=self.requested.version)

    @property
    def target(self) -> tuple[str, str]:
        return (self.requested.model, self.requested.variation)

    def asked(self, step: int) -> int:
        """How often the step's check was asked."""
        return self.replies[step].times if step in self.replies else 0

    @property
    def offline_gates(self) -> tuple[OfflineGate, ...]:
        """What must be said of its candidate before the first request. Of a first build limits alone: there is nothing
        to compare it with. What a person puts in or takes back at once is not judged, nor what serves already."""
        match self.requested.strategy:
            case Strategy.CANARY | Strategy.BLUE_GREEN | Strategy.SHADOW:
                return self.plan.offline
            case AtOnce.DEPLOY:
                return tuple(gate for gate in self.plan.offline if gate.limit is not None)
            case _:
                return ()

    @property
    def is_assessed(self) -> bool:
        """Whether the record holds a pass of every offline gate, or a person's override."""
        said = {name: each.answer for name, each in self.assessments.items()}
        return self.assessment_overridden or all(said.get(gate.name) == "pass" for gate in self.offline_gates)

    @property
    def replay(self) -> Replay | None:
        """What is replayed before its first request: where it goes beside a stable build."""
        compares = self.requested.strategy in (Strategy.CANARY, Strategy.BLUE_GREEN, Strategy.SHADOW)
        is_beside = compares and self.stable is not None
        return self.plan.replay if is_beside else None

    @property
    def is_replayed(self) -> bool:
        """Whether the record holds a pass of every gate of the replay, or a person's override."""
        asked = [replay_name(gate) for gate in self.replay.gates] if self.replay is not None else []
        passed = {name for name, each in self.assessments.items() if each.answer == "pass"}
        return self.assessment_overridden or passed.issuperset(asked)

    @property
    def first_gates(self) -> tuple[str, ...]:
        """The names of everything that judges it before its first request, in order."""
        replayed = self.replay.gates if self.replay is not None else ()
        return (*(gate.name for gate in self.offline_gates), *(replay_name(gate) for gate in replayed))

    @property
    def check(self) -> Check | None:
        """What is asked before the step under way is left; before the first one, before that is entered."""
        if self.step >= 0:
            return self.plan.steps[self.step].check
        return self.plan.check if self.is_judged and not self.is_comparison else None

    @property
    def asked_by(self) -> Signature | None:
        """The named person behind it: who asked for it; where that was nobody named, who approved it first."""
        if self.requested.person is not None:
            return Signature(step=-1, person=self.requested.person, actor=self.requested.actor)
        return self.signatures[0] if self.signatures else None

    def is_asked_by(self, signature: Signature) -> bool:
        """Whether it is the person behind it who signs, by whatever token and name."""
        asker = self.asked_by
        return asker is not None and is_same_person(asker, signature)

    @property
    def is_signed(self) -> bool:
        """Whether a second named person approved what comes after its present step, where that is protected."""
        signed = (each for each in self.signatures if each.step == self.step)
        return not self.guarded or any(not self.is_asked_by(each) for each in signed)

    @property
    def wants_signature(self) -> bool:
        """Whether a second named person must still approve what comes next: the first request, or the promotion.

        What is between them was approved with the first request.
        """
        is_last = self.step + 1 == len(self.plan.steps) and not self.is_comparison
        return (self.step < 0 or is_last) and not self.is_signed

    @property
    def wants_approval(self) -> bool:
        """Whether the plan asks a person to approve the first request, and nobody has."""
        is_asked = self.plan.approval and self.is_judged and not self.is_aside
        return is_asked and self.step < 0 and -1 not in self.approvals

    @property
    def is_ended(self) -> bool:
        return self.phase is Phase.ENDED

    @property
    def is_shadow(self) -> bool:
        """Whether the candidate gets copies of requests only: its weight is of copies, no caller is answered by it."""
        return self.requested.strategy == Strategy.SHADOW

    @property
    def stable_name(self) -> str:
        """What sentences call the build that the candidate is compared with."""
        if self.is_comparison:
            return "the control"
        return f"v{self.stable}" if self.stable else "stable"

    @property
    def is_being_launched(self) -> bool:
        """Whether its candidate is on the way to a service that answers."""
        return self.phase is Phase.LAUNCHING and not self.ready and not self.is_comparison

    @property
    def is_comparison(self) -> bool:
        """Whether it compares a variation of an experiment with the control: both hold their builds already."""
        return self.requested.strategy == Strategy.AB

    @property
    def is_aside(self) -> bool:
        """Whether it leaves what its target serves alone, and so keeps no other from the target."""
        return self.is_shadow or self.is_comparison

    @property
    def is_judged(self) -> bool:
        """Whether gates decide. What a person puts in or takes back at once is not judged."""
        return self.requested.strategy not in set(AtOnce)

    @property
    def is_under_way(self) -> bool:
        return self.phase not in (Phase.QUEUED, Phase.ENDED)

    @property
    def holds_target(self) -> bool:
        """Whether no other may take the target meanwhile."""
        return self.is_under_way and not self.is_aside

    @property
    def switches(self) -> bool:
        """Whether all requests go to the candidate at once."""
        return self.requested.strategy == Strategy.BLUE_GREEN

    @property
    def is_previewed(self) -> bool:
        """Whether its candidate is there for those who ask for it by name, before it is trusted."""
        return self.switches and self.ready and self.is_under_way and not self.took_over

    @property
    def is_tried(self) -> bool:
        """Whether gates have something to judge: part of the traffic, and only part, is the candidate's; copies are; or
        after a switch all of it, until it is promoted."""
        on_trial = self.is_shadow or (self.switches and not self.took_over)
        return 0 < self.weight < FULL or (on_trial and self.weight > 0)

    @property
    def listeners(self) -> frozenset[Listener]:
        """Where the requests are taken that it is judged by."""
        return frozenset(Listener) if self.is_shadow else frozenset({Listener.LIVE})

    @property
    def has_passed(self) -> bool:
        """Whether the record holds a passing verdict of every gate, and there is at least one."""
        passed = {name for name, judged in self.judgements.items() if judged.answer == "pass"}
        return bool(self.plan.deciding_gates) and self.plan.must_pass <= passed

    @property
    def failures(self) -> tuple[str, ...]:
        """Metrics whose rule has failed on record, and pauses for a person's word."""
        waiting = {name for name, rule in self.plan.rules.items() if rule.decides and rule.then == "pause"}
        return tuple(
            sorted(name for name in waiting & self.judgements.keys() if self.judgements[name].answer == "fail")
        )

    @property
    def took_over(self) -> bool:
        """Whether the candidate is what the target trusts from this rollout on."""
        is_promoted = self.phase in (Phase.CONFIRMING, Phase.BAKING)
        return is_promoted or self.ending in (Ending.PROMOTED, Ending.ESTABLISHED)

    @property
    def has_hooks_to_tell(self) -> bool:
        """Whether hooks of its own plan are still to be told of how it ended; a hook that was given up is not."""
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
        """How its promotion is confirmed by late labels, where it is judged and the plan asks for it."""
        return self.plan.confirm if self.is_judged and not self.is_aside and self.stable is not None else None

    @property
    def confirmed_until(self) -> datetime | None:
        """When a confirmation under way ends at the latest."""
        confirm = self.confirms if self.phase is Phase.CONFIRMING else None
        if confirm is None or self.promoted_at is None:
            return None
        return self.promoted_at + timedelta(seconds=confirm.max_time)


def replay_name(gate: GateSpec) -> str:
    """What tells a gate of the replay from all other gates of a plan."""
    return f"{gate.metric} (replay)"


def is_same_person(one: Signature, other: Signature) -> bool:
    """Whether both are one person: by what the token proves, or by the name that is told."""
    return one.person == other.person or one.actor.casefold() == other.actor.casefold()
