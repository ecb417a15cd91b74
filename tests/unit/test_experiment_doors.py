"""Experiments through the API and the command line: the real acts over a ledger in memory."""

from __future__ import annotations

from typing import Any

import pytest

from sluicegate.flows.cli import experiments as commands
from sluicegate.flows.cli import rollouts as rollout_commands
from sluicegate.flows.cli.output import Format
from sluicegate.registry.rollout.rollout import Ending
from sluicegate.registry.words.errors import NotFound
from tests import giving as orders
from tests.experiment_lab import EQUAL, Lab
from tests.unit.console_office import BEARER, LabDesk, Office


class Doors:
    """A console over the lab's ledger, and a command line that asks it."""

    def __init__(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab = lab
        self.client = Office(LabDesk(lab)).client
        for module in (commands, rollout_commands):
            monkeypatch.setattr(module, "call", self.call)

    def call(self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None) -> Any:
        answer = self.client.request(method, path, json=body or {}, params=query, headers=BEARER)
        assert answer.is_success, answer.text
        return answer.json()


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Doors:
    return Doors(Lab(loss=EQUAL | {"b": 0.6}), monkeypatch)


def test_an_experiment_is_started_once_read_and_ended(doors: Doors) -> None:
    start = {"json": {"model": "m"}, "headers": BEARER}
    first = doors.client.post("/api/v1/experiments", **start)
    again = doors.client.post("/api/v1/experiments", **start)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["experiment"] == again.json()["experiment"]
    doors.lab.ticks()
    doors.lab.serves()
    doors.lab.runs(6_000)
    seen = doors.call("GET", "/api/v1/experiments/m")
    assert (seen["winner"], seen["is_over"]) == ("b", False)
    assert [each["variation"] for each in seen["compared"]] == ["b", "c"]
    ended = doors.call("POST", f"/api/v1/experiments/{seen['experiment']}/end", {"reason": "enough"})
    assert ended["is_over"]
    assert ended["winner"] == "b"


def test_the_same_is_typed(doors: Doors, capsys: pytest.CaptureFixture[str]) -> None:
    commands.start("m")
    doors.lab.ticks()
    doors.lab.serves()
    doors.lab.runs(6_000)
    capsys.readouterr()
    commands.show("m")
    said = capsys.readouterr().out
    assert "loss better than default, alpha 0.05, audience default" in said
    b = next(line.split() for line in said.splitlines() if line.startswith("b "))
    assert (b[1], b[-2:]) == ("v2", ["PASS", "running"])
    assert "b: loss is 0." in said
    assert "sluice rollout promote m --variation b" in said
    rollout_commands.promote("m", variation="b", reason="better", output=Format.JSON)
    commands.end("m")
    assert {each.ending for each in doors.lab.group} == {Ending.CONCLUDED}
    doors.lab.readies(doors.lab.ledger.rollouts()[-1].id, "2")
    assert orders.stable(doors.lab.ledger, "m", "default") == "2"


def test_a_variation_without_a_rollout_is_named(doors: Doors) -> None:
    with pytest.raises(NotFound, match="no rollout in variation nobody"):
        rollout_commands.promote("m", variation="nobody")


def test_an_experiment_that_does_not_exist_is_a_404(doors: Doors) -> None:
    answer = doors.client.get("/api/v1/experiments/m", headers=BEARER)
    assert answer.status_code == 404
    assert "sluice experiment start" in answer.json()["fix"]
