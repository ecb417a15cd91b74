"""Addresses: the environment comes first, what `up` recorded stands behind it, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.settings import MlflowServer, Settings
from sluicegate.services.host.addresses import Api, console_api, gateway_url, has_ledger, mlflow_server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder after an `up` that started everything itself."""
    (tmp_path / "run").mkdir()
    (tmp_path / "secrets").mkdir()
    site = {"state": str(tmp_path), "ports": {"console": 1, "gateway": 2, "mlflow": 3}, "mlflow": None, "prefect": None}
    (tmp_path / "run" / "site.json").write_text(json.dumps(site))
    (tmp_path / "secrets" / "admin_token").write_text("token\n")
    (tmp_path / "secrets" / "mlflow_password").write_text("password\n")
    return tmp_path


def test_before_the_first_up_nothing_is_known(tmp_path: Path) -> None:
    settings = Settings.read({"SLUICE_STATE": str(tmp_path)})
    assert console_api(settings) is None
    assert not has_ledger(settings)
    for ask in (gateway_url, mlflow_server):
        with pytest.raises(NotFound, match="Fix: run sluice up"):
            ask(settings)


def test_what_up_recorded_stands_behind_the_environment(state: Path) -> None:
    settings = Settings.read({"SLUICE_STATE": str(state)})
    assert console_api(settings) == Api(url="http://127.0.0.1:1", token="token")
    assert gateway_url(settings) == "http://127.0.0.1:2"
    assert mlflow_server(settings) == MlflowServer(url="http://127.0.0.1:3", username="admin", password="password")
    (state / "ledger.db").touch()
    assert has_ledger(settings)


def test_what_the_environment_names_comes_first(state: Path) -> None:
    environment = {
        "SLUICE_STATE": str(state), "SLUICE_API": "https://console.example/", "SLUICE_TOKEN": "other",
        "SLUICE_GATEWAY": "http://gate:8080", "SLUICE_LEDGER": "postgresql://ada:pw@db/ledger",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
    }  # fmt: skip
    settings = Settings.read(environment)
    assert console_api(settings) == Api(url="https://console.example", token="other")
    assert gateway_url(settings) == "http://gate:8080"
    assert has_ledger(settings)
    assert mlflow_server(settings) == MlflowServer(url="http://mlflow:5000")


def test_a_foreign_mlflow_that_up_was_given_takes_the_environments_credentials(state: Path) -> None:
    record = state / "run" / "site.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"mlflow": "https://theirs"}))
    environment = {"SLUICE_STATE": str(state), "MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pw"}
    assert mlflow_server(Settings.read(environment)) == MlflowServer(
        url="https://theirs", username="ada", password="pw"
    )
