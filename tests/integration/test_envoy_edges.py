"""What callers may and may not do at the gateway's edge, and what Envoy accepts as configuration."""

from __future__ import annotations

import json
import re
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest
import requests

from sluicegate import Client
from sluicegate.registry.words.access_log import LogLine, UnitSource
from sluicegate.registry.words.build import BuildRef, Endpoint, slug
from sluicegate.registry.words.errors import RoutesRejected
from sluicegate.services import durable
from sluicegate.services.traffic.envoy.limits import Limits
from sluicegate.services.traffic.routes import routes
from sluicegate.services.traffic.table import assign
from tests import plain_http
from tests.integration.traffic_rig import Gateway, Upstream, build, eventually, gateway, standing, upstreams

pytestmark = pytest.mark.slow
ODD = "Fluge & Verspätung?"
NAMES = (
    ODD,
    'it\'s "quoted" (2)',
    "".join(map(chr, range(0x20, 0x7F))).translate(str.maketrans("", "", "/:\\")),
    "模型🙂",
    "ü" * 200,
    "100%41",
    "a;b=c",
    "~plain-_.",
)
PCHAR = "!$&'()*+,;=@"
LIMITS = Limits(body_bytes=100_000, header_kilobytes=8, headers_seconds=1.0)


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Upstream]]:
    with upstreams(build("1"), build("2")) as running:
        yield running


def everywhere(services: dict[str, Upstream]) -> dict[BuildRef, Endpoint]:
    builds = [build(version, model) for version in services for model in ("delays", *NAMES)]
    return {ref: (replace(services[ref.version].endpoint, build=ref),) for ref in builds}


def logged(envoy: Gateway, answer: httpx.Response) -> LogLine:
    """The line of this answer's request."""
    request = answer.headers["x-request-id"]
    return eventually(lambda: next((line for line in envoy.lines(1) if line.request_id == request), None))


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory, services: dict[str, Upstream]) -> Iterator[Gateway]:
    """Two models behind one gateway, one of them with a name that is not fit for a URL."""
    with gateway(tmp_path_factory.mktemp("edge"), limits=LIMITS) as running:
        odd = standing(model=ODD, unit="X-Account", weight=5000)
        others = [standing(model=name) for name in NAMES if name != ODD]
        running.plane.apply(routes([standing(weight=5000), odd, *others], everywhere(services)), everywhere(services))
        yield running


