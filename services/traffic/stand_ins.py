"""Stand-ins: the model's fallback variation answers if a variation's stable build cannot. Pure."""

from __future__ import annotations

from dataclasses import replace

from sluicegate.registry.audience.connections import Connections, StandIn
from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.audience_slots import Running
from sluicegate.services.traffic.table import AudienceRoute, Slice, StandsIn


def with_stand_ins(
    audience: AudienceRoute, connections: Connections, fallback: BuildRef, running: Running, *, retry: bool
) -> AudienceRoute:
    """The audience with a stand-in for each stable build whose variation's terms ask for one.

    `fallback` is the fallback variation's stable build; if it does not run, nobody stands in. `retry`: whether an
    answer may be computed twice; otherwise an error is an answer. A failing candidate has stable behind it, and
    the stand-in behind both only if it also answers errors: Envoy cannot tell which of the two failed in which way.
    """
    if fallback not in running:
        return audience
    slices = tuple(_slice(part, connections, fallback, retry=retry) for part in audience.slices)
    return replace(audience, slices=slices)


def _slice(part: Slice, connections: Connections, fallback: BuildRef, *, retry: bool) -> Slice:
    target, terms = part.target, connections.terms_of(part.target.assigned.variation)
    stable = target.assigned.build if target.assigned.arm is Arm.STABLE else target.fallback
    is_own = terms.variation == connections.fallback_variation or stable == fallback.version
    if terms.stand_in is StandIn.NEVER or stable is None or is_own:
        return part
    on_errors = retry and terms.stand_in is StandIn.ERRORS
    if target.stands_in is not None and not on_errors:  # a build of the same variation stands in already
        return part
    if target.assigned.arm is Arm.CANDIDATE and not on_errors:
        return part
    stands_in = StandsIn(variation=connections.fallback_variation, build=fallback.version, on_errors=on_errors)
    return replace(part, target=replace(target, stands_in=stands_in))
