"""Senders: send a notice to an address, by Apprise or as a signed webhook. Errors do not contain the address."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from sluicegate.registry.report.happening import Happening, Severity
from sluicegate.registry.report.notice import Notice
from sluicegate.registry.words.errors import InvalidSetting, Unreachable
from sluicegate.services.outbox.address import Address
from sluicegate.services.outbox.signed import post

SECONDS = 10.0


class Sender(Protocol):
    """One way to send a notice."""

    def __call__(self, address: Address, notice: Notice, news: Sequence[Happening], now: datetime) -> None:
        """Raises Unreachable, InvalidSetting."""
        ...


def by_apprise(address: Address, notice: Notice, news: Sequence[Happening], now: datetime) -> None:
    """Send by the service that the URL names: https://github.com/caronc/apprise."""
    del news, now
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its log contains parts of addresses
    service = apprise.Apprise()
    if not service.add(address.url):
        raise InvalidSetting("the address is not a URL that Apprise knows.", fix="sluice notify set NAME")
    if not service.notify(title=notice.title, body=notice.body, notify_type=_TYPES[notice.severity]):
        raise Unreachable("the service at that address did not accept the message.", fix="sluice notify test")


_TYPES = {
    Severity.ROUTINE: "info", Severity.INFO: "success", Severity.WARNING: "warning", Severity.CRITICAL: "failure",
}  # fmt: skip


def by_webhook(address: Address, notice: Notice, news: Sequence[Happening], now: datetime) -> None:
    """POST JSON, signed by https://www.standardwebhooks.com. The same facts always get the same webhook-id."""
    if not address.key:
        raise InvalidSetting("the webhook has no signing key.", fix="sluice notify set NAME, with URL and key")
    body = json.dumps(
        {
            "type": "sluice.notification",
            "timestamp": now.isoformat(),
            "data": {
                "title": notice.title,
                "severity": notice.severity.name.lower(),
                "facts": [each.as_json() for each in news],
            },
        }
    )
    answer = post(address, name=news[-1].id, body=body, now=now, seconds=SECONDS)
    if not answer.is_success:
        raise Unreachable(f"the webhook answered {answer.status_code}.")