def test_what_only_the_gateway_may_say_is_taken_from_callers(envoy: Gateway) -> None:
    forged = {
        "x-request-id": "mine", "x-sluice-assigned": "default;candidate;2;r-7;1;1", "x-sluice-unit": "somebody",
        "x-sluice-anything": "1", "x-envoy-retry-on": "5xx", "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-original-path": "/elsewhere/predict", "x-user-id": "u1",
    }  # fmt: skip
    with envoy.client() as client:
        answer = client.post("/delays/predict?seen=1", json={}, headers=forged)
    got = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert got["x-sluice-unit"] == "u1"
    assert got["x-sluice-assigned"].endswith(";r-7;1;5000")
    assert got["x-request-id"] == answer.headers["x-request-id"] != "mine"
    assert not {"x-sluice-anything", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms"} & got.keys()
    line = logged(envoy, answer)
    assert (line.unit, line.path, line.prediction) == ("u1", "/delays/predict", '{"p": [0.25]}')


def test_the_answer_names_request_and_build_and_keeps_the_prediction_summary_back(envoy: Gateway) -> None:
    with envoy.client() as client:
        answer = client.post("/delays/invocations", json={})
    assert answer.json()["path"] == "/invocations"
    assert answer.headers["x-sluice-build"] == answer.json()["build"]
    assert answer.headers["x-other"] == "kept"
    assert not {"x-sluice-prediction", "x-envoy-upstream-service-time"} & answer.headers.keys()


def test_the_answer_tells_variation_audience_and_reason_and_nothing_of_the_rollout(envoy: Gateway) -> None:
    with envoy.client() as client:
        by_hash = client.post("/delays/predict", json={}, headers={"x-user-id": "u1"})
        at_random = client.post("/delays/predict", json={})
    told = {name: value for name, value in by_hash.headers.items() if name.startswith("x-sluice-")}
    build_name = told.pop("x-sluice-build")
    assert build_name in ("1", "2")
    assert told == {"x-sluice-variation": "default", "x-sluice-audience": "default", "x-sluice-reason": "hash"}
    assert at_random.headers["x-sluice-reason"] == "random"


def test_a_model_tells_which_header_it_hashes(envoy: Gateway) -> None:
    with envoy.client() as client:
        delays, odd = client.get("/delays"), client.get("/Fluge%20%26%20Versp%C3%A4tung%3F")
    assert delays.headers["content-type"] == "application/json"
    assert delays.json() == {"model": "delays", "unit": "x-user-id"}
    assert odd.json() == {"model": ODD, "unit": "X-Account"}


def test_models_are_found_by_path_and_by_host_name(envoy: Gateway) -> None:
    with envoy.client() as client:
        by_path = client.post("/Fluge%20%26%20Versp%C3%A4tung%3F/predict", json={}, headers={"x-account": "a"})
        by_host = client.post("/predict", json={}, headers={"host": f"{slug(ODD)}.models.example", "x-account": "a"})
        other = client.post("/predict", json={}, headers={"host": "DELAYS.models.example:80"})
    assert [answer.status_code for answer in (by_path, by_host, other)] == [200] * 3
    assert by_path.headers["x-sluice-build"] == by_host.headers["x-sluice-build"]
    assert [logged(envoy, answer).model for answer in (by_path, by_host, other)] == [ODD, ODD, "delays"]


def spellings(name: str) -> set[str]:
    """A name as RFC 3986 lets it be written, in many ways that mean the same."""
    escaped = quote(name, safe="")
    lower = re.sub("%..", lambda each: each[0].lower(), escaped)
    mixed = re.sub("%([0-9A-F])([0-9A-F])", lambda each: f"%{each[1].lower()}{each[2]}", escaped)
    whole = "".join(f"%{byte:02x}" for byte in name.encode())
    return {
        escaped,
        lower,
        mixed,
        whole,
        whole.upper(),
        quote(name, safe=PCHAR),
        quote(name, safe="!'()*"),
        quote(name, safe="[]@"),
    }


def asked_by_hand(
    envoy: Gateway, path: str, version: str = "1.1", method: str = "GET"
) -> tuple[int, dict[str, object]]:
    """Status and body for a path that nobody on the way writes in another way."""
    host = "host: g\r\n" if version == "1.1" else ""
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=60) as link:
        body = "content-length: 2\r\n\r\n{}" if method == "POST" else "\r\n"
        link.sendall(f"{method} {path} HTTP/{version}\r\n{host}{body}".encode())
        answer = HTTPResponse(link)
        answer.begin()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_leads_to_its_model_however_it_is_spelled(envoy: Gateway, name: str) -> None:
    unit = "X-Account" if name == ODD else "x-user-id"
    for spelled in spellings(name):
        status, about = asked_by_hand(envoy, f"/{spelled}?x=%20y")
        assert (status, about) == (200, {"model": name, "unit": unit}), spelled
        assert asked_by_hand(envoy, f"/{spelled}/predict", method="POST")[0] == 200, spelled
        assert asked_by_hand(envoy, f"/{spelled}x")[0] == 404, spelled


@pytest.mark.parametrize("name", NAMES)
def test_each_client_s_own_spelling_is_understood(envoy: Gateway, name: str) -> None:
    typed, escaped = name.replace("%", "%25").replace("?", "%3F").replace("#", "%23"), quote(name, safe="")
    assert plain_http.get(f"{envoy.plane.url}/{typed}").json()["model"] == name
    assert requests.get(f"{envoy.plane.url}/{typed}", timeout=60).json()["model"] == name
    assert requests.get(f"{envoy.plane.url}/{escaped}", timeout=60).json()["model"] == name
    command = ["curl", "-s", "--globoff", "--path-as-is", f"{envoy.plane.url}/{quote(name, safe=PCHAR + '[]^`{|}<>')}"]
    assert json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)["model"] == name
    with Client(envoy.plane.url) as client:
        assert client.predict(name, [{"x": 1}], unit="u").request_id


def test_http_1_0_is_spoken(envoy: Gateway) -> None:
    """As by proxies and load tests that never learned more."""
    assert asked_by_hand(envoy, "/delays", "1.0")[1] == {"model": "delays", "unit": "x-user-id"}
    assert asked_by_hand(envoy, "/delays/predict", "1.0", method="POST")[0] == 200


