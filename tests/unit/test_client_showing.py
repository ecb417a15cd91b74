"""Rollouts, verdicts and reports in a notebook: what the console answers shows itself; what people write is text."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from sluicegate.services.client import rollouts
from sluicegate.services.client.showing import Report, View
from tests import giving as orders
from tests.unit.console_office import BEARER, Office


@pytest.fixture
def office() -> Office:
    return Office()


def view(office: Office, name: str) -> View:
    return View(office.client.get(f"/api/v1/rollouts/{name}", headers=BEARER).json())


def report(office: Office, name: str) -> Report:
    ask = rollouts.report(name)
    body = office.client.request(ask.method, ask.path, headers=BEARER).json()
    return Report(body["report"], body["html"])


class Read(HTMLParser):
    """Tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.frames: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.frames += [value or "" for name, value in attrs if name == "srcdoc"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_rollout_shows_where_it_is_and_why(office: Office) -> None:
    rollout = office.running()
    orders.pause(office.ledger, rollout.id, actor="eve", reason="<script>alert(1)</script>", now=office.desk.clock())
    seen = Read(view(office, rollout.id)._repr_html_())
    assert "script" not in seen.tags
    assert "m v1 → v2 PAUSED" in seen.text
    assert "<script>alert(1)</script>" in seen.text


def test_verdicts_show_themselves(office: Office) -> None:
    reason = "log loss is 0.10 lower (better) than v1's, 90 % CI -0.20 to -0.01"
    gates = [{"metric": "log_loss", "guardrail": False, "verdict": "PASS", "reason": reason}]
    (verdict,) = View({"gates": gates}).verdicts
    seen = Read(verdict._repr_html_())
    assert seen.tags.count("tr") == 2
    assert "✓ PASS" in seen.text
    assert reason in seen.text, "the sentence has the figures, as everywhere"


def test_a_report_shows_its_page_apart_from_the_notebook(office: Office) -> None:
    rollout = office.running()
    found = report(office, rollout.id)
    (frame,) = Read(found._repr_html_()).frames
    assert frame == found.html
    assert frame.startswith("<!doctype html>")
    assert found["rollout"]["id"] == rollout.id
