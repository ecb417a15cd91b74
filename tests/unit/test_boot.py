"""Running at boot: settings and secrets from files, and a systemd unit that systemd itself accepts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.setting_files import SETTINGS_FILE, with_files
from sluicegate.registry.words.settings import SETTINGS, Settings
from sluicegate.services.host.units import Unit

SECRETS = ("SLUICE_TOKEN", "SLUICE_LEDGER", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
           "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "SLUICE_NOTIFY_CHAT")  # fmt: skip


def file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_also_comes_from_a_file(tmp_path: Path, name: str) -> None:
    assert with_files({f"{name}_FILE": file(tmp_path, "secret", "s3cret\n")})[name] == "s3cret"


def test_every_setting_also_comes_from_a_file_of_settings_and_the_environment_wins(tmp_path: Path) -> None:
    text = "# ours\n\nSLUICE_POLL = 9s\nSLUICE_KEEP='30d'\nSLUICE_TOKEN_FILE=" + file(tmp_path, "token", "t")
    named = with_files({"SLUICE_SETTINGS": file(tmp_path, "settings", text), "SLUICE_POLL": "7s", "HOME": "/h"})
    settings = Settings.read(named)
    assert (settings.poll_seconds, settings.keep_seconds, settings.token) == (7.0, 30 * 86_400, "t")
    for name in (setting.name.replace("<NAME>", "X") for setting in SETTINGS if setting.name != SETTINGS_FILE):
        assert with_files({SETTINGS_FILE: file(tmp_path, "one", f"{name}=1")})[name] == "1"


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"SLUICE_TOKEN_FILE": "/none"}, "SLUICE_TOKEN_FILE names /none, which cannot be read"),
        ({"SLUICE_TOKEN_FILE": "EMPTY"}, "must hold exactly one line"),
        ({"SLUICE_TOKEN_FILE": "TWO"}, "must hold exactly one line"),
        ({"SLUICE_TOKEN_FILE": "ONE", "SLUICE_TOKEN": "x"}, "both SLUICE_TOKEN and SLUICE_TOKEN_FILE"),
        ({"SLUICE_SETTINGS": "/none"}, "SLUICE_SETTINGS names /none"),
        ({"SLUICE_SETTINGS": "WRONG"}, r":2: 'SLUICE_POL' is not a setting.*did you mean SLUICE_POLL"),
        ({"SLUICE_SETTINGS": "TWO"}, ":1: 'a' is not a setting"),
    ],
)
def test_a_file_that_will_not_do_is_refused(tmp_path: Path, environment: dict[str, str], why: str) -> None:
    texts = {"EMPTY": "\n", "TWO": "a\nb", "ONE": "x", "WRONG": "SLUICE_KEEP=30d\nSLUICE_POL=3s"}
    named = {
        name: file(tmp_path, value, texts[value]) if value in texts else value for name, value in environment.items()
    }
    with pytest.raises(InvalidSetting, match=why):
        with_files(named)


def test_files_of_other_programs_are_left_alone() -> None:
    others = {"SSL_CERT_FILE": "/none", "SLUICE_TOKEN": "t", "SLUICE_TOKEN_FILE": ""}
    assert with_files(others) == others


def sluice(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "MLFLOW_", "PREFECT_"))
    }
    command = [sys.executable, "-c", "from sluicegate.flows.cli.app import main; main()", *words]
    return subprocess.run(command, env=clean | environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("gateway", [(), ("--gateway", "8443")], ids=["installation", "gateway"])
@pytest.mark.parametrize("scope", [(), ("--system", "--run-as", "root")], ids=["user", "system"])
def test_a_unit_is_written_that_systemd_accepts(
    tmp_path: Path, scope: tuple[str, ...], gateway: tuple[str, ...]
) -> None:
    settings = file(tmp_path, "settings", "SLUICE_TOKEN=s3cret\n")
    done = sluice(
        "service",
        "install",
        "--to",
        str(tmp_path),
        *scope,
        *gateway,
        SLUICE_STATE=str(tmp_path / "s"),
        SLUICE_SETTINGS=settings,
    )
    assert done.returncode == 0, done.stderr
    assert ("enable --now" in done.stderr, "--user" in done.stderr) == (True, not scope)
    unit = tmp_path / ("sluicegate-gateway.service" if gateway else "sluicegate.service")
    text = unit.read_text()
    assert ("gateway --port 8443\nKillMode=process\n" in text) is bool(gateway), "Envoy outlives its agent"
    assert done.stdout.strip() == str(unit)
    assert f"SLUICE_STATE={tmp_path / 's'}" in text
    assert f"SLUICE_SETTINGS={settings}" in text
    assert "s3cret" not in text
    assert ("User=root" in text, "multi-user.target" in text) == (bool(scope), bool(scope))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    seen = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (seen.returncode, str(unit) in seen.stderr) == (0, False), seen.stderr


def test_what_systemd_would_misread_is_refused(tmp_path: Path) -> None:
    for bad in (Path("/a b"), Path("/a%b"), Path("relative"), Path("/a\nExecStart=/bin/sh")):
        with pytest.raises(InvalidSetting, match="systemd"):
            Unit(sluice=Path("/x/sluice"), state=bad).text()


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    done = sluice("service", "install", "--to", "/proc/none", SLUICE_STATE="/tmp/s")
    assert (done.returncode, "cannot be written" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
