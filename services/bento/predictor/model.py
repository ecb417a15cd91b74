"""Loads an MLflow model, with the reader of its requests and the function that answers them."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml  # type: ignore[import-untyped]

from .answer import plain
from .contract import Contract
from .nested import NESTED
from .params import Params
from .problem import Unacceptable, refuse
from .scalars import SCALARS

log = logging.getLogger("bentoml.predictor")

_SKLEARN_METHODS = frozenset({"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"})

Predict = Callable[[Any, dict[str, Any] | None], Any]


class Reader(Protocol):
    """Turns a request's body into the model's input."""

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]: ...


@dataclass(frozen=True)
class Model:
    """A loaded model."""

    reader: Reader
    predict: Predict
    contract: Contract
    has_rows: bool = True

    def answer(self, body: bytes) -> Any:
        """The prediction for a request's body. Raises Unacceptable; all other errors come from the model."""
        data, params = self.read(body)
        return self.predict(data, params)

    def judged(self, body: bytes) -> tuple[Any, int | None, str | None]:
        """The answer in plain values, the request's rows, and how it breaks the signature. Raises like `answer`."""
        data, params = self.read(body)
        answer, requested = plain(self.predict(data, params)), rows_of(data)
        return answer, requested, self.contract.broken(answer, requested)

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The model's input and params. Raises only Unacceptable: failures before the call are not the model's."""
        try:
            return self.reader.read(body)
        except Unacceptable:
            raise
        except Exception as error:
            log.exception("a request could not be read")
            what = f"cannot be read: {type(error).__name__}: {str(error)[:200]}"
            raise refuse("body", what, "Compare the input with the model's signature.") from error


@dataclass(frozen=True)
class Signature:
    """An MLflow signature as JSON values: lists of columns or tensors, or None."""

    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    params: list[dict[str, Any]]

    @property
    def has_rows(self) -> bool:
        """Whether the input may have any number of rows, and is no array of a fixed length."""
        return all(spec["tensor-spec"]["shape"][:1] == [-1] for spec in self.inputs or () if "tensor-spec" in spec)

    @classmethod
    def from_mlmodel(cls, description: dict[str, Any]) -> Signature:
        """The signature in a model's MLmodel file."""
        recorded = description.get("signature") or {}
        inputs, outputs, params = (
            json.loads(value) if isinstance(value, str) else value
            for value in (recorded.get("inputs"), recorded.get("outputs"), recorded.get("params"))
        )
        return cls(inputs=inputs, outputs=outputs, params=params or [])


def describe(folder: Path) -> dict[str, Any]:
    """The content of the model's MLmodel file."""
    described: dict[str, Any] = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    return described


def load(folder: Path) -> Model:
    """The model in this folder, ready to answer."""
    description = describe(folder)
    signature = Signature.from_mlmodel(description)
    if _needs_mlflow_input(description, signature):
        import mlflow.pyfunc

        from .mlflow_input import MlflowInput

        own = MlflowInput(mlflow.pyfunc.load_model(str(folder), suppress_warnings=True))
        return Model(own, own.predict, Contract(signature.outputs))
    predict = _load_sklearn(folder, description) or _load_pyfunc(folder)
    return Model(reader(signature), predict, Contract(signature.outputs), signature.has_rows)


def rows_of(data: Any) -> int | None:
    """The number of rows in an input; None if it is not a table or array."""
    return len(data) if hasattr(data, "columns") or (getattr(data, "shape", None) or ()) != () else None


def _needs_mlflow_input(description: dict[str, Any], signature: Signature) -> bool:
    """Whether only MLflow can read this model's input."""
    is_known = all(spec["type"] in SCALARS | NESTED | {"tensor"} for spec in signature.inputs or ())
    return (
        bool(description.get("is_signature_from_type_hint") or description.get("type_hint_from_example"))
        or not is_known
    )


def reader(signature: Signature) -> Reader:
    """The reader of requests with this signature."""
    from .columns import Columns, ColumnSpec
    from .tensors import Tensors, TensorSpec, Untyped

    params = Params(signature.params)
    if not signature.inputs:
        return Untyped(params)
    if signature.inputs[0]["type"] == "tensor":
        return Tensors((TensorSpec(name=spec.get("name"), **_tensor(spec)) for spec in signature.inputs), params)
    specs = [
        ColumnSpec(
            name=spec.get("name", str(position)),
            scalar=spec["type"],
            required=_is_required(spec),
            position=None if "name" in spec else position,
            nested=spec if spec["type"] in NESTED else None,
        )
        for position, spec in enumerate(signature.inputs)
    ]
    return Columns(specs, params)


def _tensor(spec: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": spec["tensor-spec"]["dtype"], "shape": tuple(spec["tensor-spec"]["shape"])}


def _is_required(spec: dict[str, Any]) -> bool:
    return bool(spec.get("required", not spec.get("optional", False)))


def _load_sklearn(folder: Path, description: dict[str, Any]) -> Predict | None:
    """Load a scikit-learn model without MLflow, whose import takes as long as scikit-learn's; None for other models.

    Does what `mlflow.sklearn._load_pyfunc` does. If MLflow's settings forbid pickle, leaves the model to MLflow.
    """
    pyfunc, flavor = description["flavors"]["python_function"], description["flavors"].get("sklearn")
    method = pyfunc.get("predict_fn", "predict")
    is_plain = pyfunc.get("loader_module") == "mlflow.sklearn" and not pyfunc.get("config")
    if not is_plain or flavor is None or method not in _SKLEARN_METHODS or "model_path" not in pyfunc:
        return None
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true").lower() not in ("true", "1"):
        return None
    if pyfunc.get("code"):
        sys.path.insert(0, str(folder / pyfunc["code"]))
    estimator = _read_estimator(folder / pyfunc["model_path"], flavor)
    predict = getattr(estimator, method)
    return lambda data, params: predict(data)  # noqa: ARG005 - MLflow does not pass params to scikit-learn either


def _read_estimator(path: Path, flavor: dict[str, Any]) -> Any:
    match flavor.get("serialization_format", "pickle"):
        case "skops":
            import skops.io  # type: ignore[import-untyped]

            return skops.io.load(path, trusted=flavor.get("skops_trusted_types"))
        case "cloudpickle":
            import cloudpickle  # type: ignore[import-untyped]

            return cloudpickle.loads(path.read_bytes())
        case _:
            import pickle

            return pickle.loads(path.read_bytes())  # noqa: S301 - a registered model is code that its owner runs


def _load_pyfunc(folder: Path) -> Predict:
    """Load any other model with MLflow, without MLflow's enforcement, which the reader has done already."""
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    predict = getattr(model, "_predict_fn", None) or model.predict
    parameter = inspect.signature(predict).parameters.get("params")
    if parameter is None or parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return lambda data, params: predict(data)  # noqa: ARG005
    return lambda data, params: predict(data, params=params)
