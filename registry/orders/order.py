"""Order: what a person or a trigger asks for, as one frozen value. Doors make it, `decide` judges it. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from sluicegate.registry.audience.connections import Copied, StandIn, Weighted
from sluicegate.registry.ledger.record import Applied, OrderKey
from sluicegate.registry.plan.fields import Strategy
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Party
from sluicegate.registry.rollout.rollout import Signature
from sluicegate.registry.rollout.triggers import Sighting
from sluicegate.registry.words.errors import UsageError
from sluicegate.registry.words.roles import Role


@dataclass(frozen=True, kw_only=True)
class Start:
    """Roll a build out by the plan of its target."""

    model: str
    variation: str
    version: str
    plan: Plan | None = None
    """None: the applied one."""
    strategy: Strategy | None = None
    """None: the plan's."""
    allow_older: bool = False
    by_name: bool = True
    """Whether this very version was named. Triggers and schedules see a state, they name nothing."""
    sighting: Sighting | None = None
    """Triggers: what was seen, and since when."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """An audience that a variation shall get requests of, or copies of them."""

    audience: str
    """Its name; `default` for the requests that no audience matches."""
    weight: int | None = None
    """Relative to the other variations of the audience; 0 takes the variation out of it."""
    sample: int | None = None
    """Copies, in basis points of the audience's requests."""

    def __post_init__(self) -> None:
        if (self.weight is None) == (self.sample is None):
            raise UsageError(f"{self.audience}: give either a weight or a sample of copies: one of the two.")
        if self.weight is not None and self.weight < 0:
            raise UsageError(f"{self.audience}: a weight is a whole number from 0, got {self.weight}.")


@dataclass(frozen=True, kw_only=True)
class Routed:
    """An audience with all that get its requests, or copies of them: who is not named gets none."""

    audience: str
    weighted: tuple[Weighted, ...]
    copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Put a build into a variation: the first one after probing, another one as a canary by the plan.

    A variation without traffic takes it at once, as does any for which `at_once` gives a reason.
    """

    model: str
    variation: str
    version: str
    plan: Plan | None = None
    """None: the applied one; a first build needs none."""
    at_once: str | None = None
    shares: tuple[Share, ...] = ()
    """Audiences that are sent to the variation besides."""
    is_fallback: bool = False
    """Whether the variation takes the requests that no audience matches."""
    routed: tuple[Routed, ...] = ()
    """Further audiences with their variations, tried in this order before all others."""
    fallback: str | None = None
    """The variation that takes the requests that no audience matches; None: unchanged."""
    protected: bool | None = None
    """Whether it is protected from then on; None: as it is."""


@dataclass(frozen=True, kw_only=True)
class ApplyDeployment:
    """Record which build a variation shall serve, and put it there where the record says so for the first time."""

    model: str
    variation: str
    version: str
    document: Applied


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """Go back at once to a build that was stable before."""

    model: str
    variation: str
    version: str | None = None
    """None: the one before the present stable."""


@dataclass(frozen=True, kw_only=True)
class Undeploy:
    """Empty a variation."""

    model: str
    variation: str
    is_last: bool = False
    """Whether it may be the model's last one."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Run the build that a variation trusts with another number of replicas."""

    model: str
    variation: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Connect:
    """Send audiences to a variation."""

    model: str
    variation: str
    shares: tuple[Share, ...]
    is_fallback: bool = False


@dataclass(frozen=True, kw_only=True)
class Disconnect:
    """Send an audience to a variation no longer."""

    model: str
    variation: str
    audience: str


@dataclass(frozen=True, kw_only=True)
class Arrange:
    """Ask a model's audiences in this order; those that are not named come after them."""

    model: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SetConnections:
    """Say who gets a model's requests: these audiences in this order, and nobody besides."""

    model: str
    routed: tuple[Routed, ...]
    fallback: tuple[Weighted, ...]
    fallback_copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetTerms:
    """Say what holds for a variation whoever is sent to it; None: as it is."""

    model: str
    variation: str
    by_name: bool | None = None
    stand_in: StandIn | None = None
    protected: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ApplyAudience:
    """Record an audience, and carry it to every model that uses it."""

    document: Applied


@dataclass(frozen=True, kw_only=True)
class DeleteAudience:
    """Withdraw an audience that nobody uses."""

    name: str


