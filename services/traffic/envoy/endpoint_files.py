"""Address files, one for each cluster with replicas, so that a replica that moves changes no other file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sluicegate.registry.words.errors import TimedOut, Unreachable
from sluicegate.services import durable
from sluicegate.services.traffic.envoy.admin import Admin
from sluicegate.services.traffic.envoy.resource_files import canonical, digest, read_text
from sluicegate.services.traffic.envoy.resources import Resource

_POLL = 0.002


class EndpointFiles:
    """The address files of one folder, and Envoy's statistics about them."""

    def __init__(
        self, folder: Path, *, admin: Admin, patience: float, passing: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """`patience`: seconds that Envoy may take. Each write happens inside `passing()`."""
        self._folder = folder
        self._admin = admin
        self._patience = patience
        self._passing = passing

    def hold(self, assignments: Mapping[str, Resource]) -> bool:
        """Whether the files contain exactly these addresses."""
        return all(read_text(self._path(name)) == _text(each) for name, each in assignments.items())

    def publish(self, assignments: Mapping[str, Resource], *, emptying: bool) -> bool:
        """Write what is new and wait until Envoy has read it, for clusters that it has. False if Envoy does not answer.

        Without `emptying`, a file that would lose its last address stays as it is. Raises TimedOut.
        """
        try:
            self._await(self.leave(assignments, emptying=emptying))
        except Unreachable:
            return False
        return True

    def leave(self, assignments: Mapping[str, Resource], *, emptying: bool) -> dict[str, str]:
        """Write what is new without waiting for Envoy. Returns the versions written, by cluster."""
        present = {name: read_text(self._path(name)) for name in assignments}
        changed = {
            name: each
            for name, each in assignments.items()
            if present[name] != _text(each) and (emptying or each["endpoints"] or present[name] is None)
        }
        for name, each in changed.items():
            with self._passing():
                durable.replace(self._path(name), _text(each), spare=_spare(self._path(name)))
        return {name: digest(each) for name, each in changed.items()}

    def drop(self, keep: Collection[str]) -> None:
        """Remove the files of all other clusters."""
        for path in self._folder.glob("*.json"):
            if path.stem not in keep:
                with self._passing():
                    path.unlink()
                    _spare(path).unlink(missing_ok=True)

    def _await(self, versions: Mapping[str, str]) -> None:
        if not versions:
            return
        names = "|".join(map(re.escape, versions))
        deadline = time.monotonic() + self._patience
        while True:
            served = self._admin.stats(rf"^cluster\.({names})\.version_text$")
            late = {name for name, wanted in versions.items() if served.get(_statistic(name), wanted) != wanted}
            if not late:
                return
            if time.monotonic() > deadline:
                raise TimedOut(
                    f"Envoy did not apply the addresses of {', '.join(sorted(late))} within {self._patience:g} s.",
                    fix="read its log: sluice logs envoy.",
                )
            time.sleep(_POLL)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _spare(path: Path) -> Path:
    return path.with_name(f".{path.name}.spare")


def _statistic(name: str) -> str:
    return f"cluster.{name}.version_text"


def _text(assignment: Resource) -> str:
    return canonical({"version_info": digest(assignment), "resources": [assignment]})
