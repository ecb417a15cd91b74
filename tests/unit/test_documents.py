"""Documents of every kind: what apply would change, said value by value; a running rollout keeps its plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from sluicegate.flows.cli.app import app
from sluicegate.registry.documents.diff import Known, State, differences
from sluicegate.registry.documents.documents import (
    KINDS,
    document_from_values,
    read_document,
    read_documents,
)
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import InvalidDocument
from sluicegate.registry.words.settings import Settings
from tests import giving as orders
from tests.giving import Giver
from tests.unit.rollouts import _AT as NOW

PLAN = """\
kind: plan
model: delays
unit: x-user-id
steps:
  - {weight: 10, min_requests: 100}
  - {weight: 50, approval: true}
"""


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("steps: [{weight: 10}]", "1 step"),
        ("steps: [{weight: 10}, {weight: 50}]", "2 steps"),
        ("strategy: blue-green", "all requests switch at once"),
        ("strategy: shadow\nshadow: {sample: 20, max_time: 2h}", "a shadow alone"),
        (
            """strategy: shadow
metrics: {answers: {source: disagreement}}
shadow: {sample: 20, max_time: 2h, then: canary, gates: [{metric: answers, below: 5%}]}
steps: [{weight: 10}]""",
            "a shadow, then 1 step",
        ),
    ],
)
def test_a_plan_is_said_in_a_few_words(written: str, says: str) -> None:
    plan = read_document(f"kind: plan\nmodel: delays\n{written}\n", "plan.yaml")
    assert KINDS["plan"].says(plan.value) == says


def known(text: str) -> Known:
    found = read_document(text, "old.yaml")
    return Known(kind=found.kind, name=found.name, digest=found.digest, body=found.body)


def test_a_document_is_new_changed_or_unchanged_value_by_value() -> None:
    new = read_document(PLAN.replace("min_requests: 100", "min_requests: 250").replace("unit: x-user-id\n", ""), "p")
    (changed,) = differences([new], [known(PLAN)])
    assert (changed.state, [str(each) for each in changed.changes]) == (
        State.CHANGED,
        ["- unit: x-user-id", "~ steps.0.min_requests: 100 -> 250"],
    )
    assert [each.state for each in differences([new, new], [known(PLAN), known(PLAN)])] == [State.CHANGED] * 2
    assert differences([new], [])[0].state is State.NEW


def test_two_spellings_of_one_document_are_no_change() -> None:
    other = read_document(PLAN.replace("weight: 10,", "weight: 10%,"), "p")
    assert differences([other], [known(PLAN)])[0].state is State.UNCHANGED


EXAMPLES = {
    "plan": PLAN,
    "audience": "kind: audience\nname: Payers\nwhen: {plan: [gold, silver], age: {from: 18}}\n",
    "notification": "kind: notification\nname: ops\nsend: webhook\nseverity: info\nmodels: [delays]\n",
    "freeze": "kind: freeze\nname: weekend\nmodels: [delays]\nwindows:\n  - {cron: '0 16 * * fri', lasts: 64h}\n",
    "policy": "kind: policy\nname: certified-plans\nmodels: [delays]\ncertified: true\n",
    "deployment": "kind: deployment\nmodel: delays\nbuild: 7\n",
    "variation": "kind: variation\nmodel: delays\nvariation: b\nstand_in: errors\nprotected: true\n",
    "connections": "kind: connections\nmodel: delays\nfallback: {a: 3, b: 1}\naudiences:\n"
    "  - {audience: ny, weights: {a: 2, b: 0}, copies: {b: 20}}\n",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_ledger_keeps_is_read_back_as_the_same_document(kind: str) -> None:
    found = read_document(EXAMPLES[kind], "p")
    again = document_from_values({"kind": found.kind, **found.body}, "ledger")
    assert (again.value, again.digest, again.name) == (found.value, found.digest, found.name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of documents, and an empty ledger that the command line reaches by itself."""
    from sluicegate.flows.wiring import runtime as wiring

    monkeypatch.setenv("SLUICE_LEDGER", f"sqlite:///{tmp_path}/ledger.db")
    monkeypatch.setenv("SLUICE_STATE", str(tmp_path / "state"))
    wiring.current_runtime.cache_clear()
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "delays.yaml").write_text(PLAN)
    yield documents
    wiring.current_runtime.cache_clear()


def sluice(*words: str) -> int:
    code = app(words, print_error=True, exit_on_error=False, result_action="return_value")
    return code or 0


