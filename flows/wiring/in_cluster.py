"""What is otherwise where builds and gateways run in a cluster: names of the console, and how Prefect starts flows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sluicegate.services.cluster.install.control import CONSOLE_SERVICE
from sluicegate.services.cluster.install.flow_jobs import TEMPLATE

if TYPE_CHECKING:
    from sluicegate.registry.words.settings import Settings
    from sluicegate.services.host.folder import StateFolder


def hosts(settings: Settings) -> Sequence[str]:
    """Names by which the console of a cluster is asked: its Service's, and those that the user names."""
    if settings.cluster is None:
        return ()
    inside = f"{CONSOLE_SERVICE}.{settings.cluster}"
    return (CONSOLE_SERVICE, inside, f"{inside}.svc", f"{inside}.svc.cluster.local", *sorted(settings.console_hosts))


def work_pool(folder: StateFolder) -> Mapping[str, Any] | None:
    """How Prefect is to make Jobs; None where this pod was not told."""
    try:
        template: Mapping[str, Any] = json.loads((folder.root / TEMPLATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return template
