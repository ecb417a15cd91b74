"""Door: how a rollout came to be asked for, as people read it. Pure."""

from __future__ import annotations

_DOORS = {
    "cli": "on the command line",
    "console": "in the console or through the API",
    "prefect": "in Prefect",
    "mlflow": "in MLflow",
    "documents": "by a document",
}


def door(cause: str) -> str:
    """The cause that is on record, in words that go on after "requested"; one that has no words stands as it is."""
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
