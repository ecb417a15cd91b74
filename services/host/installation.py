"""Site: the addresses of one installation's parts, and the environment by which clients find them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sluicegate.registry.words.errors import InvalidSetting, NotFound
from sluicegate.registry.words.settings import Settings
from sluicegate.registry.words.urls import without_credentials
from sluicegate.services import durable
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.keys import ADMIN, Keys
from sluicegate.services.loopback import HOST

MLFLOW, PREFECT, GATEWAY, CONSOLE, RELAY = "mlflow", "prefect", "gateway", "console", "relay"
_GATEWAY = re.compile(rf"{GATEWAY}(-[0-9]+)?")
TELEMETRY_OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def gateway_names(count: int) -> tuple[str, ...]:
    """The names of `count` gateways: `gateway`, `gateway-2`, …"""
    return (GATEWAY, *(f"{GATEWAY}-{number}" for number in range(2, count + 1)))


def is_gateway(name: str) -> bool:
    """Whether this is the name of a gateway."""
    return _GATEWAY.fullmatch(name) is not None


def envoy_of(gateway: str) -> str:
    """The name of a gateway's program and folder: `envoy`, `envoy-2`, …"""
    return f"envoy{gateway.removeprefix(GATEWAY)}"


@dataclass(frozen=True, kw_only=True)
class Site:
    """Addresses of one installation. `mlflow` and `prefect` are None if we run these servers ourselves."""

    state: str
    ports: Mapping[str, int]
    mlflow: str | None = None
    """MLFLOW_TRACKING_URI in the environment of `up`."""
    prefect: str | None = None
    """PREFECT_API_URL in the environment of `up`."""
    listen: str | None = None
    """The name or address by which other hosts reach this one; None: they do not."""
    address: str | None = None
    """The IP address of `listen`."""

    @property
    def mlflow_url(self) -> str:
        return self.mlflow or self.own_url(MLFLOW)

    @property
    def prefect_api_url(self) -> str:
        return self.prefect or f"{self.own_url(PREFECT)}/api"

    def gateways(self) -> dict[str, int]:
        """The port of each gateway, by its name. `SLUICE_GATEWAY` has the first one's."""
        return {name: port for name, port in self.ports.items() if is_gateway(name)}

    def urls(self) -> dict[str, str]:
        """The URLs that people open, without credentials even if the environment's URLs have some."""
        ours = {name: self.own_url(name) for name in (*self.gateways(), CONSOLE) if name in self.ports}
        if self.listen is not None:
            ours |= {f"{name} for others": self.outside_url(name) for name in ours}
        return {
            **ours,
            MLFLOW: without_credentials(self.mlflow_url),
            PREFECT: without_credentials(self.prefect_api_url.removesuffix("/api")),
        }

    def own_url(self, name: str) -> str:
        """The URL of our own part with this name."""
        return f"http://{HOST}:{self.ports[name]}"

    def outside_url(self, name: str) -> str:
        """The URL of our own part with this name for other hosts, if `listen` is set."""
        return f"https://{self.listen}:{self.ports[name]}"


def make_site(folder: StateFolder, ports: Mapping[str, int], environment: Mapping[str, str]) -> Site:
    """The site for this environment, which is also recorded. An address of our own, as `sluice env` prints it, does not

    count as a foreign server. A server without a port is not run by us.
    """
    own = Site(state=str(folder.root), ports=ports)
    site = Site(
        state=own.state,
        ports=ports,
        mlflow=_foreign("MLFLOW_TRACKING_URI", environment, own.mlflow_url if MLFLOW in ports else None),
        prefect=_foreign("PREFECT_API_URL", environment, own.prefect_api_url if PREFECT in ports else None),
        listen=(listen := Settings.read(environment).listen),
        address=None if listen is None else address_of(listen),
    )
    durable.replace(_record(folder), json.dumps(asdict(site), indent=1), mode=durable.PRIVATE)
    return site


