"""Connections and variations as documents: applied, compared, withdrawn, followed from Git."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.audience.connections import StandIn
from sluicegate.registry.documents.documents import read_document
from sluicegate.registry.documents.known import known_documents
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.orders.connections_record import connections_of
from sluicegate.registry.words.errors import InvalidDocument, Refused, SluiceError
from sluicegate.registry.words.roles import Role
from tests.unit import test_cli_audiences as cli
from tests.unit.console_office import MemoryDesk
from tests.unit.test_cli_audiences import Said, said
from tests.unit.test_sync import Git, sync
from tests.unit.test_variations import connected

__all__ = ["said"]
cli_ledger = cli.ledger
PAGE = Path(__file__).parents[2] / "docs/how-to/keep-documents-in-git.md"
AUDIENCE = "kind: audience\nname: new-york\nwhen: {state: New York}\n"
CONNECTIONS = """\
kind: connections
model: fraud
audiences:
  - audience: new-york
    weights: {b: 30, default: 70}
    copies: {b: 20}
fallback: default
"""
VARIATION = "kind: variation\nmodel: fraud\nvariation: b\nby_name: true\nstand_in: unreachable\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Documents whose files stand in the wrong order: what is named comes after who names it."""
    there = tmp_path / "documents"
    there.mkdir()
    (there / "a-connections.yaml").write_text(CONNECTIONS)
    (there / "b-variation.yaml").write_text(VARIATION)
    (there / "c-audience.yaml").write_text(AUDIENCE)
    return there


def state(ledger: Ledger) -> object:
    there = connections_of(ledger, "fraud")
    assert there is not None
    return there


def test_what_is_applied_is_what_is_recorded_and_twice_is_once(
    cli_ledger: Ledger, said: Said, folder: Path
) -> None:  # fmt: skip
    shown = said("diff -f documents/")
    assert "connections fraud: changed" in shown
    assert "variation fraud/b: changed" in shown
    printed = said("apply -f documents/")
    assert printed.splitlines() == [
        "audience new-york: applied", "connections fraud: applied", "variation fraud/b: applied",
    ]  # fmt: skip
    there = connections_of(cli_ledger, "fraud")
    assert there is not None
    (sent,) = there.ordered
    assert ({p.variation: p.weight for p in sent.weighted}, sent.copied[0].sample) == ({"b": 30, "default": 70}, 2000)
    assert (there.terms_of("b").by_name, there.terms_of("b").stand_in) == (True, StandIn.UNREACHABLE)
    before = state(cli_ledger)
    assert all("unchanged" in line for line in said("apply -f documents/").splitlines())
    assert all("unchanged" in line for line in said("diff -f documents/").splitlines())
    assert state(cli_ledger) == before


def test_what_somebody_changed_here_is_shown_value_by_value_and_put_back(
    cli_ledger: Ledger, said: Said, folder: Path
) -> None:
    said("apply -f documents/")
    said("variation connect fraud b --audience new-york --weight 90")
    said("variation set fraud b --not-by-name")
    shown = said("diff -f documents/")
    assert "~ audiences.0.weights.b: 90 -> 30" in shown
    assert "~ by_name: False -> True" in shown
    page = PAGE.read_text()
    assert f"$ sluice diff -f documents/\n{shown}" in page
    printed = said("apply -f documents/")
    assert f"$ sluice apply -f documents/\n{printed}" in page
    assert CONNECTIONS in page
    assert VARIATION in page
    assert "changed" not in said("diff -f documents/").replace("unchanged", "")


def test_prune_takes_back_what_no_file_says_once(cli_ledger: Ledger, said: Said, folder: Path) -> None:
    said("apply -f documents/")
    for file in ("a-connections.yaml", "b-variation.yaml"):
        (folder / file).unlink()
    assert "connections fraud: only here" in said("diff -f documents/")
    assert said("apply -f documents/ --prune").splitlines()[1:] == [
        "variation fraud/b: withdrawn", "connections fraud: withdrawn",
    ]  # fmt: skip
    there = connections_of(cli_ledger, "fraud")
    assert there is not None
    assert (there.ordered, there.terms, there.fallback_variation) == ((), (), "default")
    assert said("apply -f documents/ --prune").splitlines() == ["audience new-york: unchanged"]


