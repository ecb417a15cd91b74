"""What a real Kubernetes 1.36 said is understood: answers of its API, pods that do not run, slices of endpoints.

`recordings/` holds requests and answers as they were, without managed fields.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from sluicegate.registry.words.build import BuildRef
from sluicegate.registry.words.errors import Forbidden, NotFound, ObjectConflict, Refused, SluiceError, Unreachable
from sluicegate.services.cluster.answers import Question, pause, read_object
from sluicegate.services.cluster.names import SERVICE_NAME, build_name
from sluicegate.services.cluster.obstacles import given_up, waiting
from sluicegate.services.cluster.slices import all_of, endpoints_of, ready_of
from tests.doubles.api_objects import Failure
from tests.doubles.api_server import ApiServer

REF = BuildRef(model="delays", version="1")


def recorded(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / "recordings" / f"{name}.json").read_text())["answer"]
    return found


def answer(name: str) -> httpx.Response:
    said = recorded(name)
    body = said["body"]
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return httpx.Response(
        said["status"], headers={"retry-after": said["headers"].get("retry-after", "")}, content=content
    )


QUESTION = Question(method="GET", url="https://10.0.0.1", path="/api")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bad-token-401", Forbidden),
        ("role-apply-403", Forbidden),
        ("create-over-quota-403", Forbidden),
        ("ssa-in-terminating-namespace-403", Forbidden),
        ("get-404", NotFound),
        ("unknown-group-404", NotFound),
        ("configmap-create-again-409", ObjectConflict),
        ("ssa-conflict-409", ObjectConflict),
        ("lease-update-conflict-409", ObjectConflict),
        ("lease-update-without-resourceversion-422", Refused),
        ("ssa-label-too-long-422", Refused),
        ("ssa-selector-immutable-422", Refused),
        ("ssa-no-field-manager-422", Refused),
        ("ssa-unknown-field-500", Refused),
        ("ssa-wrong-type-500", Refused),
        ("list-future-resourceversion-504", Unreachable),
        ("pod-eviction-budget-429", Unreachable),
    ],
)
def test_an_error_of_the_api_is_one_of_ours(name: str, error: type[SluiceError]) -> None:
    with pytest.raises(error) as raised:
        read_object(QUESTION, answer(name))
    assert type(raised.value) is error
    message = recorded(name)["body"]
    assert (message["message"] if isinstance(message, dict) else "404").rstrip(".") in raised.value.message


@pytest.mark.parametrize(
    ("name", "is_role"),
    [("role-apply-403", True), ("create-over-quota-403", False), ("ssa-in-terminating-namespace-403", False)],
)
def test_the_role_is_blamed_where_it_is_the_role(name: str, is_role: bool) -> None:
    with pytest.raises(Forbidden) as raised:
        read_object(QUESTION, answer(name))
    assert ("Role" in (raised.value.fix or "")) is is_role


def test_who_is_busy_and_says_no_time_is_asked_again_after_a_second() -> None:
    assert pause(answer("pod-eviction-budget-429")) == 1.0


def test_a_watch_from_a_forgotten_version_ends_with_an_event_that_says_so() -> None:
    [event] = recorded("watch-old-resourceversion-410")["body"]
    with ApiServer() as server, pytest.raises(Failure) as failure:
        server.objects.since(1)
    ours = {"type": "ERROR", "object": failure.value.status}
    for said in (event, ours):
        said["object"]["message"] = said["object"]["message"].partition(":")[0]
    assert ours == event


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("image-missing", "the image registry.invalid/none:1 cannot be pulled: failed to pull and unpack image"),
        ("image-missing-backoff", "the image registry.invalid/none:1 cannot be pulled: Back-off pulling image"),
        ("image-bad-name", "the image Bad Name:1 cannot be pulled: Failed to apply default image tag"),
        ("image-never", "the image registry.test/none:1 cannot be pulled: Container image"),
        ("config-missing", 'configmap "absent" not found'),
        ("root-refused", "container has runAsNonRoot and image will run as root"),
        ("command-missing", "exec: \"/bin/nothing\": stat /bin/nothing: no such file or directory"),
        ("crash-loop", "its process keeps ending: loading the model\nno file model.pkl"),
        ("init-crash", "the bento cannot be fetched: digest differs"),
    ],
)  # fmt: skip
def test_a_pod_that_cannot_run_is_given_up_in_plain_words(name: str, why: str) -> None:
    pods = recorded(f"pods-{name}")["body"]["items"]
    assert why in str(given_up(pods, {}, {pod["metadata"]["name"] for pod in pods}))


@pytest.mark.parametrize(
    "name", ["ready", "not-ready", "unschedulable", "oom", "crash-message-file", "liveness-killed"]
)
def test_a_pod_that_may_still_run_is_not_given_up(name: str) -> None:
    assert given_up(recorded(f"pods-{name}")["body"]["items"], {}) is None


def test_a_pod_that_no_node_has_room_for_is_waited_for_and_given_up_in_the_end() -> None:
    pods, late = recorded("pods-gpu-unschedulable")["body"]["items"], recorded("deployment-progress-deadline")["body"]
    assert "1 Insufficient nvidia.com/gpu" in str(waiting(pods, recorded("deployment-unschedulable")["body"]))
    assert given_up(pods, recorded("deployment-unschedulable")["body"]) is None
    assert "1 Insufficient nvidia.com/gpu" in str(given_up(pods, late))


@pytest.mark.parametrize(
    ("name", "why"), [("quota", "exceeded quota: q, requested: pods=1"), ("podsecurity", "violates PodSecurity")]
)
def test_pods_that_the_cluster_does_not_make_are_told(name: str, why: str) -> None:
    assert why in str(waiting([], recorded(f"deployment-{name}-refused")["body"]))


@pytest.mark.parametrize(
    ("name", "ready", "there"), [("ready", True, True), ("not-ready", False, True), ("terminating", False, False)]
)
def test_slices_say_where_pods_answer(name: str, ready: bool, there: bool) -> None:
    slices = recorded(f"endpointslices-{name}")["body"]["items"]
    for each in slices:
        each["metadata"]["labels"][SERVICE_NAME] = build_name(REF)
    assert bool(ready_of(REF, slices)) is ready
    assert bool(all_of(REF, slices)) is bool(endpoints_of(REF, slices)) is there
