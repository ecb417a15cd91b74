"""validate, diff, apply, schema: documents of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, plain, remark
from sluicegate.registry.words.settings import Settings

if TYPE_CHECKING:
    from sluicegate.registry.documents.diff import Difference

Files = Annotated[
    tuple[Path, ...], Parameter(name=["--file", "-f"], help="A YAML file or a folder of them.", negative=())
]
Detailed = Annotated[
    bool, Parameter(negative=(), help="Exit code 0: nothing to do, 2: changes, 1: error, bad documents included.")
]
CHANGES = 2


def validate(file: Files, *, output: Output = Format.TABLE) -> None:
    """Check documents: every error at once, with file, line, column and a suggestion."""
    from sluicegate.registry.documents.documents import KINDS, read_documents

    documents = read_documents(file, Settings.read().champion_alias)
    heads = [{"kind": each.kind, "name": each.name, "digest": each.digest} for each in documents]
    lines = [f"{each.kind} {each.name}: ok, {KINDS[each.kind].says(each.value)}" for each in documents]
    emit(heads, output, table="\n".join(lines))


def diff(file: Files, *, detailed_exitcode: Detailed = False, output: Output = Format.TABLE) -> int:
    """Show what apply would change, value by value. Documents that count and are not in the files stay as they are."""
    from sluicegate.registry.documents.diff import State
    from sluicegate.registry.words.errors import SluiceError

    try:
        differences = _differences(file)
    except SluiceError as error:
        if not detailed_exitcode or error.exit_code == 1:
            raise
        raise SluiceError(error.message, fix=error.fix) from error
    lines = [
        line
        for each in differences
        for line in (f"{each.kind} {each.name}: {each.state}", *(f"  {change}" for change in each.changes))
    ]
    emit(plain(differences), output, table="\n".join(lines))
    has_changes = any(each.state is not State.UNCHANGED for each in differences)
    return CHANGES if detailed_exitcode and has_changes else 0


def apply(file: Files, *, output: Output = Format.TABLE) -> None:
    """Apply documents. What is unchanged stays unchanged; a running rollout keeps the plan it started with."""
    from sluicegate.flows.cli.reach import call
    from sluicegate.registry.documents.documents import read_documents

    documents = read_documents(file, Settings.read().champion_alias)
    for note in (each.note for each in documents if each.note is not None):
        remark(note)
    bodies = [{"values": {"kind": each.kind, **each.body}, "where": each.where} for each in documents]
    done = [call("POST", "/api/v1/documents", body) for body in bodies]
    for warning in (each["warning"] for each in done if each["warning"]):
        remark(f"warning: {warning}")
    emit(done, output, table="\n".join(f"{d['applied']}: {'applied' if d['changed'] else 'unchanged'}" for d in done))


def plan_schema() -> None:
    """Print the JSON Schema of a plan, for editors and other tools."""
    from sluicegate.registry.plan.reading import plan_schema as schema

    print(json.dumps(schema(), indent=2))
    remark("put this into the first line of a plan: # yaml-language-server: $schema=plan.schema.json")


def _differences(file: tuple[Path, ...]) -> tuple[Difference, ...]:
    from sluicegate.flows.cli.reach import call
    from sluicegate.registry.documents.diff import Known, differences
    from sluicegate.registry.documents.documents import read_documents

    documents = read_documents(file, Settings.read().champion_alias)
    known = [
        Known(kind=each["kind"], name=each["name"], digest=each["digest"], body=each["body"])
        for each in call("GET", "/api/v1/documents")["documents"]
    ]
    return differences(documents, known)
