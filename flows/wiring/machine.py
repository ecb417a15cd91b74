"""The wiring of one machine: what `sluice up` runs, and the checks of `sluice doctor`."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.services.host.machine import Machine, Recipe
from sluicegate.services.host.prefect_setup.deployments import Packaged

if TYPE_CHECKING:
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.installation import Site
    from sluicegate.services.host.keys import Keys
    from sluicegate.services.host.parts import Part
    from sluicegate.services.host.prefect_setup.deploying import Deploying
    from sluicegate.services.host.webhook import Webhook
    from sluicegate.services.traffic.envoy.plane import Envoy

_HOME = Path(__file__).parents[2]
"""The package `sluicegate`, which also holds the deployments."""
_PACKAGED = Packaged(prefect_file=_HOME / "prefect.yaml", code=(_HOME / "flows", _HOME / "registry"))
DRAIN_SECONDS = 20.0


def machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine of this installation."""
    return Machine(recipe(environment))


def recipe(environment: Mapping[str, str]) -> Recipe:
    """What the machine runs."""
    runtime = current_runtime()
    return Recipe(
        folder=runtime.folder,
        environment=environment,
        draw=secrets.token_bytes,
        parts=lambda site, keys: _parts(runtime, site, keys, environment),
        prepare=lambda site: runtime.envoy_at(site.ports["gateway"]).prepare(),
        drain=lambda site: _drain(runtime.envoy_at(site.ports["gateway"])),
        packaged=_PACKAGED,
    )


def registering() -> Deploying:
    """What registers the deployments at the Prefect server that this installation uses, whatever it has of them."""
    runtime = current_runtime()
    return recipe(os.environ).registering(_PACKAGED, runtime.site, runtime.keys, always=True)


def examine() -> tuple[Finding, ...]:
    """Every check of this installation."""
    from sluicegate.flows.wiring.collecting import finding
    from sluicegate.services.host.doctor.examination import examine as look
    from sluicegate.services.host.ports import read_ports
    from sluicegate.services.keeper.refusals import refusal
    from sluicegate.services.keeper.untended import untended

    runtime = current_runtime()
    envoy = runtime.envoy_at(read_ports(runtime.folder.run / "ports.json").get("gateway", 0))
    findings = look(
        recipe(os.environ),
        envoy_check=(*envoy.command(), "--mode", "validate"),
        now=runtime.clock,
        refusal=lambda: refusal(runtime.ledger),
        untended=lambda: untended(runtime.ledger),
    )
    if not (runtime.folder.root / "telemetry.db").exists():
        return findings
    return (*findings, finding(runtime.readings.backlog(), runtime.clock().timestamp()))


def webhook(console: str | None) -> Webhook:
    """The webhook of this installation at the MLflow server that it uses."""
    from sluicegate.services.host.installation import client_environment
    from sluicegate.services.host.webhook import Webhook

    runtime = current_runtime()
    clients = client_environment(runtime.site, runtime.keys, os.environ)
    return Webhook(runtime.site, runtime.keys, clients, console=console)


def _parts(runtime: Runtime, site: Site, keys: Keys, environment: Mapping[str, str]) -> Sequence[Part]:
    from sluicegate.services.host.installation import client_environment
    from sluicegate.services.host.parts import HttpProbe
    from sluicegate.services.host.stack import own_part, stack
    from sluicegate.services.traffic.envoy.bootstrap import READY_PATH

    folder, envoy = runtime.folder, runtime.envoy_at(site.ports["gateway"])
    clients = client_environment(site, keys, environment)
    ready = HttpProbe(url=f"{site.urls()['gateway']}{READY_PATH}")
    console_ready = HttpProbe(url=f"{site.urls()['console']}/healthz")
    return (
        *stack(site, keys, folder, environment),
        own_part("envoy", envoy.command(), {}, folder, probe=ready),
        own_part("console", _process("console"), clients, folder, probe=console_ready),
        own_part("collector", _process("collector"), clients, folder),
        own_part("keeper", _process("keeper"), clients | _addresses(environment), folder),
    )


def _addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The addresses of notifications that the environment holds; the keeper alone sends to them."""
    return {name: value for name, value in environment.items() if name.startswith("SLUICE_NOTIFY_")}


def _process(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "sluicegate.flows.wiring.processes", name)


def _drain(envoy: Envoy) -> None:
    from sluicegate.registry.words.errors import Unreachable

    with contextlib.suppress(Unreachable):
        envoy.drain(DRAIN_SECONDS)
