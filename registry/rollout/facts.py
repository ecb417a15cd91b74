"""Facts: past-tense entries of the ledger, and their JSON form. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, get_args

from pydantic import TypeAdapter

from sluicegate.registry.words.errors import SluiceError


class Party(StrEnum):
    """Who acts. `actor` is the name that people read; nothing is decided by it."""

    PERSON = "person"
    """A person whose name is known."""
    POLICY = "policy"
    """The plan: its gates, steps and times."""
    SLUICE = "sluice"
    """Sluicegate itself, when nothing is left to judge."""
    KEEPER = "keeper"
    """The keeper, when the data plane refused something."""
    CATALOG = "catalog"
    """A change in MLflow: the trigger of the plan."""
    PREFECT = "prefect"
    """A run of one of our Prefect flows, which drives the rollout that it ordered."""


class AtOnce(StrEnum):
    """What a person does at once, without steps and gates."""

    DEPLOY = "deploy"
    """The first build of an empty variation."""
    ROLLBACK = "rollback"
    """An earlier build replaces stable again."""
    REPLACE = "replace"
    """A named person replaces stable with another build."""


@dataclass(frozen=True, kw_only=True)
class Requested:
    """A person, a trigger or a schedule requested the rollout. Always the first fact, seq 0."""

    model: str
    variation: str
    version: str
    strategy: str
    """canary, shadow or ab; deploy for the first build of an empty variation; rollback for returning to a build at
    once, replace for replacing one at once."""
    plan: dict[str, object]
    """The plan document that the rollout follows."""
    plan_digest: str
    actor: str
    cause: str
    """Where the order came from: cli, prefect, console, alias:candidate, stage:Production, tag:deploy=yes, keeper."""
    experiment: str | None = None
    """ab: the experiment that this comparison of a variation with the control belongs to."""
    former_stages: dict[str, str] = field(default_factory=dict)
    """Stage triggers: the stages that versions had before the move that requested this. They get them back unless it
    is promoted."""
    party: Party = Party.PERSON
    person: str | None = None
    """The actor's identity, as proven by a token; none: no named person."""
    follows: str | None = None
    """The rollout or the experiment that it follows from: a shadow's canary, an experiment's winner, a second try."""


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What the rollout changes became protected, or no longer is. While protected, it needs two named people."""

    protected: bool
    actor: str
    """Who asked for it."""
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The rollout left the queue: no other rollout of this (model, variation) is open."""

    stable: str | None
    """The version that is stable now; none for the first build."""


@dataclass(frozen=True, kw_only=True)
class Assessed:
    """An offline gate, or a gate of the replay, judged the candidate, before its first request."""

    gate: str
    """The metric; with @tag if a tag of the version names the run, with (replay) if requests were replayed."""
    answer: str
    """pass, fail, undecided: the replayed requests are too few; or no_data: it cannot be judged."""
    reason: str
    candidate: float | None = None
    """Its value."""
    stable: float | None = None
    """The value that it was compared with."""


@dataclass(frozen=True, kw_only=True)
class AssessmentOverridden:
    """A person let the candidate skip what the plan asks before its first request."""

    actor: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The candidate was packed as a bento."""

    bento: str
    bento_digest: str
    model_digest: str
    env: str = "project"
    registered_at: datetime | None = None
    """When the version was registered. Tells it from the same number of a model that was registered again."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The candidate's service runs and has answered its probes."""

    version: str


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A number was fixed from stable's history: a latency's threshold in seconds, a quantile of predictions, the cap of
    a mean. With 0 rows, the plan names the number."""

    metric: str
    threshold: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class StepEntered:
    """The candidate's weight changed to a step's."""

    step: int
    weight: int
    actor: str
    reason: str
    verdicts: dict[str, str] = field(default_factory=dict)
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Jumped:
    """A person moved the rollout to another step: forward, past what the plan asks for, or back to less weight."""

    step: int
    weight: int
    former: int
    """The step that it left."""
    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Observed:
    """The data plane reports that it serves this epoch's weight."""

    epoch: int
    version: str


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A gate's verdict changed."""

    metric: str
    answer: str
    k: int
    step: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Paused:
    """The rollout does not advance. The weight stays, and guardrails keep judging."""

    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """A pause ended."""

    actor: str
    reason: str
    party: Party = Party.PERSON
    overrides: tuple[str, ...] = ()
    """Failed metrics that a named person overrides: they are judged again, on the requests from now on."""


