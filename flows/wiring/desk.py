"""The console's desk: what its acts work with, made from the parts of this process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.parts import Parts, collector_backlog, parts, requests_of

if TYPE_CHECKING:
    from sluicegate.services.console.ports import Desk


def desk() -> Desk:
    """What the console works with: the secrets and links of this machine."""
    found = parts()
    links = {name: url for name, url in found.site.urls().items() if name != "console"}
    return _desk(found, found.keys.admin_token, found.keys.webhook_secret, links)


def desk_without_doors() -> Desk:
    """What a command works with that runs the acts itself. Nobody is let in, so secrets and links are not needed."""
    return _desk(parts(), secrets.token_urlsafe(32), secrets.token_urlsafe(32), {})


def _desk(found: Parts, admin_token: str, webhook_secret: str, links: dict[str, str]) -> Desk:
    from sluicegate.services.console.ports import Desk
    from sluicegate.services.keeper.doors import look_at_catalog

    return Desk(
        ledger=found.ledger,
        calls=found.calls,
        clock=found.clock,
        plan=found.plan,
        resolve=found.resolve,
        builds=found.builds,
        record_outcomes=OutcomeIntake(found).take,
        requests=lambda rollout: requests_of(found, rollout),
        evidence=found.evidence,
        try_out=found.try_out,
        overview=found.overview,
        look_at_catalog=lambda: look_at_catalog(found.ledger, found.catalog, found.clock()),
        metrics=lambda: _metrics(found),
        counts=lambda: _counts(found),
        checks=_checks,
        admin_token=admin_token,
        webhook_secret=webhook_secret,
        session_secret=secrets.token_urlsafe(32),
        links=links,
    )


def _metrics(found: Parts) -> bytes:
    from sluicegate.services.telemetry.reading.metrics import Scrape, exposition

    rollouts = found.ledger.rollouts()
    scrape = Scrape(
        models=sorted({rollout.requested.model for rollout in rollouts}),
        rollouts=[rollout for rollout in rollouts if not rollout.is_ended],
        gateway=_gateway(found),
        backlog=collector_backlog(found),
        now=found.clock().timestamp(),
    )
    return exposition(found.telemetry, scrape)


def _gateway(found: Parts) -> dict[str, float] | None:
    from sluicegate.registry.words.errors import Unreachable

    try:
        return found.envoy.figures()
    except Unreachable:
        return None


def _checks() -> list[dict[str, object]]:
    """What doctor finds, as JSON values."""
    from sluicegate.flows.wiring.machine import examine

    return [
        {"check": each.check, "outcome": each.outcome.value, "found": each.found, "fix": each.fix} for each in examine()
    ]


def _counts(found: Parts) -> dict[str, object]:
    queries, behind = found.telemetry, collector_backlog(found)
    return {
        "collector": {
            "unread_bytes": behind.unread_bytes,
            "waiting_seconds": round(behind.waits(found.clock().timestamp()), 1),
        },
        "counters": {str(name): count for name, count in queries.counters().items()},
        "waiting": queries.waiting(),
        "quarantined": [{"log": line.log, "reason": line.reason, "line": line.line} for line in queries.quarantined()],
    }


@dataclass(frozen=True)
class OutcomeIntake:
    """JSON objects to outcomes, and the receipt back to JSON."""

    found: Parts

    def take(self, items: Sequence[dict[str, object]]) -> dict[str, object]:
        """Record a batch. Raises UsageError naming the object and field; then nothing of the batch is recorded."""
        from sluicegate.services.telemetry.outcomes.intake import record
        from sluicegate.services.telemetry.outcomes.parsing import parse_outcome

        batch = [parse_outcome(position, item) for position, item in enumerate(items)]
        receipt = record(self.found.store, batch, self.found.clock())
        return {
            "accepted": receipt.accepted,
            "duplicate": receipt.duplicate,
            "contradictory": receipt.contradictory,
            "refused": [{"index": refusal.index, "reason": refusal.reason} for refusal in receipt.refused],
        }
