"""RouteTable: the whole desired split of requests as one value. Pure; it knows no data plane."""

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
    """The model's fallback variation, which answers where a variation's stable build cannot."""

    variation: str
    build: str
    on_errors: bool
    """Whether a 5xx of the stable build's own is no answer either."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a run of slots leads, and what the log says of it."""

    assigned: Assigned
    fallback: str | None = None
    """Version of the build that answers when this one fails; none: the failure goes to the caller."""
    segments: tuple[str, ...] = ()
    """Request headers whose values the log tells, at most four."""
    stands_in: StandsIn | None = None
    """Who answers when these fail."""

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
    """A build that gets copies of requests. Its answers go nowhere but into the shadow log."""

    assigned: Assigned
    share: int
    """Of the requests, in basis points; drawn for each request."""
    of: str | None = None
    """The variation whose requests are copied; none: the whole audience's."""
    segments: tuple[str, ...] = ()
    """Request headers whose values the shadow log tells, at most four."""


@dataclass(frozen=True, kw_only=True)
class AudienceRoute:
    """One audience of a model: who belongs to it, and its slots."""

    name: str
    condition: Condition | None
    """None: everybody that is left."""
    salt: str
    """Goes before the unit in the hash; one for a (model, audience) for life."""
    slices: tuple[Slice, ...]
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Named:
    """A variation that holds a build, as whoever asks for it by its name finds it."""

    variation: str
    target: Target | None
    """Stable, whatever is tried there; None: it may not be asked for by its name."""


@dataclass(frozen=True, kw_only=True)
class ModelRoute:
    """One model behind the gateway. Audiences are tried in order; the last one takes what is left."""

    model: str
    unit: str | None
    """The request header that is hashed; none: every request is assigned at random."""
    timeout: float
    """Seconds that one try may take."""
    retry: bool = True
    """Whether a request whose worker died is sent to another one. Predicting has no effects, unless a plan says so."""
    audiences: tuple[AudienceRoute, ...]
    named: tuple[Named, ...] = ()
    """Every variation that holds a build."""
    replicas: tuple[tuple[str, int], ...] = ()
    """The versions that are planned with several replicas, and with how many."""

    def replicas_of(self, version: str) -> int:
        """How many replicas of a build are planned."""
        return dict(self.replicas).get(version, 1)

    @property
    def targets(self) -> frozenset[Target]:
        """Wherever a request of this model may lead."""
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
    """What a unit gets, and why."""

    audience: str
    variation: str
    arm: Arm
    build: BuildRef
    slot: int
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class RouteTable:
    """Every model's routes. It names builds; where these answer is no part of it. Equal tables have equal versions."""

    models: tuple[ModelRoute, ...] = ()
    missing: tuple[BuildRef, ...] = ()
    """Builds that ought to have traffic but run nowhere: a candidate's share goes to stable, a stable answers 503."""
    made_from: FencingToken = field(default=BEFORE_ALL, compare=False)
    """The state of the ledger that it follows from; no part of what it says."""
    unwatched: RouteTable | None = field(default=None, compare=False)
    """Its stable-only form, for a data plane that nobody watches; None: it sends nobody to a build that is tried."""

    @cached_property
    def version(self) -> str:
        """A digest of the content."""
        content = (self.models, self.missing)
        return hashlib.sha256(repr(content).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def stable_only(self) -> RouteTable:
        """The table as it is while nobody watches: no build that is still tried answers or gets copies."""
        return self.unwatched or self

    def model(self, name: str) -> ModelRoute:
        """The routes of a model. Raises NotFound."""
        for route in self.models:
            if route.model == name:
                return route
        raise NotFound(f"no route leads to the model {name!r}.", fix="deploy a build of it first: sluice deploy MODEL.")

    def only(self, models: Collection[str]) -> RouteTable:
        """The table of some of the models."""
        return RouteTable(
            models=tuple(route for route in self.models if route.model in models),
            missing=tuple(build for build in self.missing if build.model in models),
            made_from=self.made_from,
            unwatched=self.unwatched.only(models) if self.unwatched is not None else None,
        )


def refuse_older(token: FencingToken, held: FencingToken) -> None:
    """Refuse a table that is older than the one held, and say what to do. Raises Fenced."""
    if not token.is_older_than(held):
        return
    if token.restored == held.restored and token.term >= held.term:
        fix = (
            "if the ledger was restored from a backup, or lost its last facts when its database failed over, "
            "tell the gateways: sluice restored. Otherwise SLUICE_LEDGER names another ledger."
        )
    else:
        fix = "another keeper took over: sluice status names it."
    raise Fenced(f"a route table from {token} is older than the one that the data plane has, from {held}.", fix=fix)


def answer(route: ModelRoute, metadata: Mapping[str, str], draw: Callable[[int], int]) -> Assignment:
    """What a request with these metadata, the unit's header among them, gets and why; `draw` as in `assign`."""
    sent = headers(metadata.items())
    unit = sent.get(route.unit.lower()) if route.unit is not None else None
    return assign(route, route.audience(sent), unit, draw)


def assign(route: ModelRoute, audience: AudienceRoute, unit: str | None, draw: Callable[[int], int]) -> Assignment:
    """What a request of this audience gets: by its unit's hash, or without one by `draw(10_000)`."""
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
