"""Our deployments: those that the packaged `prefect.yaml` declares, compared with those of a server.

Each is registered with a version that shows which Sluicegate it belongs to.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

VERSION = "SLUICE_DEPLOYMENT_VERSION"
"""The variable from which `prefect.yaml` takes the version."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A deployment on a server."""

    name: str
    version: str
    pool: str | None
    """The work pool whose workers run it; None if that was deleted."""
    paused: bool
    """Whether its schedules are paused; runs can still be created on request."""


@dataclass(frozen=True, kw_only=True)
class WorkPool:
    """A work pool on a server."""

    name: str
    type: str
    """How its workers start runs, such as `process` or `kubernetes`."""
    paused: bool
    workers: int
    """The number of workers that poll it now."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """The deployments of this Sluicegate."""

    prefect_file: Path
    code: tuple[Path, ...]
    """Folders with the flows' source. It is part of the version, because flow parameters become forms in Prefect."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the deployments, which are also those of their flows."""
        from ruamel.yaml import YAML

        return tuple(str(each["name"]) for each in YAML(typ="safe").load(self.prefect_file)["deployments"])

    @cached_property
    def version(self) -> str:
        """A version that changes only with the file and the source."""
        digest = hashlib.sha256(self.prefect_file.read_bytes())
        for path in sorted(file for folder in self.code for file in folder.rglob("*.py")):
            digest.update(path.read_bytes())
        return f"sluicegate-{digest.hexdigest()[:12]}"

    def missing(self, registered: Iterable[Registered]) -> tuple[str, ...]:
        """Names of deployments that the server does not have, or that have no work pool."""
        present = {each.name for each in registered if each.pool is not None}
        return tuple(name for name in self.names if name not in present)

    def stale(self, registered: Iterable[Registered]) -> tuple[str, ...]:
        """Names of deployments of another version, or registered by hand."""
        return tuple(each.name for each in registered if each.version != self.version)


def deploy_command() -> tuple[str, ...]:
    """The command that deploys everything in the `prefect.yaml` of its working folder.

    It imports Prefect and the flows, which takes about eight seconds of CPU time. So it runs in a process of its own,
    and only when needed.
    """
    return (sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all")
