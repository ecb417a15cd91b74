"""Door: how a rollout was requested, in words. Pure."""

from __future__ import annotations

_DOORS = {
    "cli": "on the command line",
    "console": "in the console or through the API",
    "prefect": "in Prefect",
    "mlflow": "in MLflow",
    "documents": "by a document",
}


def door(cause: str) -> str:
    """The recorded cause, in words that follow "requested". A cause without words of its own stays as it is."""
    if cause.startswith("retry of "):
        return f"as another try of {cause.removeprefix('retry of ')}"
    kind, _, rest = cause.partition(":")
    if kind == "shadow" and rest:
        return f"by the shadow {rest}, whose gates passed"
    if kind in _DOORS:
        return f"{_DOORS[kind]}{f' ({rest.strip()})' if rest.strip() else ''}"
    if kind in ("alias", "tag", "stage") and rest:
        return f"by the {kind} {rest} in MLflow"
    return f"by {cause}"
