"""The environment that packing and serving run in: little, no secrets, and nothing that calls out."""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_INSTALL = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
SILENT = {"DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}


def bare_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The few variables that every Python process needs, with telemetry off."""
    return {key: environment[key] for key in _KEPT if key in environment} | SILENT


def install_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The same and what tells pip and uv where packages come from."""
    index = {key: value for key, value in environment.items() if key.upper().startswith(_INSTALL)}
    return bare_environment(environment) | index
