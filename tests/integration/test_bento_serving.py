"""Two builds served side by side by real BentoML: answers, headers, draining, and what a kill leaves."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from sluicegate.registry.plan.fields import Serve
from sluicegate.registry.rollout.facts import Packed
from sluicegate.registry.words.build import Build, BuildRef, service_name
from sluicegate.registry.words.errors import PackFailed
from sluicegate.services.bento.body_capture import bodies_log
from sluicegate.services.bento.fleet import Fleet
from sluicegate.services.bento.packer import Packer
from sluicegate.services.loopback import UnixConnection
from tests.direct_programs import DirectPrograms
from tests.integration.bento_models import ODD, logged_models

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DELAYS = BuildRef(model="delays", version="1")
WINES = BuildRef(model="Wines & Spirits/EU", version="7")
_CAPTURE = {"features": "full", "share": "100%"}
SERVE = Serve.model_validate({"timeout": "8s", "capture": _CAPTURE})
BATCHED = Serve.model_validate({"timeout": "8s", "capture": _CAPTURE, "batch": 64})
FLIGHT = {"carrier": "AA", "distance": 700, "hour": 6}
WINE = {ODD: 3.0, "class": "red"}


def eventually(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 150
    while not is_true():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; one that nobody has reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Served:
    """A fleet with both builds running."""

    home: Path
    fleet: Fleet
    programs: DirectPrograms
    packer: Packer
    packed: dict[BuildRef, Packed]

    def start(self, ref: BuildRef) -> None:
        self.fleet.start(ref, self.packed[ref], BATCHED if ref == WINES else SERVE)

    def wait(self, ref: BuildRef) -> None:
        eventually(lambda: self.fleet.probe(ref) is None, f"{ref}: {self.fleet.probe(ref)}")

    def ask(self, ref: BuildRef, path: str, body: Any, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON body of the answer."""
        (endpoint,) = self.fleet.endpoints()[ref]
        connection = UnixConnection(endpoint.socket, 30)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request("POST", path, sent, {"content-type": "application/json"} | told)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def processes(self, ref: BuildRef) -> list[psutil.Process]:
        """The parent and its workers."""
        parent = psutil.Process(self.programs.process(service_name(ref)).pid)
        return [parent, *parent.children(recursive=True)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("served")
    models = logged_models(tmp_path_factory.getbasetemp())
    packer = Packer(home / "bento", clock=lambda: datetime.now(UTC))
    packed = {
        ref: packer.pack(Build(ref=ref, source=f"models:/{name}/1"), models[name], serve=SERVE)
        for ref, name in ((DELAYS, "delays"), (WINES, "wines"))
    }
    programs = DirectPrograms()
    served = Served(
        home=home / "services",
        fleet=Fleet(home / "services", bentos=home / "bento", programs=programs),
        programs=programs,
        packer=packer,
        packed=packed,
    )
    try:
        for ref in packed:
            served.start(ref)
        for ref in packed:
            served.wait(ref)
        yield served
    finally:
        programs.close()


def test_both_answer_side_by_side(served: Served) -> None:
    assert served.fleet.running() == {DELAYS: 1, WINES: 1}
    status, headers, answer = served.ask(DELAYS, "/predict", {"inputs": [FLIGHT]})
    assert status == 200
    assert sum(answer[0]) == pytest.approx(1.0)
    assert headers["x-sluice-build"] == "delays/1"
    status, headers, answer = served.ask(WINES, "/predict", {"inputs": [WINE]})
    assert (status, answer) == (200, [{"probability": 0.3, "label": "red"}])
    assert headers["x-sluice-build"] == "Wines%20%26%20Spirits%2FEU/7"
    assert json.loads(headers["x-sluice-prediction"]) == {"c": ["probability", "label"], "r": [[0.3, "red"]]}


def test_the_request_id_comes_back(served: Served) -> None:
    for path, body in (
        ("/predict", {"inputs": [WINE]}),
        ("/predict", {}),
        ("/invocations", {"inputs": [WINE | {ODD: -1}]}),
    ):
        assert served.ask(WINES, path, body, x_request_id="a/b-7")[1]["x-request-id"] == "a/b-7"
    assert "x-request-id" not in served.ask(WINES, "/predict", {"inputs": [WINE]})[1]


def test_bodies_are_written_as_the_plan_asks(served: Served) -> None:
    assert served.ask(WINES, "/predict", {"inputs": [WINE]}, x_request_id="kept")[0] == 200
    assert served.ask(WINES, "/predict", {}, x_request_id="refused")[0] == 400
    files = bodies_log(served.home).parent.iterdir()
    lines = [json.loads(text) for path in files for text in path.read_text(encoding="utf-8").splitlines()]
    found = {line["rid"]: line for line in lines}
    assert found["kept"]["features"] == {"inputs": [WINE]}
    assert "predictions" not in found["kept"]
    assert found["kept"]["build"] == "Wines%20%26%20Spirits%2FEU/7"
    assert "refused" not in found


def test_many_rows_are_answered_and_summed_up(served: Served) -> None:
    status, headers, answer = served.ask(WINES, "/predict", {"inputs": [WINE] * 1000})
    assert status == 200
    assert len(answer) == 1000
    assert json.loads(headers["x-sluice-prediction"]) == {"n": 1000, "truncated": True}


SPLIT = {"columns": ["class", ODD], "data": [["red", 3.0]]}
CORPUS: dict[str, tuple[Any, str, int]] = {
    "BentoML's records": ({"inputs": [WINE]}, "", 200),
    "BentoML's columns": ({"inputs": {ODD: [3], "class": ["red"]}}, "", 200),
    "MLflow's split": ({"dataframe_split": SPLIT}, "", 200),
    "MLflow's records": ({"dataframe_records": [WINE]}, "", 200),
    "MLflow's instances": ({"instances": [WINE]}, "", 200),
    "the optional column": ({"inputs": [WINE | {"naïve vintage": 2}]}, "", 200),
    "params": ({"inputs": [WINE], "params": {"scale": 2}}, "", 200),
    "JSON with its charset": ({"inputs": [WINE]}, "application/json; charset=utf-8", 200),
    "JSON by another name": ({"inputs": [WINE]}, "application/vnd.api+json", 200),
    "text in JSON escapes": (b'{"inputs": [{"od280\\/od315 of wines": 3.0, "class": "r\\u00e9d"}]}', "", 200),
    "CSV": (b"class\nred\n", "text/csv", 415),
    "a form": (b"class=red", "application/x-www-form-urlencoded", 415),
    "another charset": ({"inputs": [WINE]}, "application/json; charset=latin-1", 415),
    "a pickle": (b"\x80\x04.", "application/vnd.bentoml+pickle", 415),
    "nothing": (b"", "", 400),
    "not JSON": (b"{nope", "", 400),
    "no text": (b"\xff\xfe", "", 400),
    "JSON cut short": (b'{"inputs": [', "", 400),
    "deep nesting": (b"[" * 20_000, "", 400),
    "a list": ([WINE], "", 400),
    "a string": ("red", "", 400),
    "no format": ({}, "", 400),
    "two formats": ({"inputs": [WINE], "instances": [WINE]}, "", 400),
    "an unknown key": ({"input": [WINE]}, "", 400),
    "no rows": ({"inputs": []}, "", 400),
    "a missing column": ({"inputs": [{"class": "red"}]}, "", 400),
    "an unknown column": ({"inputs": [WINE | {"vintage": 3}]}, "", 400),
    "a string for a number": ({"inputs": [WINE | {ODD: "3"}]}, "", 400),
    "a number for a string": ({"inputs": [WINE | {"class": 3}]}, "", 400),
    "a truth value for a number": ({"inputs": [WINE | {ODD: True}]}, "", 400),
    "a list in a cell": ({"inputs": [WINE | {ODD: [3]}]}, "", 400),
    "an object in a cell": ({"inputs": [WINE | {ODD: {"value": 3}}]}, "", 400),
    "rows that are numbers": ({"inputs": [1, 2]}, "", 400),
    "columns of two lengths": ({"inputs": {ODD: [3, 4], "class": ["red"]}}, "", 400),
    "a ragged split": ({"dataframe_split": SPLIT | {"data": [["red"]]}}, "", 400),
    "a split without data": ({"dataframe_split": {"columns": ["class"]}}, "", 400),
    "a split with an unknown key": ({"dataframe_split": SPLIT | {"kind": 1}}, "", 400),
    "unknown params": ({"inputs": [WINE], "params": {"scala": 2}}, "", 400),
    "params of a wrong type": ({"inputs": [WINE], "params": {"scale": "big"}}, "", 400),
    "what makes the model raise": ({"inputs": [WINE | {ODD: -1}]}, "", 500),
}


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
@pytest.mark.parametrize(("body", "content_type", "wanted"), CORPUS.values(), ids=CORPUS)
def test_every_request_gets_the_right_status(
    served: Served, path: str, body: Any, content_type: str, wanted: int
) -> None:
    headers = {"content_type": content_type} if content_type else {}
    status, answered, answer = served.ask(WINES, path, body, **headers)
    assert status == wanted
    assert answered["x-sluice-build"]
    assert ("x-sluice-prediction" in answered) == (wanted == 200)
    match wanted:
        case 200:
            assert (answer["predictions"] if path == "/invocations" else answer)[0]["probability"] >= 0.3
        case 400:
            assert all(problem["where"] and problem["what"] and problem["fix"] for problem in answer["problems"])
        case 500:
            assert answer["error"] == "the model raised ValueError: a wine below zero"


def test_after_all_that_it_still_answers(served: Served) -> None:
    assert served.fleet.probe(WINES) is None
    assert served.fleet.gave_up(WINES) is None


def test_who_waits_for_a_busy_model_is_answered_for_his_own_rows_though_others_fail_or_leave(served: Served) -> None:
    got: dict[int, tuple[int, dict[str, str], Any]] = {}

    def ask(number: int) -> None:
        wine = {ODD: -1.0 if number == 7 else number / 10, "class": "slow" if number == 10 else f"n{number}"}
        params = {"params": {"scale": number % 2}} if number > 20 else {}
        got[number] = served.ask(
            WINES, "/predict", {"inputs": [wine] * (1 + number % 3)} | params, x_request_id=f"{number}"
        )

    def leave() -> None:
        connection = UnixConnection(served.fleet.endpoints()[WINES][0].socket, 30)
        body = json.dumps({"inputs": [{ODD: 1.0, "class": "gone"}]})
        connection.request("POST", "/predict", body, {"content-type": "application/json"})
        connection.close()

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(10, 40)]
    callers += [threading.Thread(target=ask, args=(7,)), threading.Thread(target=leave)]
    callers[0].start()
    time.sleep(0.3)  # it keeps the model for a second
    for caller in callers[1:]:
        caller.start()
    for caller in callers:
        caller.join()
    status, _, answer = got.pop(7)
    assert (status, answer) == (500, {"error": "the model raised ValueError: a wine below zero"})
    for number, (status, headers, answer) in got.items():
        scale = number % 2 if number > 20 else 1
        row = {"probability": number / 10 * scale / 10, "label": "slow" if number == 10 else f"n{number}"}
        assert (status, answer) == (200, [row] * (1 + number % 3)), number
        assert headers["x-request-id"] == f"{number}"
        assert json.loads(headers["x-sluice-prediction"])["r"] == [list(row.values())] * (1 + number % 3)


