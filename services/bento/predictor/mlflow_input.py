"""Input that only MLflow itself understands: nested column types, and signatures that come from type hints."""

from __future__ import annotations

from typing import Any

from .envelope import open_envelope
from .problem import Unacceptable, refuse

_FIX = "Compare the input with the model's signature in MLflow."


class MlflowInput:
    """Reads requests with MLflow's own parser; `predict` then enforces the signature with MLflow's own rules."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """What MLflow's scoring server would hand to the model. Raises Unacceptable."""
        from mlflow.exceptions import MlflowException
        from mlflow.utils import proto_json_utils as mlflow_json

        format_, value, params = open_envelope(body)
        schema = self._model.metadata.get_input_schema()
        if self._model.metadata._is_signature_from_type_hint():  # noqa: SLF001 - MLflow's scoring server asks just so
            return value, params
        try:
            match format_:
                case "inputs" | "instances":
                    return mlflow_json.parse_tf_serving_input({format_: value}, schema=schema), params
                case _:
                    orient = format_.removeprefix("dataframe_")
                    return mlflow_json.dataframe_from_parsed_json(value, pandas_orient=orient, schema=schema), params
        except MlflowException as error:
            raise refuse(format_, _first_line(error), _FIX) from None

    def predict(self, data: Any, params: dict[str, Any] | None) -> Any:
        """The model's answer. Raises Unacceptable where MLflow's enforcement refuses the input."""
        from mlflow.exceptions import MlflowException

        try:
            return self._model.predict(data, params=params)
        except MlflowException as error:
            if error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
                raise _refused(error) from None
            raise


def _refused(error: Exception) -> Unacceptable:
    return refuse("body", _first_line(error), _FIX)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:500]