@pytest.mark.parametrize("path", ["/a%5Cb", "/a%00b", "/a b", "/ü", "/delays#x"])
def test_a_request_that_cannot_be_read_is_told_so(envoy: Gateway, path: str) -> None:
    status, answer = asked_by_hand(envoy, path)
    assert status == 400
    assert str(answer["error"]).startswith("the gateway cannot read this request: ")
    assert len(str(answer["error"]).rpartition(": ")[2]) > 5


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/delays/predict"), ("POST", "/delays/metrics"), ("POST", "/delays"), ("POST", "/predict"),
        ("POST", "/nothing/predict"), ("POST", "/delays/predict/x"), ("GET", "/docs.json"),
        ("POST", "/delays/../metrics"), ("POST", "/delays/x/../predict/.."),
    ],
)  # fmt: skip
def test_anything_else_is_a_404_in_json(envoy: Gateway, method: str, path: str) -> None:
    with envoy.client() as client:
        answer = client.request(method, path)
    assert answer.status_code == 404
    assert "POST /{model}/predict" in answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"


def test_limits_of_body_and_headers(envoy: Gateway) -> None:
    with envoy.client() as client:
        assert client.post("/delays/predict", content=b"x" * 99_000).status_code == 200
        assert client.post("/delays/predict", content=b"x" * 101_000).status_code == 413
        chunks = (b"x" * 10_000 for _ in range(20))
        assert client.post("/delays/predict", content=chunks).status_code == 413
        assert client.post("/delays/predict", headers={"x-long": "x" * 9_000}).status_code == 431
        many = {f"x-{number}": "1" for number in range(120)}
        assert client.post("/delays/predict", headers=many).status_code == 431


def test_a_caller_that_does_not_finish_its_headers_is_turned_away(envoy: Gateway) -> None:
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=20) as link:
        link.sendall(b"POST /delays/predict HTTP/1.1\r\nhost: g\r\nx-slow: ")
        assert link.recv(4096).startswith(b"HTTP/1.1 408")


def test_http2_is_spoken(envoy: Gateway) -> None:
    with envoy.client(http1=False, http2=True) as client:
        answer = client.post("/delays/predict", json={})
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)


@pytest.mark.parametrize("unit", ["ü", "日本", "a b", "a\\1", "%REQ(:path)%", "a;b", '"', "x" * 500])
def test_odd_units_are_hashed_as_they_are_and_logged_so(
    envoy: Gateway, services: dict[str, Upstream], unit: str
) -> None:
    with envoy.client() as client:
        answer = client.post("/delays/predict", json={}, headers={"x-user-id": unit.encode()})
    line = logged(envoy, answer)
    assert line.unit == unit
    route = routes([standing(weight=5000)], everywhere(services)).model("delays")
    computed = assign(route, route.audiences[-1], unit, lambda _: 0)
    assert answer.headers["x-sluice-build"] == computed.build.version


@pytest.mark.parametrize("units", [[], [""], ["a", "b"], ["a,b"], ["", "a"]])
def test_a_request_without_exactly_one_unit_is_assigned_at_random(envoy: Gateway, units: list[str]) -> None:
    with envoy.client() as client:
        answer = client.post("/delays/predict", json={}, headers=[("x-user-id", unit) for unit in units])
    line = logged(envoy, answer)
    assert (line.unit, line.unit_source) == (None, UnitSource.RANDOM)


