"""What Envoy is given: pure rendering, and the files it is written to."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.standing import Shadowing, Standing
from sluicegate.registry.words.build import BuildRef, Endpoint
from sluicegate.registry.words.errors import Refused
from sluicegate.services import durable
from sluicegate.services.loopback import own_folder, socket_path
from sluicegate.services.traffic.envoy.bootstrap import Places, bootstrap
from sluicegate.services.traffic.envoy.clusters import clusters
from sluicegate.services.traffic.envoy.detour import at_least
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.envoy.log_files import next_rotated, rejection
from sluicegate.services.traffic.envoy.model_pages import PAGES, page_routes
from sluicegate.services.traffic.envoy.named_routes import named_routes
from sluicegate.services.traffic.envoy.names import READY_PATH, members
from sluicegate.services.traffic.envoy.path_tree import routes_in
from sluicegate.services.traffic.envoy.resource_files import digest, read_resources
from sluicegate.services.traffic.envoy.routes import route_configuration
from sluicegate.services.traffic.envoy.timeouts_and_retries import VERBS
from sluicegate.services.traffic.envoy.validation import strange_clusters, whole
from sluicegate.services.traffic.routes import routes

SOCKET = Path("shadow.sock")
PLACES = Places(
    folder=Path(),
    admin_socket=Path("admin.sock"),
    shadow_socket=SOCKET,
    detour_socket=Path("detour.sock"),
    generated_socket=Path("generated.sock"),
    logs=Path("logs"),
    host="127.0.0.1",
    port=9,
)
NAMES = st.text(st.characters(exclude_characters="/:", exclude_categories=("Cs",)), min_size=1, max_size=12)


@st.composite
def tables(draw: st.DrawFn):
    """Tables of a few models with odd names, with and without candidates, shadows and services."""
    standings, running = [], set()
    for number, model in enumerate(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))):
        builds = [BuildRef(model=model, version=version) for version in ("1", "2")]
        weight = draw(st.integers(0, 10_000))
        standings.append(
            Standing(
                model=model,
                variation="default",
                stable=builds[0],
                serve=Serve(retry=draw(st.booleans()), replicas=draw(st.sampled_from([1, 3]))),
                unit=draw(st.sampled_from([None, "x-user-id"])),
                candidate=builds[1] if weight else None,
                weight=weight,
                rollout=draw(st.none() | NAMES),
                epoch=number,
                shadows=draw(st.sampled_from([(), (Shadowing(build=builds[1], share=2_500, rollout="s", epoch=1),)])),
            )
        )
        for build in draw(st.lists(st.sampled_from(builds), unique=True)):
            running.add(build)
    return routes(standings, running)


def _tree(host):
    """The routes behind the fork for large bodies."""
    return host["matcher"]["on_no_match"]["matcher"]


def _counted(host) -> list:
    """The routes of predictions."""
    return [route for route in routes_in(_tree(host)) if "weighted_clusters" in route.get("route", {})]


@settings(deadline=None)
@given(table=tables())
def test_routes_name_only_clusters_that_are_given_and_pairs_only_members_that_are(table) -> None:
    given_clusters = clusters(table, {}, Limits(), SOCKET, None)
    (host,) = route_configuration(table, Limits())["virtual_hosts"]  # type: ignore[misc]
    for route in (route["route"] for route in routes_in(_tree(host)) if "cluster" in route.get("route", {})):
        assert route["cluster"] in given_clusters
    for route in _counted(host):
        entries = route["route"]["weighted_clusters"]["clusters"]
        assert sum(entry["weight"] for entry in entries) == 10_000
        named = {entry["name"] for entry in entries} | {m["cluster"] for m in route["route"]["request_mirror_policies"]}
        assert named <= given_clusters.keys()
    for name in given_clusters:
        assert set(members(name)) <= given_clusters.keys()


def _found(matcher, path: str) -> list:
    """The list that Envoy's matchers lead to: the first pattern of a list, the longest beginning of a tree."""
    match matcher:
        case {"action": _}:
            return list(routes_in(matcher))
        case {"matcher": inner}:
            return _found(inner, path)
        case {"matcher_list": {"matchers": patterns}}:
            is_such = (each for each in patterns if re.fullmatch(_pattern(each), path))
            return _found(next((each["on_match"] for each in is_such), matcher["on_no_match"]), path)
        case {"matcher_tree": {"prefix_match_map": {"map": lists}}}:
            begins = [key for key in lists if path.startswith(key)]
            return _found(lists[max(begins, key=len)] if begins else matcher["on_no_match"], path)
        case _:
            return _found(matcher["on_no_match"], path)


