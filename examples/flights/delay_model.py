"""The estimator that MLflow logs. It is pickled by value, so a service needs scikit-learn and nothing of ours."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from threadpoolctl import ThreadpoolController

TO_METRIC = {
    "temp": lambda fahrenheit: (fahrenheit - 32) / 1.8,
    "dewp": lambda fahrenheit: (fahrenheit - 32) / 1.8,
    "wind_speed": lambda miles_per_hour: miles_per_hour * 0.44704,
    "precip": lambda inches: inches * 25.4,
    "visib": lambda miles: miles * 1.609344,
}


class DelayModel(ClassifierMixin, BaseEstimator):
    """Predicts the chance that a flight lands more than 15 minutes late; the estimator takes a matrix of numbers.

    `weather_units` are the units in which the estimator gets the weather. Requests use imperial units, as did the
    training data.
    """

    _threads: ThreadpoolController | None = None

    def __init__(self, estimator: Any, features: tuple[str, ...], weather_units: str = "imperial") -> None:
        self.estimator = estimator
        self.features = features
        self.weather_units = weather_units

    def fit(self, frame: pd.DataFrame, late: pd.Series) -> Self:
        """Learn the categories and fit the estimator."""
        texts = [name for name in self.features if isinstance(frame[name].iat[0], str)]
        self.categories_ = {name: {v: code for code, v in enumerate(sorted(set(frame[name])))} for name in texts}
        self.estimator.fit(self._matrix(frame), late)
        self.classes_ = self.estimator.classes_
        return self

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """The chances of landing on time and of landing late, one row for each flight."""
        if self._threads is None:
            self._threads = ThreadpoolController()
        # One row is too little work for several threads: starting them would double its cost.
        with self._threads.limit(limits=1, user_api="openmp"):
            return self.estimator.predict_proba(self._matrix(frame))

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """1 where landing late is more likely, else 0."""
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle, without the thread pool of this process."""
        return {name: value for name, value in super().__getstate__().items() if name != "_threads"}

    def _matrix(self, frame: pd.DataFrame) -> np.ndarray:
        """The features as numbers. A category that did not occur in training becomes -1, a missing value NaN."""
        columns = [self._column(name, frame[name].tolist()) for name in self.features]
        return np.array(columns, dtype=float).T

    def _column(self, name: str, values: list[Any]) -> Any:
        codes = self.categories_.get(name)
        if codes is not None:
            return [codes.get(value, -1) for value in values]
        if self.weather_units == "metric" and name in TO_METRIC:
            return TO_METRIC[name](np.array(values, dtype=float))
        return values