@dataclass(frozen=True, kw_only=True)
class StartExperiment:
    """Compare the variations that the plan of the control names."""

    model: str
    variation: str
    """The control."""
    plan: Plan | None = None
    """None: the applied one."""


@dataclass(frozen=True, kw_only=True)
class EndExperiment:
    """End every comparison of an experiment."""

    experiment: str
    """Its id, the id of one of its comparisons, or a model's name."""


@dataclass(frozen=True, kw_only=True)
class Steer:
    """What is asked of one rollout."""

    rollout: str
    """Its id; or the name of a model of which one rollout alone is under way."""


@dataclass(frozen=True, kw_only=True)
class Pause(Steer):
    """Hold it where it is. Guardrails go on."""


@dataclass(frozen=True, kw_only=True)
class Resume(Steer):
    """End its pause."""


@dataclass(frozen=True, kw_only=True)
class Approve(Steer):
    """Let it leave the step that was looked at, once its gates have passed."""

    step: int
    """From 0."""


@dataclass(frozen=True, kw_only=True)
class Jump(Steer):
    """Take it to another step now: on, past the gates of the steps that are left; or back, where that is said."""

    step: int
    """From 0."""
    back: bool = False
    """Whether the step lies behind the one that it is at. An order that is late then never turns round."""
    although_not_ready: bool = False
    """Whether it gets more weight although no service of the candidate is ready."""


@dataclass(frozen=True, kw_only=True)
class Promote(Steer):
    """Give its candidate all traffic now. Of a comparison: put its build in the control's place."""

    although_not_ready: bool = False
    """Whether it does so although no service of the candidate is ready."""


@dataclass(frozen=True, kw_only=True)
class Abort(Steer):
    """Take all traffic back to stable, in any phase."""


@dataclass(frozen=True, kw_only=True)
class Retry(Steer):
    """Try it once more, after it ended without success."""


@dataclass(frozen=True, kw_only=True)
class OverrideFreeze(Steer):
    """Let it begin, advance and be promoted in the freeze that holds it now."""


@dataclass(frozen=True, kw_only=True)
class ApproveProposal:
    """Carry out what another named person asked for, if it still is what was asked for."""

    proposal: str


@dataclass(frozen=True, kw_only=True)
class RejectProposal:
    """Let what was asked for not be carried out; so may who asked."""

    proposal: str


OnRollout = Pause | Resume | Approve | Jump | Promote | Abort | Retry | OverrideFreeze
OnTraffic = (
    Undeploy | Scale | Connect | Disconnect | Arrange | SetConnections | SetTerms | ApplyAudience | DeleteAudience
)
OnProposal = ApproveProposal | RejectProposal
Act = (
    Start | Deploy | ApplyDeployment | RollBack | StartExperiment | EndExperiment | OnRollout | OnTraffic | OnProposal
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SeenRollout:
    """What whoever gives the order saw: the rollout, and its last fact."""

    rollout: str
    seq: int


@dataclass(frozen=True, kw_only=True)
class SeenConnections:
    """What whoever gives the order saw: the digest of the model's connections; empty: none."""

    digest: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order. Two with the same key are one."""

    act: Act
    actor: str
    """The name that people read."""
    cause: str
    """The door, as people read it."""
    role: Role = Role.OPERATOR
    """What the actor may do."""
    party: Party = Party.PERSON
    """Who gives it."""
    person: str | None = None
    """Who the actor is beyond doubt, as a token proves it; None: nobody named."""
    follows: str | None = None
    """The rollout or the experiment from which a rollout follows that it makes."""
    reason: str = "no reason given"
    override_freeze: str | None = None
    """Why what it starts goes through a freeze that holds now; none: it does not."""
    override_assessment: str | None = None
    """Why what it starts goes past what its plan asks before the first request; none: it does not."""
    seen: SeenRollout | SeenConnections | None = None
    """The order holds only while this is so."""
    signed_by: tuple[Signature, ...] = ()
    """The named people who stand behind it, where it was proposed and approved."""
    key: str | None = None
    """Chosen by whoever gives the order, so that sending it twice is giving it once."""

    def known_by(self, now: datetime) -> OrderKey | None:
        """By what the ledger knows it when it is sent again."""
        if self.key is None:
            return None
        words = repr(replace(self, key=None))
        return OrderKey(key=f"{self.actor}:{self.key}", digest=hashlib.sha256(words.encode()).hexdigest(), at=now)
