"""A variation by its name: its stable build if that is allowed, or the reason why not. Pure."""

from __future__ import annotations

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Forbidden, NotFound
from sluicegate.services.traffic.table import ModelRoute, Named


def by_name(route: ModelRoute, variation: str) -> BuildRef:
    """The build that callers of this variation get. Raises NotFound, Forbidden."""
    named = next((each for each in route.named if each.variation == variation), None)
    if named is None:
        raise NotFound(unknown_name(route))
    if named.target is None:
        raise Forbidden(not_by_name(route, named))
    return BuildRef(model=route.model, version=named.target.assigned.build)


def not_by_name(route: ModelRoute, named: Named) -> str:
    """Why callers may not ask for the variation by name."""
    model, variation = route.model, named.variation
    return (
        f"callers may not ask for {model}/{variation} by name: send POST /MODEL/predict, "
        f"or allow it: sluice variation set {model} {variation} --by-name"
    )


def unknown_name(route: ModelRoute) -> str:
    """The message for an unknown variation, with the names that may be asked for."""
    names = ", ".join(each.variation for each in route.named if each.target is not None)
    allowed = f"variations that may be asked for by name: {names}" if names else "no variation may be asked for by name"
    return f"{route.model} has no such variation, or it has no build; {allowed}"
