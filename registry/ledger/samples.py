"""Samples in the ledger's tables."""

from __future__ import annotations

from sqlalchemy import Connection, Row, delete, insert, select

from sluicegate.registry.ledger.tables import samples
from sluicegate.registry.ledger.times import from_text, to_text
from sluicegate.registry.rollout.external import LAST
from sluicegate.registry.words.sample import Lacking, Measured, Sample


def keep_sample(connection: Connection, sample: Sample) -> Sample:
    """Store a sample, or return the one already stored under its number. Only the last ones of a gate are kept:
    verdicts
    depend on them, and earlier failures are facts."""
    key = (samples.c.rollout == sample.rollout, samples.c.gate == sample.gate, samples.c.k == sample.k)
    stored = connection.execute(select(samples).where(*key)).one_or_none()
    if stored is not None:
        return _sample(stored)
    connection.execute(insert(samples).values(_row(sample)))
    of_gate = (samples.c.rollout == sample.rollout, samples.c.gate == sample.gate)
    connection.execute(delete(samples).where(*of_gate, samples.c.k <= sample.k - LAST))
    return sample


def last_samples(connection: Connection, rollout: str, gate: str, most: int) -> tuple[Sample, ...]:
    """The last `most` samples, ordered by k."""
    of_gate = select(samples).where(samples.c.rollout == rollout, samples.c.gate == gate)
    rows = connection.execute(of_gate.order_by(samples.c.k.desc()).limit(most)).all()
    return tuple(_sample(row) for row in reversed(rows))


def _row(sample: Sample) -> dict[str, object]:
    row: dict[str, object] = {
        "rollout": sample.rollout, "gate": sample.gate, "k": sample.k, "epoch": sample.epoch, "at": to_text(sample.at),
    }  # fmt: skip
    match sample.reading:
        case Measured(value=value, at=at):
            return row | {"value": value, "measured_at": None if at is None else to_text(at)}
        case Lacking(reason=reason):
            return row | {"lacking": reason}


def _sample(row: Row[tuple[object, ...]]) -> Sample:
    at = None if row.measured_at is None else from_text(row.measured_at)
    reading = Lacking(reason=row.lacking) if row.value is None else Measured(value=row.value, at=at)
    return Sample(rollout=row.rollout, gate=row.gate, k=row.k, epoch=row.epoch, at=from_text(row.at), reading=reading)