def _pattern(matcher) -> str:
    return matcher["predicate"]["single_predicate"]["value_match"]["safe_regex"]["regex"]


def _is_for(route, path: str) -> bool:
    match route["match"]:
        case {"path": whole_path}:
            return whole_path == path
        case {"prefix": beginning} if beginning != "/":
            return path.startswith(beginning)
        case {"safe_regex": {"regex": pattern}}:
            return re.fullmatch(pattern, path) is not None
        case _:
            return False


@settings(deadline=None)
@given(table=tables())
def test_a_request_meets_every_route_of_its_path_in_order_and_at_last_the_one_for_all(table) -> None:
    (host,) = route_configuration(table, Limits())["virtual_hosts"]  # type: ignore[misc]
    flat = [route for route in routes_in(_tree(host)) if route["match"] != {"prefix": "/"}]
    escaped = {f"/{quote(model.model, safe=plain)}" for model in table.models for plain in ("", ";", "!$&'()*+,;=@")}
    spelled = escaped | {re.sub("%..", lambda each: each[0].lower(), name) for name in escaped}
    for path in (name + page for name in spelled for page in ("", *(f"/{page}" for page in (*VERBS, *PAGES)))):
        met = _found(_tree(host), path)
        assert [route for route in met if _is_for(route, path)] == [route for route in flat if _is_for(route, path)]
        assert any(_is_for(route, path) for route in met)
        assert met[-1]["match"] == {"prefix": "/"}
    besides = sum(len([*page_routes(model), *named_routes(model)]) for model in table.models)
    ready = [route for route in flat if route["match"] == {"path": READY_PATH}]
    assert len(flat) == besides + len(_counted(host)) + len(ready)
    assert len(ready) == 1


@given(least=st.integers(1, 10**8), number=st.integers(0, 10**9), zeros=st.integers(0, 3))
def test_a_pattern_tells_how_large_a_body_is_said_to_be(least: int, number: int, zeros: int) -> None:
    for size in (number, least - 1, least, 10 * least):
        assert (re.fullmatch(at_least(least), "0" * zeros + str(size)) is not None) == (size >= least)


def test_what_all_callers_may_hold_at_once_is_less_than_there_is() -> None:
    """A body that was passed on stays for another try, and a copy of it may be on its way to a shadow."""
    limits = Limits()
    by_detour = limits.medium_requests * limits.medium_bytes + limits.large_requests * limits.body_bytes
    waiting = 2 * limits.waiting_requests * 2 * limits.buffer_bytes
    assert 2 * by_detour + limits.connections * limits.small_bytes + waiting < 0.9 * limits.heap_bytes


def test_a_model_whose_name_begins_a_verb_hides_no_host_name() -> None:
    builds = [BuildRef(model=name, version="1") for name in ("p", "predict", "delays")]
    states = [Standing(model=ref.model, variation="default", stable=ref, serve=Serve()) for ref in builds]
    (host,) = route_configuration(routes(states, builds), Limits())["virtual_hosts"]  # type: ignore[misc]
    met = [route["name"] for route in _found(_tree(host), "/predict?x=1")]
    assert {name.partition("/")[0] for name in met} == {"p", "predict", "delays", "*"}


