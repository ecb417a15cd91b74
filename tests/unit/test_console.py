"""The console: closed to strangers, problems with their fix, orders in the ledger under the name of who asked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from unittest import mock

import pytest

from sluicegate.registry.ledger.attempt import note_run
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.roles import Role
from sluicegate.services.console.acts.table import find, table
from sluicegate.services.console.operations import Request
from tests import giving as orders
from tests.unit.console_office import BEARER, NOW, SECRET, TOKEN, MemoryDesk, Office


@pytest.fixture
def office() -> Office:
    return Office()


STRANGERS = {
    "": "a token is required",
    "Bearer wrong": "this token is not known: it was revoked",
    f"Basic {TOKEN}": "a bearer token is required, but the Authorization header has the scheme 'Basic'",
}
"""Who has a token that is wrong must not look for one that is missing."""


def test_every_act_is_closed_to_strangers(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.services.console.wrong_tries.LONGEST", 0.0)
    rollout = office.running()
    for operation in table(office.desk):
        method, target = (
            operation.method,
            operation.path.format(id=rollout.id, model="m", name="n", variation="default", digest="0" * 64),
        )
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            answer = office.client.request(method, target, headers=headers, json={})
            assert answer.status_code == 401, (method, target)
            assert answer.json()["detail"].startswith(STRANGERS[headers.get("authorization", "")])
    assert office.ledger.rollout(rollout.id) == rollout


def test_metrics_are_closed_too_and_in_prometheus_text(office: Office) -> None:
    assert office.client.get("/metrics").status_code == 401
    answer = office.client.get("/metrics", headers=BEARER)
    assert (answer.status_code, answer.text) == (200, "# HELP x\n")


def test_an_unknown_host_name_is_refused_against_rebinding(office: Office) -> None:
    answer = office.client.get("/api/v1/rollouts", headers=BEARER | {"host": "evil.example"})
    assert answer.status_code == 400


def test_an_abort_is_in_the_ledger_under_the_name_of_who_asked(office: Office) -> None:
    rollout = office.running()
    answer = office.client.post(
        f"/api/v1/rollouts/{rollout.id}/abort",
        headers=BEARER | {"x-sluice-actor": "ada"},
        json={"reason": "too slow"},
    )
    assert (answer.status_code, answer.json()["ending"]) == (200, "aborted")
    fact = office.ledger.entries(rollout.id)[-1].fact
    assert (fact.actor, fact.reason) == ("ada", "too slow")


def test_a_rollout_is_found_by_id_and_by_model(office: Office) -> None:
    rollout = office.running()
    for name in (rollout.id, "m"):
        assert office.client.get(f"/api/v1/rollouts/{name}", headers=BEARER).json()["id"] == rollout.id


def test_problems_say_what_and_how_to_fix_it(office: Office) -> None:
    answer = office.client.post("/api/v1/rollouts", headers=BEARER, json={"model": "n"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["fix"] == "write one and apply it: sluice apply -f plan.yaml"
    refused = office.client.post("/api/v1/rollouts", headers=BEARER, json={"model": "m"})
    assert (refused.status_code, refused.json()["title"]) == (409, "Refused")
    assert "sluice deploy m" in refused.json()["fix"]
    broken = office.client.post("/api/v1/rollouts", headers=BEARER, content=b"{")
    assert broken.status_code == 422


def test_each_fact_can_be_had_as_a_sentence_with_the_weight_that_it_left(office: Office) -> None:
    path = f"/api/v1/rollouts/{office.running().id}/facts"
    all_ = office.client.get(path, headers=BEARER).json()
    assert all_.keys() == {"facts"}
    last = all_["facts"][-1]["seq"]
    told = office.client.get(f"{path}?timeline=1&after={last}", headers=BEARER).json()
    assert [each["seq"] for each in told["timeline"]] == [each["seq"] for each in told["facts"]] == [last]
    whole = office.client.get(f"{path}?timeline=1", headers=BEARER).json()["timeline"]
    assert told["timeline"] == whole[-1:], "it knows the weight before"
    assert whole[0]["text"] == "canary of m v2 requested for variation default"


def test_started_twice_it_is_one_rollout(office: Office) -> None:
    rollout = office.running()
    again = office.client.post("/api/v1/rollouts", headers=BEARER, json={"model": "m", "build": "2"})
    assert (again.status_code, again.json()["id"]) == (200, rollout.id)


def test_a_plan_with_errors_is_refused_with_all_of_them(office: Office) -> None:
    text = "kind: plan\nmodel: m\nstepz: []\nsteps: [{weight: 200}]\n"
    answer = office.client.post("/api/v1/documents", headers=BEARER, json={"document": text, "where": "p.yaml"})
    assert answer.status_code == 422
    lines = {error["line"] for error in answer.json()["errors"]}
    assert lines == {3, 4}


@pytest.mark.parametrize("body", [[{"a": 1}, {"b": 2}], {"outcomes": [{"a": 1}, {"b": 2}]}])
def test_outcomes_come_one_by_one_or_many(office: Office, body: object) -> None:
    answer = office.client.post("/outcomes", headers=BEARER, json=body)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    assert office.desk.outcomes == [{"a": 1}, {"b": 2}]


def test_too_large_a_body_is_refused(office: Office) -> None:
    answer = office.client.post("/outcomes", headers=BEARER, content=b"[" + b" " * (2 << 20) + b"]")
    assert answer.status_code == 422


def signed(body: bytes, *, at: datetime | None = None, secret: str = SECRET, name: str = "d-1") -> dict[str, str]:
    stamp = str(int((at or datetime.now(UTC)).timestamp()))
    content = f"{name}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()
    return {
        "x-mlflow-delivery-id": name,
        "x-mlflow-timestamp": stamp,
        "x-mlflow-signature": f"v1,{signature}",
    }


DELIVERY = json.dumps({"entity": "model_version_alias", "action": "created", "data": {"name": "m"}}).encode()


def test_a_genuine_webhook_makes_one_look_however_often_it_is_delivered(office: Office) -> None:
    headers = signed(DELIVERY)
    for _ in range(3):
        assert office.client.post("/webhooks/mlflow", content=DELIVERY, headers=headers).status_code == 200
    assert office.desk.looks == 1


NESTED = b"[" * 100_000 + b"]" * 100_000
DEEP = b'{"outcomes": ' + b"[" * 80 + b"]" * 80 + b"}"
OBJECTS = b'{"a":' * 500 + b"1" + b"}" * 500


@pytest.mark.parametrize("body", [b"[1, 2]", b'"text"', b"null", b"7", b"{", b"\xff", NESTED[:60_000], DEEP, OBJECTS])
def test_a_signed_delivery_that_is_no_object_is_refused_before_anything_is_done(office: Office, body: bytes) -> None:
    answer = office.client.post("/webhooks/mlflow", content=body, headers=signed(body))
    assert answer.status_code in (401, 422)
    assert office.desk.looks == 0


@pytest.mark.parametrize("path", ["/outcomes", "/api/v1/rollouts"])
@pytest.mark.parametrize(
    "body", [NESTED, DEEP, OBJECTS, b"\xff", b"[[[["], ids=["lists", "deep", "objects", "bytes", "open"]
)
def test_a_body_that_nothing_can_work_with_is_the_callers_error(office: Office, path: str, body: bytes) -> None:
    answer = office.client.post(path, headers=BEARER | {"content-type": "application/json"}, content=body)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(DELIVERY, secret="other"),
        signed(DELIVERY, at=datetime.now(UTC) - timedelta(hours=1)),
        signed(b"something else"),
        signed(DELIVERY) | {"x-mlflow-signature": "garbage"},
        signed(DELIVERY) | {"x-mlflow-signature": "v1,@@@"},
        signed(DELIVERY) | {"x-mlflow-timestamp": "soon"},
    ],
    ids=["unsigned", "forged", "stale", "tampered", "garbage", "not-base64", "no-time"],
)
def test_a_webhook_that_is_not_genuine_changes_nothing(office: Office, headers: dict[str, str]) -> None:
    assert office.client.post("/webhooks/mlflow", content=DELIVERY, headers=headers).status_code == 401
    assert office.desk.looks == 0


def test_the_pages_ask_for_a_login_and_show_what_happens(office: Office) -> None:
    rollout = office.running()
    client = office.client
    page = client.get("/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    home = client.post("/login", data={"token": TOKEN, "name": "ada"})
    assert rollout.id in home.text
    detail = client.get(f"/rollouts/{rollout.id}")
    assert "StepEntered" in detail.text
    assert "default-src 'self'" in detail.headers["content-security-policy"]


def test_a_word_of_ours_has_its_meaning_at_hand_and_leads_to_the_glossary(office: Office) -> None:
    office.client.post("/login", data={"token": TOKEN})
    page, glossary = (office.client.get(path).text for path in ("/audiences", "/glossary"))
    linked = dict(re.findall(r'href="/glossary#([\w-]+)" title="([^"]+)"', page))
    assert set(linked) == {"fallback", "variation"}
    assert all(f'<dt id="{word}">' in glossary and meaning in glossary for word, meaning in linked.items())


def test_a_form_without_its_token_orders_nothing(office: Office) -> None:
    rollout = office.running()
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    forged = office.client.post(f"/rollouts/{rollout.id}/abort", data={"reason": "x"}, follow_redirects=False)
    assert forged.status_code == 401
    page = office.client.get(f"/rollouts/{rollout.id}").text
    action = page.split(f'action="/rollouts/{rollout.id}/abort?')[1].split('"')[0]
    office.client.post(f"/rollouts/{rollout.id}/abort?{action}", data={"reason": "seen enough"})
    assert office.ledger.entries(rollout.id)[-1].fact.actor == "ada"


def test_what_a_rollout_says_is_escaped(office: Office) -> None:
    rollout = office.running()
    orders.pause(office.ledger, rollout.id, actor="<script>", reason="<img src=x onerror=alert(1)>", now=NOW)
    office.client.post("/login", data={"token": TOKEN})
    page = office.client.get(f"/rollouts/{rollout.id}").text
    assert "<img src=x" not in page
    assert "<script>" not in page


def test_the_page_of_a_rollout_leads_to_its_version_in_mlflow_and_its_run_in_prefect(office: Office) -> None:
    rollout = office.running()
    office.desk.links.update({"mlflow": "http://mlflow.example", "prefect": "http://prefect.example"})
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    page = office.client.get(f"/rollouts/{rollout.id}").text
    assert 'href="http://mlflow.example/#/models/m/versions/2"' in page
    assert "prefect.example/runs" not in page
    note_run(office.ledger, rollout.id, "a-run", NOW)
    assert 'href="http://prefect.example/runs/flow-run/a-run"' in office.client.get(f"/rollouts/{rollout.id}").text


def test_a_dry_run_of_a_deployment_tells_who_would_get_it(office: Office) -> None:
    office.running()
    audience = {"values": {"kind": "audience", "name": "ny", "when": {"state": "NY"}}, "where": "x"}
    assert office.client.post("/api/v1/documents", json=audience, headers=BEARER).is_success
    body = {"build": "3", "variation": "b", "audiences": [{"audience": "ny", "weight": 1}]}
    tried = office.client.post("/api/v1/models/m/deploy?dry_run=1", json=body, headers=BEARER).json()
    assert [fact["fact"] for fact in tried["facts"]] == ["Requested", "Begun"]
    assert tried["documents"] == ["traffic m applied: ny -> b 1; all others -> default 1"]
    assert len(office.ledger.rollouts()) == 2, "nothing is kept"


def test_without_a_console_a_command_gets_what_the_api_would_answer() -> None:
    class Still(MemoryDesk):
        def clock(self) -> datetime:
            return NOW + timedelta(hours=1)

    office = Office(Still())
    name = office.running().id
    office.client.post("/api/v1/tokens", json={"name": "vic"}, headers=BEARER)
    paths = ["rollouts", f"rollouts/{name}", f"rollouts/{name}/facts", f"rollouts/{name}/report", "checks", "tokens",
             f"rollouts/{name}/explanation", "models/m/builds", "overview", "variations", "models/m/connections",
             "audiences", "documents", "counts", "calls", "experiments"]  # fmt: skip
    for path in (f"/api/v1/{path}" for path in paths):
        operation, names = find(office.desk, "GET", path)
        _, answer = operation.run(Request(actor="ada", role=Role.ADMIN, path=names))
        assert answer == office.client.get(path, headers=BEARER).json(), path


def test_the_page_of_audiences_shows_who_uses_each_and_what_a_request_would_get(office: Office) -> None:
    office.running()
    audience = {"values": {"kind": "audience", "name": "ny", "when": {"state": "NY"}}, "where": "x"}
    body = {"build": "3", "variation": "b", "audiences": [{"audience": "ny", "weight": 1}]}
    assert office.client.post("/api/v1/documents", json=audience, headers=BEARER).is_success
    assert office.client.post("/api/v1/models/m/deploy", json=body, headers=BEARER).is_success
    office.client.post("/login", data={"token": TOKEN, "name": "ada"})
    assert '<a href="/models/m">m</a>: b<br>' in office.client.get("/audiences").text
    page = office.client.get("/audiences", params={"model": "m", "metadata": "state=NY", "unit": "u<1>"}).text
    assert ("state=NY</textarea>" in page, "u&lt;1&gt;" in page) == (True, True), "the form keeps what was asked"
    assert "takes it" in page


def test_a_store_that_is_locked_is_a_503_that_says_when_to_come_again(office: Office) -> None:
    with mock.patch.object(type(office.desk), "record_outcomes", side_effect=Unreachable("locked.")):
        answer = office.client.post("/outcomes", headers=BEARER, json={"a": 1})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


def test_an_order_waits_neither_for_readers_nor_for_outcomes(office: Office) -> None:
    hold, entered = threading.Event(), threading.Semaphore(0)

    def hang(*_: object) -> object:
        entered.release()
        hold.wait(60)
        raise Unreachable("locked.")

    many = 20
    with mock.patch.object(type(office.desk), "record_outcomes", side_effect=hang), office.client as client:
        asking = [
            threading.Thread(target=client.post, args=("/outcomes",), kwargs={"headers": BEARER, "json": {"a": 1}})
            for _ in range(3 * many)
        ]
        for each in asking:
            each.start()
        for _ in range(many):
            assert entered.acquire(timeout=30)
        assert client.post("/api/v1/rollouts/nothing/abort", headers=BEARER, json={}).status_code == 404
        hold.set()
        for each in asking:
            each.join(timeout=60)
