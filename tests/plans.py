"""Plans and documents of texts, for tests."""

from __future__ import annotations

from pathlib import Path

from sluicegate.registry.documents.documents import ReadDocument, document_from_values, read_document, read_documents
from sluicegate.registry.plan.plan import Plan


def read_plan(text: str, where: str) -> Plan:
    """The one plan of a YAML text."""
    return _plan(read_document(text, where))


def plan_from_values(values: object, where: str) -> Plan:
    """The plan of values that came as JSON."""
    return _plan(document_from_values(values, where))


def documents_in(text: str, folder: Path) -> tuple[ReadDocument, ...]:
    """Every document of a text, written to a file in this folder."""
    file = folder / "documents.yaml"
    file.write_text(text)
    return read_documents([file])


def _plan(document: ReadDocument) -> Plan:
    assert isinstance(document.value, Plan)
    return document.value