def test_a_cluster_that_routes_name_and_nobody_gives_is_told() -> None:
    (stable, candidate) = (BuildRef(model="m", version=version) for version in "12")
    shadow = Shadowing(build=candidate, share=2_500, rollout="s", epoch=1)
    state = Standing(model="m", variation="default", stable=stable, serve=Serve(), shadows=(shadow,))
    table = routes([state], {stable, candidate})
    given_clusters = clusters(table, {}, Limits(), SOCKET, None)
    config = whole(bootstrap(PLACES, Limits()), given_clusters, route_configuration(table, Limits()))
    assert strange_clusters(config) == set()
    for name in given_clusters.keys() - {"m.v2"}:  # copies come to it through the shadow's listener
        fewer = {other: resource for other, resource in given_clusters.items() if other != name}
        assert strange_clusters(whole(bootstrap(PLACES, Limits()), fewer, route_configuration(table, Limits()))) == {
            name
        }


@settings(deadline=None)
@given(table=tables())
def test_every_header_and_path_is_printable_ascii(table) -> None:
    (host,) = route_configuration(table, Limits())["virtual_hosts"]  # type: ignore[misc]
    for route in _counted(host):
        texts = [
            route["match"].get("path") or route["match"]["safe_regex"]["regex"],
            route["name"],
            *(h["header"]["value"] for h in route["request_headers_to_add"]),
            *(h["header"]["value"] for h in route["response_headers_to_add"]),
        ]
        for entry in route["route"]["weighted_clusters"]["clusters"]:
            both = [*entry["request_headers_to_add"], *entry["response_headers_to_add"]]
            texts += [header["header"]["value"] for header in both]
        assert all(text.isascii() and text.isprintable() for text in texts)


def test_only_a_candidate_that_stable_answers_for_is_ever_passed_over() -> None:
    stable, candidate = (BuildRef(model="m", version=version) for version in "12")
    calm = Standing(model="m", variation="default", stable=stable, serve=Serve(), candidate=candidate, weight=500)
    assert _outliers(calm).keys() == {"m.v2"}
    assert not _outliers(replace(calm, serve=Serve(retry=False)))


def test_of_replicas_with_nobody_behind_them_some_are_never_passed_over() -> None:
    stable, candidate = (BuildRef(model="m", version=version) for version in "12")
    planned = Serve(replicas=3)
    state = Standing(model="m", variation="default", stable=stable, serve=planned, candidate=candidate, weight=500)
    outliers = _outliers(state)
    assert {name: found["max_ejection_percent"] for name, found in outliers.items()} == {"m.v1": 67, "m.v2": 100}
    assert {found["enforcing_consecutive_5xx"] for found in outliers.values()} == {100}


def test_a_relay_is_not_passed_over_for_what_replicas_behind_it_answer() -> None:
    """It is one host. Stable would have none left, and ten 5xx of a candidate are its answers."""
    stable, candidate = (BuildRef(model="m", version=version) for version in "12")
    planned = Serve(replicas=3)
    state = Standing(model="m", variation="default", stable=stable, serve=planned, candidate=candidate, weight=500)
    given_clusters = clusters(routes([state], state.needed), {}, Limits(), SOCKET, None, lambda name: {"sni": name})
    outliers = {name: found for name, each in given_clusters.items() if (found := each.get("outlier_detection"))}
    assert {name: found["enforcing_consecutive_5xx"] for name, found in outliers.items()} == {"m.v2": 0}


def test_a_replica_that_comes_gets_its_share_little_by_little() -> None:
    stable = BuildRef(model="m", version="1")
    for replicas, window in ((3, "10.000s"), (1, None)):
        state = Standing(model="m", variation="default", stable=stable, serve=Serve(replicas=replicas))
        given_clusters: dict[str, Any] = clusters(routes([state], state.needed), {}, Limits(), SOCKET, SOCKET.parent)
        slow = given_clusters["m.v1"].get("least_request_lb_config", {}).get("slow_start_config", {})
        assert slow.get("slow_start_window") == window


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_former_stable_keeps_its_cluster_when_another_build_is_promoted(replicas: int) -> None:
    """Else its requests under way are tried again on hosts that Envoy takes for others, such as one that is lost."""
    former, stable = (BuildRef(model="m", version=version) for version in "12")
    planned, own = Serve(replicas=2), Serve(replicas=replicas)
    ramp = Standing(model="m", variation="default", stable=former, serve=planned, stable_serve=own, candidate=stable,
                    weight=5_000)  # fmt: skip
    baking = replace(ramp, stable=stable, stable_serve=planned, candidate=None, former=former, former_serve=own)
    before, after = (
        clusters(routes([state], {former, stable}), {}, Limits(), SOCKET, SOCKET.parent) for state in (ramp, baking)
    )
    assert before["m.v1"] == after["m.v1"]


