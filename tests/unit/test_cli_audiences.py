"""sluice audience and sluice variation, over a ledger of their own; deploy with audiences, through the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.cli.app import app
from sluicegate.flows.wiring import runtime as wiring
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.rollout.facts import Packed, Ready
from sluicegate.registry.words.errors import NotFound, Refused, UsageError
from tests import giving as orders
from tests.doubles.ledger import MemoryLedger
from tests.giving import Giver
from tests.unit.console_office import BEARER, Office

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUDIENCES = """\
api_version: v1
spec:
  audiences:
    - name: ny
      conditions: {unary: [{key: state, operator: EXACT, operand: New York}]}
      routes: [{variation_name: b, weight: 30}, {variation_name: default, weight: 70}]
    - name: adults
      conditions: {binary: [{key: age, operator: RANGE, first_operand: 18, second_operand: 65}]}
"""


def holding(ledger: Ledger, model: str, variation: str, version: str) -> None:
    """A variation that holds a build; its units are hashed."""
    plan = Plan.model_validate({"model": model, "variation": variation, "unit": "x-user-id", "steps": [{"weight": 10}]})
    who = Giver(actor="ada", cause="cli")
    first = orders.deploy(ledger, plan=plan, version=version, request=who, now=NOW).rollout
    for fact in (Packed(bento="b", bento_digest="b", model_digest="m"), Ready(version=version)):
        ledger.append(first.id, ledger.rollout(first.id).seq + 1, fact, NOW)
    orders.complete(ledger, first.id, NOW)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """The ledger that the command line reaches by itself; a model in it has the variations default and b."""
    monkeypatch.setenv("SLUICE_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    wiring.current_runtime.cache_clear()
    found = wiring.current_runtime().ledger
    holding(found, "fraud", "default", "1")
    holding(found, "fraud", "b", "2")
    (tmp_path / "audiences.yaml").write_text(AUDIENCES)
    monkeypatch.chdir(tmp_path)
    yield found
    wiring.current_runtime.cache_clear()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


class Said:
    """Runs a command and gives what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.aside = ""

    def __call__(self, command: str) -> str:
        self._capsys.readouterr()
        app(command.split(), print_error=True, exit_on_error=False, result_action="return_value")
        done = self._capsys.readouterr()
        self.aside = done.err
        return done.out


def test_every_audience_of_a_file_is_applied_and_twice_is_once(ledger: Ledger, said: Said) -> None:
    assert said("audience apply -f audiences.yaml").splitlines() == ["audience ny: applied", "audience adults: applied"]
    assert "--model" in said.aside, "routes without a model are not dropped silently"
    said("apply -f audiences.yaml")
    assert "--model" in said.aside
    assert said("audience apply -f audiences.yaml").splitlines() == [
        "audience ny: unchanged",
        "audience adults: unchanged",
    ]


def test_routes_of_a_qwak_file_are_connected_for_a_model(ledger: Ledger, said: Said) -> None:
    said("audience apply -f audiences.yaml --model fraud")
    assert json.loads(said("variation list fraud -o json"))[0]["audiences"] == [
        {"audience": "ny", "weight": 30, "sample": None}
    ]
    table = said("audience list")
    assert "fraud -> b 30, default 70" in table
    assert "state: New York" in table


def test_audiences_are_asked_in_the_order_that_is_named(ledger: Ledger, said: Said, tmp_path: Path) -> None:
    for name, state in (("ny", "New York"), ("ca", "California")):
        (tmp_path / f"{name}.yaml").write_text(f"kind: audience\nname: {name}\nwhen: {{state: {state}}}\n")
        said(f"audience apply -f {tmp_path}/{name}.yaml")
        said(f"variation connect fraud default --audience {name}")
    rows = [line.split() for line in said("audience order fraud ca").splitlines()]
    assert [row[:2] for row in rows[1:3]] == [["1", "ca"], ["2", "ny"]]
    with pytest.raises(UsageError, match="did you mean ca"):
        said("audience order fraud cas")


