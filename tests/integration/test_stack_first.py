"""What a plan asks before the first request, on a whole stack and through every door; then a deployment file of Qwak's,
two people, a jump and hooks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex
from typing import Any

import httpx
import pytest

from tests import plain_http
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PLAN = """\
kind: plan
model: wine
unit: x-user-id
serve: {timeout: 30s, capture: {features: full, share: 100%}}
metrics:
  errors: {source: status}
gates:
  - {metric: errors, alpha: 0.02, below: 8%}
steps:
  - {weight: 20, min_requests: 100000}
  - {weight: 50, min_requests: 100000}
"""
OFFLINE = "offline: [{metric: val_auc, worse: lower, margin: 1%}]\n"
REPLAY = "replay: {gates: [{metric: errors, below: 8%}]}\n"
QWAK = """\
model_id: wine
build_id: 1
realtime:
  variation_name: b
  audiences:
    - name: new-york
      conditions:
        unary:
          - {key: location, operator: UNARY_OPERATOR_TYPE_EXACT_MATCH, operand: new-york}
      routes:
        - {variation_name: b, weight: 100, shadow: false}
  fallback_variation: default
"""


class Heard(ThreadingHTTPServer):
    """Somebody who is told, and takes the news the second time."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Ear)
        self.news: list[dict[str, Any]] = []