def test_a_replica_of_a_shadow_that_moves_changes_no_cluster() -> None:
    stable, copied = (BuildRef(model="m", version=version) for version in "12")
    shadow = Shadowing(build=copied, share=2_500, rollout="s", epoch=1, serve=Serve(replicas=2))
    state = Standing(model="m", variation="default", stable=stable, serve=Serve(), shadows=(shadow,))
    table = routes([state], state.needed)
    before, after = (
        clusters(table, {copied: (Endpoint(build=copied, host="h", port=port),)}, Limits(), SOCKET, SOCKET.parent)
        for port in (3001, 3002)
    )
    assert before == after


def _outliers(state: Standing) -> dict[str, Any]:
    """How hosts are passed over, of the clusters of which any are."""
    given_clusters = clusters(routes([state], state.needed), {}, Limits(), SOCKET, None)
    return {name: found for name, each in given_clusters.items() if (found := each.get("outlier_detection"))}


def test_idle_connections_are_dropped_before_a_service_drops_them() -> None:
    """Else a request meets a connection that the service is closing, and fails for nobody's fault."""
    assert Limits().upstream_idle_seconds < uvicorn.Config("app").timeout_keep_alive


def test_a_file_is_replaced_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "cds.json"
    durable.replace(path, json.dumps({"resources": [{"@type": "t", "name": "a", "x": 1}]}))
    before = path.stat().st_ino
    durable.replace(path, json.dumps({"resources": [{"@type": "t", "name": "b", "x": 2}]}))
    assert path.stat().st_ino != before
    assert read_resources(path) == {"b": {"name": "b", "x": 2}}
    assert [found.name for found in tmp_path.iterdir()] == ["cds.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resources": 5}', '{"resources": [1]}', '{"resources": [{}]}'])
def test_a_file_that_cannot_be_read_has_no_resources(tmp_path: Path, text: str) -> None:
    (tmp_path / "cds.json").write_text(text)
    assert read_resources(tmp_path / "cds.json") == {}


def test_equal_values_have_equal_digests() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_rotated_names_count_up(tmp_path: Path) -> None:
    live = tmp_path / "live.jsonl"
    assert next_rotated(live).name == "live.000001.jsonl"
    for name in ("live.000009.jsonl", "live.txt", "live.other.jsonl", "shadow.000077.jsonl"):
        (tmp_path / name).touch()
    assert next_rotated(live).name == "live.000010.jsonl"


def test_the_reason_of_a_refusal_is_found_after_the_mark(tmp_path: Path) -> None:
    log = tmp_path / "envoy.log"
    line = "[2026-11-22 13:26:33.046][10085][warning][config] [source/x.cc:1] {} rejected: {}\n"
    log.write_text(line.format("old", "an older reason"))
    mark = log.stat().st_size
    assert rejection(log, mark) is None
    with log.open("a") as file:
        file.write(line.format("new", "unknown cluster 'x'"))
    assert rejection(log, mark) == "unknown cluster 'x'"
    assert rejection(tmp_path / "none", 0) is None


def test_our_folders_are_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for folder in (tmp_path / "new" / "deep", tmp_path / "open"):
        own_folder(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(Refused, match="belongs to another user"):
        own_folder(tmp_path)


def test_a_socket_s_path_is_always_short_enough(tmp_path: Path) -> None:
    assert socket_path(tmp_path, "admin") == tmp_path / "admin.sock"
    deep = tmp_path / ("x" * 120)
    assert len(str(socket_path(deep, "admin"))) < 108
    assert socket_path(deep, "admin") != socket_path(deep, "shadow")
    assert socket_path(deep, "admin") != socket_path(tmp_path / ("y" * 120), "admin")