def test_an_environment_lays_its_own_over_them(cli_ledger: Ledger, said: Said, folder: Path) -> None:
    own = folder / "environments/prod"
    own.mkdir(parents=True)
    (own / "variation.yaml").write_text(
        "kind: variation\nmodel: fraud\nvariation: b\nstand_in: null\nprotected: true\n"
    )
    (own / "connections.yaml").write_text("kind: connections\nmodel: fraud\nfallback: b\n")
    said("apply -f documents/ --environment prod")
    there = connections_of(cli_ledger, "fraud")
    assert there is not None
    assert (there.protected, there.fallback_variation, len(there.ordered)) == ({"b"}, "b", 1)


def test_a_document_that_changes_what_is_protected_waits_and_the_others_are_applied(
    cli_ledger: Ledger, said: Said, folder: Path
) -> None:
    said("variation set fraud default --protected")
    lines = said("apply -f documents/").splitlines()
    assert lines == [
        "audience new-york: applied", "connections fraud: waits for approval", "variation fraud/b: waits for approval",
    ]  # fmt: skip
    assert "sluice proposal approve" in said.aside


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("fallback: {a: 0}", "fallback", "no variation would answer"),
        ("fallback: {a: -1}", "fallback.a", "greater than or equal to 0"),
        ("fallback: {a: yes}", "fallback.a", "valid integer"),
        ("audiences: [{audience: ny, weights: {}}]", "audiences.0.weights", ""),
        ("audiences: [{audience: default, weights: {a: 1}}]", "audiences.0.audience", "write it as fallback"),
        ("audiences: [{audience: ny, weights: {a: 1}, copies: {b: 120}}]", "audiences.0.copies.b", "100"),
        ("audiences: [{audience: ny, weights: {a: 1}}, {audience: ny, weights: {b: 1}}]", "", "named twice"),
        ("audience: []", "audience", "did you mean audiences"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read_document(f"kind: connections\nmodel: m\n{text}\n", "c.yaml")
    (problem,) = raised.value.problems
    assert place in problem.path
    assert message in f"{problem.message} {problem.fix}"


@pytest.mark.parametrize(
    ("text", "place"), [("protected: often", "protected"), ("stand_in: sometimes", "stand_in"), ("by: true", "by")]
)
def test_what_is_wrong_in_a_variation_is_told_with_its_place(text: str, place: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        read_document(f"kind: variation\nmodel: m\n{text}\n", "v.yaml")
    assert [each.path for each in raised.value.problems] == [place]


def test_a_document_obeys_the_rules_of_the_orders_that_it_gives(cli_ledger: Ledger, said: Said, folder: Path) -> None:
    (folder / "a-connections.yaml").write_text(CONNECTIONS.replace("fallback: default", "fallback: nobody"))
    with pytest.raises(Refused, match="fraud/nobody holds no build"):
        said("apply -f documents/")
    (folder / "a-connections.yaml").write_text(CONNECTIONS.replace("audience: new-york", "audience: boston"))
    with pytest.raises(SluiceError, match="no audience boston"):
        said("apply -f documents/")


def test_git_s_connections_are_followed_drift_is_told_and_put_back(tmp_path: Path) -> None:
    desk, repo = MemoryDesk(), Git.with_plan(tmp_path)
    connected(desk.ledger)  # type: ignore[arg-type]
    text = "kind: connections\nmodel: m\naudiences: [{audience: new-york, weights: {b: 1}}]\n"
    repo.commit(connections=text, variation="kind: variation\nmodel: m\nvariation: b\nby_name: true\n")
    assert sync(desk, repo).is_in_sync
    assert sync(desk, repo).done == ()
    there = connections_of(desk.ledger, "m")
    assert there is not None
    assert ([each.audience.name for each in there.ordered], there.terms_of("b").by_name) == (["new-york"], True)
    app_order(desk, "connections", {"model": "m"})
    assert "connections m: it was changed here" in sync(desk, repo).drift[0]
    assert sync(desk, repo, revert=True).is_in_sync
    repo.commit(connections=None, variation=None)
    assert len(sync(desk, repo).done) == 2
    after = connections_of(desk.ledger, "m")
    assert after is not None
    assert (after.ordered, after.terms) == ((), ())
    assert all(each.is_bare for each in known_documents(desk.ledger) if each.kind in ("connections", "variation"))


def app_order(desk: MemoryDesk, kind: str, values: dict[str, object]) -> None:
    """A document that somebody applied here."""
    from sluicegate.services.console.acts.documents import DocumentActs, DocumentBody
    from sluicegate.services.console.operations import Request

    body = DocumentBody(values={"kind": kind, **values})
    request = Request(actor="ada", role=Role.ADMIN)
    DocumentActs(desk).apply(request, body)
