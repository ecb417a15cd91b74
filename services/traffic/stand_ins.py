"""Who stands in where a variation's stable build cannot answer: the model's fallback variation. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.registry.audience.connections import Connections, StandIn
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.audience_slots import Endpoints
from sluicegate.services.traffic.table import AudienceRoute, Slice, StandsIn, Target


def with_stand_ins(
    audience: AudienceRoute, connections: Connections, fallback: BuildRef, ends: Endpoints
) -> AudienceRoute:
    """The audience with a build behind each stable one whose variation's terms say so.

    `fallback` is the fallback variation's stable build; where it runs nowhere nobody stands in. A candidate that fails
    has stable behind it; and behind that the stand-in only where errors of stable's own are none to be answered with,
    for which of the two failed is not told apart.
    """
    if fallback not in ends:
        return audience
    slices = tuple(_slice(part, connections, fallback) for part in audience.slices)
    return replace(audience, slices=slices)


def _slice(part: Slice, connections: Connections, fallback: BuildRef) -> Slice:
    target, terms = part.target, connections.terms_of(part.target.assigned.variation)
    stable = target.assigned.build if target.assigned.arm is Arm.STABLE else target.fallback
    is_own = terms.variation == connections.fallback_variation or stable == fallback.version
    if terms.stand_in is StandIn.NEVER or stable is None or is_own:
        return part
    if target.assigned.arm is Arm.CANDIDATE and terms.stand_in is not StandIn.ERRORS:
        return part
    return replace(part, target=_behind(target, connections, fallback, on_errors=terms.stand_in is StandIn.ERRORS))


def _behind(target: Target, connections: Connections, fallback: BuildRef, *, on_errors: bool) -> Target:
    variation = connections.fallback_variation
    return replace(target, stands_in=StandsIn(variation=variation, build=fallback.version, on_errors=on_errors))
