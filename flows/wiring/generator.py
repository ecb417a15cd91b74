"""The generator's program: the keeper runs it only while a rollout wants generated requests."""

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
"""Prefixes of settings that only the keeper gets."""


class Generator:
    """Starts and ends the program. The program reads the ledger itself, and so stops sending by itself."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._runs: bool | None = None
        """Whether it runs; None if unknown."""

    def look(self) -> None:
        """Start or end the program as the ledger requires. Raises the supervisor's errors; the next look retries."""
        from sluicegate.services.host.stack import code_of, own_part

        wanted = bool(wanting(self._runtime))
        if wanted == self._runs:
            return
        if wanted:
            settings = {name: value for name, value in os.environ.items() if name.startswith("SLUICE_")}
            env = {name: value for name, value in settings.items() if not name.startswith(_SECRETS)}
            part = own_part(NAME, _COMMAND, env, self._runtime.folder, runs=code_of("sluicegate"))
            self._runtime.supervisor.add(part.program)
        elif self._runs or NAME in self._runtime.supervisor.definitions.names():
            self._runtime.supervisor.remove(NAME)
        self._runs = wanted


def wanting(runtime: Runtime) -> Sequence[Rollout]:
    """The rollouts that want generated requests now."""
    from sluicegate.registry.ledger.freezes import freezes
    from sluicegate.registry.rollout.generating import generating

    candidates = [each for each in runtime.ledger.current() if each.plan.generate is not None]
    return generating(candidates, freezes(runtime.ledger), runtime.clock()) if candidates else ()


def findings(runtime: Runtime) -> Sequence[Finding]:
    """Warnings for rollouts that want generated requests but have none to send."""
    from pathlib import Path

    from sluicegate.registry.plan.fields import CAPTURED
    from sluicegate.services.host.doctor.finding import warned
    from sluicegate.services.telemetry.reading.captures import newest

    warnings = []
    for each in wanting(runtime):
        requested, requests = each.requested, each.plan.generate.requests if each.plan.generate else CAPTURED
        if requests != CAPTURED and not Path(requests).is_file():
            fix = "Put the file there, on this machine, as sluice captures export writes it."
            warnings.append(warned(NAME, f"{each.id} generates no request: {requests} is not there", fix))
        elif requests == CAPTURED and not newest(runtime.store, requested.model, requested.variation, 1):
            fix = "Wait until services have captured callers' requests, or name a file: generate: {requests: /FILE}."
            why = f"none to {requested.model}/{requested.variation} was captured in full"
            warnings.append(warned(NAME, f"{each.id} generates no request: {why}", fix))
    return tuple(warnings)
