"""validate, apply, schema: plans as documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.output import Format, Output, emit, say

Files = Annotated[
    tuple[Path, ...], Parameter(name=["--file", "-f"], help="A YAML file or a folder of them.", negative=())
]


def validate(*, file: Files, output: Output = Format.TABLE) -> None:
    """Check documents: every error at once, with file, line, column and a suggestion."""
    from registry.plan_file import read_documents

    plans = [found.plan for found in read_documents(file)]
    said = [{"kind": "plan", "model": p.model, "variation": p.variation, "digest": p.digest} for p in plans]
    emit(said, output, table="\n".join(f"plan {p.model}/{p.variation}: ok, {len(p.steps)} steps" for p in plans))


def apply(*, file: Files, output: Output = Format.TABLE) -> None:
    """Apply documents. What is unchanged stays unchanged; a running rollout keeps the plan it started with."""
    from flows.cli.reach import call
    from registry.plan_file import read_documents

    done = [call("POST", "/api/v1/documents", {"plan": found.plan.document()}) for found in read_documents(file)]
    emit(done, output, table="\n".join(f"{d['applied']}: {'applied' if d['changed'] else 'unchanged'}" for d in done))


def plan_schema() -> None:
    """Print the JSON Schema of a plan, for editors and other tools."""
    from registry.plan_file import plan_schema as schema

    print(json.dumps(schema(), indent=2))
    say("put this into the first line of a plan: # yaml-language-server: $schema=plan.schema.json")
