"""What the files of an MLflow model say about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sluicegate.registry.words.errors import PackFailed


def described_in(model_path: Path) -> dict[str, Any]:
    """The content of the MLmodel file. Raises PackFailed if it is missing or describes no model that can be served."""
    try:
        described: dict[str, Any] = YAML(typ="safe").load(model_path / "MLmodel")
    except (OSError, YAMLError) as error:
        raise PackFailed(f"{model_path} is not an MLflow model: {error}") from error
    if "python_function" not in described.get("flavors", {}):
        raise PackFailed(
            f"the model has no python_function flavor, only {', '.join(described.get('flavors', {})) or 'none'}.",
            fix="Log it with an MLflow flavor that can be loaded as a pyfunc.",
        )
    return described


def own_needs(described: dict[str, Any]) -> tuple[str, ...]:
    """Packages that the predictor needs beyond the model's own requirements."""
    is_skops = described["flavors"].get("sklearn", {}).get("serialization_format") == "skops"
    return ("pandas", *(("skops",) if is_skops else ()))
