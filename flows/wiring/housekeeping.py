"""Housekeeping: rotates and deletes logs, and deletes rows, packed builds and notes that nothing needs any more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sluicegate.flows.wiring.keeping import kept_for
from sluicegate.registry.ledger.selection import Selection
from sluicegate.registry.plan.fields import UNSTATED_RETENTION
from sluicegate.registry.words.errors import SluiceError

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

ROTATE_BYTES = 64 << 20
"""Size at which an access log is rotated."""
PERIOD = 60.0
CLEAN_SECONDS = 86_400.0


class Finishing(Protocol):
    """A collector of one log."""

    def finished(self) -> tuple[Path, ...]:
        """Files that may be deleted."""
        ...

    def forget_gone(self, before: datetime) -> None:
        """Forget the read positions of files that are gone and were last read before this time."""
        ...


def keep_house(runtime: Runtime, collectors: Sequence[Finishing], stop: threading.Event) -> None:
    """Keep house every minute until stopped. Failures are logged and tried again."""
    import sqlalchemy as sa
    import structlog

    while not stop.wait(PERIOD):
        try:
            _once(runtime, collectors)
        except (SluiceError, OSError, sa.exc.SQLAlchemyError) as error:
            structlog.get_logger("collector").warning("housekeeping failed; tried again", why=str(error))


def _once(runtime: Runtime, collectors: Sequence[Finishing]) -> None:
    import structlog

    from sluicegate.services.host.rotation import rotate_grown
    from sluicegate.services.telemetry.outcomes.retention import retain
    from sluicegate.services.telemetry.tailing.backlog import access_logs
    from sluicegate.services.telemetry.tailing.mirror import may_go

    for name, envoy in runtime.envoys.items():
        try:
            if any(log.exists() and log.stat().st_size > ROTATE_BYTES for log in access_logs(envoy.logs)):
                envoy.rotate()
            envoy.rotate_own_log()
        except SluiceError as error:  # the other gateways' logs still grow
            structlog.get_logger("collector").warning("logs not rotated; tried again", gateway=name, why=str(error))
    rotate_grown((runtime.folder.logs, runtime.folder.root / "services" / "logs"))
    for path in (path for collector in collectors for path in collector.finished()):
        if may_go(path):
            path.unlink(missing_ok=True)
    by_model = kept_for(runtime.ledger)
    now, longest = runtime.wall(), max((UNSTATED_RETENTION, *by_model.values()))
    shorter = {model: now - timedelta(seconds=each) for model, each in by_model.items() if each < longest}
    for collector in collectors:
        collector.forget_gone(now - timedelta(seconds=longest))
    retain(runtime.reading_store, now - timedelta(seconds=longest), now, shorter)


def clean_daily(runtime: Runtime, stop: threading.Event) -> None:
    """Remove what nothing needs and nobody has used for a while: at the start, then every day.

    Bentos, environments, logs of services, and what the ledger's database holds besides the record.
    """
    import structlog

    from sluicegate.registry.ledger.forgetting import forget

    while not stop.is_set():
        in_use = (*runtime.ledger.current(), *runtime.ledger.rollouts(Selection(took_over=True)))
        packed = [r.packed for r in in_use if r.packed and (r.is_under_way or r.took_over)]
        keep = {each.bento for each in packed} | {each.env for each in packed}
        try:
            runtime.packer.clean(keep, runtime.wall())
            runtime.fleet.clean(runtime.wall())
            before = runtime.clock() - timedelta(seconds=runtime.settings.keep_seconds)
            under_way = {each.id for each in runtime.ledger.current() if not each.is_ended}
            forget(runtime.settings.ledger_url(), before, under_way)
            if runtime.shared_store is not None:
                runtime.shared_store.clean(keep, runtime.wall())
        except (SluiceError, OSError) as error:
            structlog.get_logger("keeper").warning("housekeeping failed; tried again tomorrow", why=str(error))
        stop.wait(CLEAN_SECONDS)
