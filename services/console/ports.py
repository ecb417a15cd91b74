"""What the console needs from outside; `sluicegate.flows.wiring.desk` implements it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from sluicegate.registry.audience.trial import Trial
from sluicegate.registry.catalog.port import Catalog
from sluicegate.registry.ledger.calls import Calls
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.report.overview import Served
from sluicegate.registry.report.pulse import Pulse
from sluicegate.registry.report.report import Evidence
from sluicegate.registry.rollout.rollout import Rollout
from sluicegate.services.console.changes import Changes
from sluicegate.services.console.in_time import InTime


class Check(Protocol):
    """One check of `sluice doctor`: its name, its status, its finding and the fix."""

    @property
    def check(self) -> str: ...

    @property
    def status(self) -> str:
        """pass, warn, fail, or pending while it has not answered."""
        ...

    @property
    def found(self) -> str: ...

    @property
    def fix(self) -> str | None: ...


class LogLine(Protocol):
    """A line of a log, and the program that wrote it."""

    @property
    def source(self) -> str: ...

    @property
    def text(self) -> str: ...


class GatewaysElsewhere(Protocol):
    """What gateways of other hosts report, ask and send."""

    def hear(self, name: str, report: Mapping[str, object]) -> bool:
        """Record the status that a gateway reports. Returns whether it was recorded: one that comes late is not."""
        ...

    def sheet_name(self, gateway: str) -> str | None:
        """The name of the route sheet that a gateway should have; None: there is none yet."""
        ...

    def answer(self, name: str, has: object) -> dict[str, Any]:
        """The answer to a gateway, with the route sheet unless the gateway already has it."""
        ...

    def take_log(
        self, gateway: str, log: str, head: str, offset: int, data: bytes, *, is_whole: bool
    ) -> int:  # fmt: skip
        """Store a part of a gateway's log; returns the size of the file afterwards, in bytes."""
        ...


class Desk(Protocol):
    """Everything that the console's API and pages use."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def calls(self) -> Calls: ...

    @property
    def admin_token(self) -> str: ...

    @property
    def webhook_secret(self) -> str: ...

    @property
    def session_secret(self) -> str: ...

    @property
    def links(self) -> Mapping[str, str]:
        """URLs of the other programs: gateway, mlflow, prefect."""
        ...

    @property
    def catalog(self) -> Catalog:
        """Builds and the metrics of their training runs. Raises CatalogUnavailable."""
        ...

    @property
    def champion_alias(self) -> str:
        """The alias of stable builds in the catalog."""
        ...

    def check(self, plan: Plan) -> None:
        """Raise Refused if this installation cannot do what a plan requires."""
        ...

    def clock(self) -> datetime: ...

    @property
    def changes(self) -> Changes:
        """Wakes live views when something is recorded."""
        ...

    @property
    def in_time(self) -> InTime:
        """Queries the telemetry, which may hang, with a time limit."""
        ...

    def over(self, ledger: Ledger) -> Desk:
        """The same desk over another ledger, such as the draft of a dry run."""
        ...

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        """Requests assigned to (stable, candidate) at the present weight of each rollout, by id."""
        ...

    def generated(self, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
        """Generated requests of both arms, by rollout."""
        ...

    def errors(self, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
        """The causes of each arm's errors, in words, by rollout."""
        ...

    def evidence(self, rollout: Rollout) -> Evidence:
        """What the telemetry adds to a rollout's report."""
        ...

    def logs(self, rollout: Rollout, most: int) -> Sequence[LogLine]:
        """The newest log lines about a rollout on this machine, at most `most` of each source."""
        ...

    def try_out(self, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
        """What a request to a model with this metadata and this unit would get."""
        ...

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        """Every build of these models that an audience gets."""
        ...

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        """Each model's requests of the last minutes, and how many of them failed."""
        ...

    def desired(self, models: Collection[str]) -> Sequence[Served]:
        """The same as `overview`, from the ledger alone and without observed figures."""
        ...

    def look_at_catalog(self) -> Sequence[str]:
        """Look for new builds in MLflow now; returns the ids of the rollouts that this started."""
        ...

    def record_outcomes(self, items: Sequence[dict[str, object]]) -> object:
        """Record outcomes; returns a receipt with exact counts. Raises UsageError that names the wrong field."""
        ...

    def captures(
        self, model: str, *, build: str | None, since: int, until: int, after: str | None, limit: int
    ) -> object:  # fmt: skip
        """A page of captured requests, oldest first; times in microseconds. Raises UsageError."""
        ...

    def metrics(self) -> bytes:
        """The metrics in Prometheus's text format."""
        ...

    def counts(self) -> dict[str, object]:
        """What the collector has counted, what waits to be joined, and what it could not read."""
        ...

    @property
    def gateways(self) -> GatewaysElsewhere:
        """What gateways of other hosts report, ask and send."""
        ...

    def remove_gateway(self, name: str) -> int:
        """Stop waiting for a gateway of another host; returns how many of its requests will never be counted.
        Raises NotFound, Refused, Unreachable."""
        ...

    def checks(self, within: float) -> Sequence[Check]:
        """The checks of `sluice doctor`; those that have not answered within so many seconds are pending."""
        ...
