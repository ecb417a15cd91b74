"""Registers the flows in Prefect, as a step of `up`, and by the keeper if Prefect has lost them."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from sluicegate.registry.words.errors import ServiceFailed
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.prefect_setup.deployments import VERSION, Packaged, deploy_command
from sluicegate.services.host.prefect_setup.server import ensure_pool, registered
from sluicegate.services.host.programs import identity
from sluicegate.services.host.raising import tail
from sluicegate.services.host.stack import POOL

DEPLOYMENTS = "deployments"


class Deploying:
    """Registers the pool and the deployments; without `always`, deployments only if they are missing or outdated."""

    name = DEPLOYMENTS

    def __init__(
        self,
        folder: StateFolder,
        environment: Mapping[str, str],
        packaged: Packaged,
        *,
        after: tuple[str, ...] = (),
        always: bool = False,
        template: Mapping[str, Any] | None = None,
    ) -> None:
        """`template`: the job template for Kubernetes Jobs; None: runs are processes of this machine."""
        self.after = after
        self._folder = folder
        self._environment = environment
        self._packaged = packaged
        self._always = always
        self._template = template
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Create the pool, and start deploying if needed. Raises Unreachable, ServiceFailed."""
        ensure_pool(self._environment, self._template)
        if not self._always and self._is_current():
            return
        with self._folder.log(self.name).open("ab") as log:
            self._process = subprocess.Popen(
                deploy_command(),
                cwd=self._packaged.prefect_file.parent,
                env={**self._environment, VERSION: self._packaged.version},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_done(self) -> bool:
        """Whether the deployments are registered. Raises ServiceFailed with Prefect's message."""
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None:
            return False
        log = self._folder.log(self.name)
        if code != 0:
            raise ServiceFailed(f"Prefect refused {self._packaged.prefect_file}.\n{tail(log)}", fix=f"Look into {log}.")
        return True

    def cancel(self) -> None:
        """Stop the deploying process and its children."""
        if self._process is not None and self._process.poll() is None:
            identity.end(identity.tree(self._process.pid), grace=2.0)
            self._process.wait()

    def _is_current(self) -> bool:
        deployments = registered(self._environment, self._packaged.names)
        return not self._packaged.missing(deployments) and not self._packaged.stale(deployments)


def deploy_environment(
    base: Mapping[str, str], clients: Mapping[str, str], folder: StateFolder, token: str
) -> dict[str, str]:
    """The environment of the deploying process. It contains the token, so that `down` stops it even if `up` was
    killed."""
    marks = {identity.TOKEN: token, identity.PROGRAM: DEPLOYMENTS}
    prefect = {"PREFECT_HOME": str(folder.root / "prefect"), "PREFECT_DEFAULT_WORK_POOL_NAME": POOL}
    return {**base, **clients, **marks, **prefect, "COLUMNS": "120"}
