"""Backup and restore, from SQLite and PostgreSQL to either: the same record, or a refusal that says why."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from sluicegate.registry.ledger.calls import Call
from sluicegate.registry.ledger.port import Ledger
from sluicegate.registry.ledger.record import Changes, Lease, OrderKey, Receipt
from sluicegate.registry.ledger.sql import SqlLedger
from sluicegate.registry.ledger.sql_calls import SqlCalls
from sluicegate.registry.rollout.facts import Entry, Paused
from sluicegate.registry.rollout.rollout import Phase
from sluicegate.registry.words.errors import Refused, SluiceError, TargetBusy
from sluicegate.services.host.backup.restoring import restore_backup
from sluicegate.services.host.backup.taking import take_backup
from sluicegate.services.host.folder import StateFolder
from sluicegate.services.host.keys import load_keys, make_keys
from tests.contract.ledgers import START, at, document, launched, look, requested, run

LATER = START + timedelta(days=1)
Url = Callable[[Path], str]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def there(request: pytest.FixtureRequest) -> Url:
    """Where a ledger is restored to."""
    if request.param == "sqlite":
        return lambda state: f"sqlite:///{state / 'ledger.db'}"
    database = str(request.getfixturevalue("database"))
    return lambda _: database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def here(request: pytest.FixtureRequest, state: StateFolder) -> str:
    """The ledger that is backed up."""
    if request.param == "sqlite":
        return f"sqlite:///{state.root / 'ledger.db'}"
    return str(request.getfixturevalue("other_database"))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short path: a state folder holds Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        yield Path(folder)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """An installation as `up` leaves it, with files of every kind."""
    folder = StateFolder(root=tmp_path / "state")
    folder.prepare()
    make_keys(folder.secrets, lambda size: bytes(size))
    for name, content in FILES.items():
        path = folder.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in ("telemetry.db", "mlflow/mlflow.db"):
        with closing(sqlite3.connect(folder.root / name)) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE t (x)")
            database.execute("INSERT INTO t VALUES (42)")
    (folder.root / "bento/envs/e1/bin").mkdir(parents=True)
    (folder.root / "bento/envs/e1/bin/python").symlink_to("/usr/bin/python3")
    return folder


FILES = {
    "mlflow/artifacts/1/models/m/MLmodel": "flavors: {}",
    "bento/store/bentos/wine/abc/bento.yaml": "name: wine",
    "bento/store/packed/wine@abc.json": "{}",
    "run/ports.json": '{"gateway": 20003}',
    "run/site.json": '{"state": "elsewhere"}',
    "prefect/prefect.db": "rebuilt",
    "logs/keeper.log": "not kept",
    "builds/x/model.pkl": "fetched again",
}
KEPT = ("mlflow/artifacts/1/models/m/MLmodel", "bento/store/bentos/wine/abc/bento.yaml", "run/ports.json")


def fill(ledger: Ledger) -> None:
    """A rollout that is open and paused, one that waits, looks, documents, a lease, a note, an order's receipt."""
    ledger.open("r1", requested(), at(0))
    run(ledger, "r1", *launched())
    ledger.record_look(look(1))
    ledger.apply(document("delays", "1"))
    ledger.open("r2", requested(version="3"), at(1))
    ledger.take_lease(Lease(rollout="r1", owner="me", expires_at=at(60)), at(0))
    ledger.remember("driver:r1", {"number": 3})
    paused = Entry(rollout="r1", seq=5, at=at(9), fact=Paused(actor="ada", reason="lunch"))
    key = OrderKey(key="k1", digest="d", at=at(9))
    ledger.commit(lambda _: Changes(entries=(paused,), receipt=Receipt(rollout="r1")), key)


def content(ledger: Ledger) -> object:
    """Everything that can be read of it."""
    rollouts = ledger.rollouts()
    parts = [(r, ledger.entries(r.id), ledger.looks(r.id)) for r in rollouts]
    return (
        parts,
        ledger.all_applied("plan"),
        ledger.leases(),
        ledger.recall("driver:r1"),
        ledger.feed(),
        ledger.verify(),
    )


