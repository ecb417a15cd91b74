"""The wiring of one machine: the programs of `sluice up`."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.in_cluster import work_pool
from sluicegate.flows.wiring.runtime import Runtime, current_runtime
from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.services.host.installation import RELAY, envoy_of
from sluicegate.services.host.issuing import joining_pair
from sluicegate.services.host.machine import Machine, Recipe
from sluicegate.services.host.prefect_setup.deployments import Packaged

if TYPE_CHECKING:
    from sluicegate.services.host.installation import Site
    from sluicegate.services.host.keys import Keys
    from sluicegate.services.host.parts import Part
    from sluicegate.services.host.prefect_setup.deploying import Deploying
    from sluicegate.services.host.webhook import Webhook
    from sluicegate.services.traffic.envoy.plane import Envoy

_HOME = Path(__file__).parents[2]
"""The package `sluicegate`, which also holds the deployments."""
PACKAGED = Packaged(prefect_file=_HOME / "prefect.yaml", code=(_HOME / "flows", _HOME / "registry"))
"""The deployments of this package, and the code that their version follows."""
DRAIN_SECONDS = 20.0


def machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine of this installation."""
    return Machine(recipe(environment))


def recipe(environment: Mapping[str, str]) -> Recipe:
    """How to run this installation on the machine."""
    runtime = current_runtime()
    return Recipe(
        folder=runtime.folder,
        environment=environment,
        draw=secrets.token_bytes,
        parts=lambda site, keys: _parts(runtime, site, keys, environment),
        prepare=lambda site: _prepare(runtime, site),
        drain=lambda site: _drain(runtime.envoys_of(site).values()),
        retire=lambda program: _drain([runtime.envoys[name] for name in runtime.envoys if envoy_of(name) == program]),
        packaged=PACKAGED,
        template=work_pool(runtime.folder) if runtime.settings.cluster is not None else None,
    )


def registering(*, always: bool = True) -> Deploying:
    """Registers the deployments at the Prefect server that this installation uses.

    Without `always`, only if the server does not have those of this version of Sluicegate.
    """
    runtime = current_runtime()
    return recipe(os.environ).registering(PACKAGED, runtime.site, runtime.keys, always=always)


def webhook(console: str | None) -> Webhook:
    """This installation's webhook at its MLflow server."""
    from sluicegate.services.host.installation import client_environment
    from sluicegate.services.host.webhook import Webhook

    runtime = current_runtime()
    clients = client_environment(runtime.site, runtime.keys, os.environ)
    return Webhook(runtime.site, runtime.keys, clients, console=console)


def _parts(runtime: Runtime, site: Site, keys: Keys, environment: Mapping[str, str]) -> Sequence[Part]:
    from sluicegate.services.host.installation import client_environment
    from sluicegate.services.host.parts import HttpProbe
    from sluicegate.services.host.stack import code_of, own_part, stack
    from sluicegate.services.traffic.envoy.names import READY_PATH

    folder, clients, ours = runtime.folder, client_environment(site, keys, environment), code_of("sluicegate")
    if len(site.gateways()) > 1 or site.listen is not None:  # our programs read the gateways and the address only once
        ours = f"{ours} {site.gateways()} {site.address}"
    envoys = [
        own_part(
            envoy_of(name), envoy.command(), {}, folder, runs=envoy.runs(), handover=envoy.handover(),
            probe=HttpProbe(url=f"{site.own_url(name)}{READY_PATH}"),
        )
        for name, envoy in runtime.envoys_of(site).items()
    ]  # fmt: skip
    relay = runtime.relay(site)
    relays = [] if relay is None else [own_part(RELAY, relay.command(), {}, folder, runs=f"{relay}")]
    console_ready = HttpProbe(url=f"{site.urls()['console']}/healthz")
    return (
        *stack(site, keys, folder, environment),
        *envoys,
        *relays,
        own_part("console", _process("console"), clients, folder, runs=ours, probe=console_ready),
        own_part("collector", _process("collector"), clients, folder, runs=ours),
        own_part("keeper", _process("keeper"), clients | _addresses(environment), folder, runs=ours),
    )


def _addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment's addresses of notifications and sources, which only the keeper uses."""
    return {name: value for name, value in environment.items() if name.startswith(("SLUICE_NOTIFY_", "SLUICE_SOURCE_"))}


def _process(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "sluicegate.flows.wiring.processes", name)


def _prepare(runtime: Runtime, site: Site) -> None:
    """Write the files that the gateways read. Raises InvalidSetting if no certificate can be shown to other hosts."""
    served_name = runtime.served_name(site)
    if served_name is not None:
        try:
            served_name.take_up()
        except InvalidSetting:  # the one in use may still be valid, as when a new one is just being written
            if not served_name.in_use.exists():
                raise
            served_name.pair_in_use()
        joining_pair(runtime.folder.tls, runtime.wall())
    for envoy in runtime.envoys_of(site).values():
        envoy.prepare()
    relay = runtime.relay(site)
    if relay is not None:
        relay.prepare()


def _drain(envoys: Collection[Envoy]) -> None:
    """Drain all gateways at the same time. One that does not answer is skipped."""

    def drain(envoy: Envoy) -> None:
        with contextlib.suppress(Unreachable):
            envoy.drain(DRAIN_SECONDS)

    if envoys:
        with ThreadPoolExecutor(len(envoys)) as pool:
            list(pool.map(drain, envoys))
