"""The stack: the programs of others that run on one machine, with their commands and environments."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

from sluicegate.registry.words.program import Program
from sluicegate.registry.words.settings import Settings
from sluicegate.services.host.authorization import prefect_authorization
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import MLFLOW, PREFECT, TELEMETRY_OFF, Site, client_environment
from sluicegate.services.host.keys import ADMIN, Keys
from sluicegate.services.host.parts import Handover, HttpProbe, Part
from sluicegate.services.loopback import HOST

POOL = "sluice"
RUNS = "SLUICE_RUNS"
"""The variable that shows with which code a program was started."""
WORKER = "worker"
PYTHON = "SLUICE_PYTHON"
"""The variable that shows runs of the work pool which interpreter has Sluicegate."""

_INHERITED = ("HOME", "PATH", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR")
_INHERITED_IN_ANY_CASE = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_INHERITED_PREFIXES = ("LC_", "SSL_CERT_", "REQUESTS_CA_", "AWS_", "AZURE_", "GOOGLE_APPLICATION_")

PATIENCE = {"PREFECT_SERVER_DATABASE_TIMEOUT": "60", "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60"}
"""Seconds that SQLite may be busy before Prefect answers 503; its defaults of 5 and 10 are too short on a small, loaded
machine."""


def base_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that every program inherits: the user's, the network's, and settings that turn telemetry off."""
    inherited = {
        name: value
        for name, value in environment.items()
        if name in _INHERITED or name.lower() in _INHERITED_IN_ANY_CASE or name.startswith(_INHERITED_PREFIXES)
    }
    return {**inherited, **TELEMETRY_OFF, "PYTHONUNBUFFERED": "1"}


def stack(site: Site, keys: Keys, folder: StateFolder, environment: Mapping[str, str]) -> tuple[Part, ...]:
    """MLflow and the Prefect server, unless the environment names others, and a Prefect worker."""
    own_mlflow = (mlflow(site, keys, folder),) if site.mlflow is None else ()
    keep = Settings.read(environment).keep_seconds
    own_prefect = (prefect(site, keys, folder, keep),) if site.prefect is None else ()
    return (*own_mlflow, *own_prefect, worker(site, keys, folder, environment))


def mlflow(site: Site, keys: Keys, folder: StateFolder) -> Part:
    """The MLflow server: SQLite, proxied artifacts, passwords, signed webhooks to loopback, one worker process."""
    home = folder.root / MLFLOW
    command = (
        *_module("mlflow", "server", "--host", HOST, "--port", str(site.ports[MLFLOW]), "--workers", "1"),
        *("--app-name", "basic-auth"),
        *("--backend-store-uri", f"sqlite:///{home}/mlflow.db"),
        *("--artifacts-destination", str(home / "artifacts")),
    )
    env = {
        RUNS: code_of("mlflow"),
        "MLFLOW_AUTH_CONFIG_PATH": str(auth_file(folder)),
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
        "MLFLOW_AUTH_ADMIN_PASSWORD": keys.mlflow_password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": keys.mlflow_flask_key,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": keys.webhook_encryption_key,
        "MLFLOW_WEBHOOK_CACHE_TTL": "5",
    }
    return Part(
        program=_program(MLFLOW, command, env, folder, home),
        probe=HttpProbe(url=f"{site.mlflow_url}/health", contains="OK"),
    )


def auth_file(folder: StateFolder) -> Path:
    """The configuration file of MLflow's basic auth."""
    return folder.root / MLFLOW / "auth.ini"


def auth_text(folder: StateFolder) -> str:
    """The content of `auth_file`, without the password. Only the administrator has any permission."""
    return f"""\
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder.root / MLFLOW}/auth.db
admin_username = {ADMIN}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def prefect(site: Site, keys: Keys, folder: StateFolder, keep_seconds: float) -> Part:
    """The Prefect server: SQLite, an auth string, and the first UI, because the second contacts a foreign host for
    analytics.

    Its own vacuum deletes runs that ended more than `keep_seconds` ago, with their logs and artifacts.
    """
    home = folder.root / PREFECT
    env = {
        RUNS: code_of("prefect"),
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_API_URL": site.prefect_api_url,
        "PREFECT_UI_API_URL": site.prefect_api_url,
        "PREFECT_SERVER_API_AUTH_STRING": keys.prefect_auth,
        "PREFECT_API_AUTH_STRING": keys.prefect_auth,
        **PATIENCE,
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(round(keep_seconds)),
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": site.prefect_api_url.removesuffix("/api"),
    }
    port = str(site.ports[PREFECT])
    command = _module("prefect", "server", "start", "--host", HOST, "--port", port, "--no-prompt")
    return Part(
        program=_program(PREFECT, command, env, folder, home),
        probe=HttpProbe(url=f"{site.prefect_api_url}/health", contains="true"),
    )


def worker(site: Site, keys: Keys, folder: StateFolder, environment: Mapping[str, str]) -> Part:
    """A process worker of the pool `sluice`. Flow runs inherit its environment, by which they reach ledger and
    MLflow."""
    clients = client_environment(site, keys, environment)
    env = {
        **clients,
        RUNS: code_of("prefect", "sluicegate"),
        "PREFECT_HOME": str(folder.root / PREFECT),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        PYTHON: sys.executable,
    }
    name = f"sluice-{hashlib.sha256(site.state.encode()).hexdigest()[:8]}"
    command = _module("prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", name)
    online = HttpProbe(
        url=f"{site.prefect_api_url}/work_pools/{POOL}/workers/filter",
        headers=prefect_authorization(clients),
        body='{"workers": {"status": {"any_": ["ONLINE"]}}}',
        contains=f'"{name}"',
    )
    return Part(program=_program(WORKER, command, env, folder, folder.root / PREFECT), probe=online, after=(PREFECT,))


def own_part(
    name: str,
    command: tuple[str, ...],
    env: Mapping[str, str],
    folder: StateFolder,
    *,
    runs: str,
    probe: HttpProbe | None = None,
    handover: Handover | None = None,
) -> Part:
    """A part of Sluicegate itself, such as keeper or console; `env` is usually `client_environment(...)`.

    `runs` identifies the code and files that it runs; when they change, it is restarted.
    """
    program = _program(name, command, {**env, RUNS: runs}, folder, folder.root)
    return Part(program=program, probe=probe, handover=handover)


def code_of(*distributions: str) -> str:
    """A text that identifies the installed code of these distributions, and changes with an upgrade."""
    return " ".join(_installed(name) for name in distributions)


def _installed(name: str) -> str:
    installed = distribution(name)
    files = hashlib.sha256((installed.read_text("RECORD") or "").encode()).hexdigest()[:12]
    return f"{name} {installed.version} {files}"


def _module(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)


def _program(name: str, command: tuple[str, ...], env: Mapping[str, str], folder: StateFolder, cwd: Path) -> Program:
    return Program(name=name, command=command, env=dict(env), cwd=cwd, log=folder.log(name), stop_seconds=15.0)
