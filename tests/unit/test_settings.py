"""Settings: read once, checked, each error with its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.settings import SETTINGS, MlflowServer, OnCancel, Settings
from tests.unit.commands import sluice


def test_without_a_word_everything_has_a_default(tmp_path: Path) -> None:
    settings = Settings.read({"HOME": str(tmp_path)})
    assert settings.state.is_relative_to(tmp_path)
    assert settings.state.name == "sluicegate"
    assert settings.ledger_url() == f"sqlite:///{settings.state}/ledger.db"
    assert (settings.poll_seconds, settings.champion_alias, settings.envoy_bin) == (5.0, "champion", None)


def test_the_state_folder_follows_the_platform(tmp_path: Path) -> None:
    assert Settings.read({"HOME": "/h", "XDG_DATA_HOME": "/data"}).state == Path("/data/sluicegate")
    assert Settings.read({"HOME": "/h", "XDG_DATA_HOME": "relative"}).state.is_relative_to("/h")
    assert Settings.read({"HOME": "/h", "SLUICE_STATE": "/elsewhere"}).state == Path("/elsewhere")


def test_the_environment_comes_first() -> None:
    settings = Settings.read(
        {
            "SLUICE_STATE": "/elsewhere",
            "SLUICE_API": "https://console.example/",
            "SLUICE_TOKEN": "other",
            "SLUICE_GATEWAY": "http://gate:8080",
            "SLUICE_LEDGER": "postgresql://ada:pw@db/ledger",
            "SLUICE_POLL": "500ms",
            "MLFLOW_TRACKING_URI": "http://mlflow:5000",
            "MLFLOW_TRACKING_TOKEN": "bearer",
        }
    )
    assert (settings.api_url, settings.token) == ("https://console.example", "other")
    assert settings.gateway_url == "http://gate:8080"
    assert settings.ledger_url() == "postgresql://ada:pw@db/ledger"
    assert settings.poll_seconds == 0.5
    assert settings.mlflow_server == MlflowServer(url="http://mlflow:5000", token="bearer")


def test_credentials_may_stand_in_the_url() -> None:
    server = Settings.read({"HOME": "/h", "MLFLOW_TRACKING_URI": "https://ada:p%40w@mlflow:5000/x/"}).mlflow_server
    assert server == MlflowServer(url="https://mlflow:5000/x", username="ada", password="p@w")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_LEDGER", "mysql://h/d"),
        ("SLUICE_STORE", "models/bentos"),
        ("SLUICE_STORE", "s3://"),
        ("SLUICE_STORE", "gs://models/bentos"),
        ("SLUICE_STORE", "mlflow-artifacts:/"),
        ("SLUICE_API", "console:8080"),
        ("SLUICE_GATEWAY", "ftp://h"),
        ("SLUICE_POLL", "5"),
        ("SLUICE_POLL", "1ms"),
        ("SLUICE_POLL", "1d"),
        ("SLUICE_CHAMPION_ALIAS", "latest"),
        ("SLUICE_CHAMPION_ALIAS", "a b"),
        ("ENVOY_BIN", "/nowhere/envoy"),
        ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        ("PREFECT_API_URL", "here"),
    ],
)
def test_a_bad_value_names_its_variable_and_what_to_write(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"^the setting {name} has the invalid value .*\. Fix: write"):
        Settings.read({"HOME": "/h", name: value}).check()


def test_what_is_invalid_stops_nobody_who_does_not_use_it() -> None:
    wrong = {"MLFLOW_TRACKING_URI": "databricks", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel", "PREFECT_API_URL": "x"}
    settings = Settings.read({"HOME": "/h", "SLUICE_POLL": "7s", **wrong})
    assert (settings.poll_seconds, settings.state) == (7.0, Path("/h/.local/share/sluicegate"))
    with pytest.raises(InvalidSetting, match="MLFLOW_TRACKING_URI"):
        _ = settings.mlflow_server
    assert {str(each).split()[2] for each in settings.wrong()} == wrong.keys()


def test_a_relative_path_is_made_whole_where_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are started go on from other folders."""
    program = tmp_path / "bin" / "envoy"
    program.parent.mkdir()
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    read = Settings.read({"SLUICE_STATE": "here/state", "SLUICE_LEDGER": "sqlite:///l.db", "ENVOY_BIN": "bin/envoy"})
    assert (read.state, read.ledger) == (tmp_path / "here/state", f"sqlite:///{tmp_path}/l.db")
    assert read.envoy_bin == str(program)
    assert Settings.read({"SLUICE_STATE": "."}).state == tmp_path
    assert Settings.read({"SLUICE_STATE": "~/x"}).state == Path("/h/x")
    monkeypatch.setenv("PATH", str(program.parent))
    assert Settings.read({"ENVOY_BIN": "envoy"}).envoy_bin == str(program)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("s3://models/bentos/", "s3://models/bentos"),
        ("s3://models", "s3://models"),
        ("mlflow-artifacts:/a/b/", "mlflow-artifacts:/a/b"),
        ("/mnt/bentos/", "/mnt/bentos"),
        ("", None),
    ],
)
def test_where_bentos_are_shared(written: str, read: str | None) -> None:
    assert Settings.read({"HOME": "/h", "SLUICE_STORE": written}).store == read


