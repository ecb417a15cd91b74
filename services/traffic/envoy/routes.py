"""RouteTable -> Envoy's route configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

from sluicegate.registry.words.access_log import Place, UnitSource
from sluicegate.registry.words.build import BuildRef, slug
from sluicegate.services.traffic.envoy.about import about_routes
from sluicegate.services.traffic.envoy.cel import asked, asking
from sluicegate.services.traffic.envoy.clusters import Resource
from sluicegate.services.traffic.envoy.headers import are_plain, matchers
from sluicegate.services.traffic.envoy.limits import seconds
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
    TIMEOUT_HEADER,
    UNIT_HEADER,
    VARIATION_HEADER,
)
from sluicegate.services.traffic.envoy.lookup import lookup
from sluicegate.services.traffic.envoy.names import ROUTES, cluster_name, mirror_name, pair_name
from sluicegate.services.traffic.table import AudienceRoute, Mirror, ModelRoute, Reason, RouteTable, Slice

VERBS = ("predict", "invocations")
"""What may be called on a model, and on its service by the same name."""
_ONE_UNIT = "[^,]+"
"""As `slots.is_unit`; Envoy joins the values of a header that was sent twice with commas."""
_SAFE_RETRIES = "connect-failure,refused-stream,reset-before-request"
_FALLBACK_ON = "5xx,reset"


def route_configuration(table: RouteTable, kept: Sequence[Resource] = ()) -> Resource:
    """Every model's routes, by path `/{model}/predict` and by host name `<model>.…`, then 404.

    `kept` are routes of further models, as they stand. A route's name begins with its model's slug and a stroke.
    """
    routes = [*(route for model in table.models for route in _model_routes(model)), *kept]
    return {
        "name": ROUTES,
        "response_headers_to_add": [_set(BUILD_HEADER, f"%UPSTREAM_METADATA({METADATA}:build)%", keep_empty=False)],
        "response_headers_to_remove": ["x-envoy-upstream-service-time"],
        "virtual_hosts": [
            {
                "name": "gateway",
                "domains": ["*"],
                "matcher": lookup(routes, _not_found()),
            }
        ],
    }


@lru_cache(maxsize=1024)
def _model_routes(model: ModelRoute) -> list[Resource]:
    """By path first: the longer match is the surer one. Kept, because a change is mostly one model's."""
    found = []
    asks = not are_plain(model.audiences)
    for position, audience in enumerate(model.audiences):
        for verb in VERBS:
            for way, match in _ways(model, verb).items():
                demanded = _asked(match, position, audience) if asks else _demanded(match, audience)
                found += _audience_routes(model, audience, demanded, verb, way)
    asking_routes = [_asking(model, match) for verb in VERBS for match in _ways(model, verb).values()] if asks else []
    return [*found, *asking_routes, *about_routes(model, _host_is(model.model))]


def _asked(match: Resource, position: int, audience: AudienceRoute) -> Resource:
    return {**match, "filter_state": asked(position, audience)}


def _demanded(match: Resource, audience: AudienceRoute) -> Resource:
    """With what the audience's condition demands of the headers."""
    more = matchers(audience.condition) if audience.condition is not None else []
    return {**match, "headers": [*_listed(match["headers"]), *(more or [])]}


def _ways(model: ModelRoute, verb: str) -> dict[str, Resource]:
    post = {"name": ":method", "string_match": {"exact": "POST"}}
    return {
        "path": {"path": f"/{quote(model.model, safe='')}/{verb}", "headers": [post]},
        "host": {"path": f"/{verb}", "headers": [post, _host_is(model.model)]},
    }


def _asking(model: ModelRoute, match: Resource) -> Resource:
    """Where a request is before its audience is known; nothing is answered here."""
    return {
        "name": f"{slug(model.model)}/asking",
        "match": match,
        "typed_per_filter_config": asking(model.audiences),
        "direct_response": {"status": 500, "body": {"inline_string": "the audience of this request was not found out"}},
    }


def _audience_routes(
    model: ModelRoute, audience: AudienceRoute, match: Resource, verb: str, way: str
) -> list[Resource]:
    """With one unit: by hash. Without a unit, with an empty one or with several: at random."""
    by_unit = [] if model.unit is None else [UnitSource.HEADER]
    return [_route(model, audience, match, verb, way, source) for source in (*by_unit, UnitSource.RANDOM)]


