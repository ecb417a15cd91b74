"""What runs, with which command and environment: pure, so tested without running it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import InvalidSetting, NotFound, Refused
from sluicegate.services.host.authorization import basic
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import Site, client_environment, make_site, read_site
from sluicegate.services.host.keys import Keys, load_keys, make_keys
from sluicegate.services.host.parts import Part
from sluicegate.services.host.programs.definitions import Definitions
from sluicegate.services.host.stack import auth_text, stack

KEYS = Keys(**{each.name: f"secret-of-{each.name}" for each in dataclasses.fields(Keys)})
PORTS = {"mlflow": 20001, "prefect": 20002, "gateway": 20003, "console": 20004}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(root=tmp_path / "s")
    folder.prepare()
    return folder


def parts_of(folder: StateFolder, environment: Mapping[str, str]) -> dict[str, Part]:
    site = make_site(folder, PORTS, environment)
    return {part.name: part for part in stack(site, KEYS, folder, environment)}


def test_without_other_servers_our_own_are_run_closed_and_silent(folder: StateFolder) -> None:
    parts = parts_of(folder, {})
    assert list(parts) == ["mlflow", "prefect", "worker"]
    mlflow, prefect = parts["mlflow"].program, parts["prefect"].program
    assert mlflow.command[4:6] == ("--host", "127.0.0.1")
    assert mlflow.command[8:10] == ("--workers", "1")
    assert "basic-auth" in mlflow.command
    assert mlflow.env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert mlflow.env["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] == KEYS.webhook_encryption_key
    assert prefect.env["PREFECT_SERVER_API_AUTH_STRING"] == f"admin:{KEYS.prefect_password}"
    assert prefect.env["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    assert parts["worker"].after == ("prefect",)
    assert "NO_PERMISSIONS" in auth_text(folder)


def test_no_secret_is_in_a_command(folder: StateFolder) -> None:
    for part in parts_of(folder, {}).values():
        assert "secret-of" not in " ".join(part.program.command)
    assert "secret-of" not in auth_text(folder)
    assert "secret-of" not in repr(KEYS)


def test_servers_that_the_environment_names_are_used_with_its_credentials(folder: StateFolder) -> None:
    environment = {
        "MLFLOW_TRACKING_URI": "https://mlflow.example/",
        "MLFLOW_TRACKING_TOKEN": "t",
        "PREFECT_API_URL": "http://prefect.example:4200/api",
        "PREFECT_API_KEY": "k",
    }
    parts = parts_of(folder, environment)
    assert list(parts) == ["worker"]
    env = parts["worker"].program.env
    assert env["MLFLOW_TRACKING_URI"] == "https://mlflow.example"
    assert env["MLFLOW_TRACKING_TOKEN"] == "t"
    assert env["PREFECT_API_KEY"] == "k"
    assert KEYS.mlflow_password not in env.values()
    probe = parts["worker"].probe
    assert probe is not None
    assert probe.headers == {"Authorization": "Bearer k"}


def test_our_own_addresses_in_the_environment_are_not_foreign_servers(folder: StateFolder) -> None:
    first = make_site(folder, PORTS, {})
    ours = client_environment(first, KEYS, {})
    assert make_site(folder, PORTS, ours) == first
    assert list(parts_of(folder, ours)) == ["mlflow", "prefect", "worker"]


def test_urls_shown_hide_credentials_that_urls_carry(folder: StateFolder) -> None:
    site = make_site(folder, PORTS, {"MLFLOW_TRACKING_URI": "http://me:hush@host:5000"})
    assert site.urls()["mlflow"] == "http://host:5000"
    assert site.mlflow_url == "http://me:hush@host:5000"
    assert read_site(folder) == site


@pytest.mark.parametrize("uri", ["sqlite:///x.db", "./mlruns", "http://", "databricks"])
def test_a_tracking_uri_that_is_no_server_is_refused(folder: StateFolder, uri: str) -> None:
    with pytest.raises(InvalidSetting, match="MLFLOW_TRACKING_URI"):
        make_site(folder, PORTS, {"MLFLOW_TRACKING_URI": uri})


def test_a_site_that_was_never_made_or_is_damaged_is_not_found(folder: StateFolder) -> None:
    with pytest.raises(NotFound):
        read_site(folder)
    (folder.run / "site.json").write_text("{")
    with pytest.raises(NotFound):
        read_site(folder)


def test_what_clients_get_names_the_console_and_its_token(folder: StateFolder) -> None:
    site = Site(state=str(folder.root), ports=PORTS)
    given = client_environment(site, KEYS, {"SLUICE_LEDGER": "postgresql://x", "OTHER": "y"})
    assert given["SLUICE_API"] == "http://127.0.0.1:20004"
    assert given["SLUICE_TOKEN"] == KEYS.admin_token
    assert given["SLUICE_LEDGER"] == "postgresql://x"
    assert "OTHER" not in given
    assert KEYS.state_token not in given.values()


def test_secrets_are_made_once_and_missing_ones_are_drawn(folder: StateFolder) -> None:
    drawn = iter(range(100))
    first = make_keys(folder.secrets, lambda size: bytes([next(drawn)]) * size)
    assert load_keys(folder.secrets) == first
    (folder.secrets / "admin_token").unlink()
    second = make_keys(folder.secrets, lambda size: bytes([next(drawn)]) * size)
    assert second.admin_token != first.admin_token
    assert second.mlflow_password == first.mlflow_password


def test_an_empty_secret_is_refused(folder: StateFolder) -> None:
    make_keys(folder.secrets, lambda size: b"x" * size)
    (folder.secrets / "admin_token").write_text("\n")
    with pytest.raises(Refused, match="empty"):
        load_keys(folder.secrets)


def test_a_definition_changes_its_digest_with_every_field(folder: StateFolder) -> None:
    definitions = Definitions(folder)
    program = parts_of(folder, {})["mlflow"].program
    changes: dict[str, object] = {
        "command": ("x",),
        "cwd": Path("/"),
        "log": Path("/x"),
        "env": {},
        "stop_seconds": 1.5,
        "settle_seconds": 9.0,
        "retries": 3,
    }
    others = [dataclasses.replace(program, **{name: value}) for name, value in changes.items()]  # type: ignore[arg-type]
    assert {each.name for each in dataclasses.fields(program)} == {*changes, "name"}
    assert len({definitions.digest(each) for each in (program, *others)}) == len(others) + 1
    definitions.write(program)
    assert definitions.stored_digest("mlflow") == definitions.digest(program)
    assert json.loads((folder.programs / "mlflow.json").read_text())["command"] == list(program.command)


def test_basic_is_what_http_wants() -> None:
    assert basic("Aladdin:open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