def test_no_secret_is_shown() -> None:
    secrets = {
        "SLUICE_TOKEN": "hidden1",
        "PREFECT_API_AUTH_STRING": "hidden2",
        "MLFLOW_TRACKING_URI": "http://ada:hidden3@m",
        "MLFLOW_TRACKING_TOKEN": "hidden4",
    }
    assert "hidden" not in repr(Settings.read({"HOME": "/h", **secrets}))
    with pytest.raises(InvalidSetting) as raised:
        Settings.read({"HOME": "/h", "SLUICE_LEDGER": "mysql://ada:hidden@h/d"}).check()
    assert "hidden" not in str(raised.value)


def test_every_setting_says_what_it_is_for() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert all(setting.help.endswith(".") for setting in SETTINGS)


def test_blank_means_not_set(tmp_path: Path) -> None:
    blank = {setting.name: "  " for setting in SETTINGS}
    assert Settings.read(blank | {"HOME": str(tmp_path)}).values == Settings.read({"HOME": str(tmp_path)}).values


def test_what_follows_a_cancelled_run_is_one_of_two_words(tmp_path: Path) -> None:
    assert Settings.read({"HOME": str(tmp_path)}).on_cancel is OnCancel.PAUSE
    assert Settings.read({"HOME": str(tmp_path), "SLUICE_ON_CANCEL": "drive"}).on_cancel is OnCancel.DRIVE
    with pytest.raises(InvalidSetting, match="pause, drive"):
        Settings.read({"HOME": str(tmp_path), "SLUICE_ON_CANCEL": "ignore"}).check()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PREFECT_API_KEY": "pnu_1"}, "Bearer pnu_1"),
        ({"PREFECT_API_AUTH_STRING": "admin:x", "PREFECT_API_KEY": "pnu_1"}, "Basic YWRtaW46eA=="),
        ({}, None),
    ],
)
def test_the_keeper_shows_prefect_the_key_or_the_password(
    tmp_path: Path, environment: dict[str, str], expected: str | None
) -> None:
    from sluicegate.flows.wiring.runtime import Runtime

    base = {"SLUICE_STATE": str(tmp_path), "PREFECT_API_URL": "https://prefect.example/api"}
    http = Runtime(Settings.read(base | environment)).prefect
    request = http.build_request("GET", "/health")
    shown = next(http.auth.auth_flow(request)) if http.auth else request
    assert shown.headers.get("authorization") == expected


