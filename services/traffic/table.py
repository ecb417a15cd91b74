"""RouteTable: the whole desired split of requests as one value, independent of any data plane. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from sluicegate.registry.audience.audience import Condition, headers, matches
from sluicegate.registry.audience.layout import SLOTS
from sluicegate.registry.words.access_log import Assigned
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Fenced, NotFound
from sluicegate.registry.words.fencing import BEFORE_ALL, FencingToken
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.slots import holder, is_unit, slot


@dataclass(frozen=True, kw_only=True)
class StandsIn:
    """The build that answers if a variation's stable build cannot."""

    variation: str
    build: str
    on_errors: bool
    """Whether it also answers instead of the stable build's own 5xx."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a run of slots leads, and what the access log says about it."""

    assigned: Assigned
    fallback: str | None = None
    """Version of the build that answers if this one fails; None if the failure goes to the caller."""
    segments: tuple[str, ...] = ()
    """Request headers whose values go into the log, at most four."""
    stands_in: StandsIn | None = None
    """The build that answers if the others fail."""

    @property
    def others(self) -> int:
        """How many builds are behind the assigned one."""
        return (self.fallback is not None) + (self.stands_in is not None)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A run of slots and its target."""

    size: int
    target: Target


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A build that gets copies of requests. Its answers go only into the shadow log."""

    assigned: Assigned
    share: int
    """Share of the requests, in basis points; drawn for each request."""
    copied_variation: str | None = None
    """The variation whose requests are copied; None for the whole audience."""
    segments: tuple[str, ...] = ()
    """Request headers whose values go into the shadow log, at most four."""


@dataclass(frozen=True, kw_only=True)
class AudienceRoute:
    """One audience of a model: who belongs to it, and its slots."""

    name: str
    condition: Condition | None
    """None for all remaining requests."""
    salt: str
    """Precedes the unit in the hash. It never changes for a (model, audience)."""
    slices: tuple[Slice, ...]
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Named:
    """A variation that holds a build, for callers that ask for it by name."""

    variation: str
    target: Target | None
    """Its stable build, whatever is on trial there; None if callers may not ask for it by name."""


@dataclass(frozen=True, kw_only=True)
class ModelRoute:
    """One model behind the gateway. Audiences are tried in order; the last one takes all remaining requests."""

    model: str
    unit: str | None
    """The request header that is hashed; None if every request is assigned at random."""
    timeout: float
    """Seconds that one attempt may take."""
    retry: bool = True
    """Whether to send a request again if its worker died. Predicting has no side effects unless a plan says so."""
    audiences: tuple[AudienceRoute, ...]
    named: tuple[Named, ...] = ()
    """Every variation that holds a build."""
    replicas: tuple[tuple[str, int], ...] = ()
    """The versions planned with several replicas, and how many."""

    def replicas_of(self, version: str) -> int:
        """The planned number of a build's replicas."""
        return dict(self.replicas).get(version, 1)

    @property
    def targets(self) -> frozenset[Target]:
        """Every target that a request for this model may reach."""
        by_slot = {part.target for audience in self.audiences for part in audience.slices}
        return frozenset(by_slot | {each.target for each in self.named if each.target is not None})

    def audience(self, metadata: Mapping[str, str]) -> AudienceRoute:
        """The first audience that a request with these metadata belongs to."""
        sent = headers(metadata.items())
        return next(each for each in self.audiences if each.condition is None or matches(each.condition, sent))


class Reason(StrEnum):
    """Why a request got its arm."""

    HASH = "hash"
    RANDOM = "random"
    NAME = "name"


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """The build that a unit gets, and why."""

    audience: str
    variation: str
    arm: Arm
    build: BuildRef
    slot: int
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class RouteTable:
    """Every model's routes. Names builds, but not their addresses. Equal tables have equal versions."""

    models: tuple[ModelRoute, ...] = ()
    missing: tuple[BuildRef, ...] = ()
    """Builds that should have traffic but do not run. A candidate's share goes to stable; for a stable build, 503."""
    made_from: FencingToken = field(default=BEFORE_ALL, compare=False)
    """The state of the ledger from which it was made. Not part of the content."""
    unwatched: RouteTable | None = field(default=None, compare=False)
    """Its stable-only form, for a data plane that nobody watches; None if the table itself has no build on trial."""

    @cached_property
    def version(self) -> str:
        """A digest of the content."""
        content = (self.models, self.missing)
        return hashlib.sha256(repr(content).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def stable_only(self) -> RouteTable:
        """The table for when nobody watches: no build on trial answers or gets copies."""
        return self.unwatched or self

    def model(self, name: str) -> ModelRoute:
        """The routes of a model. Raises NotFound."""
        for route in self.models:
            if route.model == name:
                return route
        raise NotFound(f"no route leads to the model {name!r}.", fix="deploy a build of it first: sluice deploy MODEL.")

    def only(self, models: Collection[str]) -> RouteTable:
        """The part of the table for these models."""
        return RouteTable(
            models=tuple(route for route in self.models if route.model in models),
            missing=tuple(build for build in self.missing if build.model in models),
            made_from=self.made_from,
            unwatched=self.unwatched.only(models) if self.unwatched is not None else None,
        )


def refuse_older(token: FencingToken, in_force: FencingToken) -> None:
    """Raise Fenced, with a fix, if a table is older than the one in force."""
    if not token.is_older_than(in_force):
        return
    if token.restored == in_force.restored and token.term >= in_force.term:
        fix = (
            "if the ledger was restored from a backup, or lost its last facts when its database failed over, "
            "tell the gateways: sluice restored. Otherwise SLUICE_LEDGER names another ledger."
        )
    else:
        fix = "another keeper took over: sluice status names it."
    raise Fenced(f"a route table from {token} is older than the one that the data plane has, from {in_force}.", fix=fix)


def assign(route: ModelRoute, audience: AudienceRoute, unit: str | None, draw: Callable[[int], int]) -> Assignment:
    """The assignment of a request of this audience: by its unit's hash, or by `draw(10_000)` without a unit."""
    hashed = is_unit(unit) and route.unit is not None
    at = slot(audience.salt, unit or "") if hashed else draw(SLOTS)
    assigned = audience.slices[holder([part.size for part in audience.slices], at)].target.assigned
    return Assignment(
        audience=audience.name,
        variation=assigned.variation,
        arm=assigned.arm,
        build=BuildRef(model=route.model, version=assigned.build),
        slot=at,
        reason=Reason.HASH if hashed else Reason.RANDOM,
    )
