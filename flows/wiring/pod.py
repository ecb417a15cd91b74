"""Pod: runs one role of an installation on Kubernetes in a container.

The container's folder is empty at first. It copies the shared keys from a mounted Secret, generates the others, and
writes down the servers' addresses. Everything that must last is in PostgreSQL.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from sluicegate.registry.words.errors import InvalidSetting, UsageError

if TYPE_CHECKING:
    from sluicegate.services.host.folder import StateFolder

_NEEDED = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL")


class PodRole(StrEnum):
    """The role of a container."""

    KEEPER = "keeper"
    CONSOLE = "console"
    FLOW = "flow"
    """Runs a command, such as `prefect flow-run execute`, with everything that a flow needs."""


def run(role: PodRole, command: Sequence[str], *, keys: Path, flows: Path, port: int) -> NoReturn:
    """Run a role until it is stopped. Raises InvalidSetting, UsageError if something is missing."""
    from sluicegate.flows.wiring.loops import log_plainly, run_process
    from sluicegate.flows.wiring.processes import PROCESSES

    folder = prepare(os.environ, keys=keys, flows=flows, port=port)
    if role is PodRole.FLOW:
        if not command:
            raise UsageError("a flow needs a command.", fix="write it behind: … run flow prefect flow-run execute")
        work = folder.root / "work"
        work.mkdir(exist_ok=True)
        os.chdir(work)  # Prefect copies the folder in which a run starts: in the image that would be the whole of /
        os.execvp(command[0], list(command))  # noqa: S606
    if command:
        raise UsageError(f"{role} takes no command, but {' '.join(command)!r} was given.", fix="leave it out.")
    log_plainly()
    run_process(PROCESSES[role])


def prepare(environment: Mapping[str, str], *, keys: Path, flows: Path, port: int) -> StateFolder:
    """Fill the state folder as `sluice up` does on one machine. May be repeated, also concurrently.

    Raises InvalidSetting if a setting or a key is missing.
    """
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services import durable
    from sluicegate.services.cluster.install.drawn_keys import SHARED
    from sluicegate.services.cluster.install.flow_jobs import TEMPLATE
    from sluicegate.services.host.folder import StateFolder
    from sluicegate.services.host.installation import CONSOLE, make_site
    from sluicegate.services.host.keys import make_keys

    settings = Settings.read(environment)
    settings.check()
    missing = [name for name in _NEEDED if not environment.get(name, "").strip()]
    if settings.cluster is None or missing:
        named = ", ".join(missing) or "SLUICE_CLUSTER"
        raise InvalidSetting(
            f"{named} is not set: a pod starts no server of its own.",
            fix="add it to the Secret sluicegate-connections.",
        )
    folder = StateFolder(root=settings.state)
    folder.prepare()
    for name in SHARED:
        durable.replace(folder.secrets / name, _key(keys / name), mode=durable.PRIVATE)
    make_keys(folder.secrets, secrets.token_bytes)
    template = flows / TEMPLATE
    if template.exists():
        durable.replace(folder.root / TEMPLATE, template.read_text(encoding="utf-8"))
    make_site(folder, {CONSOLE: port}, environment)
    return folder


def _key(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"the key {path.name} cannot be read at {path}: {error}.",
            fix="create the Secret of keys and mount it there: sluice cluster keys | kubectl create -f -",
        ) from error
    if not text:
        raise InvalidSetting(f"the key {path} is empty.", fix="create the Secret again: sluice cluster keys")
    return text + "\n"
