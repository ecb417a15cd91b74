"""RouteTable -> Envoy's route configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from sluicegate.registry.words.access_log import Place, UnitSource
from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.registry.words.slices import LONGEST
from sluicegate.services.traffic.envoy.audience_cel import find_audience, found_audience
from sluicegate.services.traffic.envoy.audience_matchers import are_plain, matchers
from sluicegate.services.traffic.envoy.detour import by_size
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_format import (
    ASSIGNED_HEADER,
    AUDIENCE_HEADER,
    BUILD_HEADER,
    CLUSTER_HEADER,
    COPY_HEADER,
    METADATA,
    PLACE_HEADER,
    REASON_HEADER,
    SEGMENT_HEADERS,
    SHADOW_HEADER,
    STAND_IN_HEADER,
    TIMEOUT_HEADER,
    UNIT_HEADER,
    VARIATION_HEADER,
)
from sluicegate.services.traffic.envoy.model_pages import page_routes
from sluicegate.services.traffic.envoy.named_routes import named_routes
from sluicegate.services.traffic.envoy.names import (
    READINESS,
    READY_PATH,
    ROUTES,
    chain,
    chain_name,
    cluster_name,
    mirror_name,
)
from sluicegate.services.traffic.envoy.path_tree import path_tree
from sluicegate.services.traffic.envoy.resources import (
    Resource,
    answer,
    header_matches,
    literal,
    message,
    set_header,
)
from sluicegate.services.traffic.envoy.timeouts_and_retries import Way, answer_header, asking_again, tries, ways
from sluicegate.services.traffic.table import AudienceRoute, Mirror, ModelRoute, Reason, RouteTable, Slice

_ONE_UNIT = "[^,]+"
"""Same rule as `slots.is_unit`. Envoy joins the values of a repeated header with commas."""
_NOWHERE = "no route: POST /{model}/predict or /{model}/invocations of a model that has been deployed"
_NOT_FOUND: Resource = {"name": "*", "match": {"prefix": "/"}, "direct_response": answer(404, _NOWHERE)}
"""The local reply's format turns this text into JSON, like every answer of the gateway itself."""


def route_configuration(
    table: RouteTable, limits: Limits, former: Sequence[Resource] = (), *, is_ready: bool = True
) -> Resource:
    """Every model's routes, by path `/{model}/predict` and by host name `<model>.…`, then 404.

    `former`: present routes of further models, to be kept. A route's name begins with its model's slug and a slash.
    `is_ready`: the answer to a load balancer.
    """
    ready_answer = (
        answer(200, "ready") if is_ready else answer(503, "the gateway has no routes yet: it waits for the keeper")
    )
    ready: Resource = {
        "name": "*",
        "match": {"path": READY_PATH},
        "typed_per_filter_config": {READINESS: message("envoy.config.route.v3.FilterConfig", config={})},
        "direct_response": ready_answer,
    }
    routes = [ready, *(route for model in table.models for route in _model_routes(model)), *former]
    served = [
        set_header(name, f"%UPSTREAM_METADATA({METADATA}:{key})%", keep_empty=False)
        for name, key in ((BUILD_HEADER, "build"), (STAND_IN_HEADER, "stand_in"))
    ]
    tree = by_size(path_tree(routes, _NOT_FOUND), limits)
    return {
        "name": ROUTES,
        "response_headers_to_add": served,
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
        "virtual_hosts": [{"name": "gateway", "domains": ["*"], "matcher": tree}],
    }


@lru_cache(maxsize=1024)
def _model_routes(model: ModelRoute) -> list[Resource]:
    """The routes of one model. Cached, because a change usually affects one model."""
    needs_lookup = not are_plain(model.audiences)
    every_way = list(ways(model.model))
    routes = []
    for position, audience in enumerate(model.audiences):
        state = {"filter_state": found_audience(position, audience)} if needs_lookup else {}
        demanded = [] if needs_lookup or audience.condition is None else matchers(audience.condition) or []
        for way in every_way:
            for source, one_unit in _unit_sources(model).items():
                headers = [*way.headers, *demanded, *one_unit]
                routes.append(_route(model, audience, way, source, {**way.path, "headers": headers, **state}))
    asking_routes = [_asking(model, way) for way in every_way] if needs_lookup else []
    return [*routes, *asking_routes, *named_routes(model), *page_routes(model)]


def _unit_sources(model: ModelRoute) -> dict[UnitSource, list[Resource]]:
    """Match conditions by source: by hash with exactly one unit; otherwise at random."""
    by_hash = {} if model.unit is None else {UnitSource.HEADER: [header_matches(model.unit, _ONE_UNIT)]}
    return {**by_hash, UnitSource.RANDOM: []}