def test_deleting_one_in_use_is_refused_with_the_names_of_its_users(ledger: Ledger, said: Said) -> None:
    said("audience apply -f audiences.yaml --model fraud")
    with pytest.raises(Refused, match="ny is in use: fraud -> b 30, default 70"):
        said("audience delete ny")
    said("audience delete adults")
    with pytest.raises(NotFound):
        said("audience show adults")


def test_a_trial_says_audience_variation_build_and_why(ledger: Ledger, said: Said) -> None:
    said("audience apply -f audiences.yaml")
    said("variation connect fraud b --audience ny --audience adults --weight 30 --weight 1")
    said("variation connect fraud default --audience ny --weight 70")
    found = json.loads(said("audience test --model fraud --metadata age=30 --metadata State=Nevada -o json"))
    assert [(each["audience"], each["takes"], each["why"]) for each in found["considered"]] == [
        ("ny", False, "state is 'Nevada', not 'New York'"),
        ("adults", True, "age is '30'"),
    ]
    assert found["parts"] == [{"variation": "b", "build": "2", "arm": "stable", "share": 100.0}]
    assert "default: no audience matches" in said("audience test --model fraud --metadata age=70")
    (ledgers_word,) = [line for line in said("audience test --metadata age=70").splitlines() if "adults" in line]
    assert ledgers_word.endswith("age is '70', not a number from 18 to 65")


def test_a_trial_with_a_unit_says_which_of_several(ledger: Ledger, said: Said) -> None:
    (Path("audiences.yaml")).write_text(AUDIENCES.replace("New York", "NY"))
    said("audience apply -f audiences.yaml --model fraud")
    told = said("audience test --model fraud --metadata state=NY")
    assert "30 % b v2 (stable)" in told
    assert "70 % default v1 (stable)" in told
    slots = [
        json.loads(said(f"audience test --model fraud --metadata state=NY --unit u-{n} -o json"))["slot"]
        for n in range(60)
    ]
    assert {slot["variation"] for slot in slots} == {"b", "default"}
    again = json.loads(said("audience test --model fraud --metadata state=NY --metadata x-user-id=u-0 -o json"))
    assert again["slot"] == slots[0]


def test_audiences_and_weights_come_in_pairs(ledger: Ledger, said: Said) -> None:
    said("audience apply -f audiences.yaml")
    with pytest.raises(UsageError, match="2 audiences and 1 weights"):
        said("variation connect fraud b --audience ny --audience adults --weight 1")
    with pytest.raises(UsageError, match="not both"):
        said("variation connect fraud b --audience ny --weight 1 --sample 20")


def test_undeploy_says_why_not(ledger: Ledger, said: Said) -> None:
    said("audience apply -f audiences.yaml --model fraud")
    said("variation connect fraud default --audience ny --weight 0")
    with pytest.raises(Refused, match="only fraud/b answers the audience ny"):
        said("undeploy fraud --variation b")
    said("variation disconnect fraud b --audience ny")
    assert said("undeploy fraud --variation b -m over") == "fraud/b: v2 is undeployed\n"
    assert [each["variation"] for each in json.loads(said("variation list -o json"))] == ["default"]


def test_scale_says_what_runs_then_and_can_be_tried(ledger: Ledger, said: Said) -> None:
    assert said("scale fraud --replicas 3 -m rush") == "fraud/default: v1 runs with 3 replica(s); see sluice status\n"
    assert json.loads(said("scale fraud --replicas 3 -o json"))["replicas"] == 3
    with pytest.raises(UsageError, match="replicas"):
        said("scale fraud --replicas 40")
    with pytest.raises(NotFound, match="fraud/nowhere holds no build"):
        said("scale fraud --replicas 2 --variation nowhere")


def test_a_build_is_deployed_to_an_audience_with_one_order() -> None:
    office = Office()
    _apply(office)
    body = {"build": "1"}
    assert office.client.post("/api/v1/models/m/deploy", headers=BEARER, json=body).status_code == 201
    body = {"build": "2", "variation": "b", "audiences": [{"audience": "ny", "weight": 3}]}
    assert office.client.post("/api/v1/models/m/deploy", headers=BEARER, json=body).status_code == 201
    connections = connections_of(office.ledger, "m")
    assert connections is not None
    assert [
        (each.audience.name, each.weighted[0].variation, each.weighted[0].weight) for each in connections.ordered
    ] == [("ny", "b", 3)]


