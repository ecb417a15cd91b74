"""One variation by its name: who asks for it gets its stable build, where that is allowed, or the reason. Pure."""

from __future__ import annotations

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Forbidden, NotFound
from sluicegate.services.traffic.table import ModelRoute, Named


def by_name(route: ModelRoute, variation: str) -> BuildRef:
    """The build that a caller of this variation gets. Raises NotFound, Forbidden."""
    named = next((each for each in route.named if each.variation == variation), None)
    if named is None:
        raise NotFound(unknown_name(route))
    if named.target is None:
        raise Forbidden(not_by_name(route, named))
    return BuildRef(model=route.model, version=named.target.assigned.build)


def not_by_name(route: ModelRoute, named: Named) -> str:
    """Why the variation is not there for whoever asks for it by its name."""
    model, variation = route.model, named.variation
    return (
        f"callers may not ask for {model}/{variation} by name: send POST /MODEL/predict, "
        f"or allow it: sluice variation set {model} {variation} --by-name"
    )


def unknown_name(route: ModelRoute) -> str:
    """What there is in place of a variation that is not there."""
    names = ", ".join(each.variation for each in route.named if each.target is not None)
    allowed = f"variations that may be asked for by name: {names}" if names else "no variation may be asked for by name"
    return f"{route.model} has no such variation, or it has no build; {allowed}"