def _asking(model: ModelRoute, way: Way) -> Resource:
    """The route that a request takes first, to find its audience. It normally answers nothing."""
    return {
        "name": f"{slug(model.model)}/asking",
        "match": {**way.path, "headers": [*way.headers]},
        "typed_per_filter_config": find_audience(model.audiences),
        "direct_response": answer(500, "the audience of this request could not be determined"),
    }


def _route(model: ModelRoute, audience: AudienceRoute, way: Way, source: UnitSource, match: Resource) -> Resource:
    hashed = source is UnitSource.HEADER
    place = Place(model=model.model, audience=audience.name, unit_source=source)
    return {
        "name": f"{slug(model.model)}/{audience.name}/{way.verb}/{way.by}/{source}",
        "match": match,
        "metadata": {"filter_metadata": {METADATA: {"place": place.mark}}},
        "request_headers_to_add": [set_header(UNIT_HEADER, f"%REQ({model.unit})%", keep_empty=False)] if hashed else [],
        "response_headers_to_add": [
            answer_header(AUDIENCE_HEADER, audience.name),
            answer_header(REASON_HEADER, Reason.HASH if hashed else Reason.RANDOM),
        ],
        "route": {
            "prefix_rewrite": f"/{way.verb}",
            **tries(model, [part.target for part in audience.slices]),
            "weighted_clusters": {
                "use_hash_policy": hashed,
                "clusters": [_entry(model, part, audience.mirrors) for part in audience.slices],
            },
            **({"hash_policy": [_hashing(model, audience)]} if hashed else {}),
            "request_mirror_policies": [
                _mirror(model, number, mirror, place) for number, mirror in enumerate(audience.mirrors)
            ],
        },
    }


def _entry(model: ModelRoute, part: Slice, mirrors: Sequence[Mirror]) -> Resource:
    """The cluster of one run of slots. Its request headers carry the assignment, and whether another build may answer.

    A mirror of only one variation gets its copies by a header, which only that variation's runs set.
    """
    target = part.target
    headers = [set_header(ASSIGNED_HEADER, literal(target.assigned.header))]
    segments = zip(SEGMENT_HEADERS, target.segments, strict=False)
    headers += [set_header(name, f"%REQ({header}):{LONGEST}%", keep_empty=False) for name, header in segments]
    headers += asking_again(model, target)
    for number, mirror in enumerate(mirrors):
        if mirror.copied_variation == target.assigned.variation:
            copied = BuildRef(model=model.model, version=mirror.assigned.build)
            headers.append(set_header(_copy_header(number), mirror_name(copied)))
    return {
        "name": chain_name(chain(model, target)),
        "weight": part.size,
        "request_headers_to_add": headers,
        "response_headers_to_add": [answer_header(VARIATION_HEADER, target.assigned.variation)],
    }


def _mirror(model: ModelRoute, number: int, mirror: Mirror, place: Place) -> Resource:
    """A mirror policy. Each copy carries its destination, its marks and its time limit for the shadow listener."""
    build = BuildRef(model=model.model, version=mirror.assigned.build)
    headers = {
        CLUSTER_HEADER: cluster_name(build),
        PLACE_HEADER: place.mark,
        ASSIGNED_HEADER: mirror.assigned.header,
        SHADOW_HEADER: "1",
        TIMEOUT_HEADER: str(round(model.timeout * 1000)),
    }
    segments = zip(SEGMENT_HEADERS, mirror.segments, strict=False)
    added = [set_header(name, literal(value)) for name, value in headers.items()]
    added += [set_header(name, f"%REQ({header})%", keep_empty=False) for name, header in segments]
    leads_to = (
        {"cluster": mirror_name(build)} if mirror.copied_variation is None else {"cluster_header": _copy_header(number)}
    )
    return {
        **leads_to,
        "runtime_fraction": {"default_value": {"numerator": mirror.share, "denominator": "TEN_THOUSAND"}},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": header} for header in added],
    }


def _copy_header(number: int) -> str:
    return f"{COPY_HEADER}-{number}"


def _hashing(model: ModelRoute, audience: AudienceRoute) -> Resource:
    """The hash policy. A salt before the unit keeps two models or audiences from picking the same units."""
    rewrite = {"pattern": {"regex": "^"}, "substitution": f"{audience.salt}:"}
    return {"header": {"header_name": model.unit, "regex_rewrite": rewrite}}
