"""Gateways that have joined: `sluice gateway` many times, each with an Envoy, beside a real console and relay.

All are on one host, a network namespace, and meet by TLS as those of other hosts do. The benchmark is the keeper.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sluicegate.flows.wiring.gateway_guard import end_former
from sluicegate.flows.wiring.gateway_plane import GatewayPlane
from sluicegate.flows.wiring.runtime import Runtime, now
from sluicegate.registry.words.errors import SluiceError
from sluicegate.registry.words.roles import Role
from sluicegate.registry.words.settings import Settings
from sluicegate.services.console.tokens import Tokens
from sluicegate.services.host.installation import make_site
from sluicegate.services.host.issuing import joining_pair
from sluicegate.services.host.keys import make_keys
from sluicegate.services.traffic.envoy.plane import Envoy
from tests.clean_environment import clean_environment
from tests.integration.traffic_rig import end, eventually, free_port

HOST = "10.0.0.5"


@contextmanager
def joined(folder: Path, many: int) -> Iterator[tuple[GatewayPlane, str]]:
    """So many gateways, as a keeper reaches them, and where callers reach the first."""
    with ExitStack() as stack:
        environment = {"SLUICE_STATE": str(folder), "SLUICE_LISTEN": HOST}
        runtime = Runtime(Settings.read(environment), now)
        token = _first_host(runtime, environment, stack)
        ports = [free_port() for _ in range(many)]
        for number, port in enumerate(ports):
            _join(runtime, token.give(f"edge-{number}", Role.GATEWAY, actor="bench"), port, stack)
        eventually(lambda: len(runtime.joined()) == many, seconds=300)
        yield GatewayPlane(runtime, lambda: None), f"http://127.0.0.1:{ports[0]}"


def _first_host(runtime: Runtime, environment: Mapping[str, str], stack: ExitStack) -> Tokens:
    """What of a first host gateways need, and its own one."""
    folder = runtime.folder
    folder.prepare()
    site = make_site(
        folder, {name: free_port() for name in ("mlflow", "prefect", "gateway", "console", "relay")}, environment
    )
    keys, door, relay = make_keys(folder.secrets, os.urandom), runtime.door(site), runtime.relay(site)
    assert door is not None
    assert relay is not None
    door.take_up()
    joining_pair(folder.tls, now())
    own = runtime.envoys_of(site)["gateway"]
    for each in (own, relay):
        each.prepare()
        _run(each.command(), environment, stack)
    _run((sys.executable, "-m", "sluicegate.flows.wiring.processes", "console"), environment, stack)
    eventually(lambda: own.observe() is not None)
    return Tokens(runtime.ledger, keys.admin_token, now)


def _join(runtime: Runtime, token: str, port: int, stack: ExitStack) -> None:
    folder = runtime.folder.root.with_name(f"edge-{port}")
    environment = {
        "SLUICE_STATE": str(folder),
        "SLUICE_API": f"https://{HOST}:{runtime.site.ports['console']}",
        "SLUICE_TOKEN": token,
        "SLUICE_CA": str(runtime.folder.tls / "ca.pem"),
    }
    stack.callback(_end_envoy, folder / "joined", port)
    _run((str(Path(sys.executable).with_name("sluice")), "gateway", "--port", str(port)), environment, stack)


def _run(command: tuple[str, ...], environment: Mapping[str, str], stack: ExitStack) -> None:
    quiet = subprocess.DEVNULL
    stack.callback(end, subprocess.Popen(command, env=clean_environment() | environment, stdout=quiet, stderr=quiet))


def _end_envoy(folder: Path, port: int) -> None:
    """End what a gateway leaves running when it is killed."""
    end_former(folder)
    with suppress(SluiceError):
        Envoy(folder / "envoy", port=port).end()
