"""The generator's program: the keeper has it run while a rollout wants generated requests, and at no other time."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.flows.wiring.runtime import Runtime
    from sluicegate.registry.rollout.rollout import Rollout
    from sluicegate.services.host.doctor.finding import Finding

NAME = "generator"
_COMMAND = (sys.executable, "-m", "sluicegate.flows.rehearsal.generating")
_SECRETS = ("SLUICE_NOTIFY_", "SLUICE_SOURCE_")
"""Begin the settings that are the keeper's alone."""


class Generator:
    """Starts and ends the program. Where it runs, it reads the record itself, and so stops sending by itself."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs: bool | None = None
        """None: not known."""

    def look(self) -> None:
        """Have it run as the record says. Raises what the supervisor raises; the next look tries again."""
        from sluicegate.services.host.stack import code_of, own_part

        wanted = bool(wanting(self._runtime))
        if wanted == self._runs:
            return
        if wanted:
            ours = {name: value for name, value in os.environ.items() if name.startswith("SLUICE_")}
            env = {name: value for name, value in ours.items() if not name.startswith(_SECRETS)}
            part = own_part(NAME, _COMMAND, env, self._runtime.folder, runs=code_of("sluicegate"))
            self._runtime.supervisor.add(part.program)
        elif self._runs or NAME in self._runtime.supervisor.definitions.names():
            self._runtime.supervisor.remove(NAME)
        self._runs = wanted


def wanting(runtime: Runtime) -> Sequence[Rollout]:
    """The rollouts that want generated requests now."""
    from sluicegate.registry.ledger.freezes import freezes
    from sluicegate.registry.rollout.generating import generating

    asking = [each for each in runtime.ledger.current() if each.plan.generate is not None]
    return generating(asking, freezes(runtime.ledger), runtime.clock()) if asking else ()


def findings(runtime: Runtime) -> Sequence[Finding]:
    """Rollouts that want generated requests where none is there to send; of others nothing is said."""
    from pathlib import Path

    from sluicegate.registry.plan.fields import CAPTURED
    from sluicegate.services.host.doctor.finding import warned
    from sluicegate.services.telemetry.reading.captures import newest

    found = []
    for each in wanting(runtime):
        asked, requests = each.requested, each.plan.generate.requests if each.plan.generate else CAPTURED
        if requests != CAPTURED and not Path(requests).is_file():
            fix = "Put the file there, on this machine, as sluice captures export writes it."
            found.append(warned(NAME, f"{each.id} generates no request: {requests} is not there", fix))
        elif requests == CAPTURED and not newest(runtime.store, asked.model, asked.variation, 1):
            fix = "Wait until services have captured callers' requests, or name a file: generate: {requests: /FILE}."
            why = f"none to {asked.model}/{asked.variation} was captured in full"
            found.append(warned(NAME, f"{each.id} generates no request: {why}", fix))
    return tuple(found)
