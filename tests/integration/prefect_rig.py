"""A lone Prefect server: an auth string, SQLite, on loopback, stopped by its handle. No worker, no stack."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sluicegate.services.host.stack import PATIENCE
from tests import plain_http
from tests.clean_environment import clean_environment

AUTH = "admin:a-password-for-tests"
ROOT = Path(__file__).parents[2]
START_SECONDS = 100


@dataclass
class PrefectServer:
    """A server that can be stopped and started again on the same port and database."""

    home: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "PREFECT_API_URL": self.api, "PREFECT_API_AUTH_STRING": AUTH, "PREFECT_HOME": str(self.home),
            "DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }  # fmt: skip

    def start(self) -> None:
        mine = {
            **PATIENCE, "PREFECT_SERVER_API_AUTH_STRING": AUTH, "PREFECT_UI_API_URL": self.api,
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
            "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{self.home}/prefect.db",
        }  # fmt: skip
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port)]
        log = (self.home / "server.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "--no-prompt"],
            env=clean_environment() | self.environment | mine,
            stdout=log,
            stderr=log,
            cwd=self.home,
        )  # fmt: skip
        log.close()
        for _ in range(START_SECONDS * 5):
            if self.process.poll() is not None:
                raise RuntimeError(f"Prefect ended:\n{(self.home / 'server.log').read_text()[-2000:]}")
            with suppress(httpx.HTTPError):
                if plain_http.get(f"{self.api}/health", timeout=2, auth=self.auth).is_success:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"Prefect did not answer:\n{(self.home / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=20)
        self.process = None

    @property
    def auth(self) -> tuple[str, str]:
        user, _, password = AUTH.partition(":")
        return user, password

    def client(self) -> httpx.Client:
        """As the keeper has one, with more patience: SQLite may be busy while other tests write."""
        return httpx.Client(base_url=self.api, auth=self.auth, timeout=60.0, trust_env=False)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        with self.client() as http:
            for pause in (0.5, 1.0, 2.0, 4.0):
                answer = http.request(method, path, json=body)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # its database is locked for a moment
                    break
                time.sleep(pause)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

    def python(self, *words: str, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
        """Run Python as a client of this server."""
        done = subprocess.run(
            [sys.executable, *words], env=clean_environment() | self.environment | dict(env or {}), cwd=cwd,
            capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def prefect_server(home: Path) -> Iterator[PrefectServer]:
    """A server that answers when the block begins and is gone when it ends."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        server = PrefectServer(home=home, port=int(one.getsockname()[1]))
    try:
        server.start()
        yield server
    finally:
        server.stop()
