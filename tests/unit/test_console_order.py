"""One order of lists: newest first. One order of what happened in a rollout: as it happened. Both are said."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.report import ArmCounts, ArmLatency, Evidence, OutcomeCoverage, RequestsAtWeight
from sluicegate.registry.rollout.rollout import Rollout
from tests import giving as orders
from tests.acceptance.given import Given
from tests.experiment_lab import Lab
from tests.giving import Giver
from tests.unit.console_office import NOW, PLAN, LabDesk, MemoryDesk, Office
from tests.unit.test_console_attention import Clocked
from tests.unit.test_console_pages import signed_in, text

HOUR = timedelta(hours=1)


@pytest.fixture
def ended() -> tuple[Office, Clocked, list[str]]:
    """Three rollouts; the one that began first ended last."""
    desk = Clocked()
    office = signed_in(desk)
    office.running()
    orders.abort(desk.ledger, desk.ledger.rollouts()[-1].id, actor="ada", reason="make room", now=NOW)
    names = list[str]()
    for number in range(3):
        plan = Plan.model_validate(PLAN.model_dump(mode="json", exclude_none=True) | {"variation": f"v{number}"})
        first = orders.deploy(
            desk.ledger, plan=plan, version="1", request=Giver(actor="a", cause="c"), now=NOW + number * HOUR
        )
        names.append(first.rollout.id)
    for number, name in enumerate(reversed(names)):
        orders.abort(desk.ledger, name, actor="ada", reason="enough", now=NOW + (3 + number) * HOUR)
    desk.now = NOW + 7 * HOUR
    return office, desk, names


def rollouts_of(page: str) -> list[str]:
    """The rollouts of a page's last table, in its order."""
    return re.findall(r'<td class="title"><a href="/rollouts/([^"]+)"', page)


def test_rollouts_are_listed_by_their_start_and_those_that_ended_by_their_end(
    ended: tuple[Office, Clocked, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    office, _, names = ended
    assert rollouts_of(office.client.get("/rollouts").text)[:3] == names[::-1]
    assert rollouts_of(office.client.get("/models/m").text)[:3] == names[::-1]
    overview = office.client.get("/").text
    assert rollouts_of(overview)[:3] == names, "the first to begin was the last to end"
    monkeypatch.setattr("sluicegate.services.console.pages.overview.ENDED", 1)
    assert rollouts_of(office.client.get("/").text) == names[:1], "of many, those that ended last"


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/", "Ended in the last day newest first"),
        ("/rollouts", "newest first Model"),
        ("/models/m", "Rollouts newest first"),
        ("/models/m", "Builds in MLflow newest first"),
        ("/access", "Who asked for what newest first"),
        ("/activity", "The rollout of the newest event comes first. Within a rollout, events are in the order"),
    ],
)
def test_each_list_says_its_order(ended: tuple[Office, Clocked, list[str]], path: str, heading: str) -> None:
    office, _, _ = ended
    assert heading in text(office.client.get(path).text)


def test_experiments_say_their_order() -> None:
    lab = Lab().begins()
    assert "Experiments newest first" in text(signed_in(LabDesk(lab)).client.get("/experiments").text)


def test_what_happened_in_a_rollout_is_told_in_order_everywhere() -> None:
    given = Given().runs(20_000, until=5000)
    client = signed_in(MemoryDesk(ledger=given.ledger)).client
    for path, start in (
        (f"/rollouts/{given.name}", "Timeline oldest first"),
        (f"/rollouts/{given.name}/report", "Timeline oldest first"),
        ("/activity?model=delays", "delays v1 → v2"),
    ):
        shown = text(client.get(path).text)
        story = shown[shown.index(start) :]
        places = [story.index(each) for each in ("canary of delays v2 requested", "step 1 began", "step 2 began")]
        assert places == sorted(places), path
    page = client.get(f"/rollouts/{given.name}").text
    facts = re.findall(r"<strong>(\w+)</strong>", page[page.index("All facts in the ledger, oldest first") :])
    assert facts[:2] == ["Requested", "Begun"]


class Counted(MemoryDesk):
    """A desk whose telemetry knows requests, errors, latency and labels."""

    def evidence(self, rollout: Rollout) -> Evidence:
        del rollout
        stable, candidate = ArmCounts(requests=900), ArmCounts(requests=100, failed=2, ends={"timeout": 2})
        return Evidence(
            exposures=(RequestsAtWeight(epoch=1, stable=stable, candidate=candidate),),
            coverage=(OutcomeCoverage(metric="log_loss", exposures=1000, labelled=800, pending=0),),
            latency=(ArmLatency(arm="stable", requests=900, p50=5, p95=9, p99=12),),
        )


def test_every_table_of_a_rollout_and_of_an_experiment_says_what_it_counts() -> None:
    given, lab = Given().runs(20_000, until=5000), Lab().begins().runs(2_000)
    client = signed_in(Counted(ledger=given.ledger)).client
    pages = [client.get(f"/rollouts/{given.name}").text, client.get(f"/rollouts/{given.name}/report").text]
    pages.append(signed_in(LabDesk(lab)).client.get(f"/experiments/{lab.group[0].requested.experiment}").text)
    for page in pages:
        tables = re.findall(r"<table[^>]*>\s*(<\w+)", page)
        assert len(tables) >= 2, "and of a rollout all that the telemetry knows"
        assert set(tables) == {"<caption"}
    of_rollout, of_experiment = text(pages[0]), text(pages[2])
    headings = ("All requests that were assigned", "Errors by cause", "How long callers waited", "How many labels have")
    assert all(heading in of_rollout for heading in headings)
    assert "Counted: labels of both builds at steps 1 to 2, up to look" in of_rollout
    assert "Counted: requests of both builds at" in of_rollout
    assert "compared since the experiment began, of each variation and of the control" in of_experiment
