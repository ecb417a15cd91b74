"""Routes to one variation by its name: `/{model}/variations/{variation}/predict`. Pure.

Their requests are in no comparison: no unit is hashed or logged, no copy is made, and the log names no rollout.
"""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.words.access_log import Place, UnitSource
from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.services.traffic.envoy.log_format import ASSIGNED_HEADER, METADATA, REASON_HEADER, VARIATION_HEADER
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.envoy.path_spelling import paths_below
from sluicegate.services.traffic.envoy.resources import Resource, answer, host_is, literal, set_header
from sluicegate.services.traffic.envoy.timeouts_and_retries import POST, Way, answer_header, asking_again, tries, ways
from sluicegate.services.traffic.table import ModelRoute, Named, Reason, Target

_BELOW = "/variations/"


def named_routes(model: ModelRoute) -> Iterator[Resource]:
    """A route for each variation that holds a build, or why it is closed; then an answer for unknown names."""
    for named in model.named:
        for way in ways(model.model, f"{_BELOW}{named.variation}"):
            yield _route(model, way, _leading(model, way, named.target) if named.target else _closed(model, named))
    unknown = {"direct_response": answer(404, _unknown_name(model))}
    by_path: Resource = {**paths_below(model.model, _BELOW), "headers": [POST]}
    by_host: Resource = {"prefix": _BELOW, "headers": [POST, host_is(model.model)]}
    for match in (by_path, by_host):
        yield {"name": f"{slug(model.model)}/by-name/unknown", "match": match, **unknown}


def _route(model: ModelRoute, way: Way, action: Resource) -> Resource:
    name = f"{slug(model.model)}/by-name/{way.verb}/{way.by}"
    return {"name": name, "match": {**way.path, "headers": [*way.headers]}, **action}


def _leading(model: ModelRoute, way: Way, target: Target) -> Resource:
    place = Place(model=model.model, audience=None, unit_source=UnitSource.NAME)
    build = BuildRef(model=model.model, version=target.assigned.build)
    return {
        "metadata": {"filter_metadata": {METADATA: {"place": place.mark}}},
        "request_headers_to_add": [
            set_header(ASSIGNED_HEADER, literal(target.assigned.header)), *asking_again(model, target),
        ],
        "response_headers_to_add": [
            answer_header(VARIATION_HEADER, target.assigned.variation), answer_header(REASON_HEADER, Reason.NAME),
        ],
        "route": {
            "cluster": cluster_name(build), "prefix_rewrite": f"/{way.verb}", **tries(model, [target]),
        },
    }  # fmt: skip


def _closed(model: ModelRoute, named: Named) -> Resource:
    asked = f"{model.model}/{named.variation}"
    why = (
        f"callers may not ask for {asked} by name: send POST /MODEL/predict, "
        f"or allow it: sluice variation set {model.model} {named.variation} --by-name"
    )
    return {"direct_response": answer(403, why)}


def _unknown_name(route: ModelRoute) -> str:
    """The message for an unknown variation, with the names that may be asked for."""
    names = ", ".join(each.variation for each in route.named if each.target is not None)
    allowed = f"variations that may be asked for by name: {names}" if names else "no variation may be asked for by name"
    return f"{route.model} has no such variation, or it has no build; {allowed}"