def test_everything_is_destroyed_and_all_of_it_is_back(
    state: StateFolder, here: str, there: Url, tmp_path: Path
) -> None:
    ledger = SqlLedger(here)
    fill(ledger)
    calls = SqlCalls(here)
    calls.begin(Call(at=at(0), actor="ada", role="admin", method="POST", path="/x", digest="d"))
    before, keys = content(ledger), load_keys(state.secrets)
    manifest = take_backup(state, here, tmp_path / "copy", LATER)
    ledger.close()
    calls.close()
    shutil.rmtree(state.root)

    url = there(state.root)
    restore_backup(tmp_path / "copy", state, url, running=(), replace=False, now=LATER)
    again = SqlLedger(url)
    assert content(again) == before
    assert str(again.verify().head) == manifest.head
    assert load_keys(state.secrets) == keys
    assert [(state.root / name).read_text() for name in KEPT] == [FILES[name] for name in KEPT]
    assert (state.root / "bento/envs/e1/bin/python").readlink() == Path("/usr/bin/python3")
    assert not [name for name in FILES if (state.root / name).exists() and name.split("/")[0] in ("logs", "builds")]
    for name in ("telemetry.db", "mlflow/mlflow.db"):
        with closing(sqlite3.connect(state.root / name)) as database:
            assert database.execute("SELECT x FROM t").fetchone() == (42,)
    # and it goes on: numbers are drawn after the old ones, a target is held by one, an order's key is known
    with pytest.raises(TargetBusy):
        run(again, "r2", launched()[0])
    again.record_look(look(2))
    again.apply(document("delays", "2"))
    key = OrderKey(key="k1", digest="d", at=at(10))
    assert again.commit(lambda _: pytest.fail("decided again"), key).repeated
    call = Call(at=at(0), actor="ada", role="admin", method="POST", path="/x", digest="d")
    assert SqlCalls(url).begin(call)[0].number == 2
    assert again.verify().faults == ()
    again.close()


def test_a_backup_is_of_one_moment_while_others_write(state: StateFolder, here: str, tmp_path: Path) -> None:
    ledger, stop = SqlLedger(here), threading.Event()
    ledger.open("r1", requested(), at(0))

    def write() -> None:
        k = 0
        while not stop.is_set():
            ledger.record_look(look(k))
            ledger.open(f"w{k}", requested(), at(k))
            k += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            take_backup(state, here, tmp_path / f"copy{number}", LATER)
    finally:
        stop.set()
        writer.join()
    for number in range(4):
        other = StateFolder(root=tmp_path / f"other{number}")
        url = f"sqlite:///{other.root / 'ledger.db'}"
        restore_backup(tmp_path / f"copy{number}", other, url, running=(), replace=False, now=LATER)
        copied = SqlLedger(url)
        rollouts = len(copied.rollouts())
        assert (copied.verify().faults, len(copied.looks("r1")) - rollouts in (-1, 0)) == ((), True)
        copied.close()
    ledger.close()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(state: StateFolder, tmp_path: Path) -> Path:
    url = f"sqlite:///{state.root / 'ledger.db'}"
    ledger = SqlLedger(url)
    fill(ledger)
    ledger.close()
    take_backup(state, url, tmp_path / "copy", LATER)
    return tmp_path / "copy"


def _truncate(copy: Path) -> None:
    (copy / "ledger.db").write_bytes((copy / "ledger.db").read_bytes()[:4096])


def _flip(copy: Path) -> None:
    path = copy / "mlflow/artifacts/1/models/m/MLmodel"
    path.write_text("flavors: []")


def _cut_manifest(copy: Path) -> None:
    (copy / "manifest.json").write_text((copy / "manifest.json").read_text()[:200])


def _newer_form(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"form": 99}))


