"""Documents as people write them: YAML in, plans out, or every error of all documents with its place and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from registry.errors import InvalidDocument, Problem, UsageError
from registry.plan import Plan
from registry.plan_words import amended, explain
from registry.yaml_text import Text, read_texts

KINDS = ("plan",)
"""The kinds of documents that can be applied."""
ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class ReadDocument:
    """A valid document and where it stands."""

    where: str
    line: int
    plan: Plan

    @property
    def name(self) -> str:
        """Its name among documents of its kind: model and variation."""
        return f"{self.plan.model}/{self.plan.variation}"


def read_documents(paths: Iterable[Path]) -> tuple[ReadDocument, ...]:
    """The documents of files and of all YAML files in folders, in order of path.

    Raises InvalidDocument with the problems of all of them, UsageError for a path that cannot be read.
    """
    texts = [text for file in _files(paths) for text in read_texts(_content(file), str(file))]
    if not texts:
        raise UsageError("there is no document to read.", fix="name a YAML file or a folder of them: -f plan.yaml")
    return _read(texts)


def read_plan(text: str, where: str) -> Plan:
    """The one plan of a YAML text; `where` names it in errors. Raises InvalidDocument."""
    texts = read_texts(text, where)
    if len(texts) != 1:
        message = f"one document is expected here, and there are {len(texts)}"
        raise InvalidDocument((Problem(where=where, line=1, column=1, path="document", message=message),))
    return _read(texts)[0].plan


def plan_from_values(values: object, where: str) -> Plan:
    """The plan of values that came as JSON; problems name paths, not lines. Raises InvalidDocument."""
    return _read([Text(where=where, values=values)])[0].plan


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of a plan as people write it."""
    schema = Plan.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Sluicegate plan"}


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.rglob("*") if p.suffix in ENDINGS and p.is_file()) if path.is_dir() else [path]
        found += [file for file in inside if file not in found]
    return found


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}.", fix="see the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from error


def _read(texts: Sequence[Text]) -> tuple[ReadDocument, ...]:
    plans = [(text, _plan(text)) for text in texts]
    _refuse_twice(plans)
    problems = [problem for text in texts for problem in text.problems]
    if problems:
        raise InvalidDocument(tuple(sorted(problems, key=lambda p: (p.where, p.line, p.column))))
    return tuple(ReadDocument(where=text.where, line=text.line, plan=plan) for text, plan in plans if plan)


def _plan(text: Text) -> Plan | None:
    """The plan of a text; None when it has problems, which are then noted in it."""
    values = text.values
    if not isinstance(values, dict):
        if not text.problems:
            text.add((), "a document is a mapping of keys and values", "write kind: plan and what follows")
        return None
    if not _is_known_kind(text, values.get("kind")):
        return None
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        fields = explain(error)
    for problem in (*fields, *amended(values, fields)):
        text.add(problem.at, problem.message, problem.fix, on_value=problem.on_value)
    return None


def _is_known_kind(text: Text, kind: object) -> bool:
    if kind in KINDS:
        return True
    known = ", ".join(KINDS)
    if kind is None:
        text.add((), "kind is missing", f"write kind: one of {known}")
    else:
        text.add(("kind",), f"there is no kind {kind!r}", f"known are {known}", on_value=True)
    return False


def _refuse_twice(plans: Sequence[tuple[Text, Plan | None]]) -> None:
    first: dict[tuple[str, str], Text] = {}
    for text, plan in plans:
        if plan is None:
            continue
        earlier = first.setdefault((plan.model, plan.variation), text)
        if earlier is not text:
            message = f"{plan.model}/{plan.variation} has a plan already, in {earlier.where}:{earlier.line}"
            text.add(("model",), message, "keep one of them, or name another variation")
