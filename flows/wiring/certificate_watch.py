"""Certificate watch: puts a renewed certificate into use without a restart, unless it cannot be used."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from sluicegate.registry.words.errors import InvalidSetting

if TYPE_CHECKING:
    from sluicegate.services.host.certificates import Pair
    from sluicegate.services.host.doctor.finding import Finding
    from sluicegate.services.host.installation import Site
    from sluicegate.services.host.served_name import ServedName

PERIOD = 5.0
_WARN = timedelta(days=14)
_HANDSHAKE_SECONDS = 3.0
_CHECK = "certificate"


def watch_certificate(served_name: ServedName, stop: threading.Event) -> None:
    """Load certificates that others renew, and renew our own, until stopped. Logs each fault once."""
    log, logged = structlog.get_logger("certificate"), ""
    while not stop.is_set():
        try:
            served_name.take_up()
            why = ""
        except (InvalidSetting, OSError) as error:
            why = str(error)
        if why and why != logged:
            log.error("the certificate cannot be used; the one before stays in use", why=why)
        elif logged and not why:
            log.warning("the certificate can be used again")
        logged = why
        stop.wait(PERIOD)


def findings(served_name: ServedName, site: Site, now: datetime) -> tuple[Finding, ...]:
    """Which certificate other hosts are shown and until when, why a renewed one is not used, who does not show it."""
    from sluicegate.services.host.doctor.finding import failed, passed, warned

    fix = (
        "sluice up makes another one."
        if served_name.files is None
        else f"Renew {served_name.files[0]}; Sluicegate then uses it by itself."
    )
    try:
        pair = served_name.pair_in_use()
    except InvalidSetting as error:
        return (failed(_CHECK, error.message, error.fix or fix),)
    left = pair.ends - now
    summary = f"for {', '.join(pair.names)}, until {pair.ends:%Y-%m-%d} ({left.days} days)"
    results = [passed(_CHECK, summary) if left > _WARN else warned(_CHECK, summary, fix)]
    try:
        served_name.take_up()
    except InvalidSetting as error:
        what = f"the files cannot be used: {error.message} Other hosts are still shown the previous certificate"
        results.append(failed(_CHECK, what, error.fix or fix))
        return tuple(results)
    others = [name for name in (*site.gateways(), "console") if name in site.ports and not _shows(site, name, pair)]
    if others:
        what = f"{', '.join(others)} cannot be reached at {site.listen}, or do not show this certificate"
        results.append(failed(_CHECK, what, "Check that they run: sluice status. Then: sluice up."))
    return tuple(results)


def _shows(site: Site, name: str, pair: Pair) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the certificate itself is compared below
    try:
        address = (str(site.address), site.ports[name])
        with (
            socket.create_connection(address, timeout=_HANDSHAKE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=site.listen) as shown,
        ):
            der = shown.getpeercert(binary_form=True)
    except OSError:
        return False
    return der == pair.leaf
