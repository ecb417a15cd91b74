"""validate, diff, apply, schema: documents of every kind."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sluicegate.flows.cli.output import Format, Output, emit, errors_exit_with_1, plain, remark
from sluicegate.registry.words.settings import Settings

if TYPE_CHECKING:
    from sluicegate.registry.documents.diff import Difference
    from sluicegate.registry.documents.documents import ReadDocument

Files = Annotated[
    tuple[Path, ...], Parameter(name=["--file", "-f"], help="A YAML file or a folder of them.", negative=())
]
Detailed = Annotated[
    bool, Parameter(negative=(), help="Exit code 0: nothing to do, 2: changes, 1: error, bad documents included.")
]
Prune = Annotated[
    bool, Parameter(negative=(), help="Withdraw applied documents that are not in the folder. Open rollouts go on.")
]
Environment = Annotated[
    str | None,
    Parameter(help="The environment of the folder; by default SLUICE_ENVIRONMENT.", show_default=False),
]
CHANGES = 2


def validate(file: Files, *, environment: Environment = None, output: Output = Format.TABLE) -> None:
    """Check documents: every error at once, with file, line, column and a suggestion."""
    from sluicegate.registry.documents.documents import KINDS

    documents = _read(file, environment)
    heads = [{"kind": each.kind, "name": each.name, "digest": each.digest} for each in documents]
    lines = [f"{each.kind} {each.name}: ok, {KINDS[each.kind].says(each.value)}" for each in documents]
    emit(heads, output, table="\n".join(lines))


def diff(
    file: Files, *, environment: Environment = None, detailed_exitcode: Detailed = False,
    output: Output = Format.TABLE,
) -> int:  # fmt: skip
    """Show what apply would change, value by value. For a folder, also list applied documents that it lacks."""
    from sluicegate.registry.documents.diff import State

    with errors_exit_with_1() if detailed_exitcode else nullcontext():
        differences = _differences(file, environment)
    lines = [
        line
        for each in differences
        for line in (f"{each.kind} {each.name}: {each.state}", *(f"  {change}" for change in each.changes))
    ]
    emit(plain(differences), output, table="\n".join(lines))
    has_changes = any(each.state in (State.NEW, State.CHANGED) for each in differences)
    return CHANGES if detailed_exitcode and has_changes else 0


def apply(file: Files, *, environment: Environment = None, prune: Prune = False, output: Output = Format.TABLE) -> None:
    """Apply documents. Unchanged ones stay as they are; an open rollout keeps the plan that it started with."""
    from sluicegate.flows.cli.reach import call
    from sluicegate.registry.documents.diff import State
    from sluicegate.registry.documents.documents import ORDER
    from sluicegate.registry.words.errors import AwaitsApproval

    documents = _read(file, environment)
    if prune:
        _refuse_single_files(file)
    for note in (each.note for each in documents if each.note is not None):
        remark(note)
    done, lines = list[dict[str, Any]](), list[str]()
    for each in sorted(documents, key=lambda each: ORDER.index(each.kind)):
        try:
            done.append(call("POST", "/api/v1/documents", _body(each)))
        except AwaitsApproval as waits:
            remark(f"{waits.message} {waits.fix}")
            lines.append(f"{each.kind} {each.name}: waits for approval")
    for warning in (each["warning"] for each in done if each["warning"]):
        remark(f"warning: {warning}")
    lines = [*(f"{each['applied']}: {'applied' if each['changed'] else 'unchanged'}" for each in done), *lines]
    surplus = [each for each in _differences(file, environment) if each.state is State.ABSENT] if prune else []
    for absent in sorted(surplus, key=lambda each: -ORDER.index(each.kind)):
        try:
            done.append(call("DELETE", "/api/v1/documents", query={"kind": absent.kind, "name": absent.name}))
            lines.append(f"{absent.kind} {absent.name}: withdrawn")
        except AwaitsApproval as waits:
            remark(f"{waits.message} {waits.fix}")
            lines.append(f"{absent.kind} {absent.name}: its withdrawal waits for approval")
    emit(done, output, table="\n".join(lines))


def _body(document: ReadDocument) -> dict[str, Any]:
    return {"values": {"kind": document.kind, **document.body}, "where": document.where}


def schema(
    kind: Annotated[str, Parameter(help="plan, audience, connections, variation, deployment, freeze, …")], /
) -> None:
    """Print the JSON Schema of a kind of document, for editors and other tools."""
    from sluicegate.registry.documents.documents import KINDS
    from sluicegate.registry.words.errors import UsageError
    from sluicegate.registry.words.suggestions import suggestion

    if kind not in KINDS:
        raise UsageError(f"there is no schema of {kind!r}.", fix=suggestion(kind, KINDS))
    print(json.dumps(KINDS[kind].schema(), indent=2))
    remark(f"for completion in an editor, begin the file with: # yaml-language-server: $schema={kind}.schema.json")


def _read(file: tuple[Path, ...], environment: str | None) -> tuple[ReadDocument, ...]:
    from sluicegate.registry.documents.documents import read_documents

    settings = Settings.read()
    return read_documents(file, settings.champion_alias, environment or settings.environment)


def _differences(file: tuple[Path, ...], environment: str | None) -> tuple[Difference, ...]:
    """How the documents differ from the applied ones; for a folder, also the applied documents that it lacks."""
    from sluicegate.flows.cli.reach import call
    from sluicegate.registry.documents.diff import Known, absent, differences

    documents = _read(file, environment)
    applied = [
        Known(kind=each["kind"], name=each["name"], digest=each["digest"], body=each["body"], is_bare=each["is_bare"])
        for each in call("GET", "/api/v1/documents")["documents"]
    ]
    has_all = any(path.is_dir() for path in file)
    return (*differences(documents, applied), *(absent(documents, applied) if has_all else ()))


def _refuse_single_files(file: tuple[Path, ...]) -> None:
    from sluicegate.registry.words.errors import UsageError

    for path in file:
        if not path.is_dir():
            raise UsageError(
                f"--prune withdraws every document that the files do not contain, but {path} is a single file.",
                fix="name the folder that holds all documents: -f FOLDER --prune",
            )
