"""The doctor's own checks of the machine, each seen to pass and to fail."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from sluicegate.services.host.doctor import examination as doctor
from sluicegate.services.host.doctor import local as doctor_local
from sluicegate.services.host.doctor.databases import database
from sluicegate.services.host.doctor.finding import CheckStatus, Finding, passed
from sluicegate.services.host.doctor.room import Demand
from sluicegate.services.host.doctor.room import finding as room
from sluicegate.services.host.doctor.rounds import Rounds
from sluicegate.services.host.doctor.servers import Running
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.installation import Site
from sluicegate.services.host.keys import make_keys
from sluicegate.services.host.programs.supervising import Supervisor

if TYPE_CHECKING:
    from sluicegate.services.host.machine import Recipe


def test_a_closed_folder_passes_and_an_open_one_fails(tmp_path: Path) -> None:
    folder = StateFolder(root=tmp_path / "s")
    assert doctor_local.state_folder(folder)[0].status is CheckStatus.WARN
    folder.prepare()
    assert doctor_local.state_folder(folder)[0].status is CheckStatus.PASS
    folder.secrets.chmod(0o755)
    [found] = doctor_local.state_folder(folder)
    assert found.status is CheckStatus.FAIL
    assert str(folder.secrets) in found.found
    assert found.fix is not None


def test_packages_out_of_their_range_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_local, "requires", lambda _: ["psutil>=900", "no-such-package", "rich>=1"])
    [found] = doctor_local.versions()
    assert found.status is CheckStatus.FAIL
    assert "psutil" in found.found
    assert "no-such-package is not installed" in found.found
    assert "rich" not in found.found


@pytest.mark.parametrize(
    ("free_gib", "status"), [(0.5, CheckStatus.FAIL), (3, CheckStatus.WARN), (50, CheckStatus.PASS)]
)
def test_disk_space_is_judged(
    free_gib: float, status: CheckStatus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": free_gib * 2**30})
    monkeypatch.setattr(doctor_local.shutil, "disk_usage", lambda _: usage)
    assert doctor_local.disk(tmp_path / "not" / "yet")[0].status is status


def test_envoy_that_refuses_its_files_fails_with_its_words(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_text("#!/bin/sh\necho 'error: no such field' >&2; exit 1\n")
    good.write_text("#!/bin/sh\nexit 0\n")
    for each in (bad, good):
        each.chmod(0o755)
    [found] = doctor_local.envoy_files((str(bad),))
    assert found.status is CheckStatus.FAIL
    assert "no such field" in found.found
    assert doctor_local.envoy_files((str(good),))[0].status is CheckStatus.PASS
    assert doctor_local.envoy_files((str(tmp_path / "none"), "x"))[0].status is CheckStatus.FAIL
    assert doctor_local.envoy_files((str(good), "-c", str(tmp_path / "none")))[0].status is CheckStatus.WARN


def test_refused_routes_are_a_failure_with_the_reason() -> None:
    assert doctor._routes(None).status is CheckStatus.PASS
    found = doctor._routes("unknown cluster (since noon)")
    assert (found.status, found.found) == (CheckStatus.FAIL, "unknown cluster (since noon)")


def test_the_console_that_asks_does_not_take_its_own_port_for_anothers(tmp_path: Path) -> None:
    folder = StateFolder(root=tmp_path / "s")
    folder.prepare()
    keys = make_keys(folder.secrets, os.urandom)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = Running(
            recipe=cast("Recipe", None),
            site=Site(state=str(folder.root), ports={"console": listening.getsockname()[1]}),
            keys=keys,
            supervisor=Supervisor(folder, keys.state_token),
            clients={},
        )
        assert [each.status for each in running.ports()] == [CheckStatus.PASS]


def test_a_broken_page_is_told_with_what_to_restore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluicegate.services.host.doctor.databases._STEPS", 10)
    path = tmp_path / "ledger.db"
    assert database("ledger", path, "restore") == []
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 1000)
    connection.close()
    assert [each.status for each in database("ledger", path, "restore")] == [CheckStatus.PASS]
    never = iter(range(10**9))
    [slow] = database("ledger", path, "restore", elapsed=lambda: float(next(never) * 11))
    assert (slow.status, "too large" in slow.found) == (CheckStatus.WARN, True)
    whole = path.read_bytes()
    for place, junk in ((8192, b"\xff" * 4096), (0, b"not a database")):
        path.write_bytes(whole[:place] + junk + whole[place + len(junk) :])
        [finding] = database("ledger", path, "restore")
        assert (finding.check, finding.status, finding.fix) == ("ledger file", CheckStatus.FAIL, "restore")
        assert str(path) in finding.found


def test_a_weight_that_is_not_in_force_is_told(tmp_path: Path) -> None:
    assert doctor._orders({}).status is CheckStatus.PASS
    finding = doctor._orders({"r1": "0 % for m v2, ordered 25 s ago"})
    assert finding.status is CheckStatus.FAIL
    assert "r1: 0 % for m v2" in finding.found


class Hanging:
    """A check that answers once it is let go."""

    def __init__(self) -> None:
        self.let_go, self.begun = threading.Event(), 0

    def __call__(self) -> list[Finding]:
        self.begun += 1
        self.let_go.wait(30)
        return [passed("ledger", "answers")]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    check = Hanging()
    yield check
    check.let_go.set()


def test_a_check_that_hangs_keeps_no_other_from_being_told_and_is_told_itself(hanging: Hanging) -> None:
    now = [100.0]
    rounds = Rounds(lambda: {"ledger": hanging, "disk": lambda: [passed("disk", "9 GiB")]}, lambda: now[0])
    first = rounds.findings(0.2)
    assert [(each.check, each.status) for each in first] == [
        ("ledger", CheckStatus.PENDING), ("disk", CheckStatus.PASS),
    ]  # fmt: skip
    now[0] += 12
    ledger, disk = rounds.findings(0.2)
    assert (ledger.status, ledger.found, disk.status) == (CheckStatus.FAIL, "no answer for 12s", CheckStatus.PASS)
    assert hanging.begun == 1, "one that hangs is not begun once more"
    hanging.let_go.set()
    assert [each.status for each in rounds.findings(30)] == [CheckStatus.PASS] * 2


def test_what_a_check_found_before_it_hung_is_told_with_its_age(hanging: Hanging) -> None:
    now = [100.0]
    rounds = Rounds(lambda: {"ledger": hanging}, lambda: now[0])
    hanging.let_go.set()
    assert [each.found for each in rounds.findings(30)] == ["answers"]
    hanging.let_go.clear()
    now[0] += 3600
    [before] = rounds.findings(0.1)
    assert before.found == "answers (checked 1h ago; being checked again)"
    now[0] += 60
    hangs, before = rounds.findings(0.1)
    assert (hangs.status, hangs.found) == (CheckStatus.FAIL, "no answer for 1m")
    assert before.found.startswith("answers (checked 1h1m ago")


def test_a_check_that_breaks_is_a_failed_one_and_the_others_are_made() -> None:
    def broken() -> list[Finding]:
        raise RuntimeError("boom")

    checks = {"odd": broken, "disk": lambda: [passed("disk", "9 GiB")]}
    odd, disk = Rounds(lambda: checks).findings(30)
    assert (odd.check, odd.status, disk.status) == ("odd", CheckStatus.FAIL, CheckStatus.PASS)
    assert "RuntimeError: boom" in odd.found


def test_more_cores_than_there_are_is_a_warning_that_names_the_plan() -> None:
    delays = Demand(build="delays v2", replicas=3, workers=2, cpu=2.0, memory=2**31)
    small = Demand(build="fraud v1", replicas=1, workers=1, cpu=1.0, memory=None)
    assert room([small, delays], cores=8, memory=2**34).status is CheckStatus.PASS
    found = room([delays], cores=2, memory=2**34)
    text = (Path(__file__).parents[2] / "docs/how-to/serve-models.md").read_text()
    assert found.status is CheckStatus.WARN
    assert found.found in text
    assert found.fix in text
    assert room([small, delays], cores=8, memory=2**32).status is CheckStatus.WARN, "6 GiB are asked for"
    assert room([small] * 3, cores=2, memory=2**34).status is CheckStatus.PASS, "the least that there is"
