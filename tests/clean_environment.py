"""The environment of a program that a test starts: without servers that this process was told of."""

from __future__ import annotations

import os

_LEAKS = ("MLFLOW_", "PREFECT_", "SLUICE_")


def clean_environment() -> dict[str, str]:
    """The environment without what names servers: mlflow.set_tracking_uri, for one, sets it for all later tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_LEAKS)}
