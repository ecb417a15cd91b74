"""Certificate watch: a renewed certificate is shown without a restart, and one that cannot be used is not shown."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from sluicegate.registry.words.errors import InvalidSetting

if TYPE_CHECKING:
    from sluicegate.services.host.certificates import Door, Pair
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.installation import Site

PERIOD = 5.0
_WARN = timedelta(days=14)
_HANDSHAKE_SECONDS = 3.0
_CHECK = "certificate"


def watch_certificate(door: Door, stop: threading.Event) -> None:
    """Take up what others renew, and renew what is our own, until stopped. The same fault is said once."""
    log, told = structlog.get_logger("certificate"), ""
    while not stop.is_set():
        try:
            door.take_up()
            why = ""
        except (InvalidSetting, OSError) as error:
            why = str(error)
        if why and why != told:
            log.error("the certificate cannot be used; the one before stays in use", why=why)
        elif told and not why:
            log.warning("the certificate can be used again")
        told = why
        stop.wait(PERIOD)


def findings(door: Door, site: Site, now: datetime) -> tuple[Finding, ...]:
    """What other hosts are shown and until when; what keeps a renewed one from being shown; who does not show it."""
    from sluicegate.services.host.doctor.finding import failed, passed, warned

    fix = (
        "sluice up makes another one."
        if door.files is None
        else f"Renew {door.files[0]}; Sluicegate then uses it by itself."
    )
    try:
        held = door.held()
    except InvalidSetting as error:
        return (failed(_CHECK, error.message, error.fix or fix),)
    left = held.ends - now
    said = f"for {', '.join(held.names)}, until {held.ends:%Y-%m-%d} ({left.days} days)"
    found = [passed(_CHECK, said) if left > _WARN else warned(_CHECK, said, fix)]
    try:
        door.take_up()
    except InvalidSetting as error:
        what = f"the files cannot be used: {error.message} Other hosts are still shown the previous certificate"
        found.append(failed(_CHECK, what, error.fix or fix))
        return tuple(found)
    others = [name for name in (*site.gateways(), "console") if name in site.ports and not _shows(site, name, held)]
    if others:
        what = f"{', '.join(others)} cannot be reached at {site.listen}, or do not show this certificate"
        found.append(failed(_CHECK, what, "Check that they run: sluice status. Then: sluice up."))
    return tuple(found)


def _shows(site: Site, name: str, held: Pair) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is compared with what is to be shown
    try:
        address = (str(site.address), site.ports[name])
        with (
            socket.create_connection(address, timeout=_HANDSHAKE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=site.listen) as shown,
        ):
            der = shown.getpeercert(binary_form=True)
    except OSError:
        return False
    return der == held.leaf
