"""Models of real flavours, saved by MLflow and loaded by both servers: the same request, the same answer.

LightGBM and statsmodels are no part of the lock, for they are heavy and nobody but these tests needs them: without
them their tests are skipped, and say so. `pip install lightgbm statsmodels` runs them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

from sluicegate.services.bento.predictor.model import load
from tests.contract.scoring_servers import Servers

ROWS = pd.DataFrame({
    "distance": np.random.default_rng(7).uniform(100, 3000, 60),
    "hour": np.random.default_rng(8).integers(0, 24, 60),
    "odd name, π": np.random.default_rng(9).normal(size=60),
})  # fmt: skip
LATE = (ROWS["hour"] > 12).astype(int)
DELAY = ROWS["distance"] / 100 + ROWS["hour"]
BARE = {"pip_requirements": ["mlflow"]}
"""Else MLflow finds the requirements out by loading the model in a process of its own."""


def both(folder: Path) -> Servers:
    return Servers(load(folder), mlflow.pyfunc.load_model(str(folder), suppress_warnings=True))


def answers_alike(servers: Servers, document: Any) -> Any:
    ours, theirs = servers.ask(json.dumps(document).encode())
    assert (ours.status, ours.answer) == (theirs.status, theirs.answer)
    assert ours.status == 200
    return ours.answer["predictions"]


def payloads(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The same rows in each payload."""
    records = frame.to_dict("records")
    split = frame.to_dict("split", index=False)
    return [{"inputs": records}, {"instances": records}, {"dataframe_records": records}, {"dataframe_split": split},
            {"inputs": frame.to_dict("list")}]  # fmt: skip


def all_alike(folder: Path) -> None:
    servers = both(folder)
    first, *others = [answers_alike(servers, document) for document in payloads(ROWS.head(3))]
    assert all(other == first for other in others)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("kind", ["pickle", "cloudpickle", "skops"])
def test_a_scikit_learn_pipeline(tmp_path: Path, method: str, kind: str) -> None:
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        make_column_transformer((StandardScaler(), ["distance", "odd name, π"]), remainder="passthrough"),
        LogisticRegression(),
    ).fit(ROWS, LATE)
    signature = infer_signature(ROWS, getattr(model, method)(ROWS))
    mlflow.sklearn.save_model(
        model, str(tmp_path / "m"), signature=signature, pyfunc_predict_fn=method, serialization_format=kind, **BARE
    )
    all_alike(tmp_path / "m")


def test_a_scikit_learn_regressor_of_arrays(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(ROWS.to_numpy(), DELAY)
    signature = infer_signature(ROWS.to_numpy(), model.predict(ROWS.to_numpy()))
    mlflow.sklearn.save_model(model, str(tmp_path / "m"), signature=signature, serialization_format="pickle", **BARE)
    servers = both(tmp_path / "m")
    for key in ("inputs", "instances"):
        answers_alike(servers, {key: ROWS.head(3).to_numpy().tolist()})
    document = {"dataframe_split": ROWS.head(3).to_dict("split", index=False)}
    ours, theirs = servers.ask(json.dumps(document).encode())
    # A table's array lies by column in memory there, and by row here: sums end in another digit.
    assert ours.answer["predictions"] == pytest.approx(theirs.answer["predictions"], rel=1e-12)


def test_a_model_without_a_signature(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(ROWS.to_numpy(), DELAY)
    mlflow.sklearn.save_model(model, str(tmp_path / "m"), serialization_format="pickle", **BARE)
    servers = both(tmp_path / "m")
    for key in ("inputs", "instances"):
        answers_alike(servers, {key: ROWS.head(3).to_numpy().tolist()})
    answers_alike(servers, {"dataframe_split": {"data": ROWS.head(3).to_numpy().tolist()}})


def test_lightgbm(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="lightgbm is not installed: pip install lightgbm")
    frame = ROWS.rename(columns={"odd name, π": "other"})
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, LATE)
    signature = infer_signature(frame, model.predict(frame))
    mlflow.lightgbm.save_model(model, str(tmp_path / "m"), signature=signature, **BARE)
    servers = both(tmp_path / "m")
    for document in payloads(frame.head(3)):
        answers_alike(servers, document)


def test_statsmodels(tmp_path: Path) -> None:
    regression = pytest.importorskip(
        "statsmodels.regression.linear_model", reason="statsmodels is not installed: pip install statsmodels"
    )
    model = regression.OLS(DELAY, ROWS).fit()
    signature = infer_signature(ROWS, model.predict(ROWS))
    mlflow.statsmodels.save_model(model, str(tmp_path / "m"), signature=signature, **BARE)
    all_alike(tmp_path / "m")


def test_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="pytorch is not installed: pip install torch")
    model = torch.nn.Linear(3, 1)
    signature = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 3))]))
    mlflow.pytorch.save_model(model, str(tmp_path / "m"), signature=signature, **BARE)
    answers_alike(both(tmp_path / "m"), {"inputs": [[0.5, 1.5, 2.5]]})


class Scaled(mlflow.pyfunc.PythonModel):
    """One with params."""

    def predict(self, context, model_input, params=None):
        return (model_input["distance"] * params["scale"]).round(params["digits"])


def test_a_python_model_with_params(tmp_path: Path) -> None:
    params = ParamSchema([ParamSpec("scale", "double", 2.0), ParamSpec("digits", "long", 1)])
    signature = infer_signature(ROWS, DELAY)
    signature.params = params
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Scaled(), signature=signature, **BARE)
    servers = both(tmp_path / "m")
    for given in (None, {}, {"scale": 3}, {"scale": 0.5, "digits": 3}):
        answers_alike(servers, {"inputs": ROWS.head(2).to_dict("records"), "params": given})


class Shouts(mlflow.pyfunc.PythonModel):
    """Text in, text out."""

    def predict(self, context, model_input, params=None):
        return [text.upper() for text in model_input["text"]]


def test_text_in_and_out(tmp_path: Path) -> None:
    signature = infer_signature(pd.DataFrame({"text": ["x"]}), ["X"])
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Shouts(), signature=signature, **BARE)
    servers = both(tmp_path / "m")
    for document in payloads(pd.DataFrame({"text": ["größe", "", "日本 😀", 'a "quoted" \n line']})):
        answers_alike(servers, document)


class Brightness(mlflow.pyfunc.PythonModel):
    """Images as arrays."""

    def predict(self, context, model_input, params=None):
        return model_input.mean(axis=(1, 2, 3))


def test_images_as_arrays(tmp_path: Path) -> None:
    signature = ModelSignature(Schema([TensorSpec(np.dtype("uint8"), (-1, 4, 4, 3))]))
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Brightness(), signature=signature, **BARE)
    servers = both(tmp_path / "m")
    images = np.random.default_rng(7).integers(0, 256, (2, 4, 4, 3))
    for key in ("inputs", "instances"):
        answers_alike(servers, {key: images.tolist()})
    answers_alike(servers, {"dataframe_records": [{"image": image.ravel().tolist()} for image in images]})


class Lengths(mlflow.pyfunc.PythonModel):
    """One whose input is told by type hints."""

    def predict(self, model_input: list[str]) -> list[int]:
        return [len(text) for text in model_input]


def test_a_python_model_with_type_hints(tmp_path: Path) -> None:
    mlflow.pyfunc.save_model(str(tmp_path / "m"), python_model=Lengths(), input_example=["a"], **BARE)
    assert answers_alike(both(tmp_path / "m"), {"inputs": ["a", "abc"]}) == [1, 3]