def test_admin_answers_on_a_private_socket_only(envoy: Gateway) -> None:
    path = envoy.plane.places.admin_socket
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert envoy.process is not None
    listening = {
        (link.laddr.ip, link.laddr.port)
        for link in psutil.Process(envoy.process.pid).net_connections("inet")
        if link.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", envoy.plane.places.port)}


def test_a_folder_whose_path_is_too_long_for_a_socket_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{short}/run")
        with gateway(tmp_path / ("long" * 20) / ("deep" * 10)) as running:
            assert running.plane.observe() is not None
            sockets = running.plane.places.admin_socket.parent
            assert (sockets.name, stat.S_IMODE(sockets.stat().st_mode)) == ("run", 0o700)


def test_what_envoy_would_refuse_never_reaches_it(tmp_path: Path, services: dict[str, Upstream]) -> None:
    """A header that may not be named so is refused by Envoy, not by us; its own reason is told."""
    endpoints = {build("1"): (services["1"].endpoint,)}
    with gateway(tmp_path) as running:
        running.plane.apply(routes([standing()], endpoints), endpoints)
        before, file = running.plane.observe(), running.plane.places.routes.read_text()
        with pytest.raises(RoutesRejected, match=r"would reject.*HeaderMatcherValidationError.*former ones stay"):
            running.plane.apply(routes([standing(unit="x user\n")], endpoints), endpoints)
        assert (running.plane.observe(), running.plane.places.routes.read_text()) == (before, file)
        assert running.plane._admin.stats(r"rds\.sluice\.update_rejected$") == {
            "http.live.rds.sluice.update_rejected": 0
        }


def test_a_shape_is_validated_once_whatever_its_weights(tmp_path: Path, services: dict[str, Upstream]) -> None:
    endpoints = {service.endpoint.build: (service.endpoint,) for service in services.values()}
    with gateway(tmp_path) as running:
        seen = []
        for weight in (1000, 2000, 3000, 0, 4000):
            state = standing(weight=weight, epoch=weight)
            running.plane.apply(routes([state], endpoints), endpoints)
            seen.append((tmp_path / "validated.json").stat().st_mtime_ns)
    assert seen[0] == seen[1] == seen[2] < seen[3] == seen[4]


def mangled(routes: str) -> str:
    """Routes with a pattern that is none."""
    return routes.replace("[^,]+", "[^,+").replace('"version_info":"', '"version_info":"x')


def test_the_serving_envoy_s_reason_is_told_and_the_former_file_is_back(
    tmp_path: Path, services: dict[str, Upstream]
) -> None:
    endpoints = {build("1"): (services["1"].endpoint,)}
    with gateway(tmp_path) as running:
        running.plane.apply(routes([standing()], endpoints), endpoints)
        before, good = running.plane.observe(), running.plane.places.routes.read_text()
        with pytest.raises(RoutesRejected, match=r"rds\.json.*missing \]: \[\^,\+"):
            running.plane._routes.push(mangled(good), "any")
        assert (running.plane.observe(), running.plane.places.routes.read_text()) == (before, good)


def test_what_was_refused_is_not_on_disk_even_after_a_crash(tmp_path: Path, services: dict[str, Upstream]) -> None:
    """The writer died after publishing what Envoy refused: the next refusal still puts the good one back."""
    endpoints = {build("1"): (services["1"].endpoint,)}
    with gateway(tmp_path) as running:
        running.plane.apply(routes([standing()], endpoints), endpoints)
        good = running.plane.places.routes.read_text()
        durable.replace(running.plane.places.routes, "{")
        with pytest.raises(RoutesRejected):
            running.plane._routes.push(mangled(good), "any")
        assert running.plane.places.routes.read_text() == good


@pytest.mark.parametrize("version", ["foreign", None])
def test_a_foreign_change_of_the_files_is_put_right(
    tmp_path: Path, services: dict[str, Upstream], version: str | None
) -> None:
    """Also one that keeps the version."""
    endpoints = {build("1"): (services["1"].endpoint,)}
    table = routes([standing()], endpoints)
    with gateway(tmp_path) as running:
        running.plane.apply(table, endpoints)
        nothing = lambda: plain_http.get(f"{running.plane.url}/nothing").status_code  # noqa: E731
        foreign = running.plane.places.routes.read_text().replace('"status":404', '"status":418')
        durable.replace(running.plane.places.routes, foreign.replace(table.version, version or table.version))
        assert eventually(lambda: nothing() == 418)
        running.plane.apply(table, endpoints)
        assert eventually(lambda: nothing() == 404)
        assert running.plane.observe() == table.version


def test_a_file_that_was_deleted_is_written_again(tmp_path: Path, services: dict[str, Upstream]) -> None:
    endpoints = {build("1"): (services["1"].endpoint,)}
    table = routes([standing()], endpoints)
    with gateway(tmp_path) as running:
        for _ in range(2):
            running.plane.apply(table, endpoints)
        text = running.plane.places.routes.read_text()
        running.plane.places.routes.unlink()
        running.plane.apply(table, endpoints)
        assert running.plane.places.routes.read_text() == text


@pytest.mark.parametrize("path", ["/delays%2Fpredict", "/delays/%2e%2e%2fdelays/predict", "/delays%5cpredict"])
def test_an_escaped_slash_is_refused(envoy: Gateway, path: str) -> None:
    with socket.create_connection((envoy.plane.places.host, envoy.plane.places.port), timeout=60) as link:
        link.sendall(f"POST {path} HTTP/1.1\r\nhost: g\r\ncontent-length: 2\r\n\r\n{{}}".encode())
        assert link.recv(4096).startswith(b"HTTP/1.1 400")


def test_readiness(envoy: Gateway) -> None:
    assert plain_http.get(f"{envoy.plane.url}/-/ready").status_code == 200
