"""Our deployments: what the packaged `prefect.yaml` declares, and what is wrong with those that a server has.

Each is registered with a version of ours, so that the server itself tells which Sluicegate they are of.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

VERSION = "SLUICE_DEPLOYMENT_VERSION"
"""The variable that `prefect.yaml` takes the version from."""


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A deployment as a server has it."""

    name: str
    version: str
    pool: str | None
    """The work pool whose workers run it; None after that was deleted."""
    paused: bool
    """Whether its schedules rest; who asks for a run gets one all the same."""


@dataclass(frozen=True, kw_only=True)
class WorkPool:
    """A work pool as a server has it."""

    name: str
    type: str
    """How its workers start runs, such as `process` or `kubernetes`."""
    paused: bool
    workers: int
    """Those that poll it now."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """The deployments of this Sluicegate."""

    prefect_file: Path
    code: tuple[Path, ...]
    """Folders with the flows' source: their parameters become forms, so it is part of the version."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the deployments. The flow of each is called the same."""
        from ruamel.yaml import YAML

        return tuple(str(each["name"]) for each in YAML(typ="safe").load(self.prefect_file)["deployments"])

    @cached_property
    def version(self) -> str:
        """Changes with the file and with the source, and with nothing else."""
        digest = hashlib.sha256(self.prefect_file.read_bytes())
        for path in sorted(file for folder in self.code for file in folder.rglob("*.py")):
            digest.update(path.read_bytes())
        return f"sluicegate-{digest.hexdigest()[:12]}"

    def missing(self, registered: Iterable[Registered]) -> tuple[str, ...]:
        """Names of those that the server does not have, or that no worker can run."""
        there = {each.name for each in registered if each.pool is not None}
        return tuple(name for name in self.names if name not in there)

    def stale(self, registered: Iterable[Registered]) -> tuple[str, ...]:
        """Names of those that are of another version, or were registered by hand."""
        return tuple(each.name for each in registered if each.version != self.version)


def deploy_command() -> tuple[str, ...]:
    """The command that deploys everything in the `prefect.yaml` of its working folder.

    It imports Prefect and the flows, some eight seconds of a core: a process of its own does it, and only when needed.
    """
    return (sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all")
