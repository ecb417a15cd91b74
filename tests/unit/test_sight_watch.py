"""Gateways of other hosts and of the cluster: what each reported as served is compared with the log of that moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluicegate.flows.wiring import sight_watch
from sluicegate.flows.wiring.sight_watch import SightWatch
from sluicegate.registry.ledger.keeper_notes import sights
from sluicegate.registry.words.gateway_report import Served
from sluicegate.registry.words.sight import Blindness, Listener
from sluicegate.services.telemetry.reading.accounts import gaps
from sluicegate.services.telemetry.store import schema
from sluicegate.services.telemetry.store.store import Store
from tests.doubles.ledger import MemoryLedger

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
LINE, RATE, HEAD = 500, 40, "f" * 32


class Elsewhere:
    """A gateway that serves `RATE` requests a second. Its reports are late, and its log is read at once."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, in_cluster: bool) -> None:
        self.second, self.is_cut, self.lost, self._reported = 0, False, 0, 0
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.store, self.ledger = Store(f"sqlite:///{folder}/telemetry.db", durable=False), MemoryLedger()
        self._names = {each.value: f"pod:{each.value}" for each in Listener} if in_cluster else None
        self.log = "pod:live" if in_cluster else str(self.logs / "live.jsonl")
        runtime = SimpleNamespace(
            site=None, envoys_of=lambda _: {}, store=self.store, ledger=self.ledger, clock=lambda: self.now,
            wall=lambda: self.now, planes=lambda _: {"edge": self}, access_log_folders=lambda: {"edge": self.logs},
        )  # fmt: skip
        monkeypatch.setattr(sight_watch.time, "monotonic", lambda: float(self.second))
        self._watch = SightWatch(cast("Any", runtime))

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.second)

    def is_away(self) -> bool:
        return self.is_cut

    def served(self) -> Served:
        lines = self._reported * RATE
        return Served(
            ended={"live": lines, "shadow": 0}, written={"live": {HEAD: (lines - self.lost) * LINE}},
            buffered=0, failed_writes=0, logs=self._names,
        )  # fmt: skip

    def cut_off(self, seconds: int) -> None:
        """Cut it off for so long. It serves on, and its log waits."""
        self.is_cut = True
        self._watch.look()
        self.second += seconds
        self.is_cut = False

    def run(self, seconds: int, *, report_age: int = 0) -> Blindness | None:
        """Let time pass; the report of each look was made so many seconds ago."""
        for _ in range(seconds):
            self.second += 1
            self._reported = max(self.second - report_age, self._reported)
            lines = self.second * RATE - self.lost
            with self.store.write() as connection:
                row = (self.log, lines, 0, lines * LINE)
                self.store.insert(connection, schema.logs, [row], replace=True)
                offset = (self.log, HEAD, lines * LINE, 0)
                self.store.insert(connection, schema.offsets, [offset], replace=True)
            self._watch.look()
        return sights(self.ledger).noted[Listener.LIVE].blind


@pytest.fixture(params=[False, True], ids=["joined", "in a cluster"])
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Elsewhere]:
    made = Elsewhere(tmp_path, monkeypatch, in_cluster=request.param)
    yield made
    made.store.close()


def test_a_gateway_that_is_back_and_whose_log_came_before_its_report_makes_nobody_blind(elsewhere: Elsewhere) -> None:
    elsewhere.run(40)
    elsewhere.cut_off(30)
    assert elsewhere.run(1, report_age=6) is None
    for _ in range(70):
        assert elsewhere.run(1) is None
    assert gaps(elsewhere.store) == []


def test_reports_of_every_age_make_nobody_blind_and_hide_no_loss(elsewhere: Elsewhere) -> None:
    for second in range(140):
        assert elsewhere.run(1, report_age=(0, 4, 2)[second % 3]) is None
    for second in range(60):
        elsewhere.lost += RATE // 4
        blind = elsewhere.run(1, report_age=(0, 4, 2)[second % 3])
    assert blind is not None
    assert "have no line" in blind.reason
    elsewhere.run(5)
    (gap,) = gaps(elsewhere.store)
    assert gap.requests == elsewhere.lost
