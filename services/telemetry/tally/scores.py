"""Scores: compute one number from a prediction and its outcome. Pure.

A score is a finite float or a Missing, which says why there is none; a missing value is tallied as missing, never as a
number. Booleans, numbers and texts that spell them are equivalent: `true`, 1, 1.0 and "1" agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import orjson

from sluicegate.registry.plan.fields import LEAST_PROBABILITY, MetricSpec, PredictionField, Score

Value = bool | int | float | str | None
"""An outcome as it arrives in JSON."""

_WORDS = {"true": 1, "false": 0}

LIMIT = 2.0**53
"""Larger numbers are not exact as floats, and no measurement is that large; they count as missing."""


class Missing(StrEnum):
    """Why there is no score."""

    OUTCOME = "the outcome is not a finite number of the kind the score needs"
    PREDICTION = "the answer carried no prediction summary that can be read"
    RANGE = "the outcome is beyond what can be true"
    TRUNCATED = "the prediction summary was cut"
    COLUMN = "the prediction has no such column"
    PROBABILITY = "the prediction is not a probability"


class Summary:
    """The prediction summary of one answer: `{"c": columns, "r": rows}` or `{"n": rows, "truncated": true}`.

    Either contains `"x": reason` if the answer breaks the model's signature.
    """

    __slots__ = ("broken", "columns", "missing", "rows", "size")

    def __init__(self, text: str | None) -> None:
        self.missing: Missing | None = None
        self.size: int | None = None
        """The number of rows in the request; None if it is not known."""
        self.broken: str | None = None
        """How the answer breaks the model's signature; None if it does not, or if that is not known."""
        self.columns: list[str] = []
        self.rows: list[list[object]] = []
        """Values by row, in the order of the columns; empty if they are missing."""
        self._read(text)

    @classmethod
    def of(cls, columns: list[str], rows: list[list[object]]) -> Summary:
        """A summary with these values."""
        summary = cls.__new__(cls)
        summary.missing, summary.broken = None, None
        summary.columns, summary.rows, summary.size = columns, rows, len(rows)
        return summary

    def _read(self, text: str | None) -> None:
        try:
            body = _loaded(text or "")
            self.broken = body.get("x")
            if body.get("truncated"):
                self.size = int(body["n"])
                self.missing = Missing.TRUNCATED
                return
            self.columns = [str(column) for column in body["c"]]
            self.rows = [list(row) for row in body["r"]]
            self.size = len(self.rows)
        except (ValueError, TypeError, KeyError, AttributeError):
            self.missing = Missing.PREDICTION

    def cell(self, row: int, field: PredictionField | None) -> object:
        """The value in a row's column; without a field, in the only column. Missing if there is none."""
        if self.missing is not None:
            return self.missing
        name = (field or PredictionField()).column
        if field is None and len(self.columns) == 1:
            name = self.columns[0]
        try:
            return self.rows[row][self.columns.index(name)]
        except (ValueError, IndexError):
            return Missing.COLUMN


def _loaded(text: str) -> Any:
    """Parses JSON as Python writes it. The fast parser refuses NaN and very large numbers, which Python's accepts."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def score_row(name: str, metric: MetricSpec, summary: Summary, row: int, value: Value) -> float | Missing:
    """A metric's score for a row of an answer and its outcome."""
    kind = score_of(name, metric)
    prediction = summary.cell(row, metric.prediction) if needs_prediction(kind) else None
    return score(kind, metric, prediction, value)


def score_of(name: str, metric: MetricSpec) -> Score:
    """The kind of score of a metric: its own setting, or else what its name says, or else the outcome itself."""
    if metric.score is not None:
        return metric.score
    return Score(name) if name in set(Score) else Score.OUTCOME


def score(kind: Score, metric: MetricSpec, prediction: object, value: Value) -> float | Missing:
    """A metric's score for a prediction and its outcome: capped, and minus the metric's origin."""
    if not _is_plausible(metric, value):
        return Missing.RANGE
    scored = _score(kind, metric, prediction, value)
    if isinstance(scored, Missing):
        return scored
    capped = _capped(scored, metric.cap)
    return capped if math.isfinite(capped) and abs(capped) <= LIMIT else Missing.OUTCOME


