"""A plan against the build that it shall judge: whether the build's outputs contain what the metrics score. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sluicegate.registry.plan.fields import MetricSpec, Score, Source
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.build import Build
from sluicegate.registry.words.suggestions import suggestion

_PROBABILITIES = (Score.LOG_LOSS, Score.BRIER)
_LABEL_TYPES = frozenset({"string", "boolean", "integer", "long", "datetime", "binary"})
_LABEL_DTYPES = ("int", "uint", "bool", "str", "<U", "object")


def check_against_build(plan: Plan, build: Build) -> tuple[str, ...]:
    """Why the plan cannot judge this build, each reason with its fix; empty if it can.

    A build that was logged without a signature declares no outputs, so only metrics that need a signature are reported.
    """
    declared = (build.signature or {}).get("outputs")
    outputs = [each for each in declared if isinstance(each, dict)] if isinstance(declared, list) else []
    return tuple(
        f"metric {name}: {problem}"
        for name, metric in plan.metrics.items()
        for problem in (_problems(metric, outputs, build) if outputs else _unsigned(metric, build))
    )


def _unsigned(metric: MetricSpec, build: Build) -> Iterator[str]:
    """Metrics that need a signature, which this build does not have."""
    if metric.source is Source.CONTRACT:
        yield (
            f"{build.ref} was logged without a signature of its outputs, so its answers cannot be checked; "
            "log it with signature=infer_signature(X, model.predict(X)), or remove the metric"
        )


def _problems(metric: MetricSpec, outputs: list[dict[str, object]], build: Build) -> Iterator[str]:
    is_scored = metric.source is Source.OUTCOME and metric.score not in (None, Score.OUTCOME)
    if not (is_scored or metric.source is Source.PREDICTION):
        return
    column = metric.prediction.column if metric.prediction else None
    output = _output(column, outputs)
    if output is None:
        known = ", ".join(_names(outputs))
        hint = suggestion(column or "prediction", _names(outputs))
        yield f"{build.ref} answers with {known}, but not with a column {column or 'prediction'} ({hint})"
    elif metric.source is Source.PREDICTION and _is_text(output):
        yield (
            f"drift is measured on numbers, but {build.ref} answers with the type {_type(output)}; name a column of "
            "numbers under prediction: {column: NAME}, or remove the metric"
        )
    elif metric.score in _PROBABILITIES and _is_label(output):
        yield (
            f"{metric.score} needs a probability, but {build.ref} answers with labels only (type {_type(output)}); "
            "log the model so that it answers probabilities and its signature says so, such as "
            "pyfunc_predict_fn='predict_proba', signature=infer_signature(X, model.predict_proba(X)), "
            "or use score: zero_one"
        )


def _output(column: str | None, outputs: list[dict[str, object]]) -> dict[str, object] | None:
    """The output that contains the column. An array without names has a column at every position."""
    named = {str(output["name"]): output for output in outputs if output.get("name")}
    if column in named:
        return named[column]
    if len(outputs) == 1 and (column in (None, "prediction") or not named):
        only = outputs[0]
        return only if column in (None, "prediction") or _holds_position(only, column) else None
    return None


def _holds_position(output: dict[str, object], column: str) -> bool:
    """Whether an array without a name has a column at this position; -1 in a shape is any length."""
    spec = output.get("tensor-spec")
    shape = spec.get("shape") if isinstance(spec, dict) else None
    if not column.isdecimal():
        return False
    width = shape[-1] if isinstance(shape, list) and len(shape) > 1 else 1
    return width == -1 or int(column) < width


def _names(outputs: list[dict[str, object]]) -> list[str]:
    return [str(output["name"]) for output in outputs if output.get("name")] or ["an array without names"]


def _type(output: dict[str, object]) -> str:
    spec = output.get("tensor-spec")
    return str(spec.get("dtype")) if isinstance(spec, dict) else str(output.get("type"))


def _is_text(output: dict[str, object]) -> bool:
    return _type(output).startswith(("string", "str", "<U", "object", "datetime", "binary"))


def _is_label(output: dict[str, object]) -> bool:
    kind = _type(output)
    return kind.startswith(_LABEL_DTYPES) if output.get("type") == "tensor" else kind in _LABEL_TYPES