def test_it_counts_where_the_time_of_answered_requests_goes(served: Served) -> None:
    before = {each.stage: each for each in served.fleet.stage_times(WINES)}
    began = time.monotonic()
    for _ in range(3):
        assert served.ask(WINES, "/predict", {"inputs": [{ODD: 0.2, "class": "slow"}]})[0] == 200
    assert served.ask(WINES, "/predict", {"inputs": []})[0] == 400
    waited = time.monotonic() - began
    after = {each.stage: each for each in served.fleet.stage_times(WINES)}
    assert list(after) == ["reader", "model", "writer", "server"]
    assert {after[stage].requests - before[stage].requests for stage in after} == {3}
    spent = {stage: after[stage].seconds - before[stage].seconds for stage in after}
    assert 0.6 <= spent["model"] <= sum(spent.values()) <= waited
    assert served.fleet.stage_times(BuildRef(model="delays", version="9")) == ()


def test_bentomls_own_client_works(served: Served) -> None:
    import bentoml

    with bentoml.SyncHTTPClient(f"file://{served.fleet.endpoints()[DELAYS][0].socket}", timeout=30) as client:
        answer = client.predict(inputs=[FLIGHT])
    assert sum(answer[0]) == pytest.approx(1.0)


def test_the_service_page_names_the_columns(served: Served) -> None:
    (endpoint,) = served.fleet.endpoints()[WINES]
    connection = UnixConnection(endpoint.socket, 30)
    connection.request("GET", "/schema.json")
    routes = {route["name"]: route for route in json.loads(connection.getresponse().read())["routes"]}
    connection.close()
    row = routes["predict"]["input"]["properties"]["inputs"]["items"]
    assert set(row["properties"]) == {ODD, "class", "naïve vintage"}
    assert row["required"] == [ODD, "class"]
    assert set(routes["predict"]["output"]["items"]["properties"]) == {"probability", "label"}


