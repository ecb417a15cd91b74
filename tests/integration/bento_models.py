"""Real models, logged with plain MLflow to a store in a folder of the test's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PINS = ["mlflow>=3", "pandas>=3", "scikit-learn>=1.9", "skops"]
ODD = "od280/od315 of wines"


def logged_models(base: Path) -> dict[str, Path]:
    """The models of this test session; logged once, as it takes a quarter of a minute."""
    folder = base / "bento_models"
    if not folder.exists():
        folder.mkdir()
        log_models(folder)
    return {path.name: path for path in (folder / "fetched").iterdir()}


def log_models(folder: Path) -> None:
    """Log them all, and fetch each to `fetched/<registered name>`."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("bento", artifact_location=(folder / "art").as_uri()))
    makers = (_delays, _wines, _bare, _matrix, _nested, _hinted, _texts)
    for make in makers:
        make(make.__name__.strip("_"))
        fetched = folder / "fetched" / make.__name__.strip("_")
        fetched.mkdir(parents=True)
        mlflow.artifacts.download_artifacts(f"models:/{fetched.name}/1", dst_path=str(fetched))


def flights() -> Any:
    import numpy as np
    import pandas as pd

    drawn = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "carrier": drawn.choice(["AA", "UA", "DL"], 300),
            "distance": drawn.uniform(100, 3000, 300),
            "hour": drawn.integers(0, 24, 300),
        }
    )


def _delays(name: str) -> None:
    """A pipeline over strings and numbers; answers probabilities as a matrix."""
    import mlflow
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = flights()
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]), (StandardScaler(), ["distance", "hour"])
    )
    model = make_pipeline(encode, LogisticRegression()).fit(rows, rows.distance > 1500)
    mlflow.sklearn.log_model(
        model,
        name=name,
        registered_model_name=name,
        signature=mlflow.models.infer_signature(rows, model.predict_proba(rows)),
        input_example=rows.head(2),
        pip_requirements=PINS,
        pyfunc_predict_fn="predict_proba",
    )


def _wines(name: str) -> None:
    """Python code: odd column names, one of them optional, params, a table with `probability`, and a bad temper."""
    import mlflow
    import pandas as pd
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    class Wines(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            import time

            if (model_input[ODD] < 0).any():
                raise ValueError("a wine below zero")
            time.sleep(float(model_input[ODD].max()) if model_input["class"].iloc[0] == "slow" else 0)
            scale = (params or {}).get("scale", 1.0)
            vintage = model_input["naïve vintage"].fillna(0) if "naïve vintage" in model_input else 0
            return pd.DataFrame({"probability": model_input[ODD] * scale / 10 + vintage, "label": model_input["class"]})

    double, text = DataType.double, DataType.string
    signature = mlflow.models.ModelSignature(
        inputs=Schema([ColSpec(double, ODD), ColSpec(text, "class"), ColSpec(double, "naïve vintage", required=False)]),
        outputs=Schema([ColSpec(double, "probability"), ColSpec(text, "label")]),
        params=ParamSchema([ParamSpec("scale", double, 1.0)]),
    )
    example = pd.DataFrame({ODD: [1.0], "class": ["red"], "naïve vintage": [0.5]})
    mlflow.pyfunc.log_model(
        python_model=Wines(),
        name=name,
        registered_model_name=name,
        signature=signature,
        input_example=example,
        pip_requirements=PINS,
    )


def _bare(name: str) -> None:
    """No signature, no example."""
    import mlflow
    from sklearn.linear_model import LogisticRegression

    rows = flights()[["distance", "hour"]]
    model = LogisticRegression().fit(rows, rows.distance > 1500)
    mlflow.sklearn.log_model(model, name=name, registered_model_name=name, pip_requirements=PINS)


def _matrix(name: str) -> None:
    """One array in, one array out; pickled."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    rows = flights()[["distance", "hour"]].to_numpy()
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    mlflow.sklearn.log_model(
        model,
        name=name,
        registered_model_name=name,
        signature=mlflow.models.infer_signature(rows, model.predict(rows)),
        pip_requirements=PINS,
        serialization_format="cloudpickle",
    )


def _nested(name: str) -> None:
    """A column of lists, which only MLflow's own enforcement knows."""
    import mlflow
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    class Sums(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return [float(sum(values)) for values in model_input["values"]]

    signature = mlflow.models.ModelSignature(inputs=Schema([ColSpec(Array(DataType.double), "values")]))
    mlflow.pyfunc.log_model(
        python_model=Sums(), name=name, registered_model_name=name, signature=signature, pip_requirements=PINS
    )


def _hinted(name: str) -> None:
    """A signature that comes from type hints."""
    import mlflow

    class Lengths(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str], params=None) -> list[int]:  # type: ignore[no-untyped-def]
            return [len(text) for text in model_input]

    mlflow.pyfunc.log_model(
        python_model=Lengths(), name=name, registered_model_name=name, input_example=["ab"], pip_requirements=PINS
    )


def _texts(name: str) -> None:
    """Every other scalar type, echoed as what Python sees."""
    import mlflow
    import pandas as pd
    from mlflow.types.schema import ColSpec, DataType, Schema

    class Echo(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return pd.DataFrame({column: model_input[column].map(repr) for column in model_input})

    names = {"when": "datetime", "flag": "boolean", "small": "float", "short": "integer", "text": "string"}
    signature = mlflow.models.ModelSignature(inputs=Schema([ColSpec(DataType[k], n) for n, k in names.items()]))
    mlflow.pyfunc.log_model(
        python_model=Echo(), name=name, registered_model_name=name, signature=signature, pip_requirements=PINS
    )


def save_tiny(folder: Path, answer: float) -> Path:
    """A model of a few kilobytes that always gives the same answer."""
    import mlflow

    class Tiny(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return [answer] * len(model_input)

    mlflow.pyfunc.save_model(folder, python_model=Tiny(), pip_requirements=PINS)
    return folder
