"""Access: what each role may ask, tokens given and taken back, calls recorded, keys, entity tags."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest
from sse_starlette import ServerSentEvent

from sluicegate.flows.wiring.token_expiries import expiries, token_finding
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.rollout.facts import FreezeOverridden
from sluicegate.registry.rollout.freeze import Freeze
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.errors import Unreachable
from sluicegate.registry.words.roles import Role
from sluicegate.services.console import events
from sluicegate.services.console.acts.table import table
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.events import facts
from sluicegate.services.console.tokens import Tokens, given_tokens
from sluicegate.services.host.doctor.finding import CheckStatus
from tests import giving
from tests.doubles.ledger import MemoryLedger
from tests.unit.console_office import BEARER, NOW, TOKEN, MemoryDesk, Office

LADDER = [role.name.lower() for role in Role]


@pytest.fixture
def office() -> Office:
    return Office()


def give(office: Office, role: str, name: str = "ann") -> dict[str, str]:
    answer = office.client.post("/api/v1/tokens", headers=BEARER, json={"name": name, "role": role})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


@pytest.mark.parametrize("role", LADDER)
def test_each_role_may_ask_what_its_place_on_the_ladder_admits_and_nothing_more(office: Office, role: str) -> None:
    rollout = office.running()
    headers = give(office, role)
    for operation in table(office.desk):
        target = operation.path.format(id=rollout.id, model="m", name="nobody", variation="default", digest="0")
        answer = office.client.request(operation.method, target, headers=headers, json={"nonsense": 1})
        is_allowed = Role[role.upper()].may(operation.role)
        assert (answer.status_code != 403) == is_allowed, (operation.method, target, answer.text)
    assert office.ledger.rollout(rollout.id) == rollout


def test_a_gateways_token_reaches_what_gateways_ask_and_no_other_does(office: Office) -> None:
    own, wrong = give(office, "gateway", "edge-1"), {"head": "a" * 32, "offset": "x"}
    assert office.client.get("/api/v1/rollouts", headers=own).status_code == 403
    assert office.client.post("/api/v1/outcomes", headers=own, json=[]).status_code == 403
    assert office.client.post("/api/v1/gateway", headers=own, json=[]).status_code == 422, "let in, and not understood"
    assert office.client.post("/api/v1/gateway/logs/live", headers=own, params=wrong).status_code == 422
    assert office.client.post("/api/v1/gateway/logs/live", headers=own, content=b"no zlib").status_code == 422
    for role in set(LADDER) - {"gateway"}:
        headers = give(office, role, f"not-{role}")
        assert office.client.post("/api/v1/gateway", headers=headers, json={}).status_code == 403
        assert office.client.post("/api/v1/gateway/logs/live", headers=headers).status_code == 403
    assert office.client.post("/api/v1/gateway", headers=BEARER, json={}).status_code == 403, "not even the admin's"
    assert office.client.post("/api/v1/gateway", json={}).status_code == 401
    for name in ("gateway", "gateway-2"):
        body = {"name": name, "role": "gateway"}
        assert office.client.post("/api/v1/tokens", headers=BEARER, json=body).status_code == 409


def test_a_refused_role_is_told_which_one_it_needs(office: Office) -> None:
    rollout = office.running()
    answer = office.client.post(f"/api/v1/rollouts/{rollout.id}/promote", headers=give(office, "operator"), json={})
    assert (answer.status_code, answer.json()["title"]) == (403, "Forbidden")
    assert "approver" in answer.json()["detail"]
    assert "sluice token give" in answer.json()["fix"]


def test_connections_are_changed_only_as_they_were_seen(office: Office) -> None:
    office.running()
    seen, path = "/api/v1/models/m/connections", "/api/v1/models/m/variations/default/connect"
    tag = office.client.get(seen, headers=BEARER).headers["etag"]
    everybody = {"audiences": [{"audience": "default", "weight": 2}]}
    once = office.client.post(path, headers=BEARER | {"if-match": tag}, json=everybody)
    assert (once.status_code, once.headers["etag"]) == (200, f'"{once.json()["etag"]}"')
    again = {"audiences": [{"audience": "default", "weight": 3}]}
    stale = office.client.post(path, headers=BEARER | {"if-match": tag}, json=again)
    assert (stale.status_code, stale.json()["title"]) == (412, "PreconditionFailed")
    fresh = office.client.get(seen, headers=BEARER).headers["etag"]
    assert fresh == once.headers["etag"]
    assert office.client.get(seen, headers=BEARER | {"if-none-match": fresh}).status_code == 304
    assert office.client.post(path, headers=BEARER | {"if-match": fresh}, json=again).status_code == 200
    odd = office.client.post(path, headers=BEARER | {"if-match": '"m.3"'}, json=again)
    assert (odd.status_code, "the entity tag of a rollout" in odd.text) == (422, True)


def test_a_freeze_is_overridden_by_an_admin_alone_and_in_the_admins_name(office: Office) -> None:
    rollout = office.running()
    always = {"cron": "0 0 * * *", "lasts": "24h"}
    freeze = Freeze.model_validate({"name": "always", "windows": [always]})
    office.ledger.apply(Applied(kind="freeze", name="always", body=freeze.document(), digest="d", actor="ann", at=NOW))
    orders = {
        f"/api/v1/rollouts/{rollout.id}/override-freeze": {"reason": "hotfix"},
        "/api/v1/rollouts": {"model": "m", "build": "3", "override_freeze": "hotfix"},
        "/api/v1/models/m/deploy": {"build": "1", "variation": "new", "override_freeze": "hotfix"},
    }
    approver, admin = give(office, "approver"), give(office, "admin", "eve")
    for path, body in orders.items():
        refused = office.client.post(path, headers=approver, json=body)
        assert (refused.status_code, refused.json()["title"]) == (403, "Forbidden"), path
    assert office.ledger.rollout(rollout.id) == rollout
    for path, body in orders.items():
        assert office.client.post(path, headers=admin, json=body).is_success, path
    told = [fed.entry.fact for fed in office.ledger.feed() if isinstance(fed.entry.fact, FreezeOverridden)]
    assert [(fact.actor, fact.reason, fact.freeze) for fact in told] == [("eve", "hotfix", "always")] * 3
    [path, *_] = orders
    assert office.client.post(path, headers=BEARER, json={}).status_code == 422, "a reason is needed"


def test_a_token_speaks_for_nobody_but_itself(office: Office) -> None:
    rollout = office.running()
    headers = give(office, "operator", "bot") | {"x-sluice-actor": "ceo"}
    office.client.post(f"/api/v1/rollouts/{rollout.id}/pause", headers=headers, json={})
    assert office.ledger.entries(rollout.id)[-1].fact.actor == "bot"


def test_a_token_is_kept_as_its_hash_alone_and_is_gone_at_once_when_taken_back(office: Office) -> None:
    headers = give(office, "viewer")
    [kept] = office.ledger.all_applied("token")
    assert headers["authorization"].split()[1] not in json.dumps(kept.body)
    assert office.client.get("/api/v1/rollouts", headers=headers).status_code == 200
    assert office.client.delete("/api/v1/tokens/ann", headers=BEARER).status_code == 200
    assert office.client.get("/api/v1/rollouts", headers=headers).status_code == 401
    assert office.client.delete("/api/v1/tokens/ann", headers=BEARER).status_code == 404


def test_who_was_let_in_hears_nothing_more_once_the_token_is_gone(office: Office) -> None:
    office.running()
    tokens = Tokens(office.ledger, TOKEN, office.desk.clock)
    token = tokens.give("ann", Role.VIEWER, actor="ada")

    async def listen() -> list[ServerSentEvent]:
        heard = []
        async for event in facts(
            office.ledger, Changes(), office.ledger.feed_end() - 1, lambda: tokens.caller(token) is not None
        ):
            heard.append(event)
            tokens.revoke("ann", actor="ada")
        return heard

    assert len(asyncio.run(asyncio.wait_for(listen(), 20))) == 1


@pytest.fixture
def dated() -> tuple[Office, list[datetime]]:
    """An office whose clock is set by hand."""
    clock = [NOW]

    class Dated(MemoryDesk):
        def clock(self) -> datetime:
            return clock[0]

    return Office(Dated()), clock


def test_an_expired_token_is_refused_with_what_to_do_and_given_anew(dated: tuple[Office, list[datetime]]) -> None:
    office, clock = dated
    body = {"name": "ann", "role": "operator", "expires": "90d"}
    token = office.client.post("/api/v1/tokens", headers=BEARER, json=body).json()["token"]
    headers = {"authorization": f"Bearer {token}"}
    clock[0] = NOW + timedelta(days=90, seconds=-1)
    assert office.client.get("/api/v1/rollouts", headers=headers).status_code == 200
    assert office.client.post("/api/v1/tokens", headers=BEARER, json=body).status_code == 409, "the name is in use"
    clock[0] = NOW + timedelta(days=90)
    for path in ("/api/v1/rollouts", "/metrics", "/api/v1/events"):
        refused = office.client.get(path, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["detail"] == "the token of ann expired at 2026-04-01 00:00 UTC."
        assert refused.json()["fix"] == "ask an admin for another: sluice token give ann --role operator"
    assert [(call.actor, call.status) for call in office.desk.calls.latest(limit=1)] == [("ann", 401)], "in the audit"
    [listed] = office.client.get("/api/v1/tokens", headers=BEARER).json()["tokens"]
    assert (listed["expires_at"][:10], listed["expired"]) == ("2026-04-01", True)
    again = office.client.post("/api/v1/tokens", headers=BEARER, json=body | {"expires": None})
    assert again.status_code == 201
    clock[0] = NOW + timedelta(days=9_000)
    lasting = {"authorization": f"Bearer {again.json()['token']}"}
    assert office.client.get("/api/v1/rollouts", headers=lasting).status_code == 200
    assert office.client.get("/api/v1/rollouts", headers=headers).json()["detail"].startswith("this token is not known")


def test_a_browser_is_signed_out_when_its_token_expires(dated: tuple[Office, list[datetime]]) -> None:
    office, clock = dated
    body = {"name": "ann", "role": "admin", "expires": "1h"}
    token = office.client.post("/api/v1/tokens", headers=BEARER, json=body).json()["token"]
    office.client.post("/login", data={"token": token})
    assert "2026-01-01 01:00" in office.client.get("/access").text
    clock[0] = NOW + timedelta(hours=1)
    assert "ann expired" in office.client.get("/api/v1/rollouts").json()["detail"]
    assert "ann expired" in office.client.post("/login", data={"token": token}).text


@pytest.mark.parametrize("lifetime", ["0s", "367d", "soon", 90])
def test_a_lifetime_that_cannot_be_meant_is_refused(office: Office, lifetime: object) -> None:
    answer = office.client.post("/api/v1/tokens", headers=BEARER, json={"name": "ann", "expires": lifetime})
    assert (answer.status_code, "expires" in answer.json()["detail"]) == (422, True)


def test_what_expires_soon_is_told_by_doctor_and_metrics(office: Office) -> None:
    tokens = Tokens(office.ledger, TOKEN, lambda: NOW)
    assert token_finding((), NOW).status is CheckStatus.PASS
    for name, days in {"ci": 15, "ann": 30, "bob": None}.items():
        tokens.give(name, Role.VIEWER, actor="ada", lifetime=None if days is None else timedelta(days=days))
    given = given_tokens(office.ledger)
    assert expiries(given, NOW) == {"ann": 30 * 86_400.0, "ci": 15 * 86_400.0}
    assert token_finding(given, NOW).status is CheckStatus.PASS
    soon, late = token_finding(given, NOW + timedelta(days=1)), token_finding(given, NOW + timedelta(days=20))
    assert (soon.status, soon.found) == (CheckStatus.WARN, "the token of ci expires at 2026-01-16 00:00 UTC")
    assert (
        late.found
        == "the token of ann expires at 2026-01-31 00:00 UTC; the token of ci expired at 2026-01-16 00:00 UTC"
    )
    assert expiries(given, NOW + timedelta(days=20))["ci"] == -5 * 86_400.0


def test_a_name_has_one_token(office: Office) -> None:
    give(office, "viewer")
    for name, status in (("ann", 409), ("admin", 409), ("Ann Lee", 422), ("", 422)):
        answer = office.client.post("/api/v1/tokens", headers=BEARER, json={"name": name})
        assert answer.status_code == status, name


def test_a_browser_is_signed_out_when_its_token_is_taken_back(office: Office) -> None:
    token = give(office, "viewer")["authorization"].split()[1]
    office.client.post("/login", data={"token": token})
    assert office.client.get("/api/v1/rollouts").status_code == 200
    office.client.delete("/api/v1/tokens/ann", headers=BEARER)
    gone = office.client.get("/api/v1/rollouts")
    assert gone.status_code == 401
    assert gone.json()["detail"].startswith("this browser's session has ended, its token was revoked")


def test_a_viewers_page_offers_no_order(office: Office) -> None:
    rollout = office.running()
    office.client.post("/login", data={"token": give(office, "viewer")["authorization"].split()[1]})
    page = office.client.get(f"/rollouts/{rollout.id}").text
    assert f"/rollouts/{rollout.id}/abort" not in page
    assert "may look, not act" in page


def test_every_call_is_on_record_with_what_came_of_it(office: Office) -> None:
    rollout = office.running()
    path = f"/api/v1/rollouts/{rollout.id}"
    office.client.post(f"{path}/pause", headers=BEARER | {"x-sluice-actor": "ada"}, json={})
    office.client.post(f"{path}/pause", headers=BEARER | {"x-sluice-actor": "ada"}, json={"reason": 7})
    office.client.get(path, headers=BEARER)
    calls = office.client.get("/api/v1/calls", headers=BEARER).json()["calls"]
    assert [(c["actor"], c["role"], c["path"], c["status"]) for c in calls] == [
        ("ada", "admin", f"{path}/pause", 422),
        ("ada", "admin", f"{path}/pause", 200),
    ]


class Away(MemoryLedger):
    """A ledger that hangs from time to time."""

    is_away = False

    def position(self) -> int:
        if self.is_away:
            raise Unreachable("the ledger cannot be used.")
        return super().position()


def test_who_was_known_stays_known_while_the_ledger_is_away_and_others_are_told_why() -> None:
    ledger = Away()
    office = Office(MemoryDesk(ledger=ledger))
    known, path = give(office, "viewer"), "/metrics"
    assert office.client.get(path, headers=known).status_code == 200
    ledger.is_away = True
    assert office.client.get(path, headers=known).status_code == 200
    fresh = Office(MemoryDesk(ledger=ledger)).client.get(path, headers=known)
    assert (fresh.status_code, fresh.json()["title"], fresh.headers["retry-after"]) == (503, "Unreachable", "5")
    assert office.client.post("/login", data={"token": "wrong"}).status_code == 401
    assert Office(MemoryDesk(ledger=ledger)).client.post("/login", data={"token": "x"}).status_code == 503


def test_what_was_done_is_told_as_done_although_the_note_of_it_cannot_be_written(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = office.running()

    def hang(*_: object) -> None:
        raise Unreachable("the ledger cannot be used.")

    monkeypatch.setattr(office.desk.calls, "finish", hang)
    path, headers = f"/api/v1/rollouts/{rollout.id}/abort", BEARER | {"idempotency-key": "k"}
    first, again = (office.client.post(path, headers=headers, json={}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert [type(entry.fact).__name__ for entry in office.ledger.entries(rollout.id)].count("Aborted") == 1


def test_a_key_gives_the_first_answer_again_and_does_nothing_twice(office: Office) -> None:
    rollout = office.running()
    path = f"/api/v1/rollouts/{rollout.id}"
    headers = BEARER | {"idempotency-key": "k-1"}
    first = office.client.post(f"{path}/pause", headers=headers, json={})
    office.client.post(f"{path}/resume", headers=BEARER, json={})
    again = office.client.post(f"{path}/pause", headers=headers, json={})
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert office.ledger.rollout(rollout.id).phase is Phase.RUNNING
    other = office.client.post(f"{path}/abort", headers=headers, json={})
    assert (other.status_code, "another call" in other.json()["detail"]) == (422, True)


def test_a_given_token_is_not_kept_with_the_call(office: Office) -> None:
    headers = BEARER | {"idempotency-key": "k-1"}
    token = office.client.post("/api/v1/tokens", headers=headers, json={"name": "ann"}).json()["token"]
    assert all(token not in (call.answer or "") for call in office.desk.calls.latest(limit=10))


def test_an_order_with_an_old_tag_is_refused_and_changes_nothing(office: Office) -> None:
    rollout = office.running()
    path = f"/api/v1/rollouts/{rollout.id}"
    tag = office.client.get(path, headers=BEARER).headers["etag"]
    assert office.client.get(path, headers=BEARER | {"if-none-match": tag}).status_code == 304
    office.client.post(f"{path}/pause", headers=BEARER, json={})
    stale = office.client.post(f"{path}/promote", headers=BEARER | {"if-match": tag}, json={})
    assert (stale.status_code, stale.json()["title"]) == (412, "PreconditionFailed")
    assert office.ledger.rollout(rollout.id).phase is Phase.PAUSED
    fresh = office.client.get(path, headers=BEARER).headers["etag"]
    assert office.client.post(f"{path}/resume", headers=BEARER | {"if-match": fresh}, json={}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/api/v1/rollouts", {"model": "m", "bild": "2"}, "bild: no such field"),
        ("/api/v1/rollouts", {"model": "m", "allow_older": "yes"}, "allow_older"),
        ("/api/v1/rollouts", [], "body"),
        ("/api/v1/rollouts?modle=m", {"model": "m"}, "unknown query parameter modle"),
        ("/api/v1/documents", {}, "exactly one of document and values"),
    ],
)
def test_what_is_not_well_formed_is_said_by_name(office: Office, path: str, body: object, told: str) -> None:
    answer = office.client.post(path, headers=BEARER, json=body)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_rollouts_come_page_by_page_newest_first(office: Office) -> None:
    office.running()
    first = office.client.get("/api/v1/rollouts?limit=1", headers=BEARER).json()
    second = office.client.get(f"/api/v1/rollouts?limit=1&before={first['next_before']}", headers=BEARER).json()
    found = [page["rollouts"][0]["candidate"] for page in (first, second)]
    assert (found, second["next_before"]) == (["2", "1"], None)
    assert office.client.get("/api/v1/rollouts?limit=many", headers=BEARER).status_code == 422


def test_events_tell_every_fact_from_where_the_client_left_off(office: Office) -> None:
    office.running()
    end = office.ledger.feed_end()

    async def read() -> list[ServerSentEvent]:
        stream = facts(office.ledger, Changes(), end - 2, lambda: True)
        return [await anext(stream) for _ in range(2)]

    told = asyncio.run(read())
    assert [event.id for event in told] == [str(end - 1), str(end)]
    assert json.loads(str(told[-1].data))["fact"] == "StepEntered"


def test_a_live_view_is_woken_by_what_another_host_records(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_EVERY", 3600)  # only a notice can wake it
    rollout, changes, end = office.running(), Changes(), office.ledger.feed_end()

    async def read() -> ServerSentEvent:
        coming = asyncio.ensure_future(anext(facts(office.ledger, changes, end, lambda: True)))
        await asyncio.sleep(0.1)
        giving.pause(office.ledger, rollout.id, actor="eve", reason="wait", now=NOW)
        await asyncio.get_running_loop().run_in_executor(None, changes.notify)
        return await asyncio.wait_for(coming, 20)

    assert json.loads(str(asyncio.run(read()).data))["fact"] == "Paused"


def test_events_are_closed_to_strangers_and_refuse_a_place_that_is_none(office: Office) -> None:
    assert office.client.get("/api/v1/events").status_code == 401
    assert office.client.get("/api/v1/events?after=soon", headers=BEARER).status_code == 422


def test_the_openapi_document_is_valid_and_tells_every_operation(office: Office) -> None:
    from openapi_spec_validator import validate

    told = office.client.get("/api/v1/openapi.json", headers=BEARER).json()
    validate(told)
    known = {(method.upper(), path) for path, methods in told["paths"].items() for method in methods}
    assert known == {(operation.method, operation.path) for operation in table(office.desk)}
    assert told["components"]["schemas"]["StartBody"]["properties"]["model"]["description"]


def test_the_admins_token_is_the_admin(office: Office) -> None:
    assert office.client.get("/api/v1/tokens", headers={"authorization": f"Bearer {TOKEN}"}).json()["tokens"] == []
    assert NOW.tzinfo is not None


def test_a_dry_run_tells_what_would_be_appended_and_appends_nothing(office: Office) -> None:
    rollout = office.running()
    before, calls = office.ledger.position(), len(office.desk.calls.latest(limit=99))
    path = f"/api/v1/rollouts/{rollout.id}/abort?dry_run=1"
    tried = office.client.post(path, headers=BEARER | {"x-sluice-actor": "ada"}, json={"reason": "r"}).json()
    assert [(f["rollout"], f["fact"], f["actor"]) for f in tried["facts"]] == [(rollout.id, "Aborted", "ada")]
    assert tried["answer"]["ending"] == "aborted"
    assert (office.ledger.position(), len(office.desk.calls.latest(limit=99))) == (before, calls)
    assert office.client.post(path, headers=give(office, "viewer"), json={}).status_code == 403


def test_a_dry_run_sees_documents_and_tells_those_that_would_be_written(office: Office) -> None:
    give(office, "viewer")
    tried = office.client.delete("/api/v1/tokens/ann?dry_run=1", headers=BEARER).json()
    assert tried["documents"] == ["token ann withdrawn"]
    assert [token.name for token in given_tokens(office.ledger)] == ["ann"]
    assert office.client.delete("/api/v1/tokens/bob?dry_run=1", headers=BEARER).status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/tokens", "/outcomes"])
def test_what_cannot_be_tried_says_so(office: Office, path: str) -> None:
    answer = office.client.post(f"{path}?dry_run=1", headers=BEARER, json={"name": "ann"})
    assert (answer.status_code, "has no dry run" in answer.json()["detail"]) == (422, True)


def test_a_reporter_sends_outcomes_and_reads_nothing(office: Office) -> None:
    office.running()
    headers = give(office, "reporter")
    outcome = {"prediction_id": "560041f1-a8a5-40cd-9559-628bcf4d0ca3.0", "name": "late", "value": 1}
    assert office.client.post("/outcomes", headers=headers, json=outcome).status_code == 202
    for path in ("/", "/metrics", "/activity", "/api/v1/rollouts", "/api/v1/events", "/api/v1/openapi.json"):
        assert office.client.get(path, headers=headers).status_code == 403, path
    token = headers["authorization"].split()[1]
    office.client.post("/login", data={"token": token}, follow_redirects=False)
    assert office.client.get("/activity", follow_redirects=False).status_code == 403


def test_a_reporter_of_one_model_sends_no_other_s_outcomes(office: Office) -> None:
    body = {"name": "ann", "role": "reporter", "model": "m"}
    token = office.client.post("/api/v1/tokens", headers=BEARER, json=body).json()["token"]
    headers = {"authorization": f"Bearer {token}"}
    outcome = {"unit": "u", "name": "late", "value": 1}
    assert office.client.post("/outcomes", headers=headers, json=outcome).status_code == 202
    other = office.client.post("/outcomes", headers=headers, json=[outcome, outcome | {"model": "n"}])
    assert (other.status_code, "outcomes[1].model" in other.text) == (403, True)
    wrong = office.client.post("/api/v1/tokens", headers=BEARER, json=body | {"name": "bob", "role": "operator"})
    assert wrong.status_code == 422
