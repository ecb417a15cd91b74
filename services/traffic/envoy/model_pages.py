"""Pages about a model that the gateway serves without counting: its unit header, its schema, its readiness. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.envoy.path_spelling import path_of
from sluicegate.services.traffic.envoy.resources import Resource, answer, header_is, host_is, seconds
from sluicegate.services.traffic.table import ModelRoute

PAGES = ("schema.json", "docs.json", "readyz")
"""Pages of the service that its clients fetch. BentoML's own client needs them."""


def page_routes(model: ModelRoute) -> list[Resource]:
    """`GET /{model}`, and `/{model}/<page>` or `<model>.…/<page>` from the stable build of the fallback variation."""
    about = json.dumps({"model": model.model, "unit": model.unit})
    routes = [_route(model, path_of(model.model), {"direct_response": answer(200, about)})]
    for page in PAGES:
        action = {"cluster": _stable(model), "prefix_rewrite": f"/{page}", "timeout": seconds(model.timeout)}
        routes.append(_route(model, path_of(model.model, f"/{page}"), {"route": action}))
        routes.append(_route(model, {"path": f"/{page}"}, {"route": action}, [host_is(model.model)]))
    return routes


def _route(model: ModelRoute, path: Resource, action: Resource, headers: Sequence[Resource] = ()) -> Resource:
    match = {**path, "headers": [header_is(":method", "GET"), *headers]}
    return {"name": f"{slug(model.model)}/about", "match": match, **action}


def _stable(model: ModelRoute) -> str:
    """The cluster of the fallback's stable build, or of its candidate if that has every slot."""
    slices = model.audiences[-1].slices
    marks = sorted((part.target.assigned for part in slices), key=lambda mark: mark.arm is not Arm.STABLE)
    return cluster_name(BuildRef(model=model.model, version=marks[0].build))
