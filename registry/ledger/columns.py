"""Columns: facts, looks and documents as they are stored, without the ids that the database assigns."""

from __future__ import annotations

import json

from sqlalchemy import Row

from sluicegate.registry.ledger.looks_json import look_to_json
from sluicegate.registry.ledger.record import Applied
from sluicegate.registry.ledger.times import from_text, to_text
from sluicegate.registry.rollout.facts import Entry, from_payload, to_payload
from sluicegate.registry.words.verdict import Look


def entry_columns(entry: Entry) -> dict[str, object]:
    """The columns of a fact, without its id."""
    return {
        "rollout": entry.rollout,
        "seq": entry.seq,
        "at": to_text(entry.at),
        "fact": type(entry.fact).__name__,
        "payload": json.dumps(to_payload(entry.fact), separators=(",", ":"), allow_nan=False),
    }


def entry_of(row: Row[tuple[object, ...]]) -> Entry:
    """The fact in a row."""
    fact = from_payload(row.fact, json.loads(row.payload))
    return Entry(rollout=row.rollout, seq=row.seq, at=from_text(row.at), fact=fact)


def document_columns(document: Applied) -> dict[str, object]:
    """The columns of a document, without its id."""
    return {**vars(document), "body": json.dumps(document.body), "at": to_text(document.at)}


def document_of(row: Row[tuple[object, ...]]) -> Applied:
    """The document in a row, without its id."""
    stored = {name: value for name, value in row._asdict().items() if name != "id"}
    return Applied(**{**stored, "body": json.loads(row.body), "at": from_text(row.at)})


def look_columns(look: Look) -> dict[str, object]:
    """The columns of a look."""
    return {"rollout": look.rollout, "metric": look.metric, "k": look.k, "body": look_to_json(look)}
