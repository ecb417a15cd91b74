"""Build: one immutable registered model version. Endpoint: where a replica of its service answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

CHAMPION_ALIAS = "champion"
"""The alias of a model's stable build in the catalog, unless the settings name another."""


@dataclass(frozen=True, kw_only=True)
class BuildRef:
    """The name of a build: a registered model and its version."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model} v{self.version}"


@dataclass(frozen=True, kw_only=True)
class Build:
    """A registered model version as the catalog describes it."""

    ref: BuildRef
    source: str
    """Where the catalog keeps the files, such as `models:/m-1f…` or an artifact URI."""
    aliases: frozenset[str] = frozenset()
    tags: dict[str, str] = field(default_factory=dict)
    stage: str = "None"
    created_at: datetime | None = None
    run: str | None = None
    """The id of the MLflow run that made it, where the catalog knows one."""
    signature: dict[str, object] | None = None
    """MLflow's model signature as JSON, if it was read: {"inputs": [...], "outputs": [...]}."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a replica of a build's service answers: at a Unix socket of this host, or at a port of any host."""

    build: BuildRef
    socket: str = ""
    host: str = ""
    port: int = 0

    @property
    def address(self) -> str:
        return self.socket or f"{self.host}:{self.port}"


Endpoints = Mapping[BuildRef, tuple[Endpoint, ...]]
"""Where the replicas of each build answer."""


_PLAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?\Z")


def slug(name: str) -> str:
    """A name fit for folders, bento tags, clusters and ids. Injective: a name that had to be changed carries a hash."""
    if _PLAIN.match(name):
        return name
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24].strip("-") or "model"
    return f"{words}--{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def service_name(ref: BuildRef) -> str:
    """The name of a build's service in the fleet, the supervisor and the data plane."""
    return f"{slug(ref.model)}.v{slug(ref.version)}"


def replica_name(ref: BuildRef, number: int) -> str:
    """The name of one replica's program. The first has the service's name, so adding a replica does not rename it."""
    return service_name(ref) if number == 1 else f"{service_name(ref)}.{number}"
