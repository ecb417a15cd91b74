"""What builds answer, as their MLflow signatures declare it; and that a shadow's launch notes how it differs."""

from __future__ import annotations

from datetime import UTC, datetime

from sluicegate.flows.stages.shadow import declared_differences, note_outputs
from sluicegate.registry.words.build import Build, BuildRef
from sluicegate.registry.words.outputs import OutputKind, output_differences, output_kinds
from tests.doubles.ledger import MemoryLedger
from tests.unit.test_shadow_rollout import serving, start

AT = datetime(2026, 1, 1, tzinfo=UTC)


def build(*outputs: dict[str, object], version: str = "1") -> Build:
    return Build(ref=BuildRef(model="m", version=version), source="", signature={"outputs": list(outputs)})


def tensor(dtype: str, *shape: int) -> dict[str, object]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}


def test_kinds_follow_the_signature() -> None:
    table = build({"type": "long", "name": "label"}, {"type": "double", "name": "p"}, {"type": "string", "name": "why"})
    assert output_kinds(table) == {"label": OutputKind.LABEL, "p": OutputKind.NUMBER}
    assert output_kinds(build(tensor("int64", -1))) == {"prediction": OutputKind.LABEL}
    assert output_kinds(build(tensor("float64", -1, 2))) == {"0": OutputKind.NUMBER, "1": OutputKind.NUMBER}
    assert output_kinds(build(tensor("float32", -1, -1))) == {}
    assert output_kinds(Build(ref=BuildRef(model="m", version="1"), source="")) == {}


def test_differences_name_what_is_missing_new_and_changed() -> None:
    stable = build({"type": "long", "name": "label"}, {"type": "double", "name": "p"})
    candidate = build({"type": "string", "name": "label"}, {"type": "double", "name": "q"})
    assert output_differences(stable, candidate) == (
        "p (double) is missing", "q (double) is new", "label is string, but stable's is long",
    )  # fmt: skip
    assert output_differences(stable, stable) == ()
    assert output_differences(stable, Build(ref=BuildRef(model="m", version="2"), source="")) == ()


def test_a_launch_notes_them_for_the_comparison() -> None:
    ledger: MemoryLedger = serving()
    rollout = start(ledger, "2")
    builds = {"1": build(tensor("int64", -1)), "2": build(tensor("float64", -1), version="2")}
    note_outputs(ledger, lambda ref: builds[ref.version], rollout)
    assert declared_differences(ledger, rollout) == ("prediction is float64[-1], but stable's is int64[-1]",)
