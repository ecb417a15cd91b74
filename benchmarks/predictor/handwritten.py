"""What one would write by hand: a BentoML service with default settings for a scikit-learn model."""

import os

import bentoml
import pandas as pd
import skops.io
from pydantic import BaseModel


class Flight(BaseModel):
    carrier: str
    distance: float
    hour: int


class Point(BaseModel):
    distance: float
    hour: float


@bentoml.service
class Pipeline:
    def __init__(self) -> None:
        self.model = skops.io.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, inputs: list[Flight]) -> list[list[float]]:
        return self.model.predict_proba(pd.DataFrame([row.model_dump() for row in inputs])).tolist()


@bentoml.service
class Linear:
    def __init__(self) -> None:
        self.model = skops.io.load(os.environ["MODEL"])

    @bentoml.api
    def predict(self, inputs: list[Point]) -> list[list[float]]:
        return self.model.predict_proba(pd.DataFrame([row.model_dump() for row in inputs])).tolist()
