"""The New York / California example: its documents are valid, its commands exist, people get what the tutorial says."""

from __future__ import annotations

import re
from pathlib import Path

from docs.pages import cli
from sluicegate.registry.audience.connections import Connection, Connections, Weighted
from sluicegate.registry.documents.documents import read_documents

FOLDER = Path(__file__).parents[2] / "examples" / "new_york_california"


def test_its_documents_are_valid() -> None:
    assert [(each.kind, each.name) for each in read_documents((FOLDER,))] == [
        ("audience", "new-york"), ("audience", "california"), ("plan", "fraud/default"),
    ]  # fmt: skip


def test_its_commands_exist() -> None:
    known = {name for name, _ in cli.commands()}
    lines = re.findall(r"^(?:step|refused) (sluice .*)$", (FOLDER / "walk.sh").read_text(), flags=re.MULTILINE)
    assert len(lines) > 10
    for line in lines:
        words = line.split()
        assert " ".join(words[:2]) in known or " ".join(words[:3]) in known, line


def test_its_people_get_what_the_tutorial_says() -> None:
    audiences = [each.value for each in read_documents((FOLDER / "audiences.yaml",))]
    connected = zip(audiences, ("ny", "ca"), strict=True)
    model = Connections(
        model="fraud",
        ordered=tuple(Connection(audience=each, weighted=(Weighted(variation=name),)) for each, name in connected),
    )
    people = {("New York", "30"): "ny", ("New York", "70"): None, ("California", "70"): "ca", ("Texas", "30"): None}
    for (state, age), variation in people.items():
        taken = model.takes({"State": state, "Age": age})
        assert (taken.weighted[0].variation if taken else None) == variation