@dataclass(frozen=True, kw_only=True)
class Approved:
    """A person approved the end of a step."""

    step: int
    """From 0; -1: the first request, if the variation is protected."""
    actor: str
    reason: str
    party: Party = Party.PERSON
    person: str | None = None
    """The actor's identity, as proven by a token; none: no named person."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A step's check got an answer, or none."""

    step: int
    answer: str
    """yes, no, or none: it could not be asked, or did not answer in time."""
    actor: str
    """The deployment or address that was asked."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class HookCalled:
    """A hook was notified of a promotion, an abort or a rollback: one attempt, and its result."""

    after: str
    """promotion, abort or rollback."""
    position: int
    """Position among the plan's hooks, from 0; after a rollback, among those of the rollout that was taken back."""
    attempt: int
    """From 1."""
    answer: str
    """taken; failed: it is notified again; or given_up: that was the last attempt."""
    actor: str
    """The deployment or address that was notified."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class FreezeOverridden:
    """A person let the rollout continue through a freeze."""

    actor: str
    reason: str
    freeze: str
    """The freeze's name."""
    until: str
    """When the freeze ends, and the override with it: ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """The candidate gets all traffic, by passing verdicts or by a named person's override."""

    actor: str
    reason: str
    override: bool
    verdicts: dict[str, str]
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """Labels from after the promotion have ruled out the plan's harm: the candidate gets the holdout's requests too."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Unconfirmed:
    """The confirmation ended without a result: late labels found no harm, but did not rule it out."""

    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Baked:
    """The former stable no longer needs to keep running."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Established:
    """The first build of an empty variation takes all its traffic."""

    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Aborted:
    """All weight goes back to stable. Final."""

    actor: str
    reason: str
    verdicts: dict[str, str] = field(default_factory=dict)
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The candidate could not be launched."""

    stage: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """A newer candidate replaced this one."""

    by: str


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """The rollout ended without changing what is trusted."""

    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Undeployed:
    """The variation no longer trusts this build, nor any other: it is empty."""

    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """From then on, the build runs with another number of replicas."""

    replicas: int
    actor: str
    reason: str
    party: Party = Party.PERSON


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The ending was written to MLflow."""

    changes: tuple[str, ...]


Fact = (
    Requested | Guarded | Begun | Assessed | AssessmentOverridden | Packed | Ready | Frozen | StepEntered | Jumped
    | Observed | Judged | Paused | Resumed | Approved | Checked | FreezeOverridden | Promoted | Confirmed | Unconfirmed
    | Baked | Established | Aborted | Failed | Superseded | Concluded | Undeployed | Scaled | Settled
    | HookCalled
)  # fmt: skip
FACTS: dict[str, type[Fact]] = {kind.__name__: kind for kind in get_args(Fact)}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A fact in its place in the ledger."""

    rollout: str
    seq: int
    at: datetime
    fact: Fact


def to_payload(fact: Fact) -> dict[str, Any]:
    """The fact's fields as JSON values."""
    return _adapter(type(fact).__name__).dump_python(fact, mode="json")  # type: ignore[no-any-return]


def from_payload(name: str, payload: dict[str, Any]) -> Fact:
    """The fact that `to_payload` wrote. An unknown name means a newer writer, and raises SluiceError."""
    if name not in FACTS:
        raise SluiceError(
            f"the ledger contains a fact {name!r}, which this version of sluice does not know.",
            fix="upgrade sluice to the version that wrote the ledger.",
        )
    return _adapter(name).validate_python(payload)


@cache
def _adapter(name: str) -> TypeAdapter[Fact]:
    return TypeAdapter(FACTS[name])
