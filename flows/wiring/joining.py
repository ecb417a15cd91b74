"""Joining: what `sluice gateway` runs. An Envoy on this host, with the routes and services of another host.

It fetches routes from that host's console, applies them, reports what it serves, and sends its access logs. A process
beside it runs the dead man's switch. While the console cannot be reached, Envoy keeps its last files.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from sluicegate.flows.wiring import gateway_guard, successor
from sluicegate.flows.wiring.agent import Agent
from sluicegate.flows.wiring.certificate_watch import watch_certificate
from sluicegate.flows.wiring.housekeeping import ROTATE_BYTES
from sluicegate.flows.wiring.loops import Loops
from sluicegate.flows.wiring.runtime import Runtime
from sluicegate.registry.words.build import BuildRef, Endpoint, Endpoints
from sluicegate.registry.words.errors import SluiceError, Unreachable, UsageError
from sluicegate.services import durable
from sluicegate.services.loopback import address_towards, own_folder
from sluicegate.services.telemetry.tailing.backlog import access_logs
from sluicegate.services.telemetry.tailing.shipping import Shipper
from sluicegate.services.traffic.envoy.bootstrap import Outside
from sluicegate.services.traffic.envoy.plane import Envoy
from sluicegate.services.traffic.envoy.relay import Relayed
from sluicegate.services.traffic.joined import ON_THE_WAY

if TYPE_CHECKING:
    from sluicegate.services.heartbeat import Heartbeats
    from sluicegate.services.host.served_name import ServedName

log = structlog.get_logger("gateway")

_PATH = "/api/v1/gateway"
_FIX = (
    "check that the console runs, that SLUICE_API is its URL for other hosts, and SLUICE_CA a copy of its tls/ca.pem."
)
_PAUSE = 0.5
"""Seconds to wait after the console did not answer."""
_SUCCEED_EVERY, _SUCCEED_AGAIN, _SUCCEED_PATIENCE = 1.0, 60.0, 180.0
_SHIP_EVERY = 0.2
_SHIP_PATIENCE = 600.0
"""Time limit for sending a part of each waiting file. After a long outage there are many."""
_TIDY_EVERY = 30.0
_LAST_SECONDS = 20.0
"""Time limit for sending the rest of the log."""


class Console:
    """The console of the host that this gateway joins."""

    def __init__(self, url: str, token: str, ca: Path | None, instance: str) -> None:
        """`instance` identifies this gateway, so that the console can tell two with the same token apart."""
        self._instance = instance
        self._answered: tuple[float, float] | None = None
        """When the console answered last: by its clock, and by the monotonic clock here."""
        trusted = ssl.create_default_context(cafile=ca)
        headers = {"authorization": f"Bearer {token}"}
        patience = httpx.Timeout(ON_THE_WAY, connect=2.0)
        self._http = httpx.Client(
            base_url=url, headers=headers, verify=trusted, timeout=patience, trust_env=False
        )  # fmt: skip

    def talk(self, report: Mapping[str, object]) -> dict[str, Any]:
        """Send a report and return the console's answer. Raises Unreachable, also with the reason of a refusal.

        The console heeds a report only soon after an answer of its own, so the first one after a pause is sent again.
        """
        answer = self._say(report)
        return answer if answer["heard"] else self._say(report)

    def _say(self, report: Mapping[str, object]) -> dict[str, Any]:
        after = None if self._answered is None else self._answered[0]
        answer: dict[str, Any] = self._post(_PATH, json={**report, "instance": self._instance, "after": after})
        self._answered = answer["at"], time.monotonic()
        return answer

    def time_of(self, moment: float) -> float | None:
        """The console's time of a moment of the monotonic clock here, or an earlier one, so that no delay of a report
        changes it. None before its first answer."""
        if self._answered is None:
            return None
        at, here = self._answered
        return at + moment - here

    def send(self, log: str, head: str, offset: int, data: bytes, *, is_whole: bool) -> int:
        """Send a part of a log. Returns how many bytes of the file the console then has."""
        place = {"head": head, "offset": str(offset), "whole": "1" if is_whole else "0"}
        return int(self._post(f"{_PATH}/logs/{log}", params=place, content=zlib.compress(data, 1))["size"])

    def _post(self, path: str, **more: Any) -> Any:
        try:
            answer = self._http.post(path, **more)
        except httpx.TransportError as error:
            why = f"the console at {self._http.base_url} does not answer: {error}."
            raise Unreachable(why, fix=_FIX) from None
        try:
            told = answer.json()
        except ValueError:
            told = None
        if not isinstance(told, dict):
            why = f"what answers {answer.status_code} at {self._http.base_url} is not the console, but perhaps a proxy."
            raise Unreachable(why, fix=_FIX)
        if not answer.is_success:
            raise Unreachable(
                f"the console answered {answer.status_code}: {told.get('detail', '')}", fix=told.get("fix")
            )
        return told


@dataclass(kw_only=True)
class JoinedAgent(Agent):
    """A gateway of another host's installation, for as long as its process lives."""

    folder: Path
    console: Console
    relay: Mapping[str, Any]
    """The address of the relay that leads to the services."""
    callers: str = ""
    """The token that callers on other hosts must send."""
    with_token: Callable[[str], Envoy] | None = None
    """Makes its Envoy with another token; None if callers on other hosts are not answered."""
    shipped_at: float | None = None
    """When everything logged had been sent, in seconds of the monotonic clock."""

    def turn(self) -> None:
        """Report to the console once, and apply what is new."""
        sent_at = time.monotonic()
        answer = self.console.talk(self.said())
        took, ago = time.monotonic() - sent_at - answer["waited"], answer["renewed_ago"]
        is_watched = ago is not None and took + ago < ON_THE_WAY
        if is_watched:
            self.heed(took + ago)
        self.unwatched = answer["unwatched"]
        if "relay" in answer:
            self.relay = answer["relay"]
            self._keep(answer)
            self._follow_callers(str(answer["callers"]))
        if answer.get("sheet") is not None:
            is_watched = is_watched or not self._starts_unwatched()
            self.take(str(answer["name"]), answer["sheet"], is_watched=is_watched)
        elif is_watched and not self.refused:
            self.hold()

    def _starts_unwatched(self) -> bool:
        """Whether this process has no routes yet, and Envoy does not run or serves stable builds only.

        The console may then have routes that a keeper left before it died.
        """
        return not self.has and (self.envoy.is_away() or self._stable_only() is not None)

    def _follow_callers(self, token: str) -> None:
        """Prepare an Envoy with the callers' present token, which Envoy reads only when it starts."""
        if token == self.callers or self.with_token is None:
            return
        self.callers, self.envoy = token, self.with_token(token)
        self.envoy.prepare()

    def succeed(self, stop: threading.Event) -> None:
        """Replace Envoy whenever something that it reads only at its start has changed, until stopped."""
        while not stop.wait(_SUCCEED_EVERY):
            if self.envoy.is_away() or not successor.is_changed(self.envoy):
                continue
            try:
                self._process = successor.follow(self.envoy)
                log.warning("another Envoy has taken over: the callers' token or the package has changed")
            except (SluiceError, OSError) as error:
                log.error("Envoy goes on by what it read at its start", why=str(error))
                stop.wait(_SUCCEED_AGAIN)

    def said(self, **more: object) -> dict[str, object]:
        """The gateway's report on itself."""
        until = None if self.shipped_at is None else self.console.time_of(self.shipped_at)
        own_address = address_towards(str(self.relay["address"]), int(self.relay["port"])) if self.relay else None
        return super().said(shipped_until=until, own_address=own_address, **more)

    def run(self, stop: threading.Event) -> None:
        """Report and apply routes until stopped."""
        was_logged = False
        while not stop.is_set():
            try:
                self.turn()
                if was_logged:
                    log.warning("the console answers again")
                was_logged = False
            except SluiceError as error:
                if not was_logged:
                    log.error("the console gives no routes; the last ones stay in force", why=str(error))
                was_logged = True
                stop.wait(_PAUSE)

    def ship(self, stop: threading.Event) -> None:
        """Send the logs until stopped."""
        shippers, tidied, was_logged = self._shippers(), time.monotonic(), False
        while not stop.is_set():
            at, answers = time.monotonic(), self.envoy.observe() is not None or self.envoy.is_away()
            try:
                if _all_shipped(shippers) and answers:
                    self.shipped_at = at
                if at - tidied > _TIDY_EVERY:
                    tidied = at
                    self._tidy(shippers)
                was_logged = False
            except (SluiceError, OSError) as error:
                if not was_logged:
                    log.warning("the log was not sent; it waits here", why=str(error))
                was_logged = True
                stop.wait(_PAUSE)
            stop.wait(_SHIP_EVERY)

    def end(self) -> None:
        """Let requests finish, end Envoy, and send the rest of its log."""
        self.end_envoy()
        until, shippers = time.monotonic() + _LAST_SECONDS, self._shippers()
        while time.monotonic() < until:
            try:
                if _all_shipped(shippers):
                    self.shipped_at = time.monotonic()
                    if self.console.talk(self.said(retired=True))["heard"]:
                        log.warning("ended; all that was logged has been sent")
                        return
            except (SluiceError, OSError) as error:
                log.warning("the rest of the log was not sent yet", why=str(error))
                time.sleep(_PAUSE)
        log.error("the rest of the log could not be sent; start the gateway here again to send it")

    def begin(self) -> None:
        """Fetch the present routes before Envoy starts. Without them, or without a keeper, it starts with stable builds
        only."""
        try:
            self.turn()
        except (SluiceError, OSError):
            self.begin_unwatched()

    def guard(self, beats: Heartbeats, stop: threading.Event) -> None:
        """Keep this process's guard running until stopped."""
        process = gateway_guard.start(self.folder, beats)
        while not stop.wait(_PAUSE):
            if process.poll() is not None:
                log.warning("the guard of this gateway ended; it is started again", code=process.returncode)
                process = gateway_guard.start(self.folder, beats)

    def endpoints(self, builds: Collection[BuildRef]) -> Endpoints:
        """The relay's address for every build, since all are behind it."""
        host, port = str(self.relay["address"]), int(self.relay["port"])
        return {build: (Endpoint(build=build, host=host, port=port),) for build in builds}

    def _keep(self, answer: Mapping[str, Any]) -> None:
        """Store what the console said, if it is new. On a full disk the former stays; routes are applied anyway."""
        try:
            _keep(self.folder, answer)
        except OSError as error:
            log.warning("what the console told is not kept: its certificate for the relay is renewed", why=str(error))

    def _shippers(self) -> list[Shipper]:
        return [Shipper(path, self.console.send) for path in access_logs(self.envoy.logs)]

    def _tidy(self, shippers: list[Shipper]) -> None:
        if any(path.exists() and path.stat().st_size > ROTATE_BYTES for path in access_logs(self.envoy.logs)):
            self.envoy.rotate()
        self.envoy.rotate_own_log()
        for each in shippers:
            each.let_go()


