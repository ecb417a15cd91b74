"""Order: what a person or a trigger asks for, as one frozen value. Doors make it, `decide` checks it. Pure."""

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
    """Roll out a build by the plan of its target."""

    model: str
    variation: str
    version: str
    plan: Plan | None = None
    """None: the applied plan."""
    strategy: Strategy | None = None
    """None: the plan's."""
    allow_older: bool = False
    by_name: bool = True
    """Whether somebody named this version. Triggers and schedules do not: they only see a state."""
    sighting: Sighting | None = None
    """Triggers: what the trigger was seen to point at, and since when."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """An audience whose requests, or copies of them, a variation should get."""

    audience: str
    """The audience's name; `default` for requests that no audience matches."""
    weight: int | None = None
    """Relative to the audience's other variations; 0 removes the variation from the audience."""
    sample: int | None = None
    """Copies, in basis points of the audience's requests."""

    def __post_init__(self) -> None:
        if (self.weight is None) == (self.sample is None):
            raise UsageError(f"{self.audience}: give either a weight or a sample of copies: one of the two.")
        if self.weight is not None and self.weight < 0:
            raise UsageError(f"{self.audience}: a weight is a whole number from 0, got {self.weight}.")


@dataclass(frozen=True, kw_only=True)
class Routed:
    """An audience with all variations that get its requests or copies of them. Others get none."""

    audience: str
    weighted: tuple[Weighted, ...]
    copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Deploy:
    """Put a build into a variation: the first one after probing, a later one as a canary by the plan.

    A variation without traffic gets it at once, and so does any variation if `at_once` gives a reason.
    """

    model: str
    variation: str
    version: str
    plan: Plan | None = None
    """None: the applied plan; a first build needs none."""
    at_once: str | None = None
    shares: tuple[Share, ...] = ()
    """Audiences that are also sent to the variation."""
    is_fallback: bool = False
    """Whether the variation serves requests that no audience matches."""
    routed: tuple[Routed, ...] = ()
    """Further audiences with their variations, tried in this order before all others."""
    fallback: str | None = None
    """The variation that serves requests that no audience matches; None: unchanged."""
    protected: bool | None = None
    """Whether the variation is protected from then on; None: unchanged."""


@dataclass(frozen=True, kw_only=True)
class ApplyDeployment:
    """Record which build a variation should serve, and deploy it if the record is new or changed."""

    model: str
    variation: str
    version: str
    document: Applied


@dataclass(frozen=True, kw_only=True)
class RollBack:
    """Return at once to a build that was stable before."""

    model: str
    variation: str
    version: str | None = None
    """None: the build before the present stable."""


@dataclass(frozen=True, kw_only=True)
class Undeploy:
    """Empty a variation."""

    model: str
    variation: str
    is_last: bool = False
    """Whether it may be the model's last variation."""


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
    """No longer send an audience to a variation."""

    model: str
    variation: str
    audience: str


@dataclass(frozen=True, kw_only=True)
class Arrange:
    """Try a model's audiences in this order. Audiences that are not named come after them."""

    model: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SetConnections:
    """Define who gets a model's requests: exactly these audiences, in this order."""

    model: str
    routed: tuple[Routed, ...]
    fallback: tuple[Weighted, ...]
    fallback_copied: tuple[Copied, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SetTerms:
    """Set properties of a variation that do not depend on the audience; None: unchanged."""

    model: str
    variation: str
    by_name: bool | None = None
    stand_in: StandIn | None = None
    protected: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ApplyAudience:
    """Record an audience, and update every model that uses it."""

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
    """None: the applied plan."""


@dataclass(frozen=True, kw_only=True)
class EndExperiment:
    """End every comparison of an experiment."""

    experiment: str
    """Its id, the id of one of its comparisons, or a model's name."""


@dataclass(frozen=True, kw_only=True)
class Steer:
    """An order on one rollout."""

    rollout: str
    """Its id, or the name of a model with only one rollout in progress."""


@dataclass(frozen=True, kw_only=True)
class Pause(Steer):
    """Hold the rollout where it is. Guardrails keep judging."""


@dataclass(frozen=True, kw_only=True)
class Resume(Steer):
    """End the rollout's pause."""


@dataclass(frozen=True, kw_only=True)
class Approve(Steer):
    """Let the rollout leave the step that the giver looked at, once its gates have passed."""

    step: int
    """From 0."""


@dataclass(frozen=True, kw_only=True)
class Jump(Steer):
    """Move the rollout to another step now: forward past the gates in between, or back if `back` says so."""

    step: int
    """From 0."""
    back: bool = False
    """Whether the step is an earlier one. An order that comes late then never moves the rollout the other way."""
    although_not_ready: bool = False
    """Whether it may get more weight although its candidate has no ready service."""


@dataclass(frozen=True, kw_only=True)
class Promote(Steer):
    """Give the candidate all traffic now. For a comparison: replace the control's build with its own."""

    although_not_ready: bool = False
    """Whether to do so although the candidate has no ready service."""


@dataclass(frozen=True, kw_only=True)
class Abort(Steer):
    """Return all traffic to stable, in any phase."""


@dataclass(frozen=True, kw_only=True)
class Retry(Steer):
    """Try the rollout once more after it ended without success."""


@dataclass(frozen=True, kw_only=True)
class OverrideFreeze(Steer):
    """Let the rollout begin, advance and be promoted in the freeze that applies to it now."""


@dataclass(frozen=True, kw_only=True)
class ApproveProposal:
    """Carry out what another named person proposed, if it would still do the same."""

    proposal: str


@dataclass(frozen=True, kw_only=True)
class RejectProposal:
    """Drop a proposal. Whoever made it may do so too."""

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
    """The state that the giver of the order read: the rollout and its last fact."""

    rollout: str
    seq: int


NO_REASON = "no reason given"


@dataclass(frozen=True, kw_only=True)
class SeenConnections:
    """The state that the giver of the order read: the digest of the model's connections; empty: none."""

    digest: str


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order. Two orders with the same key are one."""

    act: Act
    actor: str
    """The name that people read."""
    cause: str
    """The door, in words for people."""
    role: Role = Role.OPERATOR
    """What the actor may do."""
    party: Party = Party.PERSON
    """Who gives the order."""
    person: str | None = None
    """The actor's proven identity, by a token; None: no named person."""
    follows: str | None = None
    """The rollout or experiment that a rollout created by this order follows."""
    reason: str = NO_REASON
    """Why the giver gives it. A blank one says that none was given."""
    override_freeze: str | None = None
    """Why what it starts ignores a freeze in force; None: it does not."""
    override_assessment: str | None = None
    """Why what it starts skips what its plan asks before the first request; None: it does not."""
    seen: SeenRollout | SeenConnections | None = None
    """The state that the order requires. It is refused if that has changed."""
    signed_by: tuple[Signature, ...] = ()
    """The named people behind the order, if it was proposed and approved."""
    key: str | None = None
    """Chosen by the giver, so that sending an order twice gives it once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", self.reason.strip() or NO_REASON)

    def known_by(self, now: datetime) -> OrderKey | None:
        """The key by which the ledger recognises the order when it is sent again."""
        if self.key is None:
            return None
        words = repr(replace(self, key=None))
        return OrderKey(key=f"{self.actor}:{self.key}", digest=hashlib.sha256(words.encode()).hexdigest(), at=now)
