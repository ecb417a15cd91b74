"""Addresses of notifications. They are secrets, each in the environment or in a file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sluicegate.registry.words.errors import InvalidSetting, NotFound, Refused, UsageError


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to send a notification. Never shown, not even in a traceback."""

    url: str = field(repr=False)
    key: str = field(default="", repr=False)
    """For webhooks: the signing key, base64 after whsec_."""

    @classmethod
    def read(cls, text: str) -> Address:
        """Parse `URL` or `URL KEY`. Raises UsageError, which does not contain the text."""
        words = text.split()
        if not 1 <= len(words) <= 2 or "://" not in words[0]:
            raise UsageError("an address must be a URL; for a webhook, add a space and its signing key.")
        return cls(url=words[0], key=words[1] if len(words) == 2 else "")


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of one installation."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def get(self, name: str) -> Address:
        """The address of a notification. Raises NotFound, and Refused if others may read its file."""
        value = self.environment.get(variable(name), "").strip()
        if value:
            return Address.read(value)
        path = self._path(name)
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="utf-8")
        except FileNotFoundError:
            fix = f"sluice notify set {name}, or set {variable(name)}"
            raise NotFound(f"the notification {name} has no address.", fix=fix) from None
        except OSError as error:
            raise InvalidSetting(f"the address of {name} cannot be read: {error.strerror}.") from None
        if mode & 0o077:
            raise Refused(f"{path} can be read by others (mode {mode & 0o777:o}).", fix=f"chmod 600 {path}")
        return Address.read(text)

    def set(self, name: str, address: Address) -> None:
        """Store an address, replacing the previous one."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}")
        draft.unlink(missing_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(f"{address.url} {address.key}\n")
        draft.replace(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"notify-{name}"


def variable(name: str) -> str:
    """The environment variable that may hold the address."""
    return f"SLUICE_NOTIFY_{name.upper().replace('-', '_')}"
