"""Input that only MLflow itself understands: unknown column types, and signatures from type hints."""

from __future__ import annotations

from functools import wraps
from typing import Any

from .envelope import open_envelope
from .problem import Unacceptable, refuse

_FIX = "Compare the input with the model's signature in MLflow."


class MlflowInput:
    """Reads requests with MLflow's own parser; `predict` then enforces the signature with MLflow's own rules."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._mark_what_the_model_raises()

    def read(self, body: bytes) -> tuple[Any, dict[str, Any] | None]:
        """The input that MLflow's scoring server would pass to the model. Raises Unacceptable."""
        from mlflow.exceptions import MlflowException
        from mlflow.utils import proto_json_utils as mlflow_json

        format_, value, params = open_envelope(body)
        schema = self._model.metadata.get_input_schema()
        if self._model.metadata._is_signature_from_type_hint():  # noqa: SLF001 - MLflow's scoring server does the same
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
        """The model's answer. Raises Unacceptable if MLflow's enforcement refuses the input."""
        try:
            return self._model.predict(data, params=params)
        except _Raised as raised:
            if _is_refusal(raised.error):
                raise _refused(raised.error) from None
            raise raised.error from None
        except Exception as error:
            raise _refused(error) from error

    def _mark_what_the_model_raises(self) -> None:
        """Mark errors of the model itself, since MLflow enforces the signature in the same call."""
        predict = self._model._predict_fn  # noqa: SLF001 - here MLflow calls the model

        @wraps(predict)
        def marked(*args: Any, **kwargs: Any) -> Any:
            try:
                return predict(*args, **kwargs)
            except Exception as error:
                raise _Raised(error) from error

        self._model._predict_fn = marked  # noqa: SLF001


class _Raised(Exception):
    """Wraps an error that the model itself raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _is_refusal(error: Exception) -> bool:
    """Whether MLflow's check of type hints, which runs as part of the model, refused the input."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def _refused(error: Exception) -> Unacceptable:
    return refuse("body", _first_line(error), _FIX)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:500]
