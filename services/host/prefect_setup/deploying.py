"""The step of raising that registers the flows with Prefect."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.prefect_setup import deployments as prefect_setup
from sluicegate.services.host.programs import identity
from sluicegate.services.host.raising import tail
from sluicegate.services.host.stack import POOL

DEPLOYMENTS = "deployments"


class Deploying:
    """Registers the pool, and the deployments unless they are registered already."""

    name = DEPLOYMENTS

    def __init__(
        self,
        folder: StateFolder,
        environment: Mapping[str, str],
        *,
        prefect_file: Path,
        code: Sequence[Path],
        after: tuple[str, ...],
    ) -> None:
        self.after = after
        self._folder = folder
        self._environment = environment
        self._file = prefect_file
        self._digest = prefect_setup.digest(prefect_file, code)
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Create the pool and start deploying; nothing more when all is there."""
        prefect_setup.ensure_pool(self._environment)
        if prefect_setup.is_current(self._folder, self._environment, self._digest):
            return
        with self._folder.log(self.name).open("ab") as log:
            self._process = subprocess.Popen(
                prefect_setup.deploy_command(),
                cwd=self._file.parent,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_done(self) -> bool:
        """Whether the deployments are registered. Raises ServiceFailed with what Prefect said."""
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None:
            return False
        log = self._folder.log(self.name)
        if code != 0:
            raise ServiceFailed(f"Prefect refused {self._file}.\n{tail(log)}", fix=f"Look into {log}.")
        prefect_setup.remember(self._folder, self._environment, self._digest)
        return True

    def cancel(self) -> None:
        """End the deploying process and its children."""
        if self._process is not None and self._process.poll() is None:
            identity.end(identity.tree(self._process.pid), grace=2.0)
            self._process.wait()


def deploy_environment(
    base: Mapping[str, str], clients: Mapping[str, str], folder: StateFolder, token: str
) -> dict[str, str]:
    """What deploying runs with. The token makes it ours, so that `down` ends it also after a kill of `up`."""
    marks = {identity.TOKEN: token, identity.PROGRAM: DEPLOYMENTS}
    prefect = {"PREFECT_HOME": str(folder.root / "prefect"), "PREFECT_DEFAULT_WORK_POOL_NAME": POOL}
    return {**base, **clients, **marks, **prefect, "COLUMNS": "120"}
