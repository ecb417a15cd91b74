"""The fallback variation answers where a variation's stable cannot: killed, hung, broken off, failing; bounded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, StandIn, Terms, Weighted
from sluicegate.registry.rollout.standing import Standing
from sluicegate.registry.words.access_log import End
from sluicegate.registry.words.build import BuildRef
from sluicegate.services.client import Client
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
NY = Audience(name="ny", condition=Match(header="state", operator=Operator.EXACT, operands=("ny",)))
Services = dict[str, Upstream]


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with upstreams(build("1"), build("2"), build("3")) as running:
        yield running


@pytest.fixture
def envoy(tmp_path: Path, services: Services) -> Iterator[Gateway]:
    with gateway(tmp_path, limits=Limits(stand_in_requests=4)) as running:
        yield running
    for service in services.values():
        if service.process is None:
            service.start()
            service.wait()
        service.mode("ok")


def put(
    envoy: Gateway,
    services: Services,
    stand_in: StandIn,
    *,
    weight: int = 0,
    retry: bool = True,
    but: str = "",
    timeout: str = "30s",
) -> None:
    """`ny` with stable 2, and candidate 3 at this weight, for New York; `default` with stable 1 for the rest."""
    ends = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    ends = {ref: end for ref, end in ends.items() if ref.version != but}
    ny: Standing = replace(
        standing(stable="2", candidate="3", weight=weight, retry=retry, timeout=timeout), variation="ny"
    )
    connections = Connections(
        model="delays",
        ordered=(Connection(audience=NY, weighted=(Weighted(variation="ny"),)),),
        terms=(Terms(variation="ny", stand_in=stand_in, by_name=True),),
    )
    envoy.plane.apply(routes([standing(retry=retry, timeout=timeout), ny], ends, {"delays": connections}), ends)


def ask(envoy: Gateway, number: int = 6, callers: int = 6, body: bytes = b"{}") -> list[httpx.Response]:
    with envoy.client() as client, ThreadPoolExecutor(callers) as pool:
        post = lambda unit: client.post(  # noqa: E731
            "/delays/predict", content=body, headers={"state": "ny", "x-user-id": f"u{unit}"}
        )
        return list(pool.map(post, range(number)))


def told(answers: list[httpx.Response]) -> set[tuple[int, str | None, str | None, str | None]]:
    names = ("x-sluice-build", "x-sluice-variation", "x-sluice-stand-in")
    return {(answer.status_code, *(answer.headers.get(name) for name in names)) for answer in answers}  # type: ignore[misc]


STOOD_IN = {(200, "1", "ny", "default")}
ITS_OWN = {(200, "2", "ny", None)}


@pytest.mark.parametrize("answer", ["kill", "hang", "reset", "garbage"])
def test_the_fallback_variation_answers_for_a_stable_that_cannot(
    envoy: Gateway, services: Services, answer: str
) -> None:
    put(envoy, services, StandIn.UNREACHABLE, timeout="5s" if answer == "hang" else "30s")
    assert told(ask(envoy)) == ITS_OWN
    services["2"].kill() if answer == "kill" else services["2"].mode(answer)
    assert told(ask(envoy, body=b"x" * 2_000_000)) == STOOD_IN
    lines = [line for line in envoy.lines(12) if line.served == "1"]
    assert {(line.end, line.stand_in) for line in lines} == {(End.STOOD_IN, "default")}
    assert {line.assigned.build for line in lines if line.assigned} == {"2"}
    assert {line.assigned.variation for line in lines if line.assigned} == {"ny"}


def test_without_a_service_the_fallback_variation_answers_and_a_client_is_told(
    envoy: Gateway, services: Services
) -> None:
    put(envoy, services, StandIn.UNREACHABLE, but="2")
    assert told(ask(envoy)) == STOOD_IN
    with Client(envoy.plane.url) as client:
        answer = client.predict("delays", [{"x": 1}], metadata={"state": "ny"})
    assert (answer.variation, answer.build, answer.stand_in) == ("ny", "1", "default")
    with envoy.client() as client:
        assert client.post("/delays/variations/ny/predict", json={}).status_code == 503, "by name is by name"
    put(envoy, services, StandIn.NEVER, but="2")
    assert {answer.status_code for answer in ask(envoy)} == {503}


def test_an_error_of_its_own_is_an_answer_unless_it_was_said_that_it_is_none(
    envoy: Gateway, services: Services
) -> None:
    services["2"].mode("fail")
    put(envoy, services, StandIn.UNREACHABLE)
    assert told(ask(envoy)) == {(503, "2", "ny", None)}
    put(envoy, services, StandIn.ERRORS)
    assert told(ask(envoy)) == STOOD_IN
    services["2"].mode("ok")
    assert told(ask(envoy)) == ITS_OWN


def test_a_candidate_has_stable_behind_it_and_the_fallback_behind_both(envoy: Gateway, services: Services) -> None:
    services["3"].mode("fail")
    put(envoy, services, StandIn.ERRORS, weight=10_000)
    assert told(ask(envoy)) == ITS_OWN
    services["2"].mode("fail")
    assert told(ask(envoy)) == STOOD_IN
    services["1"].mode("fail")
    assert {answer.status_code for answer in ask(envoy)} == {503}


def test_what_must_not_be_computed_twice_is_asked_anew_only_where_it_did_not_arrive(
    envoy: Gateway, services: Services
) -> None:
    put(envoy, services, StandIn.UNREACHABLE, retry=False, timeout="1s")
    services["2"].mode("hang")
    assert {answer.status_code for answer in ask(envoy, number=4, callers=4)} <= {504}
    services["2"].mode("fail")
    put(envoy, services, StandIn.ERRORS, retry=False)
    assert told(ask(envoy, number=2)) == {(503, "2", "ny", None)}
    services["2"].kill()
    assert told(ask(envoy)) == STOOD_IN


def test_no_storm_the_fallback_s_own_callers_are_served_while_it_stands_in(envoy: Gateway, services: Services) -> None:
    """Of many who come at once because stable is gone, no more than the bound reach the service that stands in."""
    put(envoy, services, StandIn.UNREACHABLE)
    services["2"].kill()
    services["1"].mode("hold")
    with ThreadPoolExecutor(1) as pool:
        crowd = pool.submit(ask, envoy, 40, 40)
        eventually(lambda: len(envoy._logged("live", is_shadow=False)) >= 30)
        services["1"].mode("ok")
        answers = crowd.result()
    assert sum(answer.status_code == 200 for answer in answers) <= 8
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in refused} == {503}
    with envoy.client() as client:
        assert client.post("/delays/predict", json={}).status_code == 200
    assert eventually(lambda: envoy.plane.in_flight(BuildRef(model="delays", version="1")) == 0)


@pytest.mark.parametrize("answer", ["kill", "fail", "missing"])
def test_a_holdout_whose_build_cannot_answer_gets_the_promoted_one(
    envoy: Gateway, services: Services, answer: str
) -> None:
    ends = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    confirming = replace(standing(weight=5_000), is_promoted=True)
    envoy.plane.apply(routes([confirming], ends), ends)
    assert {each.headers["x-sluice-build"] for each in ask(envoy, 40)} == {"1", "2"}
    match answer:
        case "kill":
            services["1"].kill()
        case "fail":
            services["1"].mode("fail")
        case _:
            left = {ref: end for ref, end in ends.items() if ref.version != "1"}
            envoy.plane.apply(routes([confirming], left), left)
    before = len(envoy.lines(40))
    answers = ask(envoy, 40, callers=2)
    assert {(each.status_code, each.headers["x-sluice-build"]) for each in answers} == {(200, "2")}
    held_out = [line for line in envoy.lines(before + 40)[before:] if line.assigned and line.assigned.build == "1"]
    assert held_out
    assert {line.end for line in held_out} == {End.STOOD_IN}