def test_no_secret_reaches_the_service(served: Served) -> None:
    secret = {key for key in os.environ if "TOKEN" in key or "SECRET" in key or "PASSWORD" in key}
    for process in served.processes(DELAYS):
        assert not secret & process.environ().keys()


def test_starting_twice_changes_nothing(served: Served) -> None:
    before = served.programs.process(service_name(DELAYS)).pid
    (endpoint,) = served.fleet.endpoints()[DELAYS]
    served.start(DELAYS)
    assert served.programs.process(service_name(DELAYS)).pid == before
    assert served.fleet.endpoints()[DELAYS] == (endpoint,)


def test_answers_in_flight_are_given_before_the_end(served: Served) -> None:
    """SIGTERM drains. The service is started again for the next test, at the same place."""
    got: list[int] = []
    slow = threading.Thread(
        target=lambda: got.append(served.ask(WINES, "/predict", {"inputs": [{ODD: 3.0, "class": "slow"}]})[0])
    )
    processes = served.processes(WINES)
    (endpoint,) = served.fleet.endpoints()[WINES]
    slow.start()
    time.sleep(1)
    served.programs.remove(service_name(WINES))
    slow.join()
    assert got == [200]
    assert not any(map(lives, processes))
    assert served.fleet.running() == {DELAYS: 1}
    assert served.fleet.endpoints()[WINES] == (endpoint,)
    served.start(WINES)
    assert served.fleet.endpoints()[WINES] == (endpoint,)
    served.wait(WINES)


