"""Addresses of console, gateway and MLflow, from the environment, or else as the last `up` recorded them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from sluicegate.registry.words.errors import NotFound
from sluicegate.registry.words.settings import MlflowServer, Settings
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import CONSOLE, GATEWAY, MLFLOW, Site, read_site
from sluicegate.services.host.keys import ADMIN


@dataclass(frozen=True, kw_only=True)
class Api:
    """A console's address and token."""

    url: str
    token: str = field(repr=False)
    ca: Path | None = None
    """The file of the trusted certificate authority; None: those of the system."""


def console_api(settings: Settings) -> Api | None:
    """The console to use; None if none is known."""
    url = settings.api_url or _own_url(settings, CONSOLE)
    token = settings.token or _secret(settings, "admin_token")
    return Api(url=url, token=token, ca=settings.ca) if url and token else None


def gateway_url(settings: Settings) -> str:
    """The gateway's URL. Raises NotFound."""
    url = settings.gateway_url or _own_url(settings, GATEWAY)
    if url is None:
        raise NotFound("the gateway's address is not known.", fix="run sluice up, or set SLUICE_GATEWAY to its URL.")
    return url


def mlflow_server(settings: Settings) -> MlflowServer:
    """The MLflow server to read from. Raises NotFound."""
    if settings.mlflow_server.url:
        return settings.mlflow_server
    site = _site(settings)
    if site is not None and site.mlflow is not None:
        return replace(settings.mlflow_server, url=site.mlflow)
    url = _own_url(settings, MLFLOW)
    if url is None:
        raise NotFound("MLflow's address is not known.", fix="run sluice up, or set MLFLOW_TRACKING_URI to its URL.")
    return MlflowServer(url=url, username=ADMIN, password=_secret(settings, "mlflow_password") or "")


def has_ledger(settings: Settings) -> bool:
    """Whether a ledger exists that can be opened."""
    return settings.ledger is not None or (settings.state / "ledger.db").exists()


def _own_url(settings: Settings, part: str) -> str | None:
    """The URL that `up` recorded for its own part."""
    site = _site(settings)
    return site.own_url(part) if site is not None and part in site.ports else None


def _site(settings: Settings) -> Site | None:
    try:
        return read_site(StateFolder(root=settings.state))
    except NotFound:
        return None


def _secret(settings: Settings, name: str) -> str | None:
    try:
        return (StateFolder(root=settings.state).secrets / name).read_text().strip() or None
    except OSError:
        return None
