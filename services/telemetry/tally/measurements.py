"""Measurements: the metric values that a request and its prediction summary give without a label. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import PredictionField
from sluicegate.services.telemetry.tally.exposure import Exposure
from sluicegate.services.telemetry.tally.scores import LIMIT, Missing, Summary, number_of
from sluicegate.services.telemetry.tally.spec import Measures


def request_values(exposure: Exposure, measures: Measures) -> Iterator[tuple[str, float | None]]:
    """The values that a request adds, by metric; None means missing."""
    yield from ending_values(exposure, measures)
    yield from answer_values(exposure, measures)


def ending_values(exposure: Exposure, measures: Measures) -> Iterator[tuple[str, float | None]]:
    """The values that a request's status and duration add, by metric; None means missing."""
    for metric in measures.statuses:
        yield metric, float(exposure.is_error)
    if exposure.has_stayed:
        duration = exposure.duration
        for metric, limit in measures.limits:
            yield metric, None if duration is None else float(duration > limit)
        for metric, cap in measures.means:
            yield metric, None if duration is None else min(duration / 1e6, cap)


def answer_values(exposure: Exposure, measures: Measures) -> Iterator[tuple[str, float | None]]:
    """The values that a request's answer adds, by metric; None means missing, and no value means no answer.

    Only the prediction in the first row counts, because the rows of a request are similar and were assigned together.
    """
    if not (measures.judges_answers and exposure.is_answered):
        return
    summary = Summary(exposure.prediction)
    for metric in measures.contracts:
        yield metric, contract(summary)
    for predicted in measures.predictions:
        value = prediction(summary, predicted.field)
        yield predicted.name, value
        for metric, limit in predicted.levels:
            yield metric, None if value is None else float(value > limit)


def contract(summary: Summary) -> float | None:
    """1 if the answer breaks the signature, 0 if not, None without a summary that shows it."""
    if summary.missing is Missing.PREDICTION:
        return None
    return float(summary.broken is not None)


def prediction(summary: Summary, field: PredictionField | None) -> float | None:
    """The prediction in the first row; None if it is missing or not a number."""
    cell = summary.cell(0, field)
    number = None if isinstance(cell, Missing) else number_of(cell)
    return number if number is not None and abs(number) <= LIMIT else None
