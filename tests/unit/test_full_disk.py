"""A disk that is full, for real: what must be written is written, and nothing is lost or left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sluicegate.flows.wiring.ringing import RingingLedger
from sluicegate.registry.plan.plan import Plan
from sluicegate.registry.words.errors import Unreachable
from sluicegate.services import durable
from sluicegate.services.heartbeat import Heartbeats
from tests import giving as orders
from tests.giving import Giver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan.model_validate({"model": "m", "steps": [{"weight": 10}]})
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def fill(disk: Path) -> None:
    with (disk / "logs").open("ab", buffering=0) as log, contextlib.suppress(OSError):
        while True:
            log.write(b"x" * 512)


def test_a_file_with_a_spare_is_replaced_on_a_full_disk_as_often_as_need_be(small: Path) -> None:
    path, spare = small / "routes", small / ".routes.spare"
    durable.replace(path, "a" * 10_000, spare=spare)
    fill(small)
    for turn in range(5):
        reader = path.open()
        text = f"{turn}" * (9_000 - turn * 1_000)
        durable.replace(path, text, spare=spare)
        assert path.read_text() == text
        assert len(set(reader.read())) == 1, "who has the former file open reads it whole"
        reader.close()
        fill(small)
    good = small / "good"
    good.hardlink_to(spare)
    with pytest.raises(OSError, match="No space"):
        durable.replace(path, "z" * 5_000, spare=spare)
    assert path.read_text() == text, "a file that somebody else holds is not written over"
    good.unlink()
    (small / "logs").unlink()
    durable.replace(path, "b" * 50_000, spare=spare)
    assert spare.stat().st_size >= 100_000


def test_without_a_spare_the_former_content_stays_and_no_draft_is_left(small: Path) -> None:
    path = small / "plain"
    durable.replace(path, "a" * 1_000)
    fill(small)
    with pytest.raises(OSError, match="No space") as full:
        durable.replace(path, "b" * 10_000)
    assert full.value.errno == errno.ENOSPC
    assert path.read_text() == "a" * 1_000
    assert {each.name for each in small.iterdir()} == {"plain", "logs"}


def test_a_heart_beats_on_a_full_disk(small: Path) -> None:
    beats = Heartbeats(folder=small / "beats")
    beats.beat("keeper")
    fill(small)
    before = beats.last("keeper")
    beats.beat("keeper")
    assert (beats.last("keeper") or 0) > (before or 0)


def test_an_abort_is_recorded_on_a_full_disk_whoever_takes_what_becomes_free(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=24m", small], check=True)
    ledger = RingingLedger(f"sqlite:///{small / 'ledger.db'}", small / "bell")
    giver = Giver(actor="ada", cause="cli")

    def aborted(number: int) -> bool:
        plan = PLAN.model_copy(update={"variation": f"v{number}"})
        begun = orders.deploy(ledger, plan=plan, version="1", request=giver, now=NOW).rollout
        fill(small)
        orders.abort(ledger, begun.id, actor="ada", reason="no" * 2_000, now=NOW)
        return ledger.rollout(begun.id).is_ended

    fill(small)
    assert all(aborted(number) for number in range(50))
    with pytest.raises(Unreachable, match="full"):
        assert all(aborted(number) for number in range(50, 2_000))
    (small / "logs").unlink()
    orders.apply_plan(ledger, PLAN, NOW)
    ledger.close()
