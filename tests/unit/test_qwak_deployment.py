"""sluice deploy --from-file: a deployment file of Qwak's, read whole, carried out with one order, and twice as once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sluicegate.flows.cli import deployment_files, variations
from sluicegate.registry.documents.deployment_file import read_deployment_file
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.words.errors import InvalidDocument, Refused, UsageError
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.unit.console_office import BEARER, Office
from tests.unit.test_cli_audiences import NOW, Said, holding, said
from tests.unit.test_variations import shown

__all__ = ["said"]
PAGE = Path(__file__).parents[2] / "docs/how-to/send-audiences-to-variations.md"
FILE = PAGE.read_text().partition("```yaml\n# deploy.yaml\n")[2].partition("```")[0]
"""The file that the page shows."""


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Office:
    """A model with the variation default; commands reach this console."""
    office = Office()
    holding(office.ledger, "m", "default", "1")

    def call(method: str, path: str, body: object = None, query: Any = None) -> Any:
        answer = office.client.request(method, path, json=body, headers=BEARER, params=query)
        if answer.status_code >= 400:
            raise Refused(answer.text)
        return answer.json()

    for module in (variations, deployment_files):
        monkeypatch.setattr(module, "call", call)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deploy.yaml").write_text(FILE)
    return office


def facts(office: Office) -> int:
    return sum(rollout.seq + 1 for rollout in office.ledger.rollouts())


def test_the_page_s_file_deploys_connects_and_sets_the_fallback_and_twice_is_once(office: Office, said: Said) -> None:
    told = []
    for _ in range(2):
        said("deploy --from-file deploy.yaml --no-wait")
        told.append((facts(office), shown(connections_of(office.ledger, "m"))))
        aside = said.aside
    assert told[0] == told[1]
    assert told[0][1] == {"new-york": "b 70, default 30, copies of 20 % to default", "default": "default 1"}
    assert "audience new-york: unchanged" in aside
    assert "resources have no effect" in aside
    (one,) = [each for each in office.ledger.rollouts() if each.requested.variation == "b"]
    assert (one.requested.version, one.requested.strategy) == ("2", "deploy")


def test_what_the_page_shows_is_what_is_printed(office: Office, said: Said) -> None:
    said("deploy --from-file deploy.yaml --no-wait")
    page, aside = PAGE.read_text(), said.aside
    (one,) = [each for each in office.ledger.rollouts() if each.requested.variation == "b"]
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version="2")):
        office.ledger.append(one.id, office.ledger.rollout(one.id).seq + 1, fact, NOW)
    orders.complete(office.ledger, one.id, NOW)
    assert f"$ sluice deploy --from-file deploy.yaml\n{aside}" in page
    listed = said("variation list m")
    assert f"$ sluice variation list m\n{listed}" in page


def test_options_win_over_the_file(office: Office, said: Said) -> None:
    (Path("deploy.yaml")).write_text(
        "model_id: elsewhere\nrealtime: {variation_name: b, fallback_variation: default}\n"
    )
    said("deploy m --from-file deploy.yaml --build 3 --variation c --no-wait")
    (one,) = [each for each in office.ledger.rollouts() if each.requested.variation == "c"]
    assert (one.requested.model, one.requested.version) == ("m", "3")
    with pytest.raises(UsageError, match="name a model"):
        said("deploy")


def test_a_file_cut_short_by_a_crash_heals_when_it_is_sent_again(office: Office, said: Said, monkeypatch) -> None:
    """Between the audience and the order, and with a build that was only packed."""
    calls = variations.call

    def broken(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(variations, "call", broken)
    with pytest.raises(ConnectionError):
        said("deploy --from-file deploy.yaml --no-wait")
    assert connections_of(office.ledger, "m") is None
    monkeypatch.setattr(variations, "call", calls)
    said("deploy --from-file deploy.yaml --no-wait")
    assert shown(connections_of(office.ledger, "m"))["new-york"].startswith("b 70")


def test_a_build_that_goes_in_at_once_is_found_when_the_file_comes_again(office: Office, said: Said) -> None:
    """A slot without traffic gets its audience with the order; the same order then finds the build on its way."""
    holding(office.ledger, "m", "b", "1")
    for _ in range(2):
        said("deploy --from-file deploy.yaml --no-wait")
    assert [each.requested.strategy for each in office.ledger.rollouts() if each.requested.variation == "b"] == [
        "deploy", "replace",
    ]  # fmt: skip


def test_what_an_audience_had_besides_is_gone_and_other_audiences_stay(office: Office, said: Said) -> None:
    said("deploy --from-file deploy.yaml --no-wait")
    audience = "{id: new-york, routes: [{variation_name: b, weight: 1}]}"
    Path("deploy.yaml").write_text(f"model_id: m\nrealtime: {{variation_name: b, audiences: [{audience}]}}\n")
    said("deploy --from-file deploy.yaml --build 2 --no-wait")
    assert shown(connections_of(office.ledger, "m")) == {"new-york": "b 1", "default": "default 1"}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("realtime: {variation: b}", "realtime.variation", "unknown key variation"),
        ("model_id: m", "document", "realtime is missing"),
        ("realtime: {}\nstream: {kafka: {}}", "stream", "Sluicegate cannot use"),
        ("realtime: {environments: [prod]}", "realtime.environments", "Sluicegate cannot use"),
        ("realtime: {audiences: [{name: a, routes: [{variation_name: b, weight: 1, shadow: maybe}]}]}",
         "realtime.audiences.0.routes.0.shadow", "true or false is expected"),
        ("realtime: {audiences: [{name: a, routes: [{variation_name: b, weight: 20, shadow: true}]}]}",
         "realtime.audiences.0.routes", "no variation that answers"),
        ("realtime: {audiences: [{name: a, routes: [{variation_name: b, weight: 1}, {variation_name: b, weight: 2}]}]}",
         "realtime.audiences.0.routes", "named twice"),
        ("realtime: {audiences: [{name: a, routes: [{variation_name: b, weight: 1, percent: 3}]}]}",
         "realtime.audiences.0.routes.0.percent", "unknown key percent"),
        ("realtime: {variation_name: [b]}", "realtime.variation_name", "a text is expected"),
        ("realtime: {variation_protected_state: often}", "realtime.variation_protected_state", "true or false"),
        ("[1]", "document", "a mapping is expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, place: str, message: str) -> None:
    file = tmp_path / "d.yaml"
    file.write_text(text + "\n")
    with pytest.raises(InvalidDocument) as raised:
        read_deployment_file(file)
    assert [(each.path, message in each.message) for each in raised.value.problems] == [(place, True)]
    assert all(each.fix and each.line for each in raised.value.problems)


def test_a_build_keeps_its_digits_and_camel_case_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "d.yaml"
    file.write_text("modelId: m\nbuildId: 0012\nrealtime: {variationName: b, envVars: [], environments: []}\n")
    read = read_deployment_file(file)
    assert (read.model, read.build, read.variation, read.aside) == ("m", "0012", "b", ())


def test_a_route_to_a_variation_that_holds_nothing_changes_nothing(office: Office, said: Said) -> None:
    assert isinstance(office.ledger, MemoryLedger)
    Path("deploy.yaml").write_text(
        FILE.replace("variation_name: default, weight: 30", "variation_name: gone, weight: 30")
    )
    with pytest.raises(Refused, match="m/gone holds no build"):
        said("deploy --from-file deploy.yaml --no-wait")
    assert connections_of(office.ledger, "m") is None
    assert json.dumps([each.requested.variation for each in office.ledger.rollouts()]) == '["default"]'
