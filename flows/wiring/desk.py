"""The console's desk: what its acts work with, made from the runtime of this process."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.flows.wiring.runtime import Runtime, collector_backlog, current_runtime, requests_of

if TYPE_CHECKING:
    from sluicegate.services.console.ports import Desk


def desk() -> Desk:
    """What the console works with: the secrets and links of this machine."""
    runtime = current_runtime()
    links = {name: url for name, url in runtime.site.urls().items() if name != "console"}
    return _desk(runtime, runtime.keys.admin_token, runtime.keys.webhook_secret, links)


def desk_without_doors() -> Desk:
    """What a command works with that runs the acts itself. Nobody is let in, so secrets and links are not needed."""
    return _desk(current_runtime(), secrets.token_urlsafe(32), secrets.token_urlsafe(32), {})


def _desk(runtime: Runtime, admin_token: str, webhook_secret: str, links: dict[str, str]) -> Desk:
    from sluicegate.services.console.ports import Desk
    from sluicegate.services.keeper.catalog_watch import look_at_catalog

    return Desk(
        ledger=runtime.ledger,
        calls=runtime.calls,
        clock=runtime.clock,
        plan=runtime.plan,
        resolve=runtime.resolve,
        builds=runtime.builds,
        record_outcomes=OutcomeIntake(runtime).take,
        requests=lambda rollout: requests_of(runtime, rollout),
        evidence=runtime.evidence,
        try_out=runtime.try_out,
        overview=runtime.overview,
        look_at_catalog=lambda: look_at_catalog(runtime.ledger, runtime.catalog, runtime.clock()),
        metrics=lambda: _metrics(runtime),
        counts=lambda: _counts(runtime),
        checks=_checks,
        admin_token=admin_token,
        webhook_secret=webhook_secret,
        session_secret=secrets.token_urlsafe(32),
        links=links,
        champion_alias=runtime.settings.champion_alias,
    )


def _metrics(runtime: Runtime) -> bytes:
    from sluicegate.services.telemetry.reading.metrics import Scrape, exposition

    rollouts = runtime.ledger.rollouts()
    scrape = Scrape(
        models=sorted({rollout.requested.model for rollout in rollouts}),
        rollouts=[rollout for rollout in rollouts if not rollout.is_ended],
        gateway=_gateway(runtime),
        backlog=collector_backlog(runtime),
        now=runtime.clock().timestamp(),
    )
    return exposition(runtime.telemetry, scrape)


def _gateway(runtime: Runtime) -> dict[str, float] | None:
    from sluicegate.registry.words.errors import Unreachable

    try:
        return runtime.envoy.figures()
    except Unreachable:
        return None


def _checks() -> list[dict[str, object]]:
    """What doctor finds, as JSON values."""
    from sluicegate.flows.wiring.machine import examine

    return [
        {"check": each.check, "status": each.status.value, "found": each.found, "fix": each.fix} for each in examine()
    ]


def _counts(runtime: Runtime) -> dict[str, object]:
    queries, behind = runtime.telemetry, collector_backlog(runtime)
    return {
        "collector": {
            "unread_bytes": behind.unread_bytes,
            "waiting_seconds": round(behind.waits(runtime.clock().timestamp()), 1),
        },
        "counters": {str(name): count for name, count in queries.counters().items()},
        "waiting": queries.waiting(),
        "quarantined": [{"log": line.log, "reason": line.reason, "line": line.line} for line in queries.quarantined()],
    }


@dataclass(frozen=True)
class OutcomeIntake:
    """JSON objects to outcomes, and the receipt back to JSON."""

    runtime: Runtime

    def take(self, items: Sequence[dict[str, object]]) -> dict[str, object]:
        """Record a batch. Raises UsageError naming the object and field; then nothing of the batch is recorded."""
        from sluicegate.services.telemetry.outcomes.intake import record
        from sluicegate.services.telemetry.outcomes.parsing import parse_outcome

        batch = [parse_outcome(position, item) for position, item in enumerate(items)]
        receipt = record(self.runtime.store, batch, self.runtime.clock())
        return {
            "accepted": receipt.accepted,
            "duplicate": receipt.duplicate,
            "contradictory": receipt.contradictory,
            "refused": [{"index": refusal.index, "reason": refusal.reason} for refusal in receipt.refused],
        }
