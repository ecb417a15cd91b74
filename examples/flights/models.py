"""Three models that the demo trains: a stable one, a good candidate, and one with a mistake in its units."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sluicegate.examples.flights import delay_model
from sluicegate.examples.flights.data import COUNTS, FEATURES, TEXTS, training
from sluicegate.examples.flights.delay_model import DelayModel

REQUIREMENTS = [
    f"{name}=={version(name)}" for name in ("scikit-learn", "pandas", "numpy", "threadpoolctl", "cloudpickle")
]
"""Named, not inferred: inferring them starts the model in a process of its own and takes half a minute a model."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model and its name in the story."""

    name: str
    says: str
    model: DelayModel


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How good a model is if it answers every request of the stream."""

    auc: float
    log_loss: float
    accuracy: float


def train(frame: pd.DataFrame) -> tuple[Trained, Trained, Trained]:
    """Fit the models on January to June. The last two share an estimator but pass it different units."""
    rows = training(frame)
    logistic = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300))
    trees = HistGradientBoostingClassifier(max_iter=200, random_state=0)
    stable = DelayModel(logistic, ("carrier", "origin", "hour")).fit(rows, rows["late"])
    good = DelayModel(trees, FEATURES).fit(rows, rows["late"])
    bad = copy.copy(good).set_params(weather_units="metric")
    return (
        Trained(name="logistic", says="logistic regression on carrier, origin and hour", model=stable),
        Trained(name="trees", says="boosted trees that also know weather and plane", model=good),
        Trained(name="trees-metric", says="the same trees, handed metric weather by mistake", model=bad),
    )


def judge(model: DelayModel, rows: pd.DataFrame) -> Figures:
    """The model's figures over the labelled rows."""
    rows = rows[rows["late"].notna()]
    chances = model.predict_proba(rows)[:, 1]
    return Figures(
        auc=float(roc_auc_score(rows["late"], chances)),
        log_loss=float(log_loss(rows["late"], chances)),
        accuracy=float(accuracy_score(rows["late"], chances > 0.5)),
    )


def log(trained: Trained, *, registered: str, example: pd.DataFrame) -> str:
    """Log a model to MLflow and register it; returns the version."""
    import cloudpickle  # type: ignore[import-untyped]
    import mlflow

    cloudpickle.register_pickle_by_value(delay_model)  # the service lacks this repository
    with mlflow.start_run(run_name=trained.name):
        mlflow.log_params({"features": len(trained.model.features), "weather_units": trained.model.weather_units})
        logged = mlflow.sklearn.log_model(
            trained.model,
            name=trained.name,
            serialization_format="cloudpickle",
            pyfunc_predict_fn="predict_proba",
            signature=_signature(),
            input_example=example[list(FEATURES)].head(2),
            pip_requirements=REQUIREMENTS,
            registered_model_name=registered,
        )
    return str(logged.registered_model_version)


def _signature() -> Any:
    """Weather and plane may be missing. The output is sklearn's matrix: its column 1 is the chance of being late."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    columns = [ColSpec("string", name) for name in TEXTS] + [ColSpec("long", name) for name in COUNTS]
    measured = [name for name in FEATURES if name not in (*TEXTS, *COUNTS)]
    columns += [ColSpec("double", name, required=False) for name in measured]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
