"""The one complete path, everything real: register, deploy, promote, abort, roll back, down."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.services.client import Client, NotAllowed, Refused
from tests import plain_http
from tests.integration.stack_rig import MODEL, Load, Stack, serving_stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with serving_stack() as running:
        yield running


def test_the_first_build_answers_with_its_name_and_an_id(stack: Stack) -> None:
    said = stack.ask("predict", MODEL, "--data", '{"a": 1.9, "b": 0.5}', "--unit", "u-1")
    assert said["build"] == "1"
    assert said["prediction_id"].endswith(".0")


def test_a_good_candidate_is_promoted_under_load_without_a_failed_request(stack: Stack) -> None:
    version = stack.register()
    with Load(stack.urls()["gateway"]).running() as load:
        done = stack.run("rollout", "start", MODEL, "--build", version, "--watch", "--timeout", "300", code=None)
    assert done.returncode == 0, done.stderr
    assert load.failed == 0, load.statuses
    assert load.builds[version] > 0
    settled = stack.until(MODEL, lambda view: view["settled"])
    assert settled["ending"] == "promoted"
    builds = {build["version"]: build for build in stack.ask("builds", MODEL)}
    assert "champion" in builds[version]["aliases"]
    assert builds[version]["tags"]["sluice.ending"] == "promoted"


def test_a_failing_candidate_is_aborted_and_no_client_sees_it(stack: Stack) -> None:
    version = stack.register(failing=0.3)
    run = stack.run_deployment("canary/canary", {"order": {"model": MODEL, "build": version}})
    with Load(stack.urls()["gateway"]).running() as load:
        stack.until(MODEL, lambda view: view["candidate"] == version)
        done = stack.run("rollout", "show", MODEL, "--watch", "--timeout", "300", code=None)
    assert done.returncode == 3, done.stderr
    assert load.failed == 0, load.statuses
    view = stack.ask("rollout", "show", MODEL)
    assert (view["ending"], view["cause"]) == ("aborted", "prefect")
    stack.until_run(run, "COMPLETED")
    artifacts = stack.prefect("POST", "/artifacts/filter", {})
    assert {artifact["key"] for artifact in artifacts} >= {
        f"gate-{view['id']}",
        f"ramp-{view['id']}",
        f"report-{view['id']}",
    }
    assert "errors" in view["reason"]
    assert [(row["arm"], row["desired"]) for row in stack.ask("overview")] == [("stable", 100)]


def test_an_outcome_is_taken_once_and_refers_to_its_prediction(stack: Stack) -> None:
    prediction = stack.ask("predict", MODEL, "--data", '{"a": 1.9, "b": 0.5}')["prediction_id"]
    receipts = [stack.ask("outcome", prediction, "late", "true") for _ in range(2)]
    assert [(r["accepted"], r["duplicate"]) for r in receipts] == [(1, 0), (0, 1)]


@pytest.mark.parametrize("verb", ["predict", "invocations"])
@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.9, 0.5]]}},
        {"dataframe_records": [{"a": 1.9, "b": 0.5}]},
        {"instances": [{"a": 1.9, "b": 0.5}]},
        {"inputs": {"a": [1.9], "b": [0.5]}},
    ],
    ids=lambda body: next(iter(body)),
)
def test_curl_and_every_payload_of_mlflow_are_answered(stack: Stack, verb: str, body: dict[str, object]) -> None:
    said = subprocess.run(
        ["curl", "-sS", "-D", "-", f"{stack.urls()['gateway']}/{MODEL}/{verb}", "-H", "content-type: application/json",
         "-H", "x-user-id: u-1", "-d", json.dumps(body)],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    head, _, answer = said.partition("\n\n")
    told = json.loads(answer)
    assert " 200 " in head.splitlines()[0]
    assert "x-sluice-reason: hash" in head
    assert 0 <= (told["predictions"] if verb == "invocations" else told)[0]["probability"] <= 1


def test_what_mlflow_itself_makes_of_an_example_is_answered(stack: Stack) -> None:
    import pandas as pd
    from mlflow.models import convert_input_example_to_serving_input

    body = convert_input_example_to_serving_input(pd.DataFrame({"a": [1.9], "b": [0.5]}))
    headers = {"content-type": "application/json"}
    answer = plain_http.post(f"{stack.urls()['gateway']}/{MODEL}/invocations", content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json().keys() == {"predictions"}


def test_bentomls_own_clients_are_answered(stack: Stack) -> None:
    import bentoml

    url = f"{stack.urls()['gateway']}/{MODEL}"

    async def asked() -> object:
        async with bentoml.AsyncHTTPClient(url, timeout=30) as client:
            return await client.predict(inputs=[{"a": 1.9, "b": 0.5}])

    with bentoml.SyncHTTPClient(url, timeout=30) as client:
        assert client.is_ready()
        once = client.predict(inputs=[{"a": 1.9, "b": 0.5}])
    assert once[0].keys() == {"probability"}
    assert asyncio.run(asked()) == once


def test_our_client_predicts_tells_outcomes_and_sees_rollouts(stack: Stack) -> None:
    import pandas as pd

    known = stack.clients()
    frame = pd.DataFrame({"a": [1.9, 1.8], "b": [0.5, 0.5]}, index=["x", "y"])
    with Client(known["SLUICE_GATEWAY"], known["SLUICE_TOKEN"], console=known["SLUICE_API"], timeout=30) as client:
        answer = client.predict(MODEL, frame, metadata={"state": "New York"}, unit="u-1")
        assert (answer.variation, answer.audience, answer.reason) == ("default", "default", "hash")
        assert list(answer.to_pandas().index) == ["x", "y"]
        for one in [*answer, *answer]:
            client.feedback(one.id, "late", value=True)
        client.feedback(None, "late", value=False, model=MODEL, unit="u-1")
        receipt = client.flush()
        assert (receipt.accepted, receipt.duplicate, receipt.refused) == (3, 2, ())
        last = client.rollouts(MODEL)[0]
        assert list(client.watch(last["id"])) == [client.rollout(MODEL)]
        with pytest.raises(Refused, match="ended"):
            client.order(last["id"], "pause", reason="too late")
    stranger = Client(known["SLUICE_GATEWAY"], "wrong", console=known["SLUICE_API"])
    with stranger, pytest.raises(NotAllowed):
        stranger.rollouts()


def test_the_scheduled_look_runs_and_finds_nothing_to_do(stack: Stack) -> None:
    stack.until_run(stack.run_deployment("watch/watch", {}), "COMPLETED")


def test_an_alias_in_mlflow_starts_a_rollout_and_an_abort_by_hand_ends_it(stack: Stack) -> None:
    version = stack.register()
    script = f"import mlflow; mlflow.MlflowClient().set_registered_model_alias('{MODEL}', 'candidate', '{version}')"
    subprocess.run([sys.executable, "-c", script], env=stack.env | stack.clients(), check=True, timeout=120)
    view = stack.until(MODEL, lambda view: view["candidate"] == version, seconds=60)
    assert view["cause"] == "alias:candidate"
    aborted = stack.ask("rollout", "abort", MODEL, "--reason", "changed my mind")
    assert (aborted["ending"], aborted["weight"]) == ("aborted", 0)


def test_rollback_goes_back_to_the_build_before(stack: Stack) -> None:
    before = stack.ask("overview")[0]["build"]
    stack.run("rollback", MODEL, "--reason", "drill")
    after = stack.ask("overview")[0]["build"]
    assert after != before
    said = stack.ask("predict", MODEL, "--data", '{"a": 1.9, "b": 0.5}')
    assert said["build"] == after


def parts(stack: Stack) -> dict[str, int]:
    """The pids of what `up` starts; services of builds come and go with the ledger."""
    return {p["name"]: p["pid"] for p in stack.ask("status")["programs"] if "." not in p["name"]}


def test_the_house_is_kept_every_minute(stack: Stack) -> None:
    """By now, after minutes; each time everything that goes by age goes, or it is said in the log."""
    assert "housekeeping failed" not in (stack.state / "logs" / "collector.log").read_text()


def test_up_again_changes_nothing_and_down_leaves_no_process(stack: Stack) -> None:
    before = parts(stack)
    stack.run("up")
    assert parts(stack) == before
    stack.run("down")
    assert stack.processes() == []
    assert Path(stack.state, "ledger.db").exists()


def test_up_after_down_brings_back_every_build_and_route(stack: Stack) -> None:
    stack.run("up")
    stable = stack.ask("overview")[0]["build"]
    load = Load(stack.urls()["gateway"])
    for _ in range(120):
        status, headers = load.ask("u-1", 1.9)
        if status == 200:
            break
        time.sleep(1)
    assert (status, headers["x-sluice-build"]) == (200, stable)
