"""One variation by its name, through a real Envoy: whoever asks, however the path is spelled."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from sluicegate.registry.audience.audience import Audience, Match, Operator
from sluicegate.registry.audience.connections import Connection, Connections, Terms, Weighted
from sluicegate.registry.words.access_log import UnitSource
from sluicegate.registry.words.build import slug
from sluicegate.services.client import AsyncClient, Client
from sluicegate.services.traffic.routes import routes
from tests.integration.test_envoy_edges import ODD, asked_by_hand
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs/how-to/send-audiences-to-variations.md"
NY = Audience(name="ny", condition=Match(header="state", operator=Operator.REGEX, operands=("n.*",)))
"""A pattern, so that audiences are found out by CEL."""


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2"), build("3")) as running:
        yield running


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory, services: dict[str, Upstream]) -> Iterator[Gateway]:
    """Of each model: `default` with a candidate of 90 %, `dark` that nobody is sent to, `shut` for no one by name."""
    names = ("fraud", ODD)
    ends = {
        build(v, model): (replace(each.endpoint, build=build(v, model)),)
        for v, each in services.items()
        for model in names
    }
    with gateway(tmp_path_factory.mktemp("by-name")) as running:
        standings = [
            each
            for model in names
            for each in (
                standing(model=model, weight=9000),
                replace(standing(model=model, stable="3"), variation="dark"),
                replace(standing(model=model), variation="shut"),
            )
        ]
        terms = tuple(Terms(variation=name, by_name=True) for name in ("dark", "default"))
        ordered = (Connection(audience=NY, weighted=(Weighted(variation="shut"),)),)
        running.plane.apply(
            routes(standings, ends, {m: Connections(model=m, ordered=ordered, terms=terms) for m in names}), ends
        )
        yield running


def test_each_name_gets_its_stable_build_whoever_asks(envoy: Gateway) -> None:
    with envoy.client() as client:
        for variation, version in (("dark", "3"), ("default", "1")):
            for number in range(20):
                sent = {"x-user-id": f"u{number}", "state": "ny"}
                answer = client.post(f"/fraud/variations/{variation}/predict", json={}, headers=sent)
                told = {name: value for name, value in answer.headers.items() if name.startswith("x-sluice-")}
                assert (answer.status_code, told) == (
                    200, {"x-sluice-build": version, "x-sluice-variation": variation, "x-sluice-reason": "name"},
                )  # fmt: skip
                line = eventually(
                    lambda answer=answer: next(
                        (x for x in envoy.lines(1) if x.request_id == answer.headers["x-request-id"]), None
                    )
                )
                assert (line.unit_source, line.unit, line.audience) == (UnitSource.NAME, None, None)
                assert line.assigned is not None
                assert (line.assigned.rollout, line.assigned.weight, line.served) == (None, 0, version)
        assert client.post("/fraud/predict", json={}, headers={"state": "ny"}).headers["x-sluice-variation"] == "shut"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("variations/dark/predict", 200), ("variations/dark/invocations?x=1", 200), ("variations/d%61rk/predict", 200),
        ("variations/../variations/dark/predict", 200), ("variations/shut/predict", 403),
        ("variations/shut/predict?variation=dark", 403), ("variations/Dark/predict", 404),
        ("variations/dar/predict", 404), ("variations/dark/predict/", 404), ("variations/dark/predicts", 404),
        ("variations//predict", 404), ("variations//dark/predict", 404), ("variations/dark%2Fpredict", 400),
        ("variations/dark", 404), ("variations", 404), ("variations/shut/../dark/predict", 200),
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["fraud", ODD])
def test_a_path_leads_where_it_says_or_nowhere(envoy: Gateway, model: str, path: str, status: int) -> None:
    got, body = asked_by_hand(envoy, f"/{quote(model, safe='')}/{path}", method="POST")
    assert got == status, body
    if status == 403:
        assert f"callers may not ask for {model}/shut by name" in str(body["error"])
    if re.fullmatch("variations/.*/predict", path) and status == 404 and "//" not in path:
        assert "variations that may be asked for by name: dark, default" in str(body["error"])


def test_by_host_name_as_by_path(envoy: Gateway) -> None:
    with envoy.client() as client:
        for model in ("fraud", ODD):
            host = {"host": f"{slug(model)}.models.example"}
            answers = {
                name: client.post(f"/variations/{name}/predict", json={}, headers=host).status_code
                for name in ("dark", "shut", "none")
            }
            assert answers == {"dark": 200, "shut": 403, "none": 404}


def test_large_bodies_go_there_too(envoy: Gateway) -> None:
    with envoy.client() as client:
        for size in (40_000, 2_000_000):
            answer = client.post("/fraud/variations/dark/predict", content=b"x" * size)
            assert (answer.status_code, answer.headers["x-sluice-build"]) == (200, "3")


def test_the_client_asks_by_name_as_the_page_shows(envoy: Gateway) -> None:
    """The page's example runs as it stands, and prints what stands below it."""
    page = PAGE.read_text()
    code, printed = re.findall(r"```python\n(.*?variation=.*?)```\n\n```text\n(.*?)```", page, re.DOTALL)[-1]
    with Client(envoy.plane.url) as client, contextlib.redirect_stdout(io.StringIO()) as shown:
        exec(code, {"client": client, "rows": [{"amount": 12}]})
    assert shown.getvalue() == printed

    async def once() -> str:
        async with AsyncClient(envoy.plane.url) as client:
            return (await client.predict("fraud", [{"amount": 12}], variation="dark", unit="u-17")).reason

    assert asyncio.run(once()) == "name"
