"""Checks by signed HTTP, against a real server: who receives one can verify it; only a yes is a yes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest
from standardwebhooks import Webhook

from sluicegate.flows.stages.checks import CheckRunner
from sluicegate.registry.plan.calls import Check
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Checked, Packed, Ready, StepEntered
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.errors import Refused, Unreachable
from sluicegate.services.outbox.pinned import is_public, public_addresses
from sluicegate.services.outbox.signed import signing_key
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver

SECRET = "a secret of ours"
WHO = Giver(actor="ada", cause="cli")


@dataclass
class Judge:
    """A server of somebody who is asked; it verifies what it is sent, as the how-to shows."""

    answers: list[tuple[int, str]]
    heard: list[dict[str, object]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    url: str = ""

    def hear(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        Webhook(signing_key(SECRET)).verify(body, headers)
        self.heard.append(json.loads(body))
        self.names.append(headers["webhook-id"])
        return self.answers.pop(0)


@pytest.fixture
def judge() -> Iterator[Judge]:
    found = Judge(answers=[])

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            code, said = found.hear({name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(code)
            if code == 307:
                self.send_header("location", found.url)
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    found.url = f"http://127.0.0.1:{server.server_port}/may-it-pass"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


class Clock:
    """Time that goes by only where somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def rollout() -> Rollout:
    ledger, now = MemoryLedger(), datetime.now(UTC)
    plan = Plan.model_validate({"model": "m", "steps": [{"weight": 10, "check": {"url": "https://ci.example"}}]})
    first = orders.deploy(ledger, plan=plan, version="1", request=WHO, now=now).rollout.id
    packed, ready = Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="x")
    for fact in (packed, ready):
        orders.append(ledger, first, lambda _, fact=fact: fact, now)
    orders.complete(ledger, first, now)
    name = orders.start(ledger, plan=plan, version="2", request=WHO, now=now).rollout.id
    for each in (packed, ready, StepEntered(step=0, weight=1000, actor="d", reason="ready")):
        orders.append(ledger, name, lambda _, each=each: each, now)
    return ledger.rollout(name)


def ask(judge: Judge, *answers: tuple[int, str], allowed: str = "127.0.0.1", **settings: object) -> Checked:
    judge.answers = list(answers)
    clock = Clock()
    runner = CheckRunner(
        prefect=lambda: pytest.fail("Prefect was asked"), key=lambda: SECRET, allowed=frozenset({allowed}),
        clock=lambda: datetime.now(UTC), sleep=clock.sleep, elapsed=lambda: clock.seconds,
    )  # fmt: skip
    check = Check.model_validate({"url": judge.url} | settings)
    return runner.ask(rollout(), check, lambda: True)


YES, NO = (200, '{"answer": "yes", "reason": "revenue holds"}'), (200, '{"answer": "no", "reason": "revenue falls"}')


def test_who_is_asked_can_verify_it_and_learns_what_it_is_about(judge: Judge) -> None:
    said = ask(judge, YES)
    assert (said.answer, said.reason, said.step, said.actor) == ("yes", "revenue holds", 0, judge.url)
    (heard,) = judge.heard
    assert heard["type"] == "sluice.check"
    assert heard["data"] == {
        "rollout": heard["data"]["rollout"], "model": "m", "variation": "default", "candidate": "2", "stable": "1",
        "step": 1, "weight": 10.0, "verdicts": {},
    }  # fmt: skip


def test_a_no_is_a_no(judge: Judge) -> None:
    assert (ask(judge, NO).answer, ask(judge, NO).reason) == ("no", "revenue falls")


def test_not_yet_is_asked_again_and_errors_are_too_all_as_one_question(judge: Judge) -> None:
    assert ask(judge, (202, ""), (202, ""), (503, "busy"), (202, ""), YES).answer == "yes"
    assert len(judge.names) == 5
    assert len(set(judge.names)) == 1


@pytest.mark.parametrize(
    "answers",
    [
        [(200, "yes")], [(200, '{"answer": true}')], [(200, '["yes"]')], [(200, "")], [(307, "")] * 3, [(500, "")] * 3,
        [(404, "")] * 3, [(202, "")] * 31,
    ],
    ids=["text", "bool", "list", "empty", "redirect", "500", "404", "never"],
)  # fmt: skip
def test_whatever_is_not_a_yes_is_no_yes(judge: Judge, answers: list[tuple[int, str]]) -> None:
    said = ask(judge, *answers)
    assert said.answer == "none"
    assert said.reason


def test_a_redirect_is_not_followed(judge: Judge) -> None:
    assert ask(judge, (307, ""), YES, attempts=1).answer == "none"
    assert len(judge.heard) == 1


def test_nobody_there_is_no_answer(judge: Judge) -> None:
    judge.url = "http://127.0.0.1:9/x"
    said = ask(judge)
    assert (said.answer, "does not answer" in said.reason) == ("none", True)


def test_a_host_inside_is_asked_only_when_it_is_allowed_by_name(judge: Judge) -> None:
    said = ask(judge, YES, allowed="elsewhere.example")
    assert (said.answer, judge.heard) == ("none", [])
    assert "SLUICE_CHECK_HOSTS=127.0.0.1" in said.reason


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://[::1]/",
        "http://1.1.1.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0/",
        "https://224.0.0.1/",
        "https://100.64.0.1/",
    ],
)
def test_inner_addresses_are_refused_whatever_they_are_called(url: str) -> None:
    with pytest.raises(Refused, match="not a public https server"):
        public_addresses(url, ())


_PREFIXES_OF_IPV4 = {
    "mapped": "::ffff:{0}",
    "NAT64": "64:ff9b::{0}",
    "6to4": "2002:{0}::",
    "ISATAP": "2606:4700::5efe:{0}",
    "ISATAP, universal": "2606:4700::200:5efe:{0}",
}


@pytest.mark.parametrize("prefix", _PREFIXES_OF_IPV4.values(), ids=_PREFIXES_OF_IPV4)
def test_an_address_that_carries_an_inner_one_is_inner(prefix: str) -> None:
    inner, public = prefix.format("7f00:1"), prefix.format("808:808")
    assert not is_public(ip_address(inner))
    assert is_public(ip_address(public))
    assert not is_public(ip_address(prefix.format("a00:1")))
    assert not is_public(ip_address(prefix.format("a9fe:a9fe")))


@pytest.mark.parametrize(
    "address",
    [
        "::7f00:1",
        "::808:808",
        "64:ff9b:1::808:808",
        "64:ff9b:1:7f00:0:100::",
        "2001:0:7f00:1::",
        "ff02::1",
        "ff0e::1",
        "fec0::1",
        "fe80::1",
        "fc00::1",
        "::",
        "5f00::1",
        "3fff::1",
        "2001:db8::1",
        "239.0.0.1",
        "255.255.255.255",
    ],
)
def test_what_is_no_host_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:82a::200e"])
def test_hosts_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("url", ["https://a..b/", "https://1.1.1.1:99999/", f"https://ü{'x' * 70}.de/", "https:///"])
def test_what_can_be_no_host_is_not_known(url: str) -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        public_addresses(url, ())


@pytest.mark.parametrize(
    "wrong", [{}, {"url": "https://a.example", "deployment": "a/b"}, {"url": "ftp://a.example"}, {"deployment": "a"}]
)
def test_a_check_names_one_thing_to_ask(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"deployment|url"):
        Check.model_validate(wrong)
