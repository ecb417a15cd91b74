"""The secrets of one installation: generated once, stored in files with mode 600, never in a command line."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path

from sluicegate.registry.words.errors import NotFound, Refused
from sluicegate.services import durable

ADMIN = "admin"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Each is the content of the file with its name in `secrets/`. Printing the object shows none of them."""

    state_token: str = field(repr=False)
    """Identifies this installation's processes; it grants no access."""
    admin_token: str = field(repr=False)
    """The bearer token of the console's API and of outcome intake."""
    gateway_token: str = field(repr=False)
    """The bearer token that a gateway requires from callers on other hosts."""
    prefect_password: str = field(repr=False)
    mlflow_password: str = field(repr=False)
    mlflow_flask_key: str = field(repr=False)
    session_secret: str = field(repr=False)
    """Signs the console's cookies."""
    webhook_secret: str = field(repr=False)
    """Signs MLflow's webhooks."""
    check_key: str = field(repr=False)
    """Signs our requests to the checks of plans."""
    webhook_encryption_key: str = field(repr=False)
    """Encrypts the webhook secret in MLflow's store; a Fernet key."""

    @property
    def prefect_auth(self) -> str:
        """The value of PREFECT_API_AUTH_STRING."""
        return f"{ADMIN}:{self.prefect_password}"


def load_keys(folder: Path) -> Keys:
    """Read every secret. Raises NotFound if one is missing, Refused if others may read it."""
    return Keys(**{key.name: _read(folder / key.name) for key in fields(Keys)})


def gateway_token(folder: Path) -> str:
    """The present token for callers; it may be replaced while programs run."""
    return _read(folder / "gateway_token")


def make_keys(folder: Path, draw: Callable[[int], bytes]) -> Keys:
    """Generate missing secrets, then read all; `draw(n)` returns n random bytes."""
    for key in fields(Keys):
        durable.create(folder / key.name, base64.urlsafe_b64encode(draw(32)).decode() + "\n", mode=durable.PRIVATE)
    return load_keys(folder)


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        secret = path.read_text().strip()
    except FileNotFoundError as error:
        raise NotFound(f"the secret {path} does not exist.", fix="Run `sluice up`.") from error
    except PermissionError as error:
        raise Refused(f"the secret {path} belongs to another user.", fix="Run as that user.") from error
    if mode & 0o077:
        raise Refused(f"the secret {path} can be read by others (mode {mode & 0o777:o}).", fix=f"chmod 600 {path}")
    if not secret:
        raise Refused(f"the secret {path} is empty.", fix=f"Remove {path} and run `sluice up`.")
    return secret