def test_an_unknown_audience_stops_a_deploy_before_anything_happens() -> None:
    office = Office()
    body = {"build": "1", "audiences": [{"audience": "ny", "weight": 3}]}
    answer = office.client.post("/api/v1/models/m/deploy", headers=BEARER, json=body)
    assert answer.status_code == 404
    assert isinstance(office.ledger, MemoryLedger)
    assert office.ledger.rollouts() == ()


def test_a_build_for_a_slot_with_traffic_is_a_canary_unless_at_once() -> None:
    office = Office()
    holding(office.ledger, "m", "default", "1")
    canary = office.client.post("/api/v1/models/m/deploy", headers=BEARER, json={"build": "2"}).json()
    assert canary["strategy"] == "canary"
    office.client.post(f"/api/v1/rollouts/{canary['id']}/abort", headers=BEARER, json={})
    body = {"build": "2", "at_once": "hotfix"}
    replaced = office.client.post(
        "/api/v1/models/m/deploy", headers=BEARER | {"x-sluice-actor": "ada"}, json=body
    ).json()
    assert (replaced["strategy"], replaced["actor"]) == ("replace", "ada")
    assert "hotfix" in replaced["cause"]


def _apply(office: Office) -> None:
    values = {"kind": "audience", "name": "ny", "when": {"state": "New York"}}
    answer = office.client.post("/api/v1/documents", headers=BEARER, json={"values": values})
    assert answer.status_code == 201


def test_a_check_shows_by_a_request_what_can_never_be_reached(ledger: Ledger, said: Said, tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(
        AUDIENCES + '    - {name: thirty, conditions: {unary: [{key: age, operator: EXACT, operand: "30"}]}}\n'
    )
    told = said("audience check -f more.yaml").splitlines()
    assert told[0].startswith("adults: overlaps ny, which takes requests such as")
    assert "thirty: no request reaches it: ny, adults before it match all of its requests, such as {" in told[1]
    assert told[2].startswith("fallback: gets the requests")
    code = app(["audience", "check", "-f", "more.yaml"], exit_on_error=False, result_action="return_value")
    assert code == 2


def test_a_check_says_which_recorded_requests_would_move(ledger: Ledger, said: Said, tmp_path: Path) -> None:
    said("audience apply -f audiences.yaml")
    said("variation connect fraud b --audience adults --weight 1")
    (tmp_path / "new.yaml").write_text("kind: audience\nname: adults\nwhen: {age: {from: 21}}\n")
    (tmp_path / "requests.jsonl").write_text("".join(f'{{"age": "{age}"}}\n' for age in range(10, 30)))
    told = said("audience check -f new.yaml --model fraud --requests requests.jsonl").splitlines()
    assert told[-1] == (
        "of 20 requests 3 would change audience, 3 of them certainly also the variation; the fallback's share "
        "would be 55 %"
    )
    said("audience check -f new.yaml --model fraud")
    assert "metadata are not kept" in said.aside


def test_a_variation_without_a_plan_follows_the_default_ones_but_not_its_trigger(ledger: Ledger, said: Said) -> None:
    text = "kind: plan\nmodel: fraud\ntrigger: {alias: candidate}\nsteps: [{weight: 7}]\n"
    Path("plan.yaml").write_text(text)
    said("apply -f plan.yaml")
    plan = wiring.current_runtime().plan("fraud", "b")
    assert (plan.variation, plan.trigger, plan.steps[0].weight) == ("b", None, 700)
    Path("plan.yaml").write_text(text.replace("model: fraud\n", "model: fraud\nvariation: b\n").replace("7", "9"))
    said("apply -f plan.yaml")
    assert wiring.current_runtime().plan("fraud", "b").steps[0].weight == 900
    with pytest.raises(NotFound):
        wiring.current_runtime().plan("other", "b")
