"""What the gateway tells of a model without counting it: its unit header, its schema, whether it is ready. Pure."""

from __future__ import annotations

import json
from urllib.parse import quote

from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.registry.words.metric import Arm
from sluicegate.services.traffic.envoy.clusters import Resource
from sluicegate.services.traffic.envoy.limits import seconds
from sluicegate.services.traffic.envoy.names import cluster_name
from sluicegate.services.traffic.table import ModelRoute

PAGES = ("schema.json", "docs.json", "readyz")
"""Pages of the service that its clients ask for: BentoML's own cannot do without them."""


def about_routes(model: ModelRoute, host_is: Resource) -> list[Resource]:
    """`GET /{model}`, and `/{model}/<page>` or `<model>.…/<page>` from the stable build of the fallback variation."""
    path = f"/{quote(model.model, safe='')}"
    name = f"{slug(model.model)}/about"
    found = [_route(name, path, [], {"direct_response": _document(model)})]
    for page in PAGES:
        action = {"cluster": _stable(model), "prefix_rewrite": f"/{page}", "timeout": seconds(model.timeout)}
        found.append(_route(name, f"{path}/{page}", [], {"route": action}))
        found.append(_route(name, f"/{page}", [host_is], {"route": action}))
    return found


def _route(name: str, path: str, headers: list[Resource], leads: Resource) -> Resource:
    get: Resource = {"name": ":method", "string_match": {"exact": "GET"}}
    return {"name": name, "match": {"path": path, "headers": [get, *headers]}, **leads}


def _document(model: ModelRoute) -> Resource:
    text = json.dumps({"model": model.model, "unit": model.unit})
    return {"status": 200, "body": {"inline_string": text}}


def _stable(model: ModelRoute) -> str:
    """The cluster of the fallback's stable build; of its candidate where that has every slot."""
    slices = model.audiences[-1].slices
    marks = sorted((part.target.assigned for part in slices), key=lambda mark: mark.arm is not Arm.STABLE)
    return cluster_name(BuildRef(model=model.model, version=marks[0].build))
