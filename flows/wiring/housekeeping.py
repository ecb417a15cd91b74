"""Housekeeping of collected data: rotates and deletes logs, and deletes rows by the age that plans state."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sluicegate.flows.wiring.keeping import kept_for
from sluicegate.registry.plan.fields import UNSTATED_RETENTION
from sluicegate.registry.words.errors import SluiceError

if TYPE_CHECKING:
    from sluicegate.flows.wiring.runtime import Runtime

ROTATE_BYTES = 64 << 20
"""Size at which an access log is rotated."""
PERIOD = 60.0


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