class Ear(BaseHTTPRequestHandler):
    server: Heard

    def do_POST(self) -> None:
        self.server.news.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(503 if len(self.server.news) == 1 else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def heard() -> Iterator[Heard]:
    server = Heard()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack(plan_text=PLAN, environment={"SLUICE_CHECK_HOSTS": "127.0.0.1"}) as running:
        yield running


class Callers(Load):
    """A few callers: what is tested takes its time, and nothing depends on how many they are."""

    def ask(self, unit: str, value: float) -> tuple[int, dict[str, str]]:
        time.sleep(0.05)
        return super().ask(unit, value)


@pytest.fixture(scope="module")
def load(stack: Stack) -> Iterator[Load]:
    with Callers(stack.urls()["gateway"]).running(1) as load:
        yield load


def apply(stack: Stack, more: str) -> None:
    path = stack.state / "plan.yaml"
    path.write_text(PLAN + more)
    stack.run("apply", "-f", str(path))


def mlflow(stack: Stack, method: str, path: str, **body: object) -> Any:
    """Ask MLflow as any client would."""
    known = stack.clients()
    answer = plain_http.request(
        method, f"{known['MLFLOW_TRACKING_URI']}/api/2.0/mlflow{path}", timeout=30,
        auth=(known["MLFLOW_TRACKING_USERNAME"], known["MLFLOW_TRACKING_PASSWORD"]),
        **({"params": body} if method == "GET" else {"json": body}),
    )  # fmt: skip
    return answer.raise_for_status().json()


def api(stack: Stack, path: str, token: str = "", **body: object) -> httpx.Response:
    known = stack.clients()
    headers = {"authorization": f"Bearer {token or known['SLUICE_TOKEN']}"}
    return plain_http.post(f"{known['SLUICE_API']}{path}", json=body, headers=headers, timeout=60)


def log_auc(stack: Stack, version: str, value: float) -> None:
    """Log a metric to the run that made a version."""
    run = mlflow(stack, "GET", "/model-versions/get", name=MODEL, version=version)["model_version"]["run_id"]
    mlflow(stack, "POST", "/runs/log-metric", run_id=run, key="val_auc", value=value, timestamp=1, step=0)


def open_door(stack: Stack, door: str, version: str) -> None:
    """Ask for the version's rollout, each time in another way."""
    match door:
        case "command":
            stack.ask("rollout", "start", MODEL, "--build", version)
        case "api":
            api(stack, "/api/v1/rollouts", model=MODEL, build=version).raise_for_status()
        case "prefect":
            run_deployment(stack, "canary/canary", {"order": {"model": MODEL, "build": version}})
        case "alias, seen by the scheduled watch":
            apply(stack, OFFLINE + "trigger: {alias: candidate}\n")
            mlflow(stack, "POST", "/registered-models/alias", name=MODEL, alias="candidate", version=version)
            run_deployment(stack, "watch/watch", {})
        case "tag":
            apply(stack, OFFLINE + "trigger: {tag: {deploy: 'yes'}}\n")
            mlflow(stack, "POST", "/model-versions/set-tag", name=MODEL, version=version, key="deploy", value="yes")
        case "stage":
            apply(stack, OFFLINE + "trigger: {stage: Production}\n")
            mlflow(stack, "POST", "/model-versions/transition-stage", name=MODEL, version=version, stage="Production")


def run_deployment(stack: Stack, name: str, parameters: dict[str, Any]) -> None:
    """Prefect answers 503 while its database is busy, and says that one may try again."""
    for _ in range(5):
        try:
            stack.run_deployment(name, parameters)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 503:
                raise
            time.sleep(2)
        else:
            return
    raise AssertionError(f"Prefect does not take a run of {name}")


DOORS = ("command", "api", "prefect", "alias, seen by the scheduled watch", "tag", "stage")


def of_version(stack: Stack, version: str) -> list[dict[str, Any]]:
    """Its rollouts, newest first."""
    return [each for each in stack.ask("rollout", "list", "--model", MODEL)[::-1] if each["candidate"] == version]


def test_a_worse_candidate_gets_no_request_through_any_door(stack: Stack, load: Load) -> None:
    log_auc(stack, "1", 0.90)
    apply(stack, OFFLINE)
    for door in DOORS:
        version = stack.register()
        log_auc(stack, version, 0.80)
        open_door(stack, door, version)
        (seen,) = wait(stack, version, door)
        assert (seen["ending"], seen["weight"]) == ("aborted", 0), f"{door}: {seen}"
        why = f"val_auc failed before the first request: val_auc of v{version} is 0.8: 11.1 % worse"
        assert why in seen["reason"]
        assert "StepEntered" not in [each["fact"] for each in stack.ask("rollout", "history", seen["id"])]
    assert set(load.builds) == {"1"}


def wait(stack: Stack, version: str, door: str) -> list[dict[str, Any]]:
    """Its rollouts once there is one, and all have ended."""
    over = time.monotonic() + 180
    while True:
        found = of_version(stack, version)
        if found and all(each["ending"] for each in found):
            return found
        assert time.monotonic() < over, f"{door}: {found}"
        time.sleep(1)


def test_one_that_fails_on_captured_requests_gets_none_of_anybody(stack: Stack, load: Load) -> None:
    version = stack.register(failing=1.0)
    apply(stack, REPLAY)
    name = stack.ask("rollout", "start", MODEL, "--build", version)["id"]
    seen = stack.until(name, lambda view: view["ending"] is not None and view["settled"])
    assert (seen["ending"], seen["weight"]) == ("aborted", 0)
    assert seen["reason"].startswith("errors (replay) failed before the first request: on captured requests, errors")
    assert [each["gate"] for each in seen["offline"]] == ["errors (replay)"]
    assert version not in load.builds
    assert load.failed == 0


def test_a_deployment_file_of_qwak_s_is_served_to_its_audience(stack: Stack) -> None:
    file = stack.state / "deploy.yaml"
    file.write_text(QWAK)
    stack.run("deploy", "--from-file", str(file))
    rows = stack.ask("variation", "list", MODEL)
    assert {row["variation"]: row["stable"] for row in rows}["b"] == "1"
    headers = {"x-user-id": "u1", "location": "new-york"}
    answer = plain_http.post(
        f"{stack.urls()['gateway']}/{MODEL}/predict", json={"inputs": [{"a": 1.5, "b": 0.5}]}, headers=headers,
        timeout=30,
    )  # fmt: skip
    assert (answer.status_code, answer.headers["x-sluice-build"]) == (200, "1")


def test_two_people_a_jump_and_a_hook_that_is_told_until_it_takes_the_news(
    stack: Stack, load: Load, heard: Heard
) -> None:
    apply(stack, REPLAY + f"hooks: [{{after: promotion, url: 'http://127.0.0.1:{heard.server_port}/news'}}]\n")
    people = [f"{each}-{token_hex(3)}" for each in ("ann", "bob")]
    ann, bob = (stack.ask("token", "give", who, "--role", "approver")["token"] for who in people)
    stack.run("variation", "set", MODEL, "default", "--protected")
    version = stack.register()
    name = api(stack, "/api/v1/rollouts", ann, model=MODEL, build=version).raise_for_status().json()["id"]
    stack.until(name, lambda view: view["needs_person"])
    assert version not in load.builds
    path = f"/api/v1/rollouts/{name}"
    own = api(stack, f"{path}/approve", ann, step=0, reason="mine")
    assert (own.status_code, "cannot approve" in own.text) == (409, True), own.text
    api(stack, f"{path}/approve", bob, step=0, reason="looked at it").raise_for_status()
    stack.until(name, lambda view: view["step"] == 1 and view["observed"])
    signed(stack, api(stack, f"{path}/jump", ann, step=2, reason="event"), bob)
    assert stack.until(name, lambda view: view["step"] == 2 and view["observed"])["weight"] == 50
    signed(stack, api(stack, f"{path}/promote", ann, reason="enough"), bob)
    seen = stack.until(name, lambda view: view["ending"] is not None and view["hooks"][:1] and view["settled"])
    seen = stack.until(name, lambda view: view["hooks"][0]["answer"] == "taken")
    assert (seen["ending"], seen["hooks"][0]["attempt"]) == ("promoted", 2)
    assert {each["type"] for each in heard.news} == {"sluice.hook"}
    assert len({each["data"]["key"] for each in heard.news}) == 1
    history = stack.run("rollout", "history", name).stdout
    assert "jumped from step 1 to step 2" in history
    assert all(who in history for who in people)
    assert load.failed == 0


def signed(stack: Stack, asked: httpx.Response, token: str) -> None:
    """What one person asked for waits for another one."""
    assert (asked.status_code, "is kept as proposal" in asked.text) == (409, True), asked.text
    (proposal,) = [each for each in stack.ask("proposal", "list") if each["state"] == "open"]
    api(stack, f"/api/v1/proposals/{proposal['id']}/approve", token, reason="agreed").raise_for_status()
