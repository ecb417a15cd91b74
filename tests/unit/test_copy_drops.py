"""What the data plane drops is counted through its restarts."""

from __future__ import annotations

from pathlib import Path

from sluicegate.services.telemetry.pairs.dropped_copies import note_drops
from sluicegate.services.telemetry.pairs.queries import ShadowQueries
from sluicegate.services.telemetry.store.store import Store


def test_steps_of_the_counter_add_up_and_a_restart_takes_nothing_back(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'telemetry.db'}", durable=False)
    for counter in (3, 3, 10, 2, 2, 5):
        note_drops(store, "s1", "gateway", counter)
    for counter in (4, 5):
        note_drops(store, "s2", "gateway-2", counter)
    note_drops(store, "s2", "gateway", 1)
    told = ShadowQueries(store)
    assert [told.dropped(name) for name in ("s1", "s2", "s3")] == [15, 6, 0]
    store.close()