def test_nothing_listens_but_a_socket_of_its_owner(served: Served) -> None:
    """No port of a process arbiter, through which any user of the machine could have a command run."""
    socket = Path(served.fleet.endpoints()[DELAYS][0].socket)
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (socket, socket.parent)] == [0, 0]
    for process in served.processes(DELAYS):
        assert not [each for each in process.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN]
        named = {each.laddr for each in process.net_connections(kind="unix") if each.laddr}
        assert {Path(name).name.removeprefix(".") for name in named} <= {socket.name}


def test_a_killed_worker_is_followed_by_another_and_until_then_callers_are_turned_away_at_once(served: Served) -> None:
    parent, worker, *_ = served.processes(DELAYS)
    eventually(lambda: time.time() - worker.create_time() > 31, "the worker has settled")
    socket = served.fleet.endpoints()[DELAYS][0].socket
    waiting = UnixConnection(socket, 60)
    worker.suspend()
    waiting.request("POST", "/predict", b"{}", {"content-type": "application/json"})
    worker.send_signal(signal.SIGKILL)
    with pytest.raises((ConnectionError, http.client.HTTPException)):  # and not a timeout
        waiting.getresponse()
    eventually(lambda: not Path(socket).exists(), "the door is shut")
    with pytest.raises(FileNotFoundError):
        served.ask(DELAYS, "/predict", {})
    served.wait(DELAYS)
    assert lives(parent)
    assert not lives(worker)


def test_while_a_killed_parent_is_followed_by_another_its_worker_answers_and_then_ends(served: Served) -> None:
    parent, *workers = served.processes(WINES)
    assert workers
    assert served.fleet.ready(WINES) == set(served.fleet.endpoints()[WINES])
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(served.ask(WINES, "/predict", {"inputs": [WINE]})[0])

    callers = [threading.Thread(target=ask) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        parent.send_signal(signal.SIGKILL)
        eventually(lambda: not served.fleet.ready(WINES), "a worker alone is no service that is ready")
        time.sleep(2)
        assert all(map(lives, workers)), "it answers until somebody else does"
        served.start(WINES)
        eventually(lambda: bool(served.fleet.ready(WINES)), "nobody follows")
        eventually(lambda: not any(map(lives, workers)), f"workers live on: {workers}")
        counted = len(answers)
        eventually(lambda: len(answers) > counted + 20, "the new one does not answer")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert Counter(answers).keys() == {200}, Counter(answers)


def test_a_killed_parent_leaves_no_worker_behind_a_service_that_is_stopped(served: Served) -> None:
    parent, *workers = served.processes(WINES)
    assert workers
    parent.send_signal(signal.SIGKILL)
    served.fleet.stop(WINES)
    eventually(lambda: not any(map(lives, workers)), f"workers live on: {workers}")
    assert served.fleet.endpoints().keys() == {DELAYS}
    assert served.fleet.probe(WINES) == f"{WINES} was not started"


def test_a_flipped_byte_is_not_served(served: Served) -> None:
    packed = served.packed[WINES]
    path: Path = served.packer.store.model(packed.bento) / "MLmodel"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"wine", b"wina", 1) if b"wine" in content else content[:-1] + b"#")
    with pytest.raises(PackFailed, match="was changed after it was packed"):
        served.start(WINES)
    path.write_bytes(content)
    assert WINES not in served.fleet.endpoints()


def test_a_model_that_cannot_be_loaded_is_given_up(served: Served, tmp_path: Path) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(served.packer.store.model(served.packed[DELAYS].bento), broken)
    (broken / "model.skops").write_bytes(b"no model")
    ref = BuildRef(model="broken", version="1")
    packed = served.packer.pack(Build(ref=ref, source="models:/m"), broken, serve=SERVE)
    served.fleet.start(ref, packed, SERVE)
    eventually(lambda: served.fleet.gave_up(ref) is not None, "never given up")
    assert "the model cannot be loaded: BadZipFile" in str(served.fleet.gave_up(ref))
    served.fleet.stop(ref)
    assert ref not in served.fleet.endpoints()
