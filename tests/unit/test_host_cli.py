"""status and env as people and programs see them; and that they import nothing heavy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.keys import make_keys

HEAVY = ("mlflow", "prefect", "bentoml", "pandas", "scipy", "numpy", "sqlalchemy", "alembic", "starlette", "httpx")
PORTS = {"mlflow": 20001, "prefect": 20002, "gateway": 20003, "mirror": 20004, "console": 20005}
REPORT = "import sys; print('IMPORTED', *sys.modules, file=sys.stderr)"


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    folder = StateFolder(root=tmp_path / "s")
    folder.prepare()
    make_keys(folder.secrets, lambda size: os.urandom(size))
    make_site(folder, PORTS, {})
    return folder


def sluice(folder: StateFolder, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: exec({REPORT!r}))\n"
        "from sluicegate.flows.cli.app import main\n"
        f"sys.argv = ['sluice', *{list(arguments)!r}]\n"
        "main()"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.root), "SLUICE_STATE": str(folder.root)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [("status",), ("status", "-o", "json"), ("env",), ("down",)])
def test_nothing_heavy_is_imported(state: StateFolder, command: tuple[str, ...]) -> None:
    done = sluice(state, *command)
    imported = done.stderr.partition("IMPORTED ")[2].split()
    assert "sluicegate.flows.cli.host" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_status_of_a_stopped_machine_is_data_and_exit_code_six(state: StateFolder) -> None:
    done = sluice(state, "status", "-o", "json")
    assert done.returncode == 6
    told = json.loads(done.stdout)
    assert told["up"] is False
    assert told["programs"] == []
    assert told["urls"]["gateway"] == "http://127.0.0.1:20003"
    assert set(told["urls"]) == {"gateway", "console", "mlflow", "prefect"}
    assert "sluice up" in sluice(state, "status").stdout


def test_status_before_any_up_is_an_error_with_its_fix(tmp_path: Path) -> None:
    done = sluice(StateFolder(root=tmp_path / "none"), "status")
    assert done.returncode == 6
    assert "nothing was started" in done.stderr
    assert "sluice up" in done.stderr
    assert not (tmp_path / "none").exists(), "asking makes nothing"


def test_env_prints_lines_that_a_shell_can_read(state: StateFolder) -> None:
    done = sluice(state, "env")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert all(re.fullmatch(r"export [A-Z_]+=\S+", line) for line in lines)
    names = {line.split()[1].split("=")[0] for line in lines}
    assert names == {
        "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD",
        "PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "SLUICE_STATE", "SLUICE_API", "SLUICE_TOKEN", "SLUICE_GATEWAY",
    }  # fmt: skip
    shell = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf %s "$SLUICE_TOKEN"', "sh", done.stdout],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout == (state.secrets / "admin_token").read_text().strip()


def test_down_where_nothing_runs_says_so(state: StateFolder) -> None:
    done = sluice(state, "down")
    assert done.returncode == 0
    assert "nothing was running" in done.stderr


def test_env_before_any_up_names_the_fix_and_no_secret(tmp_path: Path) -> None:
    done = sluice(StateFolder(root=tmp_path / "never"), "env")
    assert done.returncode == 1
    assert f"nothing was started in {tmp_path / 'never'} yet" in done.stderr


def test_before_the_first_up_there_are_no_logs_and_it_says_so(tmp_path: Path) -> None:
    folder = StateFolder(root=tmp_path / "never")
    assert f"there are no logs in {folder.root} yet: sluice up" in sluice(folder, "logs").stdout
