"""A model that was deleted and registered again: its v1 is not the v1 that serves, and nobody takes it for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.flows.wiring import machine_checks
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.rollout.namesakes import namesakes
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.settings import Settings
from tests import giving as orders
from tests.acceptance.given import PLAN
from tests.doubles.catalog import MemoryCatalog
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.unit.console_office import BEARER, MemoryDesk, Office

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WHO = Giver(actor="ada", cause="cli")
ANEW = NOW + timedelta(days=3)


def build(registered_at: datetime | None, version: str = "1") -> Build:
    return Build(ref=BuildRef(model="delays", version=version), source="x", created_at=registered_at)


def serving(registered_at: datetime | None) -> MemoryLedger:
    """A ledger in which v1, registered at this time, serves."""
    ledger = MemoryLedger()
    serve(ledger, registered_at)
    return ledger


def serve(ledger: Ledger, registered_at: datetime | None) -> None:
    first = orders.deploy(ledger, plan=Plan.model_validate(PLAN), version="1", request=WHO, now=NOW).rollout
    packed = Packed(bento="b", bento_digest="b", model_digest="m", registered_at=registered_at)
    for fact in (packed, Ready(version="1")):
        ledger.append(first.id, ledger.rollout(first.id).seq + 1, fact, NOW)
    orders.complete(ledger, first.id, NOW)


class AnewCatalog(MemoryCatalog):
    """An MLflow that holds v1 as registered at a time."""

    registered_at = ANEW

    def builds(self, model: str) -> tuple[Build, ...]:
        super().builds(model)
        return (build(self.registered_at), build(ANEW, "2"))


def test_a_number_means_another_build_only_where_the_one_that_serves_was_registered_at_another_time() -> None:
    rollouts = serving(NOW).rollouts()
    assert namesakes(rollouts, [build(NOW), build(ANEW, "2")]) == {}
    assert list(namesakes(rollouts, [build(ANEW), build(ANEW, "2")])) == ["1"]
    assert namesakes(rollouts, [build(None)]) == {}
    assert namesakes(serving(None).rollouts(), [build(ANEW)]) == {}, "nothing is known of when it was registered"
    assert namesakes(rollouts, []) == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/models/delays/deploy", {"build": "1"}),
        ("/api/v1/models/delays/deploy", {"build": "1", "variation": "other"}),
        ("/api/v1/rollouts", {"model": "delays", "build": "1"}),
    ],
)
def test_an_order_for_it_is_refused_with_what_to_do(path: str, body: dict[str, str]) -> None:
    office = Office(MemoryDesk(ledger=serving(NOW), catalog=AnewCatalog()))
    before = office.ledger.position()
    answer = office.client.post(path, headers=BEARER, json=body)
    assert answer.status_code == 409
    assert "v1 in MLflow is not the v1 that serves: it was registered at 2026-01-04" in answer.json()["detail"]
    assert "sluice undeploy delays" in answer.json()["fix"]
    assert office.ledger.position() == before


def test_the_same_build_is_established_and_the_list_tells_them_apart() -> None:
    catalog = AnewCatalog()
    office = Office(MemoryDesk(ledger=serving(NOW), catalog=catalog))
    first = office.client.get("/api/v1/models/delays/builds", headers=BEARER).json()["builds"][0]
    assert (first["role"], "is not the v1 that serves" in first["note"]) == (None, True)
    catalog.registered_at = NOW
    first = office.client.get("/api/v1/models/delays/builds", headers=BEARER).json()["builds"][0]
    assert (first["role"], first["note"]) == ("stable", None)
    answer = office.client.post("/api/v1/models/delays/deploy", headers=BEARER, json={"build": "1"})
    assert (answer.status_code, answer.json()["ending"]) == (200, "established")


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnewCatalog:
    """The catalog of an installation that was never up, and whose ledger says that v1 serves."""
    runtime = Runtime(Settings.read({"SLUICE_STATE": str(tmp_path / "state")}), wall=lambda: NOW)
    catalog = AnewCatalog()
    vars(runtime)["catalog"] = catalog
    serve(runtime.ledger, NOW)
    monkeypatch.setattr(machine_checks, "current_runtime", lambda: runtime)
    return catalog


def test_the_doctor_says_that_a_number_means_another_build(doctor: AnewCatalog) -> None:
    [finding] = [each for each in machine_checks.examine() if each.check == "builds"]
    assert finding.status.value == "warn"
    assert finding.found.startswith("v1 in MLflow is not the v1 that serves: it was registered at 2026-01-04")
    assert (finding.fix or "").startswith("Register the build once more")


def test_the_doctor_says_nothing_of_builds_where_all_is_well_or_mlflow_is_away(doctor: AnewCatalog) -> None:
    doctor.registered_at = NOW
    assert [each for each in machine_checks.examine() if each.check == "builds"] == []
    doctor.registered_at, doctor.reachable = ANEW, False
    assert [each for each in machine_checks.examine() if each.check == "builds"] == []
