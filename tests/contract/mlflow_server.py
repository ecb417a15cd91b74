"""A real MLflow server for tests: SQLite, proxied artifacts, basic auth, on loopback, stopped by its handle."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from sluicegate.registry.words.settings import MlflowServer
from tests import plain_http

PASSWORD = "a-password-for-tests"
QUIET = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
START_SECONDS = 100


@contextmanager
def mlflow_server(home: Path) -> Iterator[MlflowServer]:
    """Start a server with its files in `home`; it answers when the block begins and is gone when it ends."""
    port = _free_port()
    auth = home / "auth.ini"
    auth.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = admin\nauth_cache_ttl_seconds = 60\n"
        f"database_uri = sqlite:///{home}/auth.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--app-name", "basic-auth", "--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    command += ["--artifacts-destination", str(home / "artifacts")]
    environment = (
        os.environ
        | QUIET
        | {
            "MLFLOW_AUTH_CONFIG_PATH": str(auth),
            "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests",
        }
    )
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=home)
    server = MlflowServer(url=f"http://127.0.0.1:{port}", username="admin", password=PASSWORD)
    try:
        _wait(process, server, home / "server.log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)
        log.close()


def _wait(process: subprocess.Popen[bytes], server: MlflowServer, log: Path) -> None:
    for _ in range(START_SECONDS * 5):
        if process.poll() is not None:
            raise RuntimeError(f"MLflow ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            if plain_http.get(f"{server.url}/health", timeout=2).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"MLflow did not answer in {START_SECONDS} s:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
