"""Joining: what `sluice gateway` runs. An Envoy on this host, with the routes and services of another host.

A process beside it runs the dead man's switch.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from sluicegate.flows.wiring import gateway_guard, successor
from sluicegate.flows.wiring.certificate_watch import watch_certificate
from sluicegate.flows.wiring.joined_agent import PAUSE, JoinedAgent, keep_connection
from sluicegate.flows.wiring.joined_console import Console
from sluicegate.flows.wiring.loops import Loops
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.words.errors import SluiceError, UsageError
from sluicegate.services.loopback import own_folder
from sluicegate.services.traffic.envoy.bootstrap import Outside
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.envoy.relay import Relayed

if TYPE_CHECKING:
    from sluicegate.services.host.served_name import ServedName

log = structlog.get_logger("gateway")

_SUCCEED_PATIENCE = 180.0
_SHIP_PATIENCE = 600.0
"""Time limit for sending a part of each waiting file. After a long outage there are many."""


def serve(runtime: Runtime, port: int) -> None:
    """Run a gateway for another host's installation until stopped. Raises UsageError if no console is set."""
    settings = runtime.settings
    if settings.api_url is None or settings.token is None:
        raise UsageError(
            "it is not known which console this gateway should join.",
            fix="set SLUICE_API to the URL that it has for other hosts, SLUICE_TOKEN to a token of the role gateway, "
            "and SLUICE_CA to a copy of its tls/ca.pem",
        )
    if not settings.api_url.startswith("https:"):
        raise UsageError(
            f"SLUICE_API is {settings.api_url}, but a gateway joins over TLS only.",
            fix="set SLUICE_API to the console's https URL: sluice up prints it on that host",
        )
    folder = runtime.folder.root / "joined"
    console = Console(settings.api_url, settings.token, settings.ca, f"{socket.gethostname()}:{folder}")
    own_folder(runtime.folder.root)
    own_folder(folder)
    connection = _connection(console, folder)
    served_name = _served_name(runtime, folder)
    if served_name is not None:
        served_name.take_up()
    relay, callers = connection["relay"], str(connection["callers"])
    authority = settings.ca or Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    relayed = Relayed(name=relay["name"], pair=folder / "pair" / "pair.pem", authority=authority)
    binary = Path(settings.envoy_bin) if settings.envoy_bin else None

    def with_token(token: str) -> Envoy:
        return Envoy(
            gateway_guard.envoy_folder(folder), port=port, outside=_outside(served_name, token), relayed=relayed,
            binary=binary, spans=settings.spans,
        )  # fmt: skip

    envoy = with_token(callers)
    envoy.prepare()
    if envoy.is_away():
        successor.note_started(envoy)
    agent = JoinedAgent(
        folder=folder, console=console, envoy=envoy, relay=relay, unwatched=connection["unwatched"], callers=callers,
        with_token=None if served_name is None else with_token,
    )  # fmt: skip
    agent.begin()
    loops = Loops("gateway", runtime.heartbeats)
    loops.beside("envoy", agent.keep_running)
    loops.beside("successor", agent.succeed, _SUCCEED_PATIENCE)
    loops.beside("logs", agent.ship, _SHIP_PATIENCE)
    loops.beside("guard", partial(agent.guard, runtime.heartbeats))
    if served_name is not None:
        loops.beside("certificate", partial(watch_certificate, served_name))
    loops.beside("watch", loops.end_where_one_hangs)
    loops.run("routes", agent.run, 60.0)
    gateway_guard.end_former(folder)
    agent.end()


def _outside(served_name: ServedName | None, token: str) -> Outside | None:
    """The listener for callers on other hosts; None if they are not answered."""
    from sluicegate.services.host.installation import address_of

    return (
        None
        if served_name is None
        else Outside(host=address_of(served_name.host), certificate=served_name.in_use, token=token)
    )


def _served_name(runtime: Runtime, folder: Path) -> ServedName | None:
    from sluicegate.services.host.served_name import ServedName

    host = runtime.settings.listen
    if host is None:
        return None
    return ServedName(folder=folder / "tls", host=host, files=runtime.settings.tls_files, clock=runtime.wall)


def _connection(console: Console, folder: Path) -> dict[str, Any]:
    """The relay, the callers' token and the limit, from the console; while it is away, those that it gave last."""
    path = folder / gateway_guard.KNOWN
    logged = ""
    while True:
        try:
            answer = console.exchange({"at_once": True})
            if answer.get("sheet") is not None:
                return keep_connection(folder, answer)
            why = "it has no routes for this gateway yet"
        except SluiceError as error:
            why = str(error)
        if path.exists():
            log.error("the console gives no routes; the last ones stay in force", why=why)
            before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return before
        if why != logged:
            log.warning("waiting for the console", why=why)
        logged = why
        time.sleep(PAUSE)
