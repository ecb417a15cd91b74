"""Notifications: a sink for each applied notification document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluicegate.registry.documents.notification import Means, Notification
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.report.happening import Happening
from sluicegate.registry.report.notice import notice
from sluicegate.services.outbox.address import Addresses
from sluicegate.services.outbox.outbox import NotNow
from sluicegate.services.outbox.senders import Sender, by_apprise, by_webhook

HOUR = timedelta(hours=1)
SENDERS: dict[Means, Sender] = {Means.APPRISE: by_apprise, Means.WEBHOOK: by_webhook}


@dataclass(frozen=True, kw_only=True)
class NotificationSink:
    """Filters, limits and sends the messages of one notification."""

    notification: Notification
    addresses: Addresses
    ledger: Ledger
    """Stores when messages were sent, so that the limit survives a restart."""
    console: str | None = None

    @property
    def name(self) -> str:
        return f"notification:{self.notification.name}"

    def send(self, news: Sequence[Happening], now: datetime) -> None:
        """Send the happenings that pass the filter as one message. Raises Unreachable, NotFound, InvalidSetting,
        NotNow."""
        wanted = [each for each in news if self.notification.wants(each)]
        if not wanted:
            return
        sent = [at for at in self._sent() if timedelta(0) <= now - at < HOUR]
        if len(sent) >= self.notification.per_hour:
            raise NotNow(sent[-self.notification.per_hour] + HOUR)
        deliver(self.notification, self.addresses, wanted, now, self.console)
        self.ledger.remember(f"sent:{self.name}", {"at": [at.isoformat() for at in (*sent, now)]})

    def _sent(self) -> list[datetime]:
        times = (self.ledger.recall(f"sent:{self.name}") or {}).get("at")
        return [datetime.fromisoformat(str(at)) for at in times] if isinstance(times, list) else []


def deliver(
    notification: Notification, addresses: Addresses, news: Sequence[Happening], now: datetime, console: str | None
) -> None:
    """Send one message, regardless of filters and limits. Raises Unreachable, NotFound, InvalidSetting."""
    address = addresses.get(notification.name)
    SENDERS[notification.send](address, notice(news, console), news, now)


def sinks(ledger: Ledger, addresses: Addresses, console: str | None) -> tuple[NotificationSink, ...]:
    """A sink for every applied notification."""
    return tuple(
        NotificationSink(
            notification=Notification.model_validate(applied.body), addresses=addresses, ledger=ledger, console=console
        )
        for applied in ledger.all_applied("notification")
    )