def _route(
    model: ModelRoute, audience: AudienceRoute, match: Resource, verb: str, way: str, source: UnitSource
) -> Resource:
    headers = _listed(match["headers"])
    hashed = source is UnitSource.HEADER
    if hashed:
        headers.append({"name": model.unit, "string_match": {"safe_regex": {"regex": _ONE_UNIT}}})
    place = Place(model=model.model, audience=audience.name, unit_source=source)
    return {
        "name": f"{slug(model.model)}/{audience.name}/{verb}/{way}/{source}",
        "match": {**match, "headers": headers},
        "metadata": {"filter_metadata": {METADATA: {"place": place.mark}}},
        "request_headers_to_add": [_set(UNIT_HEADER, f"%REQ({model.unit})%", keep_empty=False)] if hashed else [],
        "response_headers_to_add": [
            _told(AUDIENCE_HEADER, audience.name),
            _told(REASON_HEADER, Reason.HASH if hashed else Reason.RANDOM),
        ],
        "route": {
            "prefix_rewrite": f"/{verb}",
            "timeout": seconds(2 * model.timeout + 1),
            "retry_policy": {
                "retry_on": _SAFE_RETRIES,
                "num_retries": 1,
                "per_try_timeout": seconds(model.timeout),
                "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.010s"},
            },
            "weighted_clusters": {
                "use_hash_policy": hashed,
                "clusters": [_entry(model.model, part, audience.mirrors) for part in audience.slices],
            },
            **({"hash_policy": [_hashing(model, audience)]} if hashed else {}),
            "request_mirror_policies": [
                _mirror(model, number, mirror, place) for number, mirror in enumerate(audience.mirrors)
            ],
        },
    }


def _entry(model: str, part: Slice, mirrors: Sequence[Mirror]) -> Resource:
    """One run of slots. Its request headers say what was assigned, and whether another may answer for it.

    Copies of one variation's requests alone go where a header says, and only its own runs say it.
    """
    target = part.target
    build = BuildRef(model=model, version=target.assigned.build)
    headers = [_set(ASSIGNED_HEADER, _literal(target.assigned.header))]
    name = cluster_name(build)
    if target.fallback is not None:
        name = pair_name(build, BuildRef(model=model, version=target.fallback))
        headers.append(_set("x-envoy-retry-on", _FALLBACK_ON))
    for number, mirror in enumerate(mirrors):
        if mirror.of == target.assigned.variation:
            copied = BuildRef(model=model, version=mirror.assigned.build)
            headers.append(_set(_copy_header(number), mirror_name(copied)))
    return {
        "name": name,
        "weight": part.size,
        "request_headers_to_add": headers,
        "response_headers_to_add": [_told(VARIATION_HEADER, target.assigned.variation)],
    }


def _mirror(model: ModelRoute, number: int, mirror: Mirror, place: Place) -> Resource:
    """A copy carries where it goes, what it is and how long it may take: the shadow listener knows nothing itself."""
    build = BuildRef(model=model.model, version=mirror.assigned.build)
    headers = {
        CLUSTER_HEADER: cluster_name(build),
        PLACE_HEADER: place.mark,
        ASSIGNED_HEADER: mirror.assigned.header,
        SHADOW_HEADER: "1",
        TIMEOUT_HEADER: str(round(model.timeout * 1000)),
    }
    told = {name: f"%REQ({header})%" for name, header in zip(SEGMENT_HEADERS, mirror.segments, strict=False)}
    added = [_set(name, _literal(value)) for name, value in headers.items()]
    added += [_set(name, value, keep_empty=False) for name, value in told.items()]
    leads = {"cluster": mirror_name(build)} if mirror.of is None else {"cluster_header": _copy_header(number)}
    return {
        **leads,
        "runtime_fraction": {"default_value": {"numerator": mirror.share, "denominator": "TEN_THOUSAND"}},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": header} for header in added],
    }


def _copy_header(number: int) -> str:
    return f"{COPY_HEADER}-{number}"


def _hashing(model: ModelRoute, audience: AudienceRoute) -> Resource:
    """The salt goes before the unit, so that two models or audiences do not pick the same units."""
    rewrite = {"pattern": {"regex": "^"}, "substitution": f"{audience.salt}:"}
    return {"header": {"header_name": model.unit, "regex_rewrite": rewrite}}


def _host_is(model: str) -> Resource:
    return {"name": ":authority", "string_match": {"prefix": f"{slug(model)}.", "ignore_case": True}}


def _not_found() -> Resource:
    """The model's own word for it stands in the local reply's format: every answer of the gateway itself is JSON."""
    body = "no route: POST /{model}/predict or /{model}/invocations of a model that has been deployed"
    return {
        "name": "*",
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": body}},
    }


def _set(name: str, value: str, *, keep_empty: bool = True) -> Resource:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        "keep_empty_value": keep_empty,
    }


def _told(name: str, value: str) -> Resource:
    """A header of the answer, percent-encoded: names may be in any script."""
    return _set(name, _literal(quote(value, safe="")))


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def _listed(value: object) -> list[Resource]:
    return list(value) if isinstance(value, list) else []