def _other_head(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"head": "3:" + "0" * 64}))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda copy: (copy / "manifest.json").unlink(), "not a complete backup: manifest.json cannot be read"),
        (_cut_manifest, "not a complete backup: manifest.json cannot be read"),
        (lambda copy: (copy / "secrets/admin_token").unlink(), "secrets/admin_token is missing"),
        (_truncate, "ledger.db was changed"),
        (_flip, "MLmodel was changed"),
        (lambda copy: (copy / "extra").write_text("x"), "extra is not part of it"),
        (_newer_form, "format 99"),
        (_other_head, "differ from the record whose head you kept"),
        (shutil.rmtree, "not a complete backup"),
    ],
    ids=["no-manifest", "half-manifest", "missing", "truncated", "changed", "extra", "newer", "head", "nothing"],
)
def test_half_a_backup_is_refused_and_nothing_is_touched(
    copy: Path, tmp_path: Path, damage: Callable[[Path], object], why: str
) -> None:
    damage(copy)
    target = StateFolder(root=tmp_path / "new")
    with pytest.raises(Refused, match=why):
        restore_backup(copy, target, f"sqlite:///{target.root / 'ledger.db'}", running=(), replace=False, now=LATER)
    assert not target.root.exists() or not list(target.root.iterdir())


def test_what_is_there_is_never_replaced_unless_told_and_then_kept_aside(copy: Path, state: StateFolder) -> None:
    own = f"sqlite:///{state.root / 'ledger.db'}"
    with pytest.raises(Refused, match=r"not empty.*--replace"):
        restore_backup(copy, state, own, running=(), replace=False, now=LATER)
    with pytest.raises(Refused, match=r"programs still run in .*: keeper"):
        restore_backup(copy, state, own, running=("keeper",), replace=True, now=LATER)
    (state.root / "logs/keeper.log").write_text("precious")
    done = restore_backup(copy, state, own, running=(), replace=True, now=LATER)
    assert done.former is not None
    assert (done.former / "logs/keeper.log").read_text() == "precious"
    assert SqlLedger(own).rollout("r1").phase is Phase.PAUSED


@pytest.mark.postgres
def test_a_ledger_elsewhere_that_is_not_empty_is_not_replaced_unless_told(
    copy: Path, tmp_path: Path, database: str
) -> None:
    target, ledger = StateFolder(root=tmp_path / "new"), SqlLedger(database)
    ledger.open("theirs", requested(), at(0))
    with pytest.raises(Refused, match=r"not empty: it has entries.*--replace"):
        restore_backup(copy, target, database, running=(), replace=False, now=LATER)
    assert [each.id for each in ledger.rollouts()] == ["theirs"]
    ledger.close()
    restore_backup(copy, target, database, running=(), replace=True, now=LATER)
    again = SqlLedger(database)
    assert [each.id for each in again.rollouts()] == ["r1", "r2"]
    again.close()


def test_a_place_that_will_not_do_is_refused_and_left_as_it_was(state: StateFolder, copy: Path, tmp_path: Path) -> None:
    own = f"sqlite:///{state.root / 'ledger.db'}"
    before = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "file").write_text("x")
    places = {copy: "not an empty folder", state.root / "in": "inside the state", tmp_path / "file/x": "cannot be"}
    for place, why in places.items():
        with pytest.raises(Refused, match=why):
            take_backup(state, own, place, LATER)
    (tmp_path / "file").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_damaged_database_is_not_backed_up(state: StateFolder, tmp_path: Path) -> None:
    (state.root / "telemetry.db").write_bytes(b"SQLite format 3\0" + b"x" * 8192)
    with pytest.raises(Refused, match=r"telemetry\.db"):
        take_backup(state, f"sqlite:///{state.root / 'ledger.db'}", tmp_path / "copy", LATER)
    assert not (tmp_path / "copy").exists()


def test_a_ledger_that_cannot_be_reached_is_said(state: StateFolder, tmp_path: Path) -> None:
    with pytest.raises(SluiceError, match="cannot be used"):
        take_backup(state, "postgresql://u:secret@127.0.0.1:1/x", tmp_path / "copy", LATER)
    assert not (tmp_path / "copy").exists()
