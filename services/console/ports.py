"""What the console needs; `sluicegate.flows.wiring.desk` has the real one."""

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
    """One line of the doctor: what was looked at, what was found, how to mend it."""

    @property
    def check(self) -> str: ...

    @property
    def status(self) -> str:
        """pass, warn, fail, or pending: it has not answered yet."""
        ...

    @property
    def found(self) -> str: ...

    @property
    def fix(self) -> str | None: ...


class LogLine(Protocol):
    """A line of a log and whose it is."""

    @property
    def source(self) -> str: ...

    @property
    def text(self) -> str: ...


class Desk(Protocol):
    """Everything behind the console's doors."""

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
        """Where the neighbours are: gateway, mlflow, prefect."""
        ...

    @property
    def catalog(self) -> Catalog:
        """The builds there are, and what training measured. Raises CatalogUnavailable."""
        ...

    @property
    def champion_alias(self) -> str:
        """The alias of stable builds in the catalog."""
        ...

    def check(self, plan: Plan) -> None:
        """Raises Refused where this installation cannot do what a plan asks for."""
        ...

    def clock(self) -> datetime: ...

    @property
    def changes(self) -> Changes:
        """Wakes live views when something was recorded."""
        ...

    @property
    def in_time(self) -> InTime:
        """Asks the telemetry, which may hang."""
        ...

    def over(self, ledger: Ledger) -> Desk:
        """The same over another record, such as a copy to try an act on."""
        ...

    def requests(self, rollouts: Sequence[Rollout]) -> Mapping[str, tuple[int, int]]:
        """Requests assigned to (stable, candidate) at the present weight of each rollout, by id."""
        ...

    def generated(self, rollouts: Sequence[Rollout]) -> Mapping[str, int]:
        """Requests of both arms that no caller sent, by rollout."""
        ...

    def errors(self, rollouts: Sequence[Rollout]) -> Mapping[str, Mapping[str, str]]:
        """What the errors of each arm died of, in words, by rollout."""
        ...

    def evidence(self, rollout: Rollout) -> Evidence:
        """What telemetry adds to a rollout's report."""
        ...

    def logs(self, rollout: Rollout, most: int) -> Sequence[LogLine]:
        """What was written about a rollout on this machine: the newest lines of each source."""
        ...

    def try_out(self, model: str, metadata: Mapping[str, str], unit: str | None) -> Trial:
        """What a request for a model, with these metadata and this unit, would get."""
        ...

    def overview(self, models: Collection[str]) -> Sequence[Served]:
        """Every build that an audience gets, of these models."""
        ...

    def pulses(self, models: Collection[str]) -> Mapping[str, Pulse]:
        """How many requests each model got in the last minutes, and how many failed."""
        ...

    def desired(self, models: Collection[str]) -> Sequence[Served]:
        """The same from the ledger alone, with nothing that was observed."""
        ...

    def look_at_catalog(self) -> Sequence[str]:
        """Look at MLflow now; the rollouts that were started."""
        ...

    def record_outcomes(self, items: Sequence[dict[str, object]]) -> object:
        """Take outcomes in; a receipt with exact counts. Raises UsageError naming the field."""
        ...

    def captures(
        self, model: str, *, build: str | None, since: int, until: int, after: str | None, limit: int
    ) -> object:  # fmt: skip
        """A page of captured requests, oldest first; times in microseconds. Raises UsageError."""
        ...

    def metrics(self) -> bytes:
        """What Prometheus scrapes, as its text format."""
        ...

    def counts(self) -> dict[str, object]:
        """What was counted, what waits, what could not be read."""
        ...

    def hear_gateway(self, name: str, said: Mapping[str, object]) -> None:
        """Note what a gateway of another host says of itself."""
        ...

    def remove_gateway(self, name: str) -> int:
        """Wait no longer for a gateway of another host; how many of its requests are known never to be counted.
        Raises NotFound, Refused, Unreachable."""
        ...

    def sheet_of(self, gateway: str) -> str | None:
        """The name of the sheet of routes that a gateway of another host is to have; None: there is none yet."""
        ...

    def for_gateway(self, name: str, has: object) -> dict[str, Any]:
        """What there is for a gateway of another host, and the sheet itself unless it has that."""
        ...

    def take_log(
        self, gateway: str, log: str, head: str, offset: int, data: bytes, *, is_whole: bool
    ) -> int:  # fmt: skip
        """Keep a part of a gateway's log; how much of the file there is then."""
        ...

    def checks(self, within: float) -> Sequence[Check]:
        """What doctor finds within so many seconds; what has not answered by then is among it."""
        ...