def test_where_spans_go_is_said_by_the_standard_variables() -> None:
    assert Settings.read({}).spans is None
    said = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_EXPORTER_OTLP_HEADERS": "Key=a%20b,team=x=y"}
    spans = Settings.read(said).spans
    assert spans is not None
    assert (spans.url, spans.headers) == ("http://c:4318/v1/traces", (("key", "a b"), ("team", "x=y")))
    assert "a b" not in repr(Settings.read(said))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:word@c:4318"), ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key"), ("OTEL_EXPORTER_OTLP_HEADERS", "key=a%0d%0ab"),
    ],
)  # fmt: skip
def test_a_place_for_spans_that_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        Settings.read({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"} | {name: value}).check()


WRONG = {
    "MLFLOW_TRACKING_URI": "sqlite:///mlruns.db",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "https://otel",
    "SLUICE_KEEP": "1",
}


@pytest.mark.parametrize(
    "words",
    [
        "status", "down", "predict delays {}", "rollout list", "rollout abort r1", "overview", "builds delays",
        "gateway", "logs delays", "verify", "backup there", "env", "token list", "audience list",
    ],
)  # fmt: skip
def test_a_command_is_not_stopped_by_a_setting_that_it_does_not_use(words: str, tmp_path: Path) -> None:
    """Each comes to its own reason: nothing runs here."""
    ended = sluice(tmp_path / "state", *words.split(), settings=WRONG | {"PREFECT_API_URL": "here"})
    assert "invalid value" not in ended.err
    assert ended.code in (1, 2, 6) or words == "down", ended


def test_what_starts_everything_checks_everything(tmp_path: Path) -> None:
    for name, value in WRONG.items():
        ended = sluice(tmp_path / "state", "up", settings={name: value})
        assert (ended.code, f"the setting {name} has the invalid value" in ended.err) == (2, True)
    assert not (tmp_path / "state").exists()


def test_on_a_cluster_what_pods_share_is_where_each_reaches_it() -> None:
    shared = {
        "SLUICE_LEDGER": "postgresql://h/l", "SLUICE_TELEMETRY": "postgresql://h/t", "SLUICE_STORE": "s3://models"
    }  # fmt: skip
    assert Settings.read(shared | {"SLUICE_CLUSTER": "ml-prod"}).cluster == "ml-prod"
    assert Settings.read(shared).cluster is None
    for name in shared:
        with pytest.raises(InvalidSetting, match=f"and {name} must be"):
            _ = Settings.read(shared | {"SLUICE_CLUSTER": "ml-prod", name: ""}).cluster
    with pytest.raises(InvalidSetting, match="SLUICE_STORE"):
        _ = Settings.read(shared | {"SLUICE_CLUSTER": "ml-prod", "SLUICE_STORE": "/mnt"}).cluster
    with pytest.raises(InvalidSetting, match="lower-case"):
        _ = Settings.read(shared | {"SLUICE_CLUSTER": "ML_prod"}).cluster


def test_what_pods_of_builds_are_made_with() -> None:
    told = Settings.read({"SLUICE_IMAGE": "a/b:1", "SLUICE_PULL_SECRETS": '[{"name":"one"},{"name":"two"}]'})
    assert (told.image, told.connections, told.pull_secrets) == ("a/b:1", "sluicegate-connections", ("one", "two"))
    assert (Settings.read({}).image, Settings.read({}).pull_secrets) == (None, ())
    for wrong in ("one", '["one"]', "{}"[:1]):
        with pytest.raises(InvalidSetting, match="SLUICE_PULL_SECRETS"):
            _ = Settings.read({"SLUICE_PULL_SECRETS": wrong}).pull_secrets


def test_names_of_a_console_in_a_cluster() -> None:
    assert Settings.read({"SLUICE_CONSOLE_HOSTS": "a.example.com, b.example.com"}).console_hosts == {
        "a.example.com", "b.example.com",
    }  # fmt: skip