def address_of(host: str) -> str:
    """The address of this machine to which a name resolves. Raises InvalidSetting."""
    try:
        addresses = {str(each[4][0]) for each in socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)}
    except OSError as error:
        why = f"its address is not known here: {error.strerror}"
    else:
        for address in sorted(addresses):
            if not address.startswith("127.") and _is_ours(address):
                return address
        why = f"it is {', '.join(sorted(addresses))}, which is not an address of this machine that others reach"
    raise InvalidSetting(
        f"SLUICE_LISTEN is {host}, and {why}.", fix="set it to an address that `ip address` shows, or to a name of one."
    )


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def read_site(folder: StateFolder) -> Site:
    """The site that the last `up` recorded. Raises NotFound if there is none."""
    try:
        return Site(**json.loads(_record(folder).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise NotFound(f"nothing was started in {folder.root} yet.", fix="Run `sluice up`.") from error


def client_environment(site: Site, keys: Keys, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for clients of MLflow, Prefect and Sluicegate; `environment` has foreign servers' credentials."""
    mlflow = {"MLFLOW_TRACKING_URI": site.mlflow_url}
    prefect = {"PREFECT_API_URL": site.prefect_api_url}
    if site.mlflow is None:
        mlflow |= {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": keys.mlflow_password}
    else:
        mlflow |= {key: environment[key] for key in _MLFLOW_CREDENTIALS if key in environment}
    if site.prefect is None:
        prefect |= {"PREFECT_API_AUTH_STRING": keys.prefect_auth}
    else:
        prefect |= {key: environment[key] for key in _PREFECT_CREDENTIALS if key in environment}
    ours = {key: environment[key] for key in _OWN_SETTINGS if key in environment}
    settings = Settings.read(environment)
    whole = {
        "SLUICE_LEDGER": settings.ledger, "SLUICE_TELEMETRY": settings.telemetry, "SLUICE_STORE": settings.store,
        "ENVOY_BIN": settings.envoy_bin,
    }  # fmt: skip
    ours |= {name: value for name, value in whole.items() if value is not None}
    if settings.tls_files is not None:
        ours |= dict(zip(("SLUICE_TLS_CERTIFICATE", "SLUICE_TLS_KEY"), map(str, settings.tls_files), strict=True))
    if site.listen is not None:
        ours |= {"SLUICE_LISTEN": site.listen, "SLUICE_GATEWAY_TOKEN": keys.gateway_token}
    ours |= {"SLUICE_STATE": site.state, "SLUICE_TOKEN": keys.admin_token}
    if CONSOLE in site.ports:
        ours["SLUICE_API"] = site.urls()[CONSOLE]
    if GATEWAY in site.ports:
        ours["SLUICE_GATEWAY"] = site.urls()[GATEWAY]
    return {**mlflow, **prefect, **ours}


_OWN_SETTINGS = (
    "SLUICE_LEDGER", "SLUICE_TELEMETRY", "SLUICE_STORE", "SLUICE_POLL", "SLUICE_UNWATCHED", "SLUICE_KEEP",
    "SLUICE_CHAMPION_ALIAS", "SLUICE_ON_CANCEL", "SLUICE_CHECK_HOSTS", "ENVOY_BIN",
)  # fmt: skip
_MLFLOW_CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_S3_ENDPOINT_URL",
)
_PREFECT_CREDENTIALS = ("PREFECT_API_AUTH_STRING", "PREFECT_API_KEY", "PREFECT_API_SSL_CERT_FILE")


def _record(folder: StateFolder) -> Path:
    return folder.run / "site.json"


def _foreign(name: str, environment: Mapping[str, str], own: str | None) -> str | None:
    url = environment.get(name, "").strip().rstrip("/")
    if not url or url == own:
        return None
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise InvalidSetting(
            f"{name} is {url!r}, which is not the address of a server.",
            fix=f"Set {name} to an http or https URL, or unset it to have a server started here.",
        )
    return url
