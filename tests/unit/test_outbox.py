"""The outbox: at least once, in order, for each sink by itself; filters, limits and secrets of notifications."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from sluicegate.registry.documents.documents import read_document
from sluicegate.registry.documents.notification import Notification
from sluicegate.registry.ledger.reading import read_for_policy
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.report.happening import Happening, Severity, name_of, severity, waits_for_person
from sluicegate.registry.report.notice import notice
from sluicegate.registry.rollout.facts import FACTS
from sluicegate.registry.words.errors import InvalidDocument, InvalidSetting, NotFound, Refused, Unreachable, UsageError
from sluicegate.services.outbox.address import Address, Addresses
from sluicegate.services.outbox.notifications import NotificationSink, sinks
from sluicegate.services.outbox.outbox import Outbox, happenings
from sluicegate.services.outbox.prefect_events import event
from tests import giving as orders
from tests.acceptance.given import PLAN, START, Given

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Listener:
    """A sink that can be away."""

    name: str = "listener"
    heard: list[Happening] = field(default_factory=list)
    away: bool = False

    def send(self, told: Sequence[Happening], now: datetime) -> None:
        if self.away:
            raise Unreachable("away.")
        self.heard += told


class Timed(Outbox):
    """An outbox whose intervals follow the looks."""

    def look(self, now: datetime) -> int:
        self.elapsed = lambda: (now - START).total_seconds()
        return super().look(now)


def aborted() -> Given:
    given = Given()
    given.ledger.remember("outbox:listener", {"place": 0})
    given.ticks()
    orders.abort(given.ledger, given.name, actor="ada", reason="too slow", now=given.now)
    return given


def test_every_fact_is_told_once_and_in_order() -> None:
    given, listener = aborted(), Listener()
    outbox = Timed(given.ledger, lambda: [listener])
    assert outbox.look(given.now) == len(given.ledger.feed())
    assert outbox.look(given.now) == 0
    assert [each.place for each in listener.heard] == [fed.place for fed in given.ledger.feed()]
    last = listener.heard[-1]
    assert (last.name, last.model, last.version, last.moment.before, last.moment.after) == (
        "aborted", "delays", "2", 10, 0,
    )  # fmt: skip


def test_who_was_away_is_told_everything_later_and_keeps_nobody_waiting() -> None:
    given, away, here = aborted(), Listener(away=True), Listener(name="other")
    given.ledger.remember("outbox:other", {"place": 0})
    outbox = Timed(given.ledger, lambda: [away, here])
    outbox.look(given.now)
    assert (len(away.heard), len(here.heard)) == (0, len(given.ledger.feed()))
    away.away = False
    outbox.look(given.now)
    assert not away.heard, "it is tried again after a while, not at once"
    outbox.look(given.now + timedelta(seconds=3))
    assert [each.id for each in away.heard] == [each.id for each in here.heard]


def test_the_place_is_remembered_across_restarts() -> None:
    given, listener = aborted(), Listener()
    Timed(given.ledger, lambda: [listener]).look(given.now)
    assert Timed(given.ledger, lambda: [listener]).look(given.now) == 0


def test_a_new_sink_is_told_what_happens_from_now_on() -> None:
    given, new = aborted(), Listener(name="new")
    outbox = Timed(given.ledger, lambda: [new])
    assert outbox.look(given.now) == 0
    orders.start(given.ledger, plan=given.plan, version="3", request=orders.Giver(actor="ada", cause="cli"),
                 now=given.now)  # fmt: skip
    outbox.look(given.now)
    assert [each.name for each in new.heard] == ["requested", "begun"]


def test_a_fact_has_the_same_id_whenever_it_is_told() -> None:
    given = aborted()
    told = [happenings(given.ledger, given.ledger.feed()) for _ in range(2)]
    assert [each.id for each in told[0]] == [each.id for each in told[1]]
    assert len({each.id for each in told[0]}) == len(told[0])


@pytest.mark.parametrize("name", FACTS)
def test_every_kind_of_fact_has_a_name_that_can_be_matched(name: str) -> None:
    assert name_of(FACTS[name]).replace("-", "") == name.lower()


def test_what_a_gate_takes_back_matters_more_than_what_a_person_takes_back() -> None:
    from sluicegate.registry.rollout.facts import Aborted, Failed, Observed, Party, Promoted

    by_a_gate = Aborted(actor="policy", party=Party.POLICY, reason="r")
    assert severity(by_a_gate) is severity(Failed(stage="pack", reason="r")) is Severity.CRITICAL
    assert severity(Aborted(actor="ada", reason="r")) is Severity.WARNING
    assert severity(Aborted(actor="policy", reason="r")) is Severity.WARNING, "somebody may be called like that"
    assert severity(Promoted(actor="policy", reason="r", override=False, verdicts={})) is Severity.INFO
    assert severity(Observed(epoch=1, version="v")) is Severity.ROUTINE


def test_a_prefect_event_names_what_automations_match_on() -> None:
    given = aborted()
    found = event(happenings(given.ledger, given.ledger.feed())[-1])
    assert found["event"] == "sluice.rollout.aborted"
    resource = found["resource"]
    assert isinstance(resource, dict)
    assert resource["prefect.resource.id"] == f"sluice.rollout.{given.name}"
    assert (resource["sluice.model"], resource["sluice.severity"]) == ("delays", "warning")
    assert json.loads(json.dumps(found))["payload"]["reason"] == "too slow"


class Inbox:
    """A real server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.status, self.got = 200, list[tuple[dict[str, str], bytes]]()
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                inbox.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(inbox.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/secret-path"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    found = Inbox()
    yield found
    found.close()


def hook(given: Given, inbox: Inbox, tmp_path: Path, **said: object) -> tuple[NotificationSink, Outbox]:
    addresses = Addresses(folder=tmp_path, environment={})
    addresses.set("ops", Address(url=inbox.url, key=KEY))
    body = Notification.model_validate({"name": "ops", "send": "webhook", **said}).document()
    given.ledger.apply(Applied(kind="notification", name="ops", body=body, digest=str(body), actor="ada", at=START))
    given.ledger.remember("outbox:notification:ops", {"place": 0})
    outbox = Timed(given.ledger, lambda: sinks(given.ledger, addresses, "http://127.0.0.1:1"))
    return sinks(given.ledger, addresses, None)[0], outbox


def titles(inbox: Inbox) -> list[str]:
    return [json.loads(body)["data"]["title"] for _, body in inbox.got]


def test_a_webhook_is_signed_so_that_a_receiver_can_verify_it(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    given.now = datetime.now(given.now.tzinfo)
    _, outbox = hook(given, inbox, tmp_path)
    outbox.look(given.now)
    ((headers, body),) = inbox.got
    told = Webhook(KEY).verify(body, headers)
    assert [fact["what"] for fact in told["data"]["facts"]] == ["aborted"]
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(KEY).verify(body.replace(b"too slow", b"too fast"), headers)


def test_filters_by_severity_and_model(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    for said, count in (({"severity": "critical"}, 0), ({"models": ["fraud-*"]}, 0), ({"models": ["del*"]}, 1)):
        inbox.got.clear()
        _, outbox = hook(given, inbox, tmp_path, **said)
        outbox.look(given.now)
        assert len(inbox.got) == count, said


def test_what_goes_beyond_the_limit_is_told_together_later(inbox: Inbox, tmp_path: Path) -> None:
    given = Given()
    _, outbox = hook(given, inbox, tmp_path, severity="info", per_hour=2)
    outbox.look(given.now)
    given.ticks()
    outbox.look(given.now)
    orders.pause(given.ledger, given.name, actor="ada", reason="wait", now=given.now)
    outbox.look(given.now)
    orders.abort(given.ledger, given.name, actor="ada", reason="no", now=given.now)
    outbox.look(given.now + timedelta(minutes=59))
    assert titles(inbox) == ["3 events of delays", "delays v2 step entered"]
    outbox.look(given.now + timedelta(minutes=61))
    assert titles(inbox)[2:] == ["2 events of delays"]


def test_a_webhook_that_fails_gets_the_same_facts_again(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    _, outbox = hook(given, inbox, tmp_path)
    inbox.status = 503
    outbox.look(given.now)
    inbox.status = 200
    outbox.look(given.now + timedelta(seconds=5))
    outbox.look(given.now + timedelta(seconds=50))
    assert len({headers["webhook-id"] for headers, _ in inbox.got}) == 1
    assert len(inbox.got) == 2


def test_no_error_and_no_object_shows_the_address(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    sink, _ = hook(given, inbox, tmp_path)
    inbox.status = 500
    with pytest.raises(Unreachable) as raised:
        sink.send(happenings(given.ledger, given.ledger.feed()), given.now)
    address = sink.addresses.get("ops")
    for shown in (str(raised.value), repr(raised.value), repr(address), repr(sink), str(raised.value.__context__)):
        assert "secret-path" not in shown
        assert KEY not in shown
    assert "secret-path" not in json.dumps(given.ledger.applied("notification", "ops").body)


def test_apprise_tells_by_the_url_of_the_address(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    addresses = Addresses(folder=tmp_path, environment={"SLUICE_NOTIFY_OPS": inbox.url.replace("http://", "json://")})
    told = Notification.model_validate({"name": "ops", "send": "apprise"})
    sink = NotificationSink(notification=told, addresses=addresses, ledger=given.ledger)
    sink.send(happenings(given.ledger, given.ledger.feed()), given.now)
    ((_, body),) = inbox.got
    said = json.loads(body)
    assert (said["title"], said["type"]) == ("delays v2 aborted", "warning")
    assert "all requests go back to stable (10 % → 0 %): too slow (by ada)" in said["message"]
    inbox.status = 500
    with pytest.raises(Unreachable):
        sink.send(happenings(given.ledger, given.ledger.feed()), given.now)


def test_addresses_are_for_their_owner_only(tmp_path: Path) -> None:
    addresses = Addresses(folder=tmp_path / "secrets", environment={})
    with pytest.raises(NotFound, match="sluice notify set ops"):
        addresses.get("ops")
    addresses.set("ops", Address.read(f"https://x.example/hook {KEY}\n"))
    path = tmp_path / "secrets" / "notify-ops"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (addresses.get("ops").url, addresses.get("ops").key) == ("https://x.example/hook", KEY)
    path.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        addresses.get("ops")
    with pytest.raises(UsageError) as raised:
        Address.read("hunter2")
    assert "hunter2" not in str(raised.value)


def test_a_webhook_without_a_key_is_refused_rather_than_sent_unsigned(inbox: Inbox, tmp_path: Path) -> None:
    given = aborted()
    sink, _ = hook(given, inbox, tmp_path)
    sink.addresses.set("ops", Address(url=inbox.url))
    with pytest.raises(InvalidSetting, match="no signing key"):
        sink.send(happenings(given.ledger, given.ledger.feed()), given.now)
    assert not inbox.got


def test_one_message_for_many_facts_names_the_worst() -> None:
    given = aborted()
    told = happenings(given.ledger, given.ledger.feed())
    found = notice(told, "http://console")
    assert found.severity is Severity.WARNING
    assert found.title == f"{len(told)} events of delays"
    assert found.body.endswith(f"http://console/rollouts/{given.name}")


def test_a_notification_is_a_document_like_any_other() -> None:
    found = read_document("kind: notification\nname: ops\nsend: apprise\nmodels: [delays]\n", "n.yaml")
    assert (found.name, found.value.severity.value, found.body["models"]) == ("ops", "warning", ["delays"])
    with pytest.raises(InvalidDocument) as raised:
        read_document("kind: notification\nname: Ops!\nsend: slack\nurl: https://secret\n", "n.yaml")
    said = [str(problem) for problem in raised.value.problems]
    assert [text.split(":", 3)[3].strip() for text in said] == [
        "'Ops!' is not a valid name (write lower-case letters, digits and -, at most 40)",
        "'slack' is not allowed here (known are apprise, webhook)",
        "unknown key url (known are kind, models, name, per_hour, send, severity)",
    ]


def approving() -> Given:
    given = Given(PLAN | {"gates": [], "metrics": {"errors": {"source": "status"}}, "steps": [{"weight": 10}]})
    given.ledger.remember("outbox:listener", {"place": 0})
    given.ticks()
    given.serves()
    return given


def test_what_waits_for_a_person_is_told_once_for_as_long_as_it_waits() -> None:
    given, listener = approving(), Listener()

    def waits(now: datetime) -> list[Happening]:
        happening = waits_for_person(read_for_policy(given.ledger, given.rollout), now, (90, 10))
        return [happening] if happening is not None else []

    outbox = Timed(given.ledger, lambda: [listener], waits)
    for _ in range(3):
        outbox.look(given.now)
    assert [each.name for each in listener.heard].count("waits-for-person") == 1
    last = listener.heard[-1]
    assert (last.name, last.severity) == ("waits-for-person", Severity.WARNING)
    assert "sluice rollout approve" in last.moment.why
    orders.abort(given.ledger, given.name, actor="ada", reason="no", now=given.now)
    outbox.look(given.now)
    assert given.ledger.recall("waits:listener") == {"told": []}


def test_a_listener_that_was_away_hears_of_the_waiting_too() -> None:
    given, listener = approving(), Listener(away=True)
    told = waits_for_person(read_for_policy(given.ledger, given.rollout), given.now, (90, 10))
    assert told is not None
    outbox = Timed(given.ledger, lambda: [listener], lambda _: [told])
    outbox.look(given.now)
    listener.away = False
    outbox.look(given.now + timedelta(seconds=5))
    assert listener.heard[-1].id == told.id
