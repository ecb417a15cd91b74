"""What the console needs; `sluicegate.flows.wiring.runtime` hands in the real ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sluicegate.registry.audience.trial import Trial
from sluicegate.registry.ledger.calls import Calls
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.registry.words.build import CHAMPION_ALIAS, Build, BuildRef


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Everything behind the console's doors."""

    ledger: Ledger
    calls: Calls
    clock: Callable[[], datetime]
    plan: Callable[[str, str], Plan]
    """The applied plan of a (model, variation). Raises NotFound."""
    resolve: Callable[[str, str], BuildRef]
    """The build that a version, an alias such as @candidate, or `latest` names."""
    builds: Callable[[str], Sequence[Build]]
    """Every build of a model in the catalog."""
    record_outcomes: Callable[[Sequence[dict[str, object]]], dict[str, object]]
    """Take outcomes in; a receipt with exact counts. Raises UsageError naming the field."""
    requests: Callable[[Rollout], tuple[int, int] | None]
    """Requests assigned to (stable, candidate) at the rollout's present weight."""
    evidence: Callable[[Rollout], Evidence]
    """What telemetry adds to a rollout's report."""
    try_out: Callable[[str, Mapping[str, str], str | None], Trial]
    """What a request for a model, with these metadata and this unit, would get."""
    overview: Callable[[Collection[str]], Sequence[Served]]
    """Every build that an audience gets, of these models."""
    look_at_catalog: Callable[[], Sequence[str]]
    """Look at MLflow now; the rollouts that were started."""
    metrics: Callable[[], bytes]
    """What Prometheus scrapes, as its text format."""
    checks: Callable[[], Sequence[dict[str, object]]]
    """What doctor finds: check, outcome, found, fix."""
    counts: Callable[[], dict[str, object]]
    """What was counted, what waits, what could not be read."""
    admin_token: str
    webhook_secret: str
    session_secret: str
    links: dict[str, str]
    """Where the neighbours are: gateway, mlflow, prefect."""
    champion_alias: str = CHAMPION_ALIAS
    """The alias of stable builds in the catalog."""
