"""One tree of documents, and what is different in dev and in prod; what is in no file goes when one says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.documents.documents import ReadDocument, read_documents
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.words.errors import InvalidDocument, UsageError
from sluicegate.registry.words.settings import Settings
from tests.unit.commands import sluice
from tests.unit.test_cli import PLAN

AUDIENCE = "kind: audience\nname: new-york\nwhen: {x-state: NY}\n"
FREEZE = "kind: freeze\nname: weekend\nzone: UTC\nwindows: []\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of documents with two environments."""
    folder = tmp_path / "documents"
    write(folder / "plan.yaml", PLAN)
    write(folder / "audience.yaml", AUDIENCE)
    write(folder / "environments/dev/plan.yaml", "kind: plan\nmodel: delays\nsteps: [{weight: 50}]\n")
    write(
        folder / "environments/prod/delays.yaml",
        "kind: plan\nmodel: delays\nbake: 1h\ngates: [{metric: log_loss, margin: 2%}]\n---\n" + FREEZE,
    )
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def read(tree: Path, environment: str | None) -> dict[str, ReadDocument]:
    return {f"{each.kind} {each.name}": each for each in read_documents([tree], environment=environment)}


def test_an_environment_is_laid_over_what_all_have(tree: Path) -> None:
    dev, prod = read(tree, "dev"), read(tree, "prod")
    assert set(prod) == {"plan delays/default", "audience new-york", "freeze weekend"}
    assert set(dev) == {"plan delays/default", "audience new-york"}
    plan = prod["plan delays/default"].value
    assert (plan.bake, len(plan.steps)) == (3600.0, 2)
    assert [step.weight for step in dev["plan delays/default"].value.steps] == [5000]


def test_null_takes_a_key_away_and_a_list_is_replaced_whole(tree: Path) -> None:
    write(tree / "environments/dev/plan.yaml", "kind: plan\nmodel: delays\nunit: null\nbake: 2h\n")
    write(tree / "plan.yaml", PLAN + "unit: x-user-id\nbake: 1h\n")
    plan = read(tree, "dev")["plan delays/default"].value
    assert plan.unit is None
    assert len(plan.steps) == 2
    assert read(tree, "prod")["plan delays/default"].value.unit == "x-user-id"


def test_an_error_stands_where_its_value_was_written(tree: Path) -> None:
    own = tree / "environments/dev/plan.yaml"
    write(own, "kind: plan\nmodel: delays\nsteps:\n- {wait: 50}\n")
    with pytest.raises(InvalidDocument) as raised:
        read(tree, "dev")
    assert [(each.where, each.line) for each in raised.value.problems if "wait" in each.path] == [(str(own), 4)]
    write(own, "kind: plan\nmodel: delays\n")
    write(tree / "plan.yaml", PLAN.replace("margin: 5%", "margin: 5"))
    with pytest.raises(InvalidDocument) as raised:
        read(tree, "dev")
    assert [(each.where, each.line) for each in raised.value.problems] == [(str(tree / "plan.yaml"), 4)]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (None, "has the environments dev, prod, and none is named"),
        ("prd", "and no prd"),
        ("../prod", "and no ../prod"),
        ("", "and no "),
    ],
)
def test_of_a_folder_with_environments_one_must_be_named(tree: Path, name: str | None, says: str) -> None:
    with pytest.raises(UsageError, match="has the environments") as raised:
        read(tree, name)
    assert says in raised.value.message


def test_one_document_is_changed_once_in_an_environment(tree: Path) -> None:
    write(tree / "environments/dev/again.yaml", "kind: audience\nname: new-york\nwhen: {x-state: NJ}\n---\n" + AUDIENCE)
    with pytest.raises(InvalidDocument, match="is declared twice"):
        read(tree, "dev")


def test_the_installation_says_which_environment_it_is() -> None:
    assert Settings.read({"SLUICE_ENVIRONMENT": "prod"}).environment == "prod"
    assert Settings.read({}).environment is None


def test_what_is_not_in_the_folder_is_shown_and_withdrawn_only_when_asked(tmp_path: Path, tree: Path) -> None:
    state, folder = tmp_path / "state", ("-f", str(tree), "--environment", "prod")
    state.mkdir()
    SqlLedger(f"sqlite:///{state / 'ledger.db'}").close()
    other = tmp_path / "other.yaml"
    other.write_text(PLAN.replace("delays", "fraud"))
    assert sluice(state, "apply", "-f", str(other)).code == 0
    sluice(state, "apply", *folder)
    code, out, _ = sluice(state, "diff", *folder, "--detailed-exitcode")
    assert (code, "plan fraud/default: only here" in out) == (0, True)
    code, _, said = sluice(state, "apply", "-f", str(other), "--prune")
    assert (code, "is a single file" in said) == (2, True)
    _, out, _ = sluice(state, "apply", *folder, "--prune")
    assert "plan fraud/default: withdrawn" in out
    assert "freeze weekend: unchanged" in out
    _, out, _ = sluice(state, "apply", *folder, "--prune")
    assert "withdrawn" not in out
    assert "plan fraud" not in sluice(state, "diff", *folder).out
