"""Authorization: the headers by which the servers of this machine know us. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping


def basic(user_and_password: str) -> str:
    """The Authorization header for `user:password`."""
    return f"Basic {base64.b64encode(user_and_password.encode()).decode()}"


def mlflow_authorization(environment: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that MLflow's client would send with this environment."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        return {"Authorization": basic(f"{user}:{environment.get('MLFLOW_TRACKING_PASSWORD', '')}")}
    return {}


def prefect_authorization(environment: Mapping[str, str]) -> dict[str, str]:
    """The Authorization header that Prefect's client would send with this environment."""
    if auth := environment.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": basic(auth)}
    if key := environment.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}