def _all_shipped(shippers: list[Shipper]) -> bool:
    """Send what is new in each log. Returns whether nothing is left."""
    unfinished = [each for each in shippers if not each.ship()]
    return not unfinished


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
    door = _door(runtime, folder)
    if door is not None:
        door.take_up()
    relay, callers = connection["relay"], str(connection["callers"])
    authority = settings.ca or Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
    relayed = Relayed(name=relay["name"], pair=folder / "pair" / "pair.pem", authority=authority)
    binary = Path(settings.envoy_bin) if settings.envoy_bin else None

    def with_token(token: str) -> Envoy:
        return Envoy(
            gateway_guard.envoy_folder(folder), port=port, outside=_outside(door, token), relayed=relayed,
            binary=binary, spans=settings.spans,
        )  # fmt: skip

    envoy = with_token(callers)
    envoy.prepare()
    if envoy.is_away():
        successor.note_started(envoy)
    agent = JoinedAgent(
        folder=folder, console=console, envoy=envoy, relay=relay, unwatched=connection["unwatched"], callers=callers,
        with_token=None if door is None else with_token,
    )  # fmt: skip
    agent.begin()
    loops = Loops("gateway", runtime.heartbeats)
    loops.beside("envoy", agent.mind)
    loops.beside("successor", agent.succeed, _SUCCEED_PATIENCE)
    loops.beside("logs", agent.ship, _SHIP_PATIENCE)
    loops.beside("guard", partial(agent.guard, runtime.heartbeats))
    if door is not None:
        loops.beside("certificate", partial(watch_certificate, door))
    loops.beside("watch", loops.end_where_one_hangs)
    loops.run("routes", agent.run, 60.0)
    gateway_guard.end_former(folder)
    agent.end()


def _outside(door: ServedName | None, token: str) -> Outside | None:
    """The listener for callers on other hosts; None if they are not answered."""
    from sluicegate.services.host.installation import address_of

    return None if door is None else Outside(host=address_of(door.host), certificate=door.in_use, token=token)


def _door(runtime: Runtime, folder: Path) -> ServedName | None:
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
            answer = console.talk({"at_once": True})
            if answer.get("sheet") is not None:
                return _keep(folder, answer)
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
        time.sleep(_PAUSE)


def _keep(folder: Path, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Store what the console said, if it is new, since the console may be away when this gateway starts again."""
    known = {name: answer[name] for name in ("relay", "callers", "unwatched")}
    for path, text in (
        (folder / "pair" / "pair.pem", str(known["relay"]["pair"])),
        (folder / gateway_guard.KNOWN, json.dumps(known)),
    ):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            own_folder(path.parent)
            durable.replace(path, text, mode=durable.PRIVATE)
    return known
