"""The environment of packing and serving: minimal, without secrets, and with telemetry off."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sluicegate.registry.plan.fields import Capture, KeptPredictions, Serve

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_INSTALL = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Thread limits. One row is too little work for several threads, so a worker has one, unless the plan gives more
cores."""
SILENT = {"DO_NOT_TRACK": "true", "BENTOML_DO_NOT_TRACK": "True", "MLFLOW_DISABLE_TELEMETRY": "true"}


def bare_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The few variables that every Python process needs, with telemetry off."""
    return {key: environment[key] for key in _KEPT if key in environment} | SILENT


def serving_environment(serve: Serve, *, home: str, load_failures: str, times: str) -> dict[str, str]:
    """The service's settings, from the plan and the locations of its files."""
    return {
        "BENTOML_HOME": home,
        "BENTO_WORKERS": str(serve.workers),
        "BENTO_TIMEOUT_SECONDS": str(serve.timeout),
        "BENTO_BATCH_ROWS": str(serve.batch),
        "BENTO_LOAD_FAILURES": load_failures,
        "PROMETHEUS_MULTIPROC_DIR": times,
        **dict.fromkeys(_THREADS, str(max(1, int((serve.resources.cpu or 1.0) / serve.workers)))),
    }


def is_default(capture: Capture) -> bool:
    """Whether a service records only summaries of predictions, which is the default."""
    return not capture.has_bodies and capture.predictions is not KeptPredictions.OFF


def capture_told(capture: Capture, *, folder: str, key: str) -> dict[str, str]:
    """The service's capture settings: its folder, the file of the hash key, and what to capture."""
    settings = {
        "folder": folder,
        "key": key,
        "share": capture.share,
        "features": capture.features.value,
        "predictions": capture.predictions.value,
        "headers": list(capture.headers),
    }
    return {"BENTO_CAPTURE": json.dumps(settings)}


def memory_of_worker(serve: Serve) -> tuple[str, ...]:
    """The bytes that each worker may allocate; empty if the plan sets no limit."""
    return (str(serve.resources.memory // serve.workers),) if serve.resources.memory is not None else ()


def install_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The bare environment, with the settings that tell pip and uv where packages come from."""
    index = {key: value for key, value in environment.items() if key.upper().startswith(_INSTALL)}
    return bare_environment(environment) | index