def test_diff_says_by_its_exit_code_whether_apply_would_change_something(folder: Path) -> None:
    assert sluice("diff", "-f", str(folder), "--detailed-exitcode") == 2
    assert sluice("apply", "-f", str(folder)) == 0
    assert sluice("diff", "-f", str(folder), "--detailed-exitcode") == 0
    (folder / "delays.yaml").write_text(PLAN.replace("weight: 50", "weight: 40"))
    assert sluice("diff", "-f", str(folder)) == 0
    assert sluice("diff", "-f", str(folder), "--detailed-exitcode") == 2


def test_a_bad_document_is_an_error_and_not_a_change(folder: Path) -> None:
    from sluicegate.registry.words.errors import SluiceError

    (folder / "delays.yaml").write_text(PLAN.replace("steps", "stepps"))
    with pytest.raises(SluiceError) as raised:
        sluice("diff", "-f", str(folder), "--detailed-exitcode")
    assert (raised.value.exit_code, "did you mean steps?" in str(raised.value)) == (1, True)


def test_apply_of_a_folder_is_idempotent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sluice("apply", "-f", str(folder))
    capsys.readouterr()
    sluice("apply", "-f", str(folder), "-o", "json")
    assert json.loads(capsys.readouterr().out) == [
        {"applied": "plan delays/default", "changed": False, "warning": None, "rollout": None}
    ]


def test_a_running_rollout_keeps_the_plan_it_started_with(folder: Path) -> None:
    ledger, who = SqlLedger(Settings.read().ledger_url()), Giver(actor="ada", cause="cli")
    plan = Plan.model_validate(read_document(PLAN, "p").body)
    first = orders.deploy(ledger, plan=plan, version="1", request=who, now=NOW).rollout
    (folder / "delays.yaml").write_text(PLAN.replace("weight: 50", "weight: 40"))
    sluice("apply", "-f", str(folder))
    applied = ledger.applied("plan", "delays/default")
    assert applied is not None
    assert [step.weight for step in Plan.recorded(applied.body).steps] == [1000, 4000]
    assert [step.weight for step in ledger.rollout(first.id).plan.steps] == [1000, 5000]
    ledger.close()


def test_a_deployment_file_of_qwaks_is_shown_the_door(tmp_path: Path) -> None:
    file = tmp_path / "fraud.yaml"
    file.write_text("build_id: '1'\nmodel_id: fraud\nrealtime: {variation_name: a}\n")
    with pytest.raises(InvalidDocument, match=f"sluice deploy --from-file {file}"):
        read_documents([file])


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_of_a_kind_takes_what_is_read_and_refuses_what_is_not(kind: str) -> None:
    schema = KINDS[kind].schema()
    validator = Draft202012Validator(schema)
    values = yaml.safe_load(EXAMPLES[kind])
    validator.validate(values)
    validator.validate(document_from_values(values, "f").body | {"kind": kind})
    assert not validator.is_valid(values | {"nonsense": 1})
    required = schema["required"]
    assert all(not validator.is_valid({key: each for key, each in values.items() if key != name}) for name in required)


WHEN = {
    "everybody": ("{}", True),
    "a text": ("{state: New York}", True),
    "a number and a flag": ("{age: 30, beta: true}", True),
    "one of several": ("{plan: [gold, 7]}", True),
    "operators that must all hold": ("{age: {from: 18, to: '65', not: 30}, mail: {suffix: [.com, .org]}}", True),
    "not, any, all, header": (
        "{not: {a: b}, any: [{a: b}, {all: [{c: {in: d}}]}], header: {any: {present: false}}}",
        True,
    ),
    "nothing": ("null", False),
    "a list": ("[a]", False),
    "an unknown operator": ("{age: {form: 18}}", False),
    "no operator": ("{age: {}}", False),
    "a mapping in a list": ("{plan: [{a: b}]}", False),
    "any of a mapping": ("{any: {a: b}}", False),
    "a deep fault": ("{not: {any: [{a: {not: {contians: x}}}]}}", False),
    "present as a text": ("{a: {present: maybe}}", False),
    "no value": ("{a: null}", False),
}


@pytest.mark.parametrize(("when", "is_right"), WHEN.values(), ids=WHEN)
def test_the_schema_of_an_audience_takes_the_conditions_that_are_read(when: str, is_right: bool) -> None:
    text = f"kind: audience\nname: Payers\nwhen: {when}\n"
    assert Draft202012Validator(KINDS["audience"].schema()).is_valid(yaml.safe_load(text)) is is_right
    if is_right:
        read_document(text, "p")
    else:
        with pytest.raises(InvalidDocument):
            read_document(text, "p")