def _is_plausible(metric: MetricSpec, value: Value) -> bool:
    """Whether an outcome is within the metric's range; True if it is not a number."""
    number = number_of(value)
    low, high = metric.range or (-LIMIT, LIMIT)
    return number is None or low <= number <= high


def needs_prediction(kind: Score) -> bool:
    """Whether a score uses the prediction; all kinds but the outcome itself do."""
    return kind is not Score.OUTCOME


def same(left: object, right: object) -> bool:
    """Whether two outcome values or labels agree, however they are spelled."""
    return _plain(left) == _plain(right)


def _score(kind: Score, metric: MetricSpec, prediction: object, value: Value) -> float | Missing:
    if value is None:
        return Missing.OUTCOME
    if needs_prediction(kind) and isinstance(prediction, Missing):
        return prediction
    positive = metric.prediction.positive if metric.prediction else None
    match kind:
        case Score.LOG_LOSS:
            return _of_probability(prediction, value, positive, _log_loss)
        case Score.BRIER:
            return _of_probability(prediction, value, positive, lambda p, hit: (p - hit) ** 2)
        case Score.ZERO_ONE:
            return _zero_one(prediction, value, positive)
        case Score.ABSOLUTE_ERROR:
            return _of_error(prediction, value, abs)
        case Score.SQUARED_ERROR:
            return _of_error(prediction, value, lambda error: error * error)
        case Score.OUTCOME:
            number = number_of(value)
            return Missing.OUTCOME if number is None else number - metric.origin


def _log_loss(probability: float, hit: bool) -> float:
    clipped = min(max(probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
    return -math.log(clipped if hit else 1 - clipped)


def _of_probability(
    prediction: object, value: Value, positive: object, loss: Callable[[float, bool], float]
) -> float | Missing:
    probability = number_of(prediction)
    if probability is None or not 0 <= probability <= 1:
        return Missing.PROBABILITY
    hit = _hit(value, positive)
    return Missing.OUTCOME if hit is None else loss(probability, hit)


def _zero_one(prediction: object, value: Value, positive: object) -> float | Missing:
    """1 if prediction and outcome differ. With a positive class, a probability of at least 0.5 predicts that class."""
    probability = number_of(prediction)
    if positive is None or probability is None or not 0 <= probability <= 1:
        return Missing.PREDICTION if prediction is None else float(not same(prediction, value))
    hit = _hit(value, positive)
    return Missing.OUTCOME if hit is None else float((probability >= 0.5) != hit)


def _of_error(prediction: object, value: Value, loss: Callable[[float], float]) -> float | Missing:
    predicted, true = number_of(prediction), number_of(value)
    if predicted is None:
        return Missing.PREDICTION
    return Missing.OUTCOME if true is None else loss(predicted - true)


def _hit(value: Value, positive: object) -> bool | None:
    """Whether the outcome is the positive class; without one named, the outcome must be 0 or 1."""
    if _is_nan(value):
        return None
    if positive is not None:
        return same(value, positive)
    plain = _plain(value)
    return bool(plain) if plain in (0, 1) else None


def number_of(value: object) -> float | None:
    """A finite number, however it is spelled; None for anything else."""
    plain = _plain(value)
    if not isinstance(plain, int | float):
        return None
    try:
        number = float(plain)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _plain(value: object) -> object:
    """The canonical value: booleans and texts that spell a number become numbers, whole floats become integers."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        return _spelled(text)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _spelled(text: str) -> object:
    for kind in (int, float):
        try:
            return _plain(kind(text))
        except ValueError:
            continue
    return text


def _is_nan(value: object) -> bool:
    plain = _plain(value)
    return isinstance(plain, float) and math.isnan(plain)


def _capped(value: float, cap: float | None) -> float:
    """The value limited to the cap on both sides of zero."""
    return value if cap is None else max(-abs(cap), min(abs(cap), value))
